"""Top-N lists from factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from . import kernels
from ._csr import kernel_cells, no_kernel_cells, positive_in_columns
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
        self.items = kernels.ranking.Panels(padded, np.ascontiguousarray(bounds), factors)

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
    seen: csr_array | Any,
    *,
    N: int,
    allowed: csr_array | Any = None,
    num_threads: int | None = None,
) -> tuple[Ids, Array]:
    """Rank a catalogue's items for each row of `vectors`; see :meth:`implicit_wmf.WMF.recommend`.

    Parameters
    ----------
    vectors : (users, d) array
        Users' factors, C-ordered, of the dtype of the items'.
    catalogue : Catalogue
    seen : (users, items) csr_array, kernels.cells.Cells or None
        Items to leave out for each user; indices sorted.
    N : int
        Length of the lists.
    allowed : (users, items) csr_array or kernels.cells.Cells, optional
        The only items of each user, in place of the catalogue's; indices sorted, without duplicates.
    num_threads : int, optional
        By default every core.

    Returns
    -------
    ids : (users, N) int32 array
    scores : (users, N) array of the factors' dtype
    """
    users, count = len(vectors), len(catalogue.factors)
    ids = np.full((users, N), -1, dtype=np.int32)
    scores = np.full((users, N), np.nan, dtype=vectors.dtype)
    left_out, own = (no_kernel_cells(users) if cells is None else kernel_cells(cells) for cells in (seen, allowed))
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


def most_popular(matrix: csr_array, N: int) -> tuple[Ids, NDArray[np.float64]]:
    """Items with most positive cells, best first, and their numbers; -1 and NaN beyond the catalogue."""
    counts = positive_in_columns(matrix)
    best = np.argsort(-counts, kind="stable")[:N]
    ids, scores = np.full(N, -1, np.int32), np.full(N, np.nan)
    ids[: best.size], scores[: best.size] = best, counts[best]
    return ids, scores
