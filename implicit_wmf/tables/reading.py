"""Columns of a table: read by name from text or Parquet, no id changed, with the line of the file for every message."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn, TextIO

import numpy as np
import pandas as pd

from .._arrow import arrow_to_pandas, parquet_files
from ..errors import InputError
from .files import GZIPPED, PARQUET, PathLike, TableFile, existing_table, reason

_LONGEST_FIELD = 2**31 - 1


def read_table(path: PathLike, columns: Sequence[str], *, ids: Collection[str] | None = None) -> pd.DataFrame:
    """Read the named columns of a table.

    In text files an id column becomes int64 when every id is the plain spelling of an integer, and stays text, letter
    by letter, otherwise: ``00123``, ``1.0``, ``NA`` and ``null`` are text. Only an empty field is missing. Other
    columns are read as pandas infers them.

    Parameters
    ----------
    path : path-like
        .csv; .tsv or .txt with tabs; either also .gz, in UTF-8; or .parquet, whose types are taken as they are but for
        dates, which become datetime64, and decimals: float64, or int64 for whole ones among the ids.
    columns : sequence of str
        Columns to read; the result has them in this order.
    ids : collection of str, optional
        Those of them that hold ids; all of them by default.

    Returns
    -------
    pandas.DataFrame
        A row each line.

    Raises
    ------
    InputError
        For a file that is missing, empty, damaged or of an unknown kind, lines of the wrong length, and columns that do
        not exist.
    MissingExtraError
        For Parquet without pyarrow.
    """
    return read_columns(existing_table(path), columns, columns if ids is None else ids)


def read_columns(file: TableFile, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    """Read columns of a file that was found."""
    frame = (_read_parquet if file.suffix == PARQUET else _read_text)(file, columns, ids)
    if frame.empty:
        raise InputError(f"{file.path} has no lines below its header; give at least one")
    return frame


def line_of(file: TableFile, line: int) -> str:
    """Say where a record of a file is: text files count lines from 1 with the header, Parquet rows from 0."""
    place = f"row {line}" if file.suffix == PARQUET else f"line {_physical_line(file, line)}"
    return f"{place} of {file.path}"


def _read_parquet(file: TableFile, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    pyarrow, parquet = parquet_files("Reading Parquet files")
    try:
        # Not read_table: it would add columns that it guesses from the names of folders.
        with parquet.ParquetFile(file.path) as content:
            file.check_columns(content.schema_arrow.names, columns)
            table = content.read(columns=list(columns))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file.path} cannot be read as Parquet: {reason(error)}") from error
    return pd.DataFrame({name: arrow_to_pandas(table.column(name), is_id=name in ids) for name in columns})


def _read_text(file: TableFile, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    """Read the named columns, ids by `_exact_ids`."""
    try:
        return _read_spelled(file, columns, ids)
    # Also of looking for the line that another error is about.
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file.path} cannot be read: {reason(error)}") from error


def _read_spelled(file: TableFile, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    """Read the named columns; an error of letters or quotes names its line."""
    source = file.path
    try:
        with open_table(file) as content:
            return _read_delimited(content, file, columns, ids)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}, line {_decode_line(file)}: not UTF-8 ({error.reason}); save it as UTF-8"
        ) from error
    except pd.errors.ParserError as error:
        if "EOF inside string" not in str(error):
            raise InputError(f"{source}: {error}; mend the line") from error
        line = _physical_line(file, None)
        raise InputError(f"{source}, line {line}: a quote opens here and is never closed; close it") from error


def open_table(file: TableFile, *, text: bool = True, errors: str = "strict") -> Any:
    """Open a file, gzipped or not; as text without a byte order mark."""
    opener: Any = gzip.open if file.suffix.endswith(GZIPPED) else open
    if not text:
        return opener(file.path, "rb")
    return opener(file.path, "rt", encoding="utf-8-sig", errors=errors, newline="")


def _read_delimited(content: TextIO, file: TableFile, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    """Read below the header; a field beyond it is refused."""
    header = next((fields for _, fields in _records(content, file)), None)
    if header is None:
        raise InputError(f"{file.path} is empty; give a file with a header and lines")
    file.check_columns(header, columns)
    # pandas lets long lines pass when it reads some columns only, so a nameless last column catches what is too much.
    beyond = len(header)
    places = [header.index(name) for name in columns]
    headed = _Headed(file.separator.join(map(str, range(beyond + 1))) + "\n", content, file.separator, beyond)
    frame = pd.read_csv(
        headed,
        sep=file.separator,
        usecols=sorted({*places, beyond}),
        dtype={str(beyond): str} | {str(header.index(name)): str for name in columns if name in ids},
        index_col=False,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
    )
    excess = frame.pop(str(beyond)).notna().to_numpy()
    if excess.any():
        line = _physical_line(file, int(np.argmax(excess)))
        _refuse_excess(file, line, beyond)
    if headed.doubtful:
        _check_records(file, beyond)
    frame = frame[[str(place) for place in places]].set_axis(list(columns), axis=1)
    return frame.assign(**{name: _exact_ids(frame[name]) for name in columns if name in ids})


def _exact_ids(column: pd.Series) -> pd.Series:
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


def _physical_line(file: TableFile, record: int | None) -> int:
    """Line of the file, from 1, at which a record begins; record 0 follows the header, and None is the last one."""
    line = 1
    with open_table(file) as content:
        for line, _ in islice(_records(content, file), None if record is None else record + 2):  # noqa: B007
            pass
    return line


def _decode_line(file: TableFile) -> int:
    """Line of the file, from 1, that is not UTF-8."""
    with open_table(file, text=False) as content:
        for line, letters in enumerate(content, start=1):
            try:
                letters.decode("utf-8")
            except UnicodeDecodeError:
                return line
    return line


def _records(content: TextIO, file: TableFile) -> Iterator[tuple[int, list[str]]]:
    """Yield records with the line each begins at, without the blank lines that pandas skips as well."""
    reader = csv.reader(content, delimiter=file.separator)
    line = 1
    # pandas reads fields of any length; the limit of 131,072 letters belongs to the whole process, so it is put back.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        for fields in reader:
            if len(fields) > 1 or fields == [""] or "".join(fields).strip(" \t"):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{file.path}, line {line}: {error}; mend the line") from error
    finally:
        csv.field_size_limit(limit)


def _check_records(file: TableFile, width: int) -> None:
    """Refuse what pandas passes over: fields beyond an empty one that is too much, and a NUL at the end of an id."""
    with open_table(file) as content:
        for line, fields in _records(content, file):
            if any(fields[width:]):
                _refuse_excess(file, line, width)
            if any("\0" in field for field in fields):
                raise InputError(f"{file.path}, line {line}: a NUL byte, which is no text; remove it")


def _refuse_excess(file: TableFile, line: int, width: int) -> NoReturn:
    raise InputError(f"{file.path}, line {line}: more fields than the {width} of the header; quote or mend the line")


class _Headed(io.TextIOBase):
    """A text file whose header, read already, is replaced by another.

    It is `doubtful` once something has passed that pandas may pass over: a NUL, a line with more separators than a
    record of one field too many has, or a record of several lines.
    """

    def __init__(self, header: str, rest: TextIO, separator: str, most: int) -> None:
        self._header = header
        self._rest = rest
        self._most = {separator: most}
        self._carried = dict.fromkeys((separator, '"'), 0)  # in the line that the last block has left unfinished
        self.doubtful = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        head, self._header = self._header, ""
        if head:
            return head
        block = self._rest.read(-1 if size is None else size)
        self.doubtful = self.doubtful or "\0" in block or self._is_doubtful(block)
        return block

    def _is_doubtful(self, block: str) -> bool:
        lines = block.split("\n")
        for mark, carried in self._carried.items():
            if mark not in block and not carried:
                continue
            counts = [line.count(mark) for line in lines]
            counts[0] += carried
            self._carried[mark] = counts.pop()
            if mark in self._most:
                doubtful = max(counts, default=0) > self._most[mark]
            else:
                doubtful = any(number % 2 for number in counts)
            if doubtful:
                return True
        return False
