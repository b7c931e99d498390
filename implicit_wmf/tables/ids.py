"""Ids in files: spelled as the known ones are, and told apart from unknown ones."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._ids import flat_index, locate
from ..errors import InputError
from .files import PathLike, existing_table
from .reading import line_of, read_columns

_INTEGER = re.compile("0|-?[1-9][0-9]{0,19}")  # its own spelling; longer ones are in no index of integers


def read_ids(path: PathLike, column: str, index: pd.Index) -> tuple[pd.Series, pd.Series]:
    """Read a column of ids, each of them once.

    Parameters
    ----------
    path : path-like
        A table, as for `read_table`.
    column : str
        The column to read.
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
    MissingExtraError
        For Parquet without pyarrow.
    """
    file = existing_table(path)
    ids = read_columns(file, [column], [column])[column]
    missing = np.flatnonzero(ids.isna())
    if missing.size:
        place = line_of(file, int(missing[0]))
        raise InputError(f"column {column!r}: the id at {place} is missing; remove the line or name it")
    ids = match_ids(ids, index).drop_duplicates()
    found = known_ids(ids, index)
    return ids[found], ids[~found]


def known_ids(ids: pd.Series, index: pd.Index) -> NDArray[np.bool_]:
    """Tell for each id whether it is known.

    Parameters
    ----------
    ids : pandas.Series, spelled as `match_ids` returns them
    index : pandas.Index of the known ids

    Returns
    -------
    (ids,) array of bool
    """
    return locate(index, flat_index(ids, "ids"), "ids") >= 0


def match_ids(ids: pd.Series, index: Any) -> pd.Series:
    """Spell the ids of a file as the known ids are spelled.

    A file that happens to hold only ``124`` reads as an integer, even though the known ids are ``00123`` and ``124``;
    nothing is lost, since only exact spellings become integers. A file that holds ``x`` too reads as text, even though
    the known ids are integers; then the exact spellings among its ids become integers and the others stay.

    Parameters
    ----------
    ids : pandas.Series, as `read_table` reads them
    index : sequence of the known ids, or None, which changes nothing

    Returns
    -------
    pandas.Series
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
    spelled = [int(one) if isinstance(one, str) and _INTEGER.fullmatch(one) else one for one in uniques]
    return pd.Series(np.array([*spelled, None], dtype=object)[codes], index=ids.index, name=ids.name)
