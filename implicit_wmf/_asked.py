"""What callers ask for: lengths of lists, positions of users and items, and cells of them; checked."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from ._csr import join_cells, keep_cells
from ._ids import refuse_masked
from .errors import InputError
from .interactions import as_interactions


def list_length(N: Any) -> int:
    """Check the length of the lists."""
    try:
        length = operator.index(N)
    except TypeError:
        length = 0
    if not 1 <= length < 2**31 or isinstance(N, bool):
        raise InputError(f"N must be a whole number of at least 1, below 2**31, got {N!r}")
    return length


def check_positions(name: str, positions: ArrayLike, count: int) -> NDArray[np.int64]:
    """Convert one position, or several, to a 1-D array of numbers below `count`.

    Raises
    ------
    InputError
        If there is anything but whole numbers from 0 to count - 1 in it; names the first.
    """
    refuse_masked(positions, name)
    try:
        array = np.asarray(positions)
    except ValueError as error:
        raise InputError(f"{name} must be one index or a 1-D array of them ({error})") from error
    if array.ndim > 1:
        raise InputError(f"{name} must be one index or a 1-D array of them, got an array of shape {array.shape}")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{name} must be whole numbers (positions, not raw ids), got {array.dtype}; "
            f"Interactions.user_indices and item_indices look raw ids up"
        )
    array = array.reshape(-1)
    bad = np.flatnonzero((array < 0) | (array >= count))
    if bad.size:
        raise InputError(f"{name} holds {array[bad[0]]} at position {bad[0]}; indices run from 0 to {count - 1}")
    return array.astype(np.int64)


def select_candidates(
    count: int, allowed: ArrayLike | None, denied: ArrayLike | None, names: tuple[str, str] = ("items", "filter_items")
) -> NDArray[np.int32]:
    """Select those that may be in lists: the `allowed`, by default all, less the `denied`; ascending."""
    chosen = np.full(count, allowed is None)
    if allowed is not None:
        chosen[check_positions(names[0], allowed, count)] = True
    if denied is not None:
        chosen[check_positions(names[1], denied, count)] = False
    return np.flatnonzero(chosen).astype(np.int32)


class Eligible(NamedTuple):
    """What may be in whose list."""

    seen: csr_array | None  # (users, items): items to leave out
    own: csr_array | None  # (users, items): the only items of each user
    candidates: NDArray[np.int32] | None  # of all users without items of their own; by default all


def choose(shape: tuple[int, int], seen: csr_array | None, items: Any, filter_items: Any) -> Eligible:
    """Gather what may be recommended; `items` and `filter_items` are one list for all, or the cells of a matrix."""
    if issparse(filter_items):
        seen, filter_items = join_cells(seen, check_cells("filter_items", filter_items, shape)), None
    own = None
    if issparse(items):
        own, items = check_cells("items", items, shape), None
        if filter_items is not None:
            own = keep_cells(own, ~np.isin(own.indices, check_positions("filter_items", filter_items, shape[1])))
            filter_items = None
    alike = items is None and filter_items is None
    return Eligible(seen, own, None if alike else select_candidates(shape[1], items, filter_items))


def check_users(users: Any, user_items: Any, shape: tuple[int, int]) -> tuple[NDArray[np.int64], csr_array | None]:
    """Return positions of users, none if they are new, and the cells given for them."""
    if users is None and user_items is None:
        raise InputError("users: give positions, or user_items with a row for each user who was not in training")
    if users is None:
        return np.empty(0, np.int64), check_cells("user_items", user_items, (None, shape[1]))
    rows = check_positions("users", users, shape[0])
    return rows, None if user_items is None else check_cells("user_items", user_items, (rows.size, shape[1]))


def check_cells(name: str, matrix: Any, shape: tuple[int | None, int]) -> csr_array:
    """Convert a sparse or dense matrix to canonical CSR of a given shape, of any number of rows for None.

    Raises
    ------
    InputError
        If it is malformed or of another shape; names it and both shapes.
    """
    if issparse(matrix) and matrix.shape == (0, shape[1]):
        return csr_array(matrix.shape)
    cells = as_interactions(matrix, name).matrix
    if cells.shape[1] != shape[1] or shape[0] not in (None, cells.shape[0]):
        needed = shape if shape[0] is not None else f"(users, {shape[1]})"
        raise InputError(f"{name} has shape {cells.shape}; {needed} is needed, a row for each user")
    return cells
