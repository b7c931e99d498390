"""Hits of recommended lists, and the sums over them that metrics are read from, for a block of users."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import block_kernel


class Sums(NamedTuple):
    """What hits come to, float64 (cutoffs, users)."""

    found: Any  # how many there are
    gain: Any  # their discounts
    precisions: Any  # the precisions at their ranks
    first: Any  # the rank of the first, from 1; inf without a hit


@block_kernel
def find_hits(start, stop, ids, indptr, indices, hits):
    """Tell for each id of users start to stop - 1 whether the user's cells, sorted by index, have it; -1 never."""
    for user in range(start, stop):
        begin, end = indptr[user], indptr[user + 1]
        for rank in range(ids.shape[1]):
            item, low, high = ids[user, rank], begin, end
            while low < high:
                middle = (low + high) // 2
                if indices[middle] < item:
                    low = middle + 1
                else:
                    high = middle
            hits[user, rank] = low < end and indices[low] == item


@block_kernel
def tally_hits(start, stop, hits, cutoffs, discounts, sums):
    """Sum up the hits of users start to stop - 1 at each cut-off.

    `cutoffs` ascend; `discounts` are of each rank. Beyond a list's ranks there are no hits.
    """
    for user in range(start, stop):
        rank = found = 0
        gain = precisions = 0.0
        first = np.inf
        for c in range(cutoffs.size):
            while rank < min(cutoffs[c], hits.shape[1]):
                if hits[user, rank]:
                    found += 1
                    gain += discounts[rank]
                    precisions += found / (rank + 1)
                    if found == 1:
                        first = rank + 1.0
                rank += 1
            sums.found[c, user] = found
            sums.gain[c, user] = gain
            sums.precisions[c, user] = precisions
            sums.first[c, user] = first
