"""Hits of recommended lists, and what they come to for each user: all that metrics of lists are read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from ..threads import run_blocks
from .list_checks import check_rows, whole_numbers

Floats = NDArray[np.float64]

_BLOCK = 1024  # users; a block of them takes less than a millisecond


class Tally(NamedTuple):
    """What the first k ranks of each user's list come to: arrays (users,), float64 where nothing else is said."""

    k: int
    relevant: NDArray[np.int64]  # how many relevant items there are
    found: Floats  # hits
    gain: Floats  # sum over the hits of 1 / log2(1 + rank)
    ideal: Floats  # the gain of a perfect list, with hits in the first min(k, relevant) ranks
    precisions: Floats  # sum over the hits of the precision at their rank
    first: Floats  # rank of the first hit, from 1; inf without
    hits: NDArray[np.bool_]  # (users, N): of all ranks, also beyond k

    @property
    def best(self) -> NDArray[np.int64]:
        """min(k, relevant): the hits of a perfect list."""
        return np.minimum(self.k, self.relevant)


def tallies(hits: NDArray[np.bool_], relevant: NDArray[np.integer], cutoffs: Sequence[int]) -> list[Tally]:
    """Sum up hits (users, N) at each of some ascending cut-offs; ranks beyond the lists are no hits."""
    # no more discounts than lists and perfect lists have ranks: a cut-off may be any number
    ranks = min(cutoffs[-1], max(hits.shape[1], int(relevant.max(initial=0))))
    discounts = 1.0 / np.log2(np.arange(2, ranks + 2))
    ideals, counts, ends = np.cumsum(discounts), _integers(relevant), np.array(cutoffs, dtype=np.int64)
    flags = kernels.jit.read_only(np.ascontiguousarray(hits))
    sums = kernels.metrics.Sums(*np.empty((4, len(cutoffs), len(hits))))
    kernels.metrics.tally_hits(0, len(hits), flags, ends, discounts, sums)
    return [
        Tally(k, counts, found, gain, ideals[np.minimum(k, counts) - 1], precisions, first, hits)
        for k, found, gain, precisions, first in zip(cutoffs, *sums, strict=True)
    ]


def hit_matrix(
    ids: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell for each recommended id (users, N) whether it is among the same user's targets, given in CSR form."""
    asked = _integers(whole_numbers("ids", ids, 2))
    starts, cells = map(_integers, check_rows(indptr, indices, len(asked)))
    hits = np.empty(asked.shape, dtype=bool)
    run_in_blocks(lambda start, stop: kernels.metrics.find_hits(start, stop, asked, starts, cells, hits), len(asked))
    return hits


def run_in_blocks(task: Callable[[int, int], None], users: int, times: int = 1) -> None:
    """Call ``task(start, stop)`` for blocks of users, so many times the usual length, on several threads."""
    length = times * _BLOCK

    def block(number: int) -> None:
        task(number * length, min((number + 1) * length, users))

    run_blocks(block, -(-users // length))


def _integers(array: NDArray[Any]) -> NDArray[np.int64]:
    """Convert to the one type that the kernels are compiled for."""
    whole: NDArray[np.int64] = kernels.jit.read_only(np.ascontiguousarray(array, dtype=np.int64))
    return whole
