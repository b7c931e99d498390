"""Top-N lists from factors."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from . import kernels
from .errors import InputError
from .threads import run_blocks

Array = NDArray[Any]
Ids = NDArray[np.int32]

# Users a block: their lists stay in the cache, and Ctrl-C is seen soon even over a large catalogue.
_BLOCK_USERS = 32


def recommend(
    vectors: Array,
    item_factors: Array,
    seen: csr_array | None,
    *,
    N: int,
    candidates: Ids,
    num_threads: int | None = None,
) -> tuple[Ids, Array]:
    """Rank `candidates` for each row of `vectors`; see :meth:`implicit_wmf.WMF.recommend`.

    Parameters
    ----------
    vectors : (users, d) array
        Users' factors, C-ordered, of the dtype of `item_factors`.
    item_factors : (items, d) array
    seen : (users, items) csr_array or None
        Items to leave out for each user; indices sorted.
    N : int
        Length of the lists.
    candidates : (candidates,) int32 array
        Items that may be recommended, ascending.

    Returns
    -------
    ids : (users, N) int32 array
    scores : (users, N) array of the factors' dtype
    """
    users = len(vectors)
    ids = np.full((users, N), -1, dtype=np.int32)
    scores = np.full((users, N), np.nan, dtype=item_factors.dtype)
    if seen is None:
        left_out = np.zeros(users + 1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    else:
        left_out = seen.indptr.astype(np.int64), seen.indices.astype(np.int32, copy=False)
    blocks = -(-users // _BLOCK_USERS)
    vectors, item_factors = kernels.jit.whole_tiles(vectors), kernels.jit.whole_tiles(item_factors)

    def rank(block: int) -> None:
        start = block * _BLOCK_USERS
        stop = min(start + _BLOCK_USERS, users)
        kernels.ranking.top_items(start, stop, vectors, candidates, item_factors, left_out, ids, scores)

    run_blocks(rank, blocks, num_threads)
    return ids, scores


def list_length(N: Any) -> int:
    """Check the length of the lists."""
    try:
        length = operator.index(N)
    except TypeError:
        length = 0
    if not 1 <= length < 2**31 or isinstance(N, bool):
        raise InputError(f"N must be a whole number of at least 1, below 2**31, got {N!r}")
    return length


def check_indices(name: str, indices: ArrayLike, count: int) -> NDArray[np.int64]:
    """Convert to a 1-D array of indices below `count`.

    Raises
    ------
    InputError
        If there is anything but whole numbers from 0 to count - 1 in it; names the first.
    """
    try:
        array = np.asarray(indices)
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


def select_candidates(count: int, items: ArrayLike | None, filter_items: ArrayLike | None) -> Ids:
    """Items that may be recommended: the allow-list `items` (default: all) less the deny-list `filter_items`."""
    allowed = np.ones(count, dtype=bool)
    if items is not None:
        allowed[:] = False
        allowed[check_indices("items", items, count)] = True
    if filter_items is not None:
        allowed[check_indices("filter_items", filter_items, count)] = False
    return np.flatnonzero(allowed).astype(np.int32)
