"""Records of delimited text one by one, each wrong one told from the others, with the line of the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TextIO

from ..errors import InputError
from ..tables.files import TableFile
from ..tables.reading import open_table

# Letters of one record: a quote that is not closed would take in the rest of the file otherwise.
_LONGEST_RECORD = 1 << 22
_LONGEST_FIELD = 2**31 - 1


class Record(NamedTuple):
    """A record: the physical line it begins at, from 1; its text; its fields; and what is wrong, if anything is."""

    line: int
    text: str
    fields: list[str]
    fault: str


def read_header(file: TableFile) -> list[str]:
    """Read the first record of a text file that is not blank.

    Parameters
    ----------
    file : TableFile

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If there is none, or it is not UTF-8 or has a quote that is never closed.
    """
    for record in _records(file):
        if record.fault:
            raise InputError(f"{file.path}, line {record.line}: {record.fault}, in the header; mend it")
        return record.fields
    raise InputError(f"{file.path} is empty; give a file with a header and lines")


def read_records(file: TableFile) -> Iterator[Record]:
    """Yield the records below the header; blank lines are none.

    A quote that opens a field and is not closed spoils its own line only: reading goes on with the next.

    Parameters
    ----------
    file : TableFile

    Yields
    ------
    Record

    Raises
    ------
    OSError, EOFError, zlib.error
        If the file cannot be read.
    """
    records = _records(file)
    width = len(next(records).fields)
    for record in records:
        if not record.fault and len(record.fields) != width:
            fault = f"{len(record.fields)} field{'s' * (len(record.fields) != 1)} where the header has {width}"
            record = record._replace(fault=fault)
        yield record


def _records(file: TableFile) -> Iterator[Record]:
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open_table(file, errors="surrogateescape") as content:
            yield from _parse(content, file.separator)
    finally:
        csv.field_size_limit(limit)


def _parse(content: TextIO, separator: str) -> Iterator[Record]:
    lines = _Lines(content)
    reader = csv.reader(lines, delimiter=separator)
    line = 1
    while True:
        lines.begin()
        fields = next(reader, None)
        if lines.cut_short:
            text = lines.keep_first()
            yield Record(line, text, [], _fault_of(text) or "a quote opens here and is never closed")
        elif fields is None:
            return
        elif len(fields) > 1 or fields == [""] or "".join(fields).strip(" \t"):
            text = "".join(lines.taken)
            yield Record(line, text.rstrip("\r\n"), fields, _fault_of(text))
        line += len(lines.taken)


def _fault_of(text: str) -> str:
    if "\0" in text:
        return "a NUL byte"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "not UTF-8"
    return ""


class _Lines:
    """Physical lines for a csv reader, which takes as many as a record needs; some may be given back."""

    def __init__(self, content: TextIO) -> None:
        self._content = content
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self.cut_short = False  # whether a record still wanted a line when there was none, or it was too long

    def begin(self) -> None:
        self.taken, self.cut_short, self._letters = [], False, 0

    def keep_first(self) -> str:
        """Give back all lines but the first."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
        return self.taken[0].rstrip("\r\n")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._content, "")
        if line:
            self.taken.append(line)
            self._letters += len(line)
        if self.taken and (not line or (len(self.taken) > 1 and self._letters > _LONGEST_RECORD)):
            self.cut_short = True
        if not line or self.cut_short:
            raise StopIteration
        return line
