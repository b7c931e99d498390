"""Ranks of wanted items in the whole catalogue, from factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from . import kernels
from ._csr import kernel_cells
from .errors import InputError
from .threads import available_threads, run_blocks

Array = NDArray[Any]
Counts = NDArray[np.int64]

# Users a block: the items are transposed once for each, and between blocks Ctrl-C is seen.
_MOST_USERS, _LEAST_USERS = 512, 16
_BLOCK_WORK = 2e10


def rank_counts(
    vectors: Array,
    item_vectors: Array,
    targets: csr_array,
    seen: csr_array | None = None,
    num_threads: int | None = None,
) -> tuple[Counts, Counts]:
    """Count for each target of each user how many candidates score higher, and how many others the same.

    Candidates are all items but those that `seen` stores for the user. With ties in either order, the target's rank is
    1 + higher at best and 1 + higher + equal at worst.

    `vectors` (users, d) and `item_vectors` (items, d) are C-ordered factors of one dtype; scores are their inner
    products, the same to the last bit as those of lists. `targets` and `seen` are (users, items), with sorted indices;
    their stored cells count, whatever the values. The two int64 arrays are in the order of ``targets.indices``.

    Raises
    ------
    InputError
        If the shapes do not fit, `seen` stores a target, a factor is not a finite number, or a target's score is not.
    """
    users, items = len(vectors), len(item_vectors)
    left_out = csr_array((users, items)) if seen is None else seen
    for name, matrix in (("targets", targets), ("seen", left_out)):
        if matrix.shape != (users, items):
            raise InputError(f"{name} has shape {matrix.shape}; {(users, items)} is needed, a row for each user")
    _check_apart(targets, left_out)
    for name, array in (("user", vectors), ("item", item_vectors)):
        _check_factors(name, array)
    vectors, factors = kernels.jit.whole_tiles(vectors), kernels.jit.whole_tiles(item_vectors)
    wanted, known = kernel_cells(targets), kernel_cells(left_out)
    out = np.empty(targets.nnz, factors.dtype), np.zeros(targets.nnz, np.int64), np.zeros(targets.nnz, np.int64)
    length = _block_length(users, factors.size, num_threads or available_threads())
    scratches: list[Any] = []  # as many as threads, in the end

    def rank(block: int) -> None:
        try:
            scratch = scratches.pop()
        except IndexError:
            scratch = kernels.ranks.make_scratch(length, factors)
        stop = min((block + 1) * length, users)
        kernels.ranks.rank_wanted(block * length, stop, vectors, factors, wanted, known, scratch, out)
        scratches.append(scratch)

    run_blocks(rank, -(-users // length), num_threads)
    scores, higher, equal = out
    _check_scores(targets, scores)
    return higher, equal - 1


def _check_factors(side: str, factors: Array) -> None:
    """Refuse factors whose scores would be higher and lower than none: such a candidate would count as a worse one."""
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(factors.min(initial=0)) and np.isfinite(factors.max(initial=0))  # NaN is passed on
    if not finite:
        row, column = np.argwhere(~np.isfinite(factors))[0]
        raise InputError(
            f"the {side} factors hold {factors[row, column]} in row {row}: the model's factors may have diverged"
        )


def _check_scores(targets: csr_array, scores: Array) -> None:
    bad = np.flatnonzero(np.isnan(scores))
    if bad.size:
        row, item = np.searchsorted(targets.indptr, bad[0], side="right") - 1, targets.indices[bad[0]]
        raise InputError(
            f"{bad.size} targets have a NaN score, the first item {item} in row {row}: the model's factors may have "
            "diverged"
        )


def _check_apart(targets: csr_array, seen: csr_array) -> None:
    """Refuse a target that is no candidate: it has no rank."""
    pattern = [csr_array((np.ones(m.nnz, np.int8), m.indices, m.indptr), shape=m.shape) for m in (targets, seen)]
    both = pattern[0].multiply(pattern[1]).tocoo()
    if both.nnz:
        row, item = (int(coordinate[0]) for coordinate in both.coords)
        raise InputError(f"seen stores {both.nnz} of the targets, the first item {item} in row {row}; leave them out")


def _block_length(users: int, numbers: int, threads: int) -> int:
    """Users a block, for as many blocks a thread as any other; `numbers` are those of the items' factors."""
    most = int(min(_MOST_USERS, max(_LEAST_USERS, _BLOCK_WORK // max(numbers, 1))))
    blocks = threads * -(-users // (threads * most))
    return max(_LEAST_USERS, -(-users // max(blocks, 1)))
