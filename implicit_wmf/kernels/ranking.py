"""The N best items of each user, exactly."""

from __future__ import annotations

from .jit import block_kernel, inner


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


@block_kernel
def top_items(start, stop, vectors, candidates, item_factors, seen, ids, scores):
    """Fill ids and scores (users, N) for users start to stop - 1 of `vectors`, best first.

    `candidates` are the items to rank, ascending; `seen` is a pair (indptr, indices) of items to leave out for each
    user. Both ids and scores come filled with -1 and NaN, which is what lists that run short end in.
    """
    indptr, indices = seen
    for user in range(start, stop):
        vector = vectors[user]
        length = 0
        position = indptr[user]
        end = indptr[user + 1]
        for item in candidates:
            while position < end and indices[position] < item:
                position += 1
            if position < end and indices[position] == item:
                continue
            factor = item_factors[item]
            score = item_factors.dtype.type(0)
            for k in range(vector.size):
                score += vector[k] * factor[k]
            length = _offer(score, item, scores[user], ids[user], length)
        _sort_best_first(scores[user], ids[user], length)
