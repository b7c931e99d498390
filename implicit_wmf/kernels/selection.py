"""The N best of a list of scores, and their order."""

from __future__ import annotations

from .jit import inner

# Lists up to this length are sorted by counting.
COUNTED = 200


@inner
def _better(score, item, other_score, other_item):
    """Order of the lists: higher scores first, ties to the smaller index."""
    return score > other_score or (score == other_score and item < other_item)


@inner
def _exchange(scores, items, i, j):
    scores[i], scores[j] = scores[j], scores[i]
    items[i], items[j] = items[j], items[i]


@inner
def _select(scores, items, length, N):
    """Move the best N to the front (quickselect), their worst to position N - 1."""
    low, high = 0, length - 1
    while low < high:
        middle = (low + high) // 2
        score, item = scores[middle], items[middle]
        i, j = low, high
        while i <= j:
            while _better(scores[i], items[i], score, item):
                i += 1
            while _better(score, item, scores[j], items[j]):
                j -= 1
            if i <= j:
                _exchange(scores, items, i, j)
                i += 1
                j -= 1
        if j >= N - 1:
            high = j
        elif i <= N - 1:
            low = i
        else:
            return


@inner
def lowest(scores, length):
    """Return the smallest score."""
    lowest = scores[0]
    for k in range(1, length):
        lowest = min(lowest, scores[k])
    return lowest


@inner
def _count_from(scores, length, least):
    """How many scores are at least so high."""
    count = 0
    for k in range(length):
        count += 1 if scores[k] >= least else 0
    return count


@inner
def cut(scores, items, length, N):
    """Move the best N to the front, N < length; returns their worst score.

    A level that N scores reach is found by bisection, because counting takes a vector of them at a time: of 200 a
    tenth of the time of quickselect, which waits for its branches.
    """
    low, high = scores[0], scores[0]
    for k in range(1, length):
        low, high = min(low, scores[k]), max(high, scores[k])
    level = low + (high - low) / 2
    while low < level < high:
        count = _count_from(scores, length, level)
        if count == N:
            break
        if count > N:
            low = level
        else:
            high = level
        level = low + (high - low) / 2
    if not low < level < high:  # ties, or infinite scores
        _select(scores, items, length, N)
        return scores[N - 1]
    place = 0
    worst = high
    for k in range(length):
        score, item = scores[k], items[k]
        scores[place], items[place] = score, item
        if score >= level:
            worst = min(worst, score)
            place += 1
    return worst


@inner
def _sift_down(scores, items, length, position):
    """Restore the heap, worst entry at the root, below a position."""
    score, item = scores[position], items[position]
    while True:
        child = 2 * position + 1
        if child >= length:
            break
        if child + 1 < length and _better(scores[child], items[child], scores[child + 1], items[child + 1]):
            child += 1
        if not _better(score, item, scores[child], items[child]):
            break
        scores[position], items[position] = scores[child], items[child]
        position = child
    scores[position], items[position] = score, item


@inner
def _sort_best_first(scores, items, length):
    """Heap sort in place."""
    for position in range(length // 2 - 1, -1, -1):
        _sift_down(scores, items, length, position)
    for last in range(length - 1, 0, -1):
        _exchange(scores, items, 0, last)
        _sift_down(scores, items, last, 0)


@inner
def write_best_first(scores, items, length, out_scores, out_items):
    """Write a list in order; in a short one, the place of an entry is the number of better ones, counted in vectors."""
    if length > COUNTED:
        _sort_best_first(scores, items, length)
        for k in range(length):
            out_scores[k], out_items[k] = scores[k], items[k]
        return
    for k in range(length):
        score, item = scores[k], items[k]
        place = 0
        for j in range(length):
            better = scores[j] > score or (scores[j] == score and items[j] < item)
            place += 1 if better else 0
        out_scores[place], out_items[place] = score, item
