"""Tables in files: read for the command line with every mistake named by line, and written whole or not at all."""

from __future__ import annotations

import difflib
import os
import secrets
import zipfile
import zlib
from collections.abc import Collection, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ._arrow import arrow, arrow_to_pandas
from ._columns import parsed_numbers, parsed_times
from ._delimited import decode_line, exact_integer, open_text, physical_line, read_delimited
from ._ids import flat_index, locate, spell
from .errors import InputError
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
        extra = [f"option --{name}" for name, column in named.items() if column is not None]
        extra += ["aggregate"] if aggregate != "sum" else []
        if extra:
            raise InputError(f"{source} is a matrix, without columns or lines; leave out {extra[0]}")
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
        raise InputError(f"{source.name} is a matrix, not a table; give one of {_known(READABLE[:-1])}")
    names = _column_names(source, user=user, item=item, value=value, timestamp=timestamp)
    columns = _event_columns(source, suffix, names)
    place = partial(_place, source, suffix)
    Interactions._from_columns(columns, names, aggregate="sum", users=None, items=None, place=place)
    return pd.DataFrame({names[argument]: column for argument, column in columns.items()})


def _column_names(source: Path, **names: str | None) -> dict[str, Hashable]:
    """Return the columns that are named, by argument."""
    for argument in ("user", "item"):
        if names[argument] is None:
            raise InputError(f"name the column of {argument} ids in {source} with option --{argument}")
    if names["user"] == names["item"]:
        raise InputError(
            f"options --user and --item both name column {names['user']!r} of {source}; users and items are two columns"
        )
    return {argument: column for argument, column in names.items() if column is not None}


def _event_columns(source: Path, suffix: str, names: dict[str, Hashable]) -> dict[str, pd.Series]:
    """Read columns, by argument, with the text of numbers and times parsed."""
    wanted = list(dict.fromkeys(map(str, names.values())))
    frame = read_table(source, wanted, ids=(str(names["user"]), str(names["item"])))
    columns = {argument: frame[name] for argument, name in names.items()}
    place = partial(_place, source, suffix)
    for argument, parse in (("value", parsed_numbers), ("timestamp", parsed_times)):
        if argument in names:
            columns[argument] = parse(columns[argument], f"{argument} column {names[argument]!r}", place)
    return columns


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
        raise InputError(f"{source.name} is a matrix, not a table; give one of {_known(READABLE[:-1])}")
    if suffix == ".parquet":
        frame = _read_parquet(source, columns, columns if ids is None else ids)
    else:
        frame = _read_text(source, suffix, columns, columns if ids is None else ids)
    if frame.empty:
        raise InputError(f"{source} has no lines below its header; give at least one")
    return frame


def read_ids(path: PathLike, column: str, index: pd.Index) -> tuple[pd.Series, pd.Series]:
    """Read a column of ids, each of them once.

    Parameters
    ----------
    path : path-like
        A table, as for `read_table`.
    column : str
    index : pandas.Index
        Ids that are known.

    Returns
    -------
    known, unknown : pandas.Series
        The ids in the file's order, those that are in `index` spelled as there.

    Raises
    ------
    InputError
        As in `read_table`, and for a missing id; with the line of the file.
    """
    ids = read_table(path, [column])[column]
    missing = np.flatnonzero(ids.isna())
    if missing.size:
        place = _place(*_existing(path), int(missing[0]))
        raise InputError(f"column {column!r}: the id at {place} is missing; remove the line or name it")
    ids = match_ids(ids, index).drop_duplicates()
    found = known_ids(ids, index)
    return ids[found], ids[~found]


def known_ids(ids: pd.Series, index: pd.Index) -> NDArray[np.bool_]:
    """Tell for each id, as `match_ids` returns them, whether it is in `index`."""
    return locate(index, flat_index(ids, "ids"), "ids") >= 0


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
        raise InputError(f"{target} cannot be written: {_reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: PathLike) -> tuple[Path, str]:
    """Raise what `write_table` would for a path, before the work of making the table; return it and its suffix."""
    target = Path(path)
    suffix = target.suffix.lower()
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} for {target.name}; create it first")
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file")
    if suffix not in WRITABLE:
        raise InputError(f"{target.name!r} has an unknown suffix; tables are written as {_known(WRITABLE)}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder of {target} may not be written to; choose another one")
    if suffix == ".parquet":
        arrow("Writing Parquet files")
    return target, suffix


def _write(frame: pd.DataFrame, path: Path, suffix: str) -> None:
    if suffix != ".parquet":
        with path.open("w", encoding="utf-8", newline="") as file:
            frame.to_csv(file, sep=SEPARATORS[suffix], index=False, lineterminator="\n")
            file.flush()
            os.fsync(file.fileno())
        return
    pyarrow, parquet = arrow("Writing Parquet files")
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise InputError(f"Parquet cannot hold this table: {error}; write a .csv file") from error
    with path.open("wb") as file:
        parquet.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())


def match_ids(ids: pd.Series, index: Any) -> pd.Series:
    """Spell the ids of a file as the known ids are spelled.

    A file that happens to hold only ``124`` reads as an integer, even though the known ids are ``00123`` and ``124``;
    nothing is lost, since only exact spellings become integers. A file that holds ``x`` too reads as text, even though
    the known ids are integers; then the exact spellings among its ids become integers and the others stay.
    """
    if index is None:
        return ids
    known = flat_index(index, "ids")
    if ids.dtype == np.int64:
        return ids.astype(str) if pd.api.types.infer_dtype(known) == "string" else ids
    if known.dtype.kind not in "iu" or pd.api.types.is_numeric_dtype(ids.dtype):
        return ids
    codes, uniques = pd.factorize(ids)
    # A missing id has the code -1, which takes the None at the end.
    spelled = np.array([*(exact_integer(one) if isinstance(one, str) else one for one in uniques), None], dtype=object)
    return pd.Series(spelled[codes], index=ids.index, name=ids.name)


def _existing(path: PathLike) -> tuple[Path, str]:
    """Return the path of a file that is there and the known suffix it has."""
    source = Path(path)
    if source.is_dir():
        raise InputError(f"{source} is a folder; name a file")
    if not source.exists():
        raise InputError(f"there is no file {source}; check the name")
    name = source.name.lower()
    # The longest first: .csv.gz ends in neither .csv nor another known suffix.
    for suffix in READABLE:
        if name.endswith(suffix):
            if source.stat().st_size == 0:
                raise InputError(f"{source} is empty; give a file with a header and lines")
            return source, suffix
    raise InputError(f"{source.name!r} has an unknown suffix; known are {_known(READABLE)}")


def _reason(error: Exception) -> str:
    """Say what went wrong, without the path that an OSError repeats."""
    return str(getattr(error, "strerror", None) or error)


def _known(suffixes: Sequence[str]) -> str:
    return ", ".join(suffixes)


def _check_columns(source: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if found.count(name) > 1:
            raise InputError(f"{source}: {found.count(name)} columns are named {name!r}; rename all but one")
        if name not in found:
            shown = spell((one if len(one) <= 60 else f"{one[:60]}..." for one in found), limit=50)
            raise InputError(f"{source}: no column {name!r}; the columns are {shown}{_column_hint(found, name)}")


def _column_hint(found: Sequence[str], name: str) -> str:
    if any("\n" in one for one in found):
        return "; a quote in the header may not be closed"
    separators = [mark for mark in (";", "\t", "|", ",") if len(found) == 1 and mark in found[0]]
    if separators:
        return f"; the fields seem to be separated by {separators[0]!r}: a .csv has commas, a .tsv tabs"
    near = difflib.get_close_matches(name, found, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


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
        if "EOF inside string" not in str(error):
            raise InputError(f"{source}: {error}; mend the line") from error
        line = physical_line(source, separator, None)
        raise InputError(f"{source}, line {line}: a quote opens here and is never closed; close it") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source} cannot be read: {_reason(error)}") from error
    return frame


def _place(source: Path, suffix: str, line: int) -> str:
    """Say where a record of a file is: text files count lines from 1 with the header, Parquet rows from 0."""
    if suffix == ".parquet":
        return f"row {line} of {source}"
    return f"line {physical_line(source, SEPARATORS[suffix.removesuffix('.gz')], line)} of {source}"


def _read_parquet(source: Path, columns: Sequence[str], ids: Collection[str]) -> pd.DataFrame:
    pyarrow, parquet = arrow("Reading Parquet files")
    try:
        # Not read_table: it would add columns that it guesses from the names of folders.
        with parquet.ParquetFile(source) as file:
            _check_columns(source, file.schema_arrow.names, columns)
            table = file.read(columns=list(columns))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{source} cannot be read as Parquet: {_reason(error)}") from error
    return pd.DataFrame({name: arrow_to_pandas(table.column(name), is_id=name in ids) for name in columns})


def _load_npz(source: Path) -> Any:
    try:
        return sparse.load_npz(source)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {_reason(error)}") from error
    except (ValueError, TypeError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{source} is not a matrix written by scipy.sparse.save_npz, or it is damaged") from error
