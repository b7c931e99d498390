"""The N best items of each user, exactly."""

from __future__ import annotations

import numpy as np

from . import simd
from .jit import allocating_block_kernel, inner

ITEMS = 64  # scored at a time, whole tiles; their factors stay in the first-level cache up to d = 128


@inner
def _worse(score, item, other_score, other_item):
    """Order of the lists: higher scores first, ties to the smaller index."""
    return score < other_score or (score == other_score and item > other_item)


@inner
def _sift_down(scores, items, length, position):
    """Restore the heap (worst entry at the root) after its entry at `position` was replaced by a better one."""
    score, item = scores[position], items[position]
    while True:
        child = 2 * position + 1
        if child >= length:
            break
        if child + 1 < length and _worse(scores[child + 1], items[child + 1], scores[child], items[child]):
            child += 1
        if not _worse(scores[child], items[child], score, item):
            break
        scores[position], items[position] = scores[child], items[child]
        position = child
    scores[position], items[position] = score, item


@inner
def _sift_up(scores, items, position):
    score, item = scores[position], items[position]
    while position > 0:
        parent = (position - 1) // 2
        if not _worse(score, item, scores[parent], items[parent]):
            break
        scores[position], items[position] = scores[parent], items[parent]
        position = parent
    scores[position], items[position] = score, item


@inner
def _offer(score, item, scores, items, length):
    """Put an item into the heap of the best so far if it belongs there; returns the new length."""
    if length < scores.size:
        scores[length], items[length] = score, item
        _sift_up(scores, items, length)
        return length + 1
    if _worse(scores[0], items[0], score, item):
        scores[0], items[0] = score, item
        _sift_down(scores, items, length, 0)
    return length


@inner
def _sort_best_first(scores, items, length):
    """Heap sort in place: the worst of the remaining entries goes to the end."""
    for last in range(length - 1, 0, -1):
        scores[0], scores[last] = scores[last], scores[0]
        items[0], items[last] = items[last], items[0]
        _sift_down(scores, items, last, 0)


@inner
def _offer_scores(tile, items, seen, best, progress):
    """Offer a row of scores to a user's list, leaving out the items of `seen` (indices, end).

    `best` is the user's (scores, ids); `progress` its place in `seen` and the length of its list, returned advanced.
    """
    indices, end = seen
    scores, ids = best
    position, length = progress
    full = scores.size
    for t in range(items.size):
        # Items come in ascending order, so one that only equals the worst of a full list stays out.
        if length == full and not tile[t] > scores[0]:
            continue
        item = items[t]
        while position < end and indices[position] < item:
            position += 1
        if not (position < end and indices[position] == item):
            length = _offer(tile[t], item, scores, ids, length)
    return position, length


@inner
def _transpose_rows(source, picks, ones, out):
    """out[:, c] = source[picks[c]]."""
    width = simd.tile_of(out)
    for k in range(0, out.shape[0], width):
        for at in range(0, out.shape[1], width):
            simd.gather_transposed(source, picks, at, k, ones, ones, out)


@allocating_block_kernel
def top_items(start, stop, vectors, candidates, item_factors, seen, ids, scores):
    """Fill ids and scores (users, N) for users start to stop - 1 of `vectors`, best first.

    `candidates` are the items to rank, ascending; `seen` is a pair (indptr, indices) of items to leave out for each
    user. Both ids and scores come filled with -1 and NaN, which is what lists that run short end in. Scores are made a
    tile at a time and never stored whole; each has the same bits whatever users and items it is made beside.
    """
    indptr, indices = seen
    factors = vectors.shape[1]
    width = simd.tile_of(vectors)
    count = stop - start
    users = simd.padded(count, width)
    ones = np.ones(max(users, ITEMS, factors), vectors.dtype)
    left = np.empty((factors, users), vectors.dtype)
    right = np.empty((factors, ITEMS), vectors.dtype)
    tile = np.empty((users, ITEMS), vectors.dtype)
    picks = np.full(max(users, ITEMS), start, np.int32)
    picks[:count] += np.arange(count, dtype=np.int32)
    _transpose_rows(vectors, picks, ones, left)
    positions = indptr[start:stop].copy()
    lengths = np.zeros(count, np.int64)
    for begin in range(0, candidates.size, ITEMS):
        items = candidates[begin : begin + ITEMS]
        picks[: items.size] = items
        picks[items.size :] = 0
        _transpose_rows(item_factors, picks, ones, right)
        tile[:] = 0
        for i in range(0, users, width):
            for j in range(0, ITEMS, width):
                simd.add_outer(left, i, right, j, factors, tile)
        for u in range(count):
            user = start + u
            positions[u], lengths[u] = _offer_scores(
                tile[u], items, (indices, indptr[user + 1]), (scores[user], ids[user]), (positions[u], lengths[u])
            )
    for u in range(count):
        _sort_best_first(scores[start + u], ids[start + u], lengths[u])
