"""Lines of files as DuckDB sees them: text is parsed once into a table of its own, Parquet is read where it is."""

from __future__ import annotations

import glob
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._arrow import parquet_files
from ..errors import InputError
from ..tables.files import GZIPPED, PARQUET, TableFile, reason
from .columns import Columns, Ids, Times, fault, ids_of, quoted, text, times_of, value_of
from .database import Database, DataError
from .plain_text import plain_records
from .progress import Progress
from .records import Record, read_header, read_records

_TABLE = "texts"
_INSERTED = 1 << 17
"""Records that are inserted at once: as many as DuckDB compresses together."""
_INSERTED_LETTERS = 1 << 24
"""Letters after which no more are: fields may be long."""


@dataclass(frozen=True)
class Part:
    """A file's share of a source."""

    file: TableFile
    lines: int
    start: int = 0  # number of its first line in the table of text
    faults: Counter[str] = field(default_factory=Counter)  # of records that are not in that table


@dataclass(frozen=True)
class Source:
    """Lines that SQL reads in one way: all text files, or Parquet files with columns of the same types."""

    relation: str  # what stands after FROM
    user: Ids
    item: Ids
    value: str
    time: Times | None
    fault: str
    columns: dict[str, str]  # SQL of what is in the file, by name of the column
    parts: list[Part]

    @property
    def lines(self) -> int:
        """Lines in its files."""
        return sum(part.lines for part in self.parts)


def read_sources(database: Database, files: list[TableFile], columns: Columns, progress: Progress) -> list[Source]:
    """Load what is text, look at what is Parquet.

    Parameters
    ----------
    database : Database
    files : list of TableFile
    columns : Columns
    progress : Progress

    Returns
    -------
    list of Source

    Raises
    ------
    InputError
        For files that cannot be read and columns that are not there or of a kind that cannot be used.
    """
    kinds = _parquet_kinds(files, columns)
    sources = []
    texts = [file for file in files if file.suffix != PARQUET]
    if texts:
        sources.append(_load_texts(database, texts, columns, progress))
    for kind, parts in kinds.items():
        sources.append(_parquet_source(parts, columns, dict(kind)))
    return sources


def _parquet_kinds(files: list[TableFile], columns: Columns) -> dict[tuple[tuple[str, Any], ...], list[Part]]:
    """Group Parquet files by the types of their columns."""
    kinds = defaultdict(list)
    for file in files:
        if file.suffix == PARQUET:
            schema, rows = _look_at_parquet(file)
            file.check_columns(schema.names, columns.wanted())
            _refuse_twins(file, schema.names, columns)
            kinds[tuple((name, schema.field(name).type) for name in columns.wanted())].append(Part(file, rows))
    return kinds


def _look_at_parquet(file: TableFile) -> tuple[Any, int]:
    pyarrow, parquet = parquet_files("Reading Parquet files")
    try:
        with parquet.ParquetFile(file.path) as content:
            return content.schema_arrow, content.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file.path} cannot be read as Parquet: {reason(error)}") from error


def _refuse_twins(file: TableFile, names: list[str], columns: Columns) -> None:
    """Refuse names that differ from another in case only, which DuckDB does not tell apart."""
    for wanted in columns.wanted():
        twins = [name for name in names if name.lower() == wanted.lower() and name != wanted]
        if twins:
            raise InputError(f"{file.path}: the columns {wanted!r} and {twins[0]!r} differ in case only; rename one")


def _parquet_source(parts: list[Part], columns: Columns, kinds: dict[str, Any]) -> Source:
    path = parts[0].file.path
    sql = {name: quoted(name) for name in columns.wanted()}

    def taken(name: str) -> tuple[Any, str, str]:
        return kinds[name], sql[name], f"{path}: the column {name!r}"

    user, item = ids_of(*taken(columns.user)), ids_of(*taken(columns.item))
    value = None if columns.value is None else (sql[columns.value], value_of(*taken(columns.value)))
    time = None if columns.timestamp is None else times_of(*taken(columns.timestamp))
    wrong = fault(user, item, value, None if time is None else time.sql)
    number = "CAST(1 AS DOUBLE)" if value is None else value[1]
    return Source(parquet_relation([part.file for part in parts]), user, item, number, time, wrong, sql, parts)


def parquet_relation(files: list[TableFile], options: str = "") -> str:
    """Give the SQL that reads Parquet files as one table, without columns made of names of folders."""
    names = ", ".join(_path(file.path) for file in files)
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = true{options})"


def _path(path: Path) -> str:
    return text(glob.escape(str(path)))


def _load_texts(database: Database, files: list[TableFile], columns: Columns, progress: Progress) -> Source:
    # An id is a number or text, because DuckDB writes and reads numbers several times as fast as their letters.
    database.run(
        f"CREATE TABLE {_TABLE} "
        "(u_whole BIGINT, u_text VARCHAR, i_whole BIGINT, i_text VARCHAR, v DOUBLE, t VARCHAR, fault UTINYINT)"
    )
    headers = [_header(file, columns) for file in files]  # all of them, before the long work
    parts, start = [], 0
    for file, header in zip(files, headers, strict=True):
        with reading(file):
            part = _load_text(database, file, header, columns, start, progress)
        parts.append(part)
        start += part.lines - part.faults.total()
    user, item = (
        Ids(f"coalesce({side}_text, CAST({side}_whole AS VARCHAR))", "letters", whole=f"{side}_whole") for side in "ui"
    )
    time = None if columns.timestamp is None else Times("t", "text")
    return Source(_TABLE, user, item, "v", time, "fault", {}, parts)


@contextmanager
def reading(file: TableFile) -> Iterator[None]:
    """Turn what goes wrong when a text file is read into an InputError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file.path} cannot be read: {reason(error)}") from error


def _header(file: TableFile, columns: Columns) -> list[str]:
    with reading(file):
        header = read_header(file)
    file.check_columns(header, columns.wanted())
    return header


def _load_text(
    database: Database, file: TableFile, header: list[str], columns: Columns, start: int, progress: Progress
) -> Part:
    records = plain_records(file, len(header))
    if records is not None and _load_plain(database, file, header, columns, (start, records), progress):
        return Part(file, records, start)
    return _load_carefully(database, file, header, columns, start, progress)


def _load_plain(
    database: Database,
    file: TableFile,
    header: list[str],
    columns: Columns,
    expected: tuple[int, int],
    progress: Progress,
) -> bool:
    """Let DuckDB parse a file; return False, having loaded nothing, where it finds other than the lines expected.

    `expected` are the lines that the table has before, and those of the file.
    """
    start, records = expected
    kinds = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(header)))
    mark = text(file.separator)
    relation = (
        f"read_csv({_path(file.path)}, auto_detect = false, header = true, delim = {mark}, quote = '\"', "
        f"escape = '\"', comment = '', nullstr = '', null_padding = false, strict_mode = true, "
        f"compression = '{'gzip' if file.suffix.endswith(GZIPPED) else 'none'}', columns = {{{kinds}}})"
    )
    fields = {name: f"c{header.index(name)}" for name in columns.wanted()}
    database.run("BEGIN")
    try:
        progress.run(database, _insertion(relation, fields, columns), records)
        loaded = database.one(f"SELECT count(*) FROM {_TABLE}")[0] == start + records
    except DataError:
        loaded = False
    database.run("COMMIT" if loaded else "ROLLBACK")
    return bool(loaded)


def _insertion(relation: str, fields: dict[str, str], columns: Columns) -> str:
    """Give the SQL that takes lines into the table of text; `fields` are SQL, by name of the column."""

    def letters(name: str | None) -> str:
        return "NULL" if name is None else f"nullif({fields[name]}, '')"

    value = None if columns.value is None else ("v", "as_number(v)")
    number = "CAST(1 AS DOUBLE)" if value is None else value[1]
    wrong = fault(Ids("u", "letters"), Ids("i", "letters"), value, None if columns.timestamp is None else "t")
    taken = ", ".join(f"{letters(name)} AS {letter}" for letter, name in zip("uivt", columns, strict=True))
    ids = ", ".join(f"as_whole({side}), CASE WHEN as_whole({side}) IS NULL THEN {side} END" for side in "ui")
    return f"INSERT INTO {_TABLE} SELECT {ids}, {number}, t, {wrong} FROM (SELECT {taken} FROM {relation})"


def _load_carefully(
    database: Database, file: TableFile, header: list[str], columns: Columns, start: int, progress: Progress
) -> Part:
    """Load record by record; those that are no record of the table's columns are counted by what is wrong."""
    wanted = columns.wanted()
    places = [header.index(name) for name in wanted]
    fields = {name: f"f{number}" for number, name in enumerate(wanted)}
    insertion = _insertion("given", fields, columns)
    faults: Counter[str] = Counter()
    lines = 0
    for some in _batches(read_records(file), places, faults):
        database.insert(insertion, dict(zip(fields.values(), some, strict=True)))
        lines += len(some[0])
        progress.add(len(some[0]))
    return Part(file, lines + faults.total(), start, faults)


def _batches(records: Iterator[Record], places: list[int], faults: Counter[str]) -> Iterator[list[list[str]]]:
    """Yield the fields at some places, a list each, of so many sound records as are inserted at once; count others."""
    some: list[list[str]] = [[] for _ in places]
    letters = 0
    for record in records:
        if record.fault:
            faults[record.fault] += 1
            continue
        for column, place in zip(some, places, strict=True):
            column.append(record.fields[place])
            letters += len(record.fields[place])
        if len(some[0]) >= _INSERTED or letters >= _INSERTED_LETTERS:
            yield some
            some, letters = [[] for _ in places], 0
    yield some
