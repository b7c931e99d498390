"""Lines that are wrong: found again in their files, refused with their places, or written to a file of rejects."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from .._folders import writing_file
from .._words import count
from ..errors import InputError
from ..tables.files import PARQUET
from .columns import FAULTS
from .database import Database
from .records import read_records
from .sources import Part, Source, parquet_relation, reading

HEADER = ("file", "line", "reason", "text")
_SHOWN_LINES = 5
_SHOWN_LETTERS = 200
_BATCH = 10_000
_REMEDY = "mend them, or leave them out with on_error='skip' (--on-error skip), which writes them to a file"


class WrongLine(NamedTuple):
    r"""A line that cannot be used; lines of text count from 1 with the header, rows of Parquet from 0.

    The text of a row is its named columns; bytes that are not UTF-8 read ``\xff``.
    """

    path: Path
    line: int
    reason: str
    text: str


def refuse(database: Database, sources: list[Source], faults: Counter[str], *, kept: int) -> None:
    """Raise InputError that names the first wrong lines, if there are any.

    Parameters
    ----------
    database : Database
    sources : list of Source
    faults : Counter
        How many lines are wrong, by what is wrong with them.
    kept : int
        How many are not.
    """
    if not faults:
        return
    first = list(islice(find_wrong_lines(database, sources), _SHOWN_LINES))
    total = faults.total()
    shown = [f"  {_place(one)}: {one.reason}: {_shortened(one.text)}" for one in first]
    more = [f"  and {total - len(first):,} more"] if total > len(first) else []
    reasons = [f"  {number:,}: {reason}" for reason, number in faults.most_common()]
    begin, remedy = f"{count(total, 'line')} cannot be used:", _REMEDY
    if not kept:
        begin, remedy = f"none of the lines can be used, of {total:,}:", "are the columns the right ones?"
    raise InputError("\n".join([begin, *shown, *more, "how many, and why:", *reasons, remedy]))


def _place(one: WrongLine) -> str:
    return f"{one.path}, {'row' if one.path.name.lower().endswith(PARQUET) else 'line'} {one.line}"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + "...")


def find_wrong_lines(database: Database, sources: list[Source]) -> Iterator[WrongLine]:
    """Read the files again, those without a wrong line excepted, and yield the wrong lines in the order of the files.

    Parameters
    ----------
    database : Database
    sources : list of Source

    Yields
    ------
    WrongLine
    """
    for source in sources:
        for part in source.parts:
            is_parquet = part.file.suffix == PARQUET
            yield from _wrong_rows(database, source, part) if is_parquet else _wrong_records(database, source, part)


def _wrong_rows(database: Database, source: Source, part: Part) -> Iterator[WrongLine]:
    columns = source.columns.values()
    # Not DuckDB's file_row_number: a column of the file may have that name.
    renamed = ", ".join(f"CAST({name} AS VARCHAR) AS w{place}" for place, name in enumerate(columns))
    lines = f"SELECT row_number() OVER () - 1 AS r, {source.fault} AS f, {renamed} FROM {parquet_relation([part.file])}"
    shown = ", ".join(f"w{place}" for place in range(len(columns)))
    query = f"SELECT r, f, {shown} FROM ({lines}) WHERE f <> 0 ORDER BY 1"
    for batch in database.stream(query, _BATCH):
        row, fault, *cells = (column.to_pylist() for column in batch)
        for line, number, *values in zip(row, fault, *cells, strict=True):
            yield WrongLine(part.file.path, line, FAULTS[number], _as_line(values))


def _as_line(values: list[Any]) -> str:
    content = io.StringIO()
    csv.writer(content, lineterminator="").writerow(values)
    return content.getvalue()


def _wrong_records(database: Database, source: Source, part: Part) -> Iterator[WrongLine]:
    """Count the records of a file again, as they were when they were loaded, to find the lines of the wrong ones."""
    end = part.start + part.lines - part.faults.total()
    faults = _faults_in_table(database, source, part.start, end)
    place, number = next(faults, (end, 0))
    if place == end and not part.faults:
        return
    loaded = part.start
    with reading(part.file):
        for record in read_records(part.file):
            if record.fault:
                yield WrongLine(part.file.path, record.line, record.fault, _readable(record.text))
                continue
            if loaded == place:
                yield WrongLine(part.file.path, record.line, FAULTS[number], record.text)
                place, number = next(faults, (end, 0))
            loaded += 1


def _readable(letters: str) -> str:
    return letters.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _faults_in_table(database: Database, source: Source, start: int, end: int) -> Iterator[tuple[int, int]]:
    within = f"rowid >= {start} AND rowid < {end}"
    wrong = f"({source.fault}) <> 0"
    query = f"SELECT rowid, {source.fault} FROM {source.relation} WHERE {within} AND {wrong} ORDER BY 1"
    columns = ([column.to_pylist() for column in batch] for batch in database.stream(query, _BATCH))
    return chain.from_iterable(zip(*one, strict=True) for one in columns)


def check_rejects(place: Path, target: Path) -> None:
    """Refuse a place that cannot be written to, or holds what is no file of rejects.

    Parameters
    ----------
    place : Path
        Without links.
    target : Path
        Where the store is to be, whose folder is made.

    Raises
    ------
    InputError
        Before any work, with what is in the way.
    """
    if place.is_relative_to(target) or target.is_relative_to(place):
        raise InputError(f"rejects: {place} would be in the place of the store {target}; name a file outside it")
    if place.is_dir():
        raise InputError(f"rejects: {place} is a folder; name a file")
    if place.parent != target.parent and not place.parent.is_dir():
        raise InputError(f"rejects: there is no folder {place.parent} for {place.name}; create it first")
    if place.exists() and not (place.is_file() and _has_rejects(place)):
        raise InputError(f"rejects: {place} exists and is not a file of rejects; name another file")


def _has_rejects(place: Path) -> bool:
    with place.open("rb") as file:
        return file.readline(100).startswith(",".join(HEADER).encode())


def write_rejects(path: Path, lines: Iterator[WrongLine]) -> int:
    """Write wrong lines as a CSV file.

    Parameters
    ----------
    path : Path
    lines : iterator of WrongLine

    Returns
    -------
    int
        How many there were.
    """
    written = 0
    with writing_file(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for one in lines:
            writer.writerow(one)
            written += 1
    return written
