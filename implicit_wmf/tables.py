"""Tables in files: read for the command line with every mistake named by line, and written whole or not at all."""

from __future__ import annotations

import difflib
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Collection, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ._delimited import decode_line, open_text, physical_line, read_delimited
from .errors import InputError, MissingExtraError
from .interactions import Interactions

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
READABLE = (*SEPARATORS, *(f"{suffix}.gz" for suffix in SEPARATORS), ".parquet", ".npz")
WRITABLE = (".csv", ".tsv", ".parquet")
PathLike = str | os.PathLike[str]


def read_interactions(
    path: PathLike,
    *,
    user: str | None = None,
    item: str | None = None,
    value: str | None = None,
    timestamp: str | None = None,
    aggregate: str = "sum",
    users: Any = None,
    items: Any = None,
) -> Interactions:
    """Read interactions from a file.

    Parameters
    ----------
    path : path-like
        A table (.csv; .tsv or .txt with tabs; either also .gz; .parquet), or a matrix written by
        ``scipy.sparse.save_npz`` (.npz), which has no columns to name.
    user, item, value, timestamp : str, optional
        Columns of the table, as for `Interactions.from_frame`; ``user`` and ``item`` are required. Text timestamps
        are ISO 8601; those without a time zone count as UTC.
    aggregate : {"sum", "max", "last", "count"}
        What lines of the same pair become.
    users, items : sequence of hashable, optional
        Ids that fix the rows and columns. Where they are text, so are the ids of the file.

    Raises
    ------
    InputError
        For a file that cannot be read, columns that do not exist, and all that `Interactions.from_frame` refuses;
        with the line of the file.
    MissingExtraError
        For Parquet without pyarrow.
    """
    source, suffix = _existing(path)
    if suffix == ".npz":
        named = {"user": user, "item": item, "value": value, "timestamp": timestamp}
        extra = [name for name, column in named.items() if column is not None]
        extra += ["aggregate"] if aggregate != "sum" else []
        if extra:
            raise InputError(f"{extra[0]}: {source.name} is a matrix, without columns or lines; leave it out")
        return Interactions.from_matrix(_load_npz(source), users=users, items=items)
    names = _column_names(source, user=user, item=item, value=value, timestamp=timestamp)
    columns = _event_columns(source, suffix, names)
    columns["user"], columns["item"] = match_ids(columns["user"], users), match_ids(columns["item"], items)
    place = partial(_place, source, suffix)
    return Interactions._from_columns(columns, names, aggregate=aggregate, users=users, items=items, place=place)


def read_events(
    path: PathLike, *, user: str | None, item: str | None, value: str | None = None, timestamp: str | None = None
) -> pd.DataFrame:
    """Read a table's lines as they stand, after all the checks of `read_interactions`; parameters as there.

    Returns
    -------
    pandas.DataFrame
        The named columns under their own names, a line each.
    """
    source, suffix = _existing(path)
    if suffix == ".npz":
        raise InputError(f"path: {source.name} is a matrix, not a table; give one of {_known(READABLE[:-1])}")
    names = _column_names(source, user=user, item=item, value=value, timestamp=timestamp)
    columns = _event_columns(source, suffix, names)
    place = partial(_place, source, suffix)
    Interactions._from_columns(columns, names, aggregate="sum", users=None, items=None, place=place)
    return pd.DataFrame({names[argument]: column for argument, column in columns.items()})


def _column_names(source: Path, **names: str | None) -> dict[str, Hashable]:
    """Return the columns that are named, by argument."""
    for argument in ("user", "item"):
        if names[argument] is None:
            raise InputError(f"{argument}: name the column of {argument} ids in {source.name} (option --{argument})")
    return {argument: column for argument, column in names.items() if column is not None}


def _event_columns(source: Path, suffix: str, names: dict[str, Hashable]) -> dict[str, pd.Series]:
    """Read columns, by argument, with the text of numbers and times parsed."""
    wanted = list(dict.fromkeys(map(str, names.values())))
    frame = read_table(source, wanted, ids=(str(names["user"]), str(names["item"])))
    columns = {argument: frame[name] for argument, name in names.items()}
    if suffix != ".parquet":
        place = partial(_place, source, suffix)
        for argument, parse in (("value", _parsed_numbers), ("timestamp", _parsed_times)):
            if argument in names:
                columns[argument] = parse(columns[argument], str(names[argument]), place)
    return columns


def read_table(path: PathLike, columns: Sequence[str], *, ids: Collection[str] | None = None) -> pd.DataFrame:
    """Read the named columns of a table.

    In text files an id column becomes int64 when every id is the plain spelling of an integer, and stays text, letter
    by letter, otherwise: ``00123``, ``1.0``, ``NA`` and ``null`` are text. Only an empty field is missing. Other
    columns are read as pandas infers them.

    Parameters
    ----------
    path : path-like
        .csv; .tsv or .txt with tabs; either also .gz, in UTF-8; or .parquet, whose types are taken as they are.
    columns : sequence of str
        Columns to read; the result has them in this order.
    ids : collection of str, optional
        Those of them that hold ids; all of them by default.

    Raises
    ------
    InputError
        For a file that is missing, empty, damaged or of an unknown kind, lines of the wrong length, and columns that do
        not exist.
    MissingExtraError
        For Parquet without pyarrow.
    """
    source, suffix = _existing(path)
    if suffix == ".npz":
        raise InputError(f"path: {source.name} is a matrix, not a table; give one of {_known(READABLE[:-1])}")
    if suffix == ".parquet":
        frame = _read_parquet(source, columns)
    else:
        frame = _read_text(source, suffix, columns, columns if ids is None else ids)
    if frame.empty:
        raise InputError(f"path: {source} has no lines below its header; give at least one")
    return frame


def write_table(frame: pd.DataFrame, path: PathLike) -> None:
    """Write a table without its index; the file appears whole or not at all, and replaces one of that name.

    Parameters
    ----------
    frame : pandas.DataFrame
    path : path-like
        Its suffix chooses the format: .csv, .tsv or .parquet.

    Raises
    ------
    InputError
        For an unknown suffix, a folder that does not exist, and what cannot be written.
    MissingExtraError
        For Parquet without pyarrow.
    """
    target, suffix = check_writable(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write(frame, temporary, suffix)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"path: {target} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: PathLike) -> tuple[Path, str]:
    """Raise what `write_table` would for a path, before the work of making the table; return it and its suffix."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"path: {target.name!r} has an unknown suffix; tables are written as {_known(WRITABLE)}")
    if not target.parent.is_dir():
        raise InputError(f"path: there is no folder {target.parent}; create it first")
    if target.is_dir():
        raise InputError(f"path: {target} is a folder; name a file")
    if suffix == ".parquet":
        _pyarrow("Writing")
    return target, suffix


def _write(frame: pd.DataFrame, path: Path, suffix: str) -> None:
    if suffix != ".parquet":
        with path.open("w", encoding="utf-8", newline="") as file:
            frame.to_csv(file, sep=SEPARATORS[suffix], index=False, lineterminator="\n")
            file.flush()
            os.fsync(file.fileno())
        return
    pyarrow, parquet = _pyarrow("Writing")
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise InputError(f"frame: Parquet cannot hold it: {error}; write a .csv file") from error
    with path.open("wb") as file:
        parquet.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())


def match_ids(ids: pd.Series, index: Any) -> pd.Series:
    """Turn integer ids of a file back to the text they were, where the known ids are text.

    A file that happens to hold only ``124`` reads as an integer, even though the known ids are ``00123`` and ``124``;
    nothing is lost, since only exact spellings become integers.
    """
    if index is None or ids.dtype != np.int64:
        return ids
    textual = pd.api.types.infer_dtype(index if isinstance(index, pd.Index) else list(index)) == "string"
    return ids.astype(str) if textual else ids


def _existing(path: PathLike) -> tuple[Path, str]:
    """Return the path of a file that is there and the known suffix it has."""
    source = Path(path)
    if source.is_dir():
        raise InputError(f"path: {source} is a folder; name a file")
    if not source.exists():
        raise InputError(f"path: there is no file {source}; check the name")
    name = source.name.lower()
    # The longest first: .csv.gz ends in neither .csv nor another known suffix.
    for suffix in READABLE:
        if name.endswith(suffix):
            if source.stat().st_size == 0:
                raise InputError(f"path: {source} is empty; give a file with a header and lines")
            return source, suffix
    raise InputError(f"path: {source.name!r} has an unknown suffix; known are {_known(READABLE)}")


def _known(suffixes: Sequence[str]) -> str:
    return ", ".join(suffixes)


def _check_columns(source: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if found.count(name) > 1:
            raise InputError(f"{source}: {found.count(name)} columns are named {name!r}; rename all but one")
        if name not in found:
            near = difflib.get_close_matches(str(name), found, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{source}: no column {name!r}; the columns are {', '.join(map(repr, found))}{hint}")


def _read_text(source: Path, suffix: str, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    separator = SEPARATORS[suffix.removesuffix(".gz")]
    try:
        with open_text(source) as file:
            frame = read_delimited(file, source, separator, columns, ids, _check_columns)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}, line {decode_line(source)}: not UTF-8 ({error.reason}); save it as UTF-8"
        ) from error
    except pd.errors.ParserError as error:
        found = re.search(r"row (\d+)", str(error))
        where = f", line {physical_line(source, separator, int(found[1]) - 1)}" if found else ""
        raise InputError(f"{source}{where}: {error}; mend the line") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"path: {source} cannot be read: {error}") from error
    return frame


def _place(source: Path, suffix: str, line: int) -> str:
    """Say where a record of a file is: text files count lines from 1 with the header, Parquet rows from 0."""
    if suffix == ".parquet":
        return f"row {line} of {source}"
    return f"line {physical_line(source, SEPARATORS[suffix.removesuffix('.gz')], line)} of {source}"


def _parsed_numbers(column: pd.Series, name: str, place: Any) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return column
    parsed = pd.to_numeric(column, errors="coerce")
    wrong = np.flatnonzero((parsed.isna() & column.notna()).to_numpy())
    if wrong.size:
        line = int(wrong[0])
        raise InputError(
            f"value column {name!r}: {column.iloc[line]!r} at {place(line)} is not a number; mend the line"
        )
    return parsed


def _parsed_times(column: pd.Series, name: str, place: Any) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column
    parsed = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    wrong = np.flatnonzero((parsed.isna() & column.notna()).to_numpy())
    if wrong.size:
        line = int(wrong[0])
        raise InputError(
            f"timestamp column {name!r}: {column.iloc[line]!r} at {place(line)} is neither a number nor an ISO 8601 "
            "date, such as 2011-12-09T12:50:00; mend the line"
        )
    return parsed


def _pyarrow(action: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(package="pyarrow", extra="parquet", purpose=f"{action} Parquet files") from error
    return pyarrow, parquet


def _read_parquet(source: Path, columns: Sequence[str]) -> pd.DataFrame:
    pyarrow, parquet = _pyarrow("Reading")
    try:
        # Not read_table: it would add columns that it guesses from the names of folders.
        with parquet.ParquetFile(source) as file:
            _check_columns(source, file.schema_arrow.names, columns)
            table = file.read(columns=list(columns))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"path: {source} cannot be read as Parquet: {error}") from error
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame[list(columns)]


def _load_npz(source: Path) -> Any:
    try:
        return sparse.load_npz(source)
    except (
        ValueError,
        TypeError,
        KeyError,
        OSError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as e:
        raise InputError(f"path: {source} is not a matrix written by scipy.sparse.save_npz: {e}") from e
