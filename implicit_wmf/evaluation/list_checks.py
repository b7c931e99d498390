"""Checks of the arrays that compiled loops read: ids of lists, relevant items in CSR form, positions of cases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._csr import rows_of_cells
from .._ids import refuse_masked
from ..errors import InputError

Positions = NDArray[np.int64]


def whole_numbers(name: str, given: Any, dimensions: int, least: int | None = None) -> Positions:
    """Convert to an int64 array of so many dimensions, of numbers from `least` on."""
    refuse_masked(given, name)
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"{name} must be a {dimensions}-D array of positions ({error})") from error
    if array.ndim != dimensions:
        raise InputError(f"{name} must be a {dimensions}-D array of positions, got one of shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"{name} must be whole numbers (positions, not raw ids), got {array.dtype}")
    if least is not None and array.size and array.min() < least:
        place = tuple(np.argwhere(array < least)[0].tolist())
        raise InputError(f"{name} holds {array[place]} at position {', '.join(map(str, place))}; {least} is the least")
    return array.astype(np.int64, copy=False)


def check_rows(indptr: Any, indices: Any, users: int) -> tuple[Positions, Positions]:
    """Check sets of items, one a user, in CSR form, and sort each."""
    starts, items = whole_numbers("indptr", indptr, 1, 0), whole_numbers("indices", indices, 1, 0)
    if starts.size != users + 1:
        raise InputError(f"indptr has {starts.size} places for lists of {users} users; {users + 1} are needed")
    falls = np.flatnonzero(starts[1:] < starts[:-1])
    if falls.size:
        raise InputError(f"indptr falls from {starts[falls[0]]} to {starts[falls[0] + 1]} after position {falls[0]}")
    if starts[0] != 0 or starts[-1] != items.size:
        raise InputError(
            f"indptr runs from {starts[0]} to {starts[-1]}; it must run from 0 to {items.size}, the indices"
        )
    return starts, _sorted_rows(starts, items)


def _sorted_rows(indptr: Positions, indices: Positions) -> Positions:
    """Sort the indices of each CSR row, unless they are sorted; refuse one that stands twice in a row."""
    begins = np.zeros(indices.size + 1, dtype=bool)  # where a row's first index stands
    begins[indptr] = True
    if (begins[1:-1] | (indices[1:] > indices[:-1])).all():
        return indices
    rows = rows_of_cells(indptr)
    indices = indices[np.lexsort((indices, rows))]
    again = np.flatnonzero(~begins[1:-1] & (indices[1:] == indices[:-1]))
    if again.size:
        raise InputError(f"indices: row {rows[again[0]]} names item {indices[again[0]]} more than once; name it once")
    return indices


def check_distinct(ids: Positions) -> None:
    """Refuse lists (users, N) that hold an item twice: it would be found twice."""
    again = np.argwhere(repeated(ids))
    if again.size:
        row, rank = again[0]
        raise InputError(
            f"ids: item {ids[row, rank]} is in list {row} a second time, at rank {rank + 1}; list each item once"
        )


def repeated(ids: Positions) -> NDArray[np.bool_]:
    """Tell for each id from 0 on whether it stands earlier in the same list."""
    again = np.zeros(ids.shape, dtype=bool)
    if not _equal_neighbours(np.sort(ids, axis=1)).any():  # a fifth of the time of argsort
        return again
    by_id = np.argsort(ids, axis=1, kind="stable")
    np.put_along_axis(again, by_id[:, 1:], _equal_neighbours(np.take_along_axis(ids, by_id, axis=1)), axis=1)
    return again


def _equal_neighbours(in_order: Positions) -> NDArray[np.bool_]:
    return np.asarray((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0))


def check_hits(hits: Any, relevant: Any, k: Any) -> tuple[NDArray[np.bool_], Positions]:
    """Check what a single metric is computed from."""
    flags, counts = np.asarray(hits), whole_numbers("relevant", relevant, 1, 0)
    if flags.ndim != 2 or flags.dtype != bool:
        raise InputError(f"hits must be booleans (users, N), as of `hit_matrix`, got {flags.dtype} of {flags.shape}")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= flags.shape[1]:
        raise InputError(f"k is {k!r}; give a whole number from 1 to {flags.shape[1]}, the ranks that hits has")
    if counts.size != len(flags):
        raise InputError(f"relevant has {counts.size} numbers for hits of {len(flags)} users; give one for each")
    more = np.flatnonzero(np.count_nonzero(flags, axis=1) > counts)
    if more.size:
        raise InputError(
            f"hits: user {more[0]} has {np.count_nonzero(flags[more[0]])} hits, but {counts[more[0]]} relevant items"
        )
    return flags, counts
