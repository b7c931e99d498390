"""What all splits share: checks of their arguments, and parts of Interactions that keep the ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._csr import rows_of_cells
from ..errors import InputError
from ..interactions import Interactions


def check_share(name: str, value: Any, example: float) -> float:
    """Take a share that leaves something on both sides."""
    if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < 1:
        raise InputError(f"{name} is {value!r}; give a number between 0 and 1, such as {example}")
    return float(value)


def pair_counts(data: Interactions) -> NDArray[np.int64]:
    """Count each user's pairs: int64 (users,)."""
    return np.asarray(np.diff(data.matrix.indptr), dtype=np.int64)


def keep_pairs(data: Interactions, kept: NDArray[np.bool_]) -> Interactions:
    """Keep some pairs, told by booleans (pairs,), with their values and times, in the same shape with the same ids."""
    indptr = np.append(0, np.cumsum(kept))[data.matrix.indptr]
    return _cells_of(data, kept, indptr, data.users)


def keep_users(data: Interactions, kept: NDArray[np.bool_]) -> Interactions:
    """Keep some users, told by booleans (users,), with all their pairs, and all items."""
    sizes = pair_counts(data)
    # A RangeIndex means that nobody gave ids, but which users were kept must not be lost.
    users = pd.Index(np.flatnonzero(kept)) if isinstance(data.users, pd.RangeIndex) else data.users[kept]
    return _cells_of(data, np.repeat(kept, sizes), np.append(0, np.cumsum(sizes[kept])), users)


def _cells_of(data: Interactions, kept: NDArray[np.bool_], indptr: NDArray[np.int64], users: pd.Index) -> Interactions:
    matrix = data.matrix
    cells = matrix.data[kept], matrix.indices[kept], indptr.astype(matrix.indptr.dtype)
    timestamps = None if data.timestamps is None else data.timestamps[kept]
    return Interactions(csr_array(cells, shape=(len(users), data.shape[1])), users, data.items, timestamps)


def share_of_each(sizes: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Round a share of each size to a number that leaves at least one on both sides; 0 where there are not two."""
    rounded = np.rint(sizes * share).astype(np.int64)
    return np.where(sizes < 2, 0, np.clip(rounded, 1, np.maximum(sizes - 1, 1)))


def draw_within_users(
    data: Interactions, wanted: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw as many pairs of each user as wanted, (users,), every choice equally likely; booleans (pairs,)."""
    sizes = pair_counts(data)
    # Keys are distinct, so that a user's smallest ones are exactly as many as wanted, and those of later users are
    # larger, so that one sort does for all users: 0.2 s for 18 million pairs, where the permutation takes 0.8 s.
    keys = generator.permutation(data.nnz) + np.repeat(np.arange(sizes.size) * data.nnz, sizes)
    in_order = np.sort(keys)
    some = wanted > 0
    largest_drawn = np.full(sizes.size, -1)
    largest_drawn[some] = in_order[data.matrix.indptr[:-1][some] + wanted[some] - 1]
    return np.asarray(keys <= np.repeat(largest_drawn, sizes))


def stored_pairs(
    rows: NDArray[np.integer], columns: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell for each pair (row, column) whether a CSR matrix stores it; negative columns are never stored."""
    width = 1 + max(int(columns.max(initial=0)), int(indices.max(initial=0)))
    stored_rows = rows_of_cells(indptr)
    # A bisection of sorted keys takes a tenth of the time of numpy.isin, which sorts both sides together.
    stored = stored_rows * width + indices
    if (stored[1:] < stored[:-1]).any():  # never of Interactions, whose rows are sorted
        stored.sort()
    wanted = rows.astype(np.int64) * width + columns
    if not stored.size:
        return np.zeros(wanted.shape, dtype=bool)
    found = stored.take(np.searchsorted(stored, wanted), mode="clip") == wanted
    # The key of a negative column would name the last columns of the row before.
    return np.asarray(found & (columns >= 0))
