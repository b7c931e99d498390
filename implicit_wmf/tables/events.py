"""Interactions in files: tables with a line each, and matrices."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import sparse

from .._columns import parsed_numbers, parsed_times
from .._ids import make_index
from ..errors import InputError
from ..interactions import Interactions
from .files import MATRIX, PathLike, TableFile, existing_file, existing_table, reason
from .ids import match_ids
from .reading import line_of, read_columns


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

    Returns
    -------
    Interactions
        With float32 or float64 data, as from `Interactions.from_frame`.

    Raises
    ------
    InputError
        For a file that cannot be read, columns that do not exist, and all that `Interactions.from_frame` refuses;
        with the line of the file.
    MissingExtraError
        For Parquet without pyarrow.
    """
    file = existing_file(path)
    names = {"user": user, "item": item, "value": value, "timestamp": timestamp}
    if file.suffix == MATRIX:
        extra = [f"option --{name}" for name, column in names.items() if column is not None]
        extra += ["aggregate"] if aggregate != "sum" else []
        if extra:
            raise InputError(f"{file.path} is a matrix, without columns or lines; leave out {extra[0]}")
        return Interactions.from_matrix(_load_npz(file.path), users=users, items=items)
    columns, called = _read_parsed(file, names)
    given = make_index(users, "users"), make_index(items, "items")
    columns["user"], columns["item"] = match_ids(columns["user"], given[0]), match_ids(columns["item"], given[1])
    return Interactions._from_columns(columns, called, given, aggregate, partial(line_of, file))


def read_events(
    path: PathLike, *, user: str | None, item: str | None, value: str | None = None, timestamp: str | None = None
) -> pd.DataFrame:
    """Read a table's lines as they stand, after all the checks of `read_interactions`.

    Parameters
    ----------
    path, user, item, value, timestamp : as in `read_interactions`, but for a matrix

    Returns
    -------
    pandas.DataFrame
        The named columns under their own names, a line each.

    Raises
    ------
    InputError, MissingExtraError
        As in `read_interactions`.
    """
    file = existing_table(path)
    columns, called = _read_parsed(file, {"user": user, "item": item, "value": value, "timestamp": timestamp})
    Interactions._from_columns(columns, called, (None, None), "sum", partial(line_of, file))
    return pd.DataFrame({called[argument]: column for argument, column in columns.items()})


def _read_parsed(file: TableFile, names: dict[str, str | None]) -> tuple[dict[str, pd.Series], dict[str, str]]:
    """Read the columns that are named, with the text of numbers and times parsed; columns and names by argument."""
    called = {argument: name for argument, name in names.items() if name is not None}
    for argument in ("user", "item"):
        if argument not in called:
            raise InputError(f"name the column of {argument} ids in {file.path} with option --{argument}")
    user, item = called["user"], called["item"]
    if user == item:
        raise InputError(
            f"options --user and --item both name column {user!r} of {file.path}; users and items are two columns"
        )
    frame = read_columns(file, list(dict.fromkeys(called.values())), (user, item))
    columns = {argument: frame[name] for argument, name in called.items()}
    place = partial(line_of, file)
    for argument, parse in (("value", parsed_numbers), ("timestamp", parsed_times)):
        if argument in called:
            columns[argument] = parse(columns[argument], f"{argument} column {called[argument]!r}", place)
    return columns, called


def _load_npz(source: Path) -> Any:
    try:
        return sparse.load_npz(source)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {reason(error)}") from error
    except (ValueError, TypeError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{source} is not a matrix written by scipy.sparse.save_npz, or it is damaged") from error
