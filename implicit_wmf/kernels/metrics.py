"""Hits of recommended lists, and the metrics that are read from them, for a block of users."""

from __future__ import annotations

import numpy as np

from .jit import block_kernel

# What `measure_hits` writes for each user and cut-off, in this order.
MEASURES = ("recall", "capped_recall", "precision", "ndcg", "map", "mrr", "hit")


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
def measure_hits(start, stop, hits, relevant, cutoffs, discounts, ideals, out):
    """Write the measures (measures, cutoffs, users) of users start to stop - 1; NaN for those without relevant items.

    `cutoffs` ascend and are at least 1; `discounts` are 1 / log2(1 + rank) for each rank, `ideals` their running sums.
    Where lists are shorter than a cut-off, there are no hits in the ranks beyond.
    """
    for user in range(start, stop):
        rank = found = 0
        gain = precision_sum = first = 0.0
        for c in range(cutoffs.size):
            k = cutoffs[c]
            while rank < min(k, hits.shape[1]):
                if hits[user, rank]:
                    found += 1
                    gain += discounts[rank]
                    precision_sum += found / (rank + 1)
                    if found == 1:
                        first = 1 / (rank + 1)
                rank += 1
            best = min(k, relevant[user])
            for measure in range(out.shape[0]):
                out[measure, c, user] = np.nan
            if best > 0:
                out[0, c, user] = found / relevant[user]
                out[1, c, user] = found / best
                out[2, c, user] = found / k
                out[3, c, user] = gain / ideals[best - 1]
                out[4, c, user] = precision_sum / best
                out[5, c, user] = first
                out[6, c, user] = 1.0 if found > 0 else 0.0
