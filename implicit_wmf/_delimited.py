"""Delimited text: read without changing an id, and with the line of the file for every message."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from .errors import InputError

_LONGEST_FIELD = 2**31 - 1


def open_text(source: Path) -> Any:
    """Open a text file, gzipped or not, dropping a byte order mark."""
    opener: Any = gzip.open if source.suffix.lower() == ".gz" else open
    return opener(source, "rt", encoding="utf-8-sig", newline="")


def read_delimited(
    file: TextIO,
    source: Path,
    separator: str,
    columns: Sequence[str],
    ids: Collection[str],
    check_columns: Callable[[Path, Sequence[str], Sequence[str]], None],
) -> pd.DataFrame:
    """Read the named columns, ids by `exact_ids`; a field beyond the header is refused."""
    header = next((fields for _, fields in _records(file, source, separator)), None)
    if header is None:
        raise InputError(f"{source} is empty; give a file with a header and lines")
    check_columns(source, header, columns)
    # pandas lets long lines pass when it reads some columns only, so a nameless last column catches what is too much.
    beyond = len(header)
    places = [header.index(name) for name in columns]
    frame = pd.read_csv(
        _Headed(separator.join(map(str, range(beyond + 1))) + "\n", file),
        sep=separator,
        usecols=sorted({*places, beyond}),
        dtype={str(beyond): str} | {str(header.index(name)): str for name in columns if name in ids},
        index_col=False,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
    )
    excess = frame.pop(str(beyond)).notna().to_numpy()
    if excess.any():
        line = physical_line(source, separator, int(np.argmax(excess)))
        raise InputError(f"{source}, line {line}: more fields than the {beyond} of the header; quote or mend the line")
    frame = frame[[str(place) for place in places]].set_axis(list(columns), axis=1)
    return frame.assign(**{name: exact_ids(frame[name]) for name in columns if name in ids})


def exact_ids(column: pd.Series) -> pd.Series:
    """Turn text into int64 when every entry is an integer's own spelling; otherwise nothing changes."""
    codes, uniques = pd.factorize(column)
    # 20 letters hold every int64; a longer id would make the fixed-width array below large.
    if not len(uniques) or codes.min() < 0 or max(map(len, uniques)) > 20:
        return column
    text = np.asarray(uniques.tolist(), dtype=np.str_)
    try:
        numbers = text.astype(np.int64)
    except (ValueError, OverflowError):
        return column
    return pd.Series(numbers[codes], name=column.name) if (numbers.astype(np.str_) == text).all() else column


def exact_integer(text: str) -> int | str:
    """Turn one integer's own spelling into an int; any other text stays."""
    try:
        number = int(text)
    except ValueError:
        return text
    return number if str(number) == text else text


def physical_line(source: Path, separator: str, record: int | None) -> int:
    """Line of the file, from 1, at which a record begins; record 0 follows the header, and None is the last one."""
    line = 1
    with open_text(source) as file:
        for line, _ in islice(_records(file, source, separator), None if record is None else record + 2):  # noqa: B007
            pass
    return line


def decode_line(source: Path) -> int:
    """Line of the file, from 1, that is not UTF-8."""
    opener: Any = gzip.open if source.suffix.lower() == ".gz" else open
    with opener(source, "rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                return line
    return line


def _records(file: TextIO, source: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield records with the line each begins at, without the blank lines that pandas skips as well."""
    reader = csv.reader(file, delimiter=separator)
    line = 1
    # pandas reads fields of any length; the limit of 131,072 letters belongs to the whole process, so it is put back.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        for fields in reader:
            if len(fields) > 1 or fields == [""] or "".join(fields).strip(" \t"):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{source}, line {line}: {error}; mend the line") from error
    finally:
        csv.field_size_limit(limit)


class _Headed(io.TextIOBase):
    """A text file whose header, read already, is replaced by another."""

    def __init__(self, header: str, rest: TextIO) -> None:
        self._header = header
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        head, self._header = self._header, ""
        return head or self._rest.read(-1 if size is None else size)
