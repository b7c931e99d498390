"""Top-N lists from factors."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from . import kernels
from .errors import InputError
from .interactions import Interactions
from .threads import available_threads, run_blocks

Array = NDArray[Any]
Ids = NDArray[np.int32]

# Users a block: items are transposed once a block, so many users pay less for it. Between blocks Ctrl-C is seen, so
# that none may take more multiplications than this, half a second's; with few users each thread has a block.
_MOST_USERS, _LEAST_USERS = 1024, 16
_BLOCK_WORK = 4e10
_BLOCK_ENTRIES = 1 << 22  # of all lists of a block, which take 16 bytes each


class Catalogue:
    """Items that lists are made from, prepared once for many questions.

    Parameters
    ----------
    factors : (items, d) array
        Items' factors, finite.
    candidates : (candidates,) int32 array
        Items that may be recommended, ascending.
    """

    def __init__(self, factors: Array, candidates: Ids) -> None:
        chosen = factors if candidates.size == len(factors) else factors[candidates]
        norms = np.sqrt(np.einsum("jk,jk->j", chosen, chosen, dtype=np.float64))
        # rounded: norms that are equal but for rounding keep the order of memory, in which they are found sooner
        falling = np.argsort(-np.round(norms / (norms.max(initial=0) or 1), 5), kind="stable")
        self._set(kernels.jit.whole_tiles(factors), candidates[falling], norms[falling])

    def _set(self, factors: Array, order: Ids, norms: NDArray[np.float64]) -> None:
        self.factors, self._order, self._norms = factors, order, norms
        tile = kernels.jit.VECTOR_BYTES // factors.itemsize
        padded = np.full(-(-order.size // tile) * tile, -1, np.int32)
        padded[: order.size] = order
        bounds = np.maximum.accumulate(norms[::-1])[::-1][::tile]
        self.items = kernels.ranking.Catalogue(padded, np.ascontiguousarray(bounds), factors)

    def subset(self, candidates: Ids) -> Catalogue:
        """Make the catalogue of some of the items, without looking at their factors."""
        wanted = np.zeros(len(self.factors), dtype=bool)
        wanted[candidates] = True
        kept = wanted[self._order]
        some = object.__new__(Catalogue)
        some._set(self.factors, self._order[kept], self._norms[kept])
        return some


def recommend(
    vectors: Array,
    catalogue: Catalogue,
    seen: csr_array | None,
    *,
    N: int,
    allowed: csr_array | None = None,
    num_threads: int | None = None,
) -> tuple[Ids, Array]:
    """Rank a catalogue's items for each row of `vectors`; see :meth:`implicit_wmf.WMF.recommend`.

    Parameters
    ----------
    vectors : (users, d) array
        Users' factors, C-ordered, of the dtype of the items'.
    catalogue : Catalogue
    seen : (users, items) csr_array or None
        Items to leave out for each user; indices sorted.
    N : int
        Length of the lists.
    allowed : (users, items) csr_array, optional
        The only items of each user, in place of the catalogue's; indices sorted, without duplicates.

    Returns
    -------
    ids : (users, N) int32 array
    scores : (users, N) array of the factors' dtype
    """
    users, count = len(vectors), len(catalogue.factors)
    ids = np.full((users, N), -1, dtype=np.int32)
    scores = np.full((users, N), np.nan, dtype=vectors.dtype)
    left_out, own = _cells(seen, users), _cells(allowed, users)
    vectors = kernels.jit.whole_tiles(vectors)
    kept = min(N, count)  # longer lists run short
    length = _block_length(users, catalogue.factors.size, kept, num_threads or available_threads())
    scratches: list[Any] = []  # as many as threads, in the end
    places = _table_places(np.diff(left_out.indptr), length)

    def rank(block: int) -> None:
        start, stop = block * length, min((block + 1) * length, users)
        try:
            scratch = scratches.pop()
        except IndexError:
            scratch = kernels.ranking.make_scratch(length, places, catalogue.factors, kept)
        if allowed is None:
            kernels.ranking.top_items(
                start, stop, vectors, catalogue.items, left_out, scratch, ids[:, :kept], scores[:, :kept]
            )
        else:
            kernels.ranking.top_of_lists(
                start, stop, vectors, own, catalogue.factors, left_out, scratch, ids[:, :kept], scores[:, :kept]
            )
        scratches.append(scratch)

    run_blocks(rank, -(-users // length), num_threads)
    return ids, scores


def _block_length(users: int, numbers: int, N: int, threads: int) -> int:
    """Users a block, for as many blocks a thread as any other; `numbers` are those of the items' factors."""
    most = int(min(_MOST_USERS, max(_LEAST_USERS, min(_BLOCK_WORK // numbers, _BLOCK_ENTRIES // N))))
    blocks = threads * -(-users // (threads * most))
    return max(_LEAST_USERS, -(-users // max(blocks, 1)))


def _table_places(counts: NDArray[np.int64], length: int) -> int:
    """Most places that the tables of a block's users take: each a power of 2, of at least twice its entries."""
    sizes = np.exp2(np.ceil(np.log2(np.maximum(2 * counts, 1)))).astype(np.int64)
    return int(np.add.reduceat(sizes, np.arange(0, sizes.size, length)).max(initial=0)) if sizes.size else 0


def _cells(matrix: csr_array | None, users: int) -> Any:
    if matrix is None:
        return kernels.ranking.Cells(np.zeros(users + 1, np.int64), kernels.jit.read_only(np.zeros(0, np.int32)))
    indices = matrix.indices.astype(np.int32, copy=False)
    return kernels.ranking.Cells(matrix.indptr.astype(np.int64), kernels.jit.read_only(indices))


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


def check_cells(name: str, matrix: Any, shape: tuple[int | None, int]) -> csr_array:
    """Convert a sparse or dense matrix to canonical CSR of a given shape, of any number of rows for None.

    Raises
    ------
    InputError
        If it is malformed or of another shape; names it and both shapes.
    """
    if isinstance(matrix, Interactions):
        cells = matrix.matrix
    elif issparse(matrix) and matrix.shape == (0, shape[1]):
        return csr_array(matrix.shape)
    else:
        try:
            cells = Interactions.from_matrix(matrix).matrix
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    if cells.shape[1] != shape[1] or shape[0] not in (None, cells.shape[0]):
        needed = shape if shape[0] is not None else f"(users, {shape[1]})"
        raise InputError(f"{name} has shape {cells.shape}; {needed} is needed, a row for each user")
    return cells


def join_cells(one: csr_array | None, other: csr_array) -> csr_array:
    """Cells that either stores."""
    if one is None:
        return other
    patterns = (csr_array((np.ones(m.nnz), m.indices, m.indptr), shape=m.shape) for m in (one, other))
    return sum(patterns)


def drop_cells(cells: csr_array, other: csr_array, dropped: NDArray[np.bool_]) -> csr_array:
    """Leave out the cells of `other` where `dropped` says so."""
    keys, others = (_row_of_cells(m) * m.shape[1] + m.indices for m in (cells, other))
    return _keep_cells(cells, ~np.isin(keys, others[dropped]))


def drop_columns(cells: csr_array, columns: NDArray[np.int64]) -> csr_array:
    """Leave out some columns."""
    return _keep_cells(cells, ~np.isin(cells.indices, columns))


def _keep_cells(cells: csr_array, kept: NDArray[np.bool_]) -> csr_array:
    ends = np.concatenate([[0], np.cumsum(kept)])
    return csr_array((cells.data[kept], cells.indices[kept], ends[cells.indptr]), shape=cells.shape)


def _row_of_cells(cells: csr_array) -> NDArray[np.int64]:
    return np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))


def most_popular(matrix: csr_array, N: int) -> tuple[Ids, NDArray[np.float64]]:
    """Items with most positive cells, best first, and their numbers; -1 and NaN beyond the catalogue."""
    counts = np.bincount(matrix.indices[matrix.data > 0], minlength=matrix.shape[1])
    best = np.argsort(-counts, kind="stable")[:N]
    ids, scores = np.full(N, -1, np.int32), np.full(N, np.nan)
    ids[: best.size], scores[: best.size] = best, counts[best]
    return ids, scores
