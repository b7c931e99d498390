"""Similarities of items, and sums of them: what ItemKNN computes, over matrices that are checked already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csr_array

from . import kernels
from .errors import InputError
from .threads import available_threads, run_blocks

Floats = NDArray[np.float64]

# Multiplications of a block, a tenth of a second's: between blocks Ctrl-C is seen.
_BLOCK_WORK = 1e8
_BM25_K1, _BM25_B = 1.2, 0.75


def find_neighbours(
    profiles: csr_array,
    neighbours: int,
    *,
    similarity: str,
    shrinkage: float,
    weighting: str | None,
    popularity_exponent: float,
    num_threads: int | None,
) -> csr_array:
    """Find the most similar items of each item.

    Parameters
    ----------
    profiles : (users, items) csr_array of float64
        Values above 0; ones where the similarity only looks at who took what.
    neighbours, similarity, shrinkage, weighting, popularity_exponent, num_threads
        As in :class:`implicit_wmf.ItemKNN`.

    Returns
    -------
    (items, items) csr_array of float64
        Similarities above 0: column j stores those of item j's neighbours, or row i those of item i's where the
        similarity is conditional.

    Raises
    ------
    InputError
        If squares of an item's values leave the range of float64.
    """
    items = profiles.shape[1]
    weighted = _weighted(profiles, weighting)
    measure = _measure(weighted, similarity, shrinkage, popularity_exponent)
    by_user, by_item = as_rows(weighted), as_rows(weighted.T.tocsr())
    most = min(neighbours, items)
    nearest, similarities = np.full((items, most), -1, np.int32), np.zeros((items, most))
    sizes = np.diff(weighted.indptr)
    work = np.bincount(weighted.indices, np.repeat(sizes, sizes), items)

    def find(start: int, stop: int, scratch: Any) -> None:
        kernels.neighbours.nearest_items(start, stop, by_item, by_user, measure, scratch, nearest, similarities)

    _run(find, work, items, num_threads)
    found = nearest >= 0
    items_of, others = np.nonzero(found)[0], nearest[found]
    cells = (items_of, others) if similarity == "conditional" else (others, items_of)
    return sparse.coo_array((similarities[found], cells), shape=(items, items)).tocsr()


def _weighted(profiles: csr_array, weighting: str | None) -> csr_array:
    """Return the values that cosines are made from."""
    if weighting is None:
        return profiles
    items, taken = profiles.shape[1], np.diff(profiles.indptr)
    counts = profiles.data
    if weighting == "tfidf":
        term = np.sqrt(counts)
        rarity = np.log(items / np.maximum(taken, 1))
    else:
        lengths = profiles.sum(axis=0)
        relative = (lengths / lengths.mean())[profiles.indices] if counts.size else counts
        term = (_BM25_K1 + 1) * counts / (counts + _BM25_K1 * (1 - _BM25_B + _BM25_B * relative))
        rarity = np.log1p((items - taken + 0.5) / (taken + 0.5))
    return csr_array((term * np.repeat(rarity, taken), profiles.indices, profiles.indptr), shape=profiles.shape)


def _measure(weighted: csr_array, similarity: str, shrinkage: float, popularity_exponent: float) -> Any:
    """Return what similarities are divided by."""
    items = weighted.shape[1]
    with np.errstate(over="ignore", under="ignore"):
        squares = np.bincount(weighted.indices, weighted.data**2, items)
        penalties = squares**popularity_exponent
    if similarity == "cosine":
        _check_squares(weighted, squares)
        left = right = np.sqrt(squares)
    else:  # values are ones
        right = squares
        left = squares if similarity == "jaccard" else penalties
    return kernels.neighbours.Measure(left, right, float(shrinkage), similarity == "jaccard")


def _check_squares(weighted: csr_array, squares: NDArray[Any]) -> None:
    met = np.zeros(squares.size, dtype=bool)
    met[weighted.indices[weighted.data > 0]] = True
    bad = np.flatnonzero(met & ~((squares > 0) & (squares < np.inf)))
    if bad.size:
        values = weighted.data[weighted.indices == bad[0]]
        raise InputError(
            f"data: the values of item {bad[0]}, up to {values.max():g}, are out of range when squared; scale the data"
        )


def top_items(
    profiles: csr_array, similarity: csr_array, choice: Any, N: int, num_threads: int | None
) -> tuple[NDArray[np.int32], Floats]:
    """List the best items of each row of the profiles."""
    users, items = profiles.shape
    kept = min(N, items)
    ids, scores = np.full((users, N), -1, np.int32), np.full((users, N), np.nan)
    left, right = as_rows(profiles), as_rows(similarity)

    def rank(start: int, stop: int, scratch: Any) -> None:
        kernels.neighbours.top_items(start, stop, left, right, choice, scratch, ids[:, :kept], scores[:, :kept])

    _run(rank, _row_work(profiles, similarity), items, num_threads)
    return ids, scores


def score_pairs(
    profiles: csr_array, similarity: csr_array, bounds: NDArray[Any], items: NDArray[Any], num_threads: int | None
) -> Floats:
    """Score items for each row of the profiles, those of row r from ``bounds[r]`` on."""
    scores = np.empty(items.size)
    left, right, bounds = as_rows(profiles), as_rows(similarity), bounds.astype(np.int64)

    def score(start: int, stop: int, scratch: Any) -> None:
        kernels.neighbours.score_pairs(start, stop, bounds, items, left, right, scratch, scores)

    _run(score, _row_work(profiles, similarity), similarity.shape[1], num_threads)
    return scores


def _row_work(left: csr_array, right: csr_array) -> NDArray[np.int64]:
    """Multiplications of each row of the product of two sparse matrices."""
    sums = np.append(0, np.cumsum(np.diff(right.indptr)[left.indices]))
    return np.asarray(np.diff(sums[left.indptr]), dtype=np.int64)


def _run(task: Callable[[int, int, Any], None], work: NDArray[Any], columns: int, num_threads: int | None) -> None:
    """Call the task for blocks of rows of about equal work, each with a thread's own working memory."""
    done = np.cumsum(work + 1)
    total = done[-1] if done.size else 0
    blocks = min(len(work), max(4 * (num_threads or available_threads()), int(total // _BLOCK_WORK)))
    cuts = np.searchsorted(done, total * np.arange(1, blocks) / max(blocks, 1))
    bounds = np.unique(np.concatenate([[0], cuts, [len(work)]]))
    scratches: list[Any] = []  # as many as threads, in the end

    def run(block: int) -> None:
        try:
            scratch = scratches.pop()
        except IndexError:
            scratch = kernels.neighbours.make_scratch(columns)
        task(int(bounds[block]), int(bounds[block + 1]), scratch)
        scratches.append(scratch)

    run_blocks(run, len(bounds) - 1, num_threads)


def as_rows(matrix: csr_array) -> Any:
    """View a matrix as kernels take it."""
    return kernels.neighbours.Rows(
        kernels.jit.read_only(matrix.indptr.astype(np.int64)),
        kernels.jit.read_only(matrix.indices.astype(np.int32, copy=False)),
        kernels.jit.read_only(matrix.data.astype(np.float64, copy=False)),
    )
