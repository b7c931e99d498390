"""Item neighbourhoods: the most similar items of each, and lists made from them.

All of it multiplies one sparse row by a sparse matrix into a dense row of sums (Gustavson 1978, "Two fast algorithms
for sparse matrices"), and then looks at the places that were met.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import block_kernel, inner


class Rows(NamedTuple):
    """A sparse matrix by its rows; each row's columns are sorted."""

    indptr: Any  # int64 (rows + 1)
    indices: Any  # int32
    values: Any  # float64


class Measure(NamedTuple):
    """How a product of two items' columns becomes a similarity: what it is divided by."""

    left: Any  # float64 (items): of the neighbour
    right: Any  # float64 (items): of the item whose neighbour it is
    shrinkage: float
    union: bool  # left + right - product, rather than left * right


class Choice(NamedTuple):
    """What may be recommended."""

    hidden_indptr: Any  # int64 (users + 1): items to leave out, by user
    hidden_indices: Any  # int32
    own_indptr: Any  # int64 (users + 1): the only items of each user, if limited
    own_indices: Any  # int32
    limited: bool
    allowed: Any  # bool (items)


class Scratch(NamedTuple):
    """Working memory of one thread."""

    sums: Any  # float64 (columns)
    marks: Any  # int64 (columns): the row that was met last
    touched: Any  # int32 (columns)


def make_scratch(columns: int) -> Scratch:
    """Allocate it for products with so many columns; it serves each row once."""
    return Scratch(np.empty(columns), np.full(columns, -1, np.int64), np.empty(columns, np.int32))


@inner
def _multiply_row(row, left, right, scratch):
    """Put row `row` of the product left x right into the sums; return how many columns were met."""
    sums, marks, touched = scratch.sums, scratch.marks, scratch.touched
    found = 0
    for place in range(left.indptr[row], left.indptr[row + 1]):
        middle, weight = left.indices[place], left.values[place]
        for other in range(right.indptr[middle], right.indptr[middle + 1]):
            column, value = right.indices[other], weight * right.values[other]
            # a mark and not a sum of zero, which tiny products leave as it is
            if marks[column] == row:
                sums[column] += value
            else:
                marks[column] = row
                sums[column] = value
                touched[found] = column
                found += 1
    return found


@inner
def _worse(scores, items, i, j):
    """Whether entry i comes after entry j: lower scores, and of equal ones the larger index."""
    return scores[i] < scores[j] or (scores[i] == scores[j] and items[i] > items[j])


@inner
def _exchange(scores, items, i, j):
    scores[i], scores[j] = scores[j], scores[i]
    items[i], items[j] = items[j], items[i]


@inner
def _sink(scores, items, length):
    """Restore the heap, worst first, below its root."""
    parent = 0
    while 2 * parent + 1 < length:
        child = 2 * parent + 1
        if child + 1 < length and _worse(scores, items, child + 1, child):
            child += 1
        if not _worse(scores, items, child, parent):
            return
        _exchange(scores, items, child, parent)
        parent = child


@inner
def _offer(scores, items, length, score, item):
    """Take an entry into the heap of the best, if it is one; return the heap's length."""
    if length < len(items):
        scores[length], items[length] = score, item
        child = length
        while child > 0 and _worse(scores, items, child, (child - 1) // 2):
            _exchange(scores, items, child, (child - 1) // 2)
            child = (child - 1) // 2
        return length + 1
    if score > scores[0] or (score == scores[0] and item < items[0]):
        scores[0], items[0] = score, item
        _sink(scores, items, length)
    return length


@inner
def _sort_best_first(scores, items, length):
    """Turn the heap into a list: the worst goes last, again and again."""
    for last in range(length - 1, 0, -1):
        _exchange(scores, items, 0, last)
        _sink(scores, items, last)


@block_kernel
def nearest_items(start, stop, by_item, by_user, measure, scratch, neighbours, similarities):
    """Find the most similar items of items `start` to `stop`.

    `by_item` (items x users) and `by_user` (users x items) are one matrix. Neighbours int32 and similarities float64,
    (items, K), are filled from the left, best first, with as many as have a similarity above 0.
    """
    for item in range(start, stop):
        best, indices, length = similarities[item], neighbours[item], 0
        for place in range(_multiply_row(item, by_item, by_user, scratch)):
            other = scratch.touched[place]
            product = scratch.sums[other]
            if other == item or not product > 0:
                continue
            left, right = measure.left[other], measure.right[item]
            whole = left + right - product if measure.union else left * right
            similarity = product / (whole + measure.shrinkage)
            if similarity > 0:
                length = _offer(best, indices, length, similarity, other)
        _sort_best_first(best, indices, length)


@block_kernel
def top_items(start, stop, profiles, similarity, choice, scratch, ids, scores):
    """List the best items of users `start` to `stop` with a score above 0; ids int32 and scores float64 (users, N)."""
    for user in range(start, stop):
        best, indices, length = scores[user], ids[user], 0
        found = _multiply_row(user, profiles, similarity, scratch)
        sums, marks = scratch.sums, scratch.marks
        for place in range(choice.hidden_indptr[user], choice.hidden_indptr[user + 1]):
            sums[choice.hidden_indices[place]] = 0.0
        sign = 1.0
        if choice.limited:
            sign = -1.0
            for place in range(choice.own_indptr[user], choice.own_indptr[user + 1]):
                if marks[choice.own_indices[place]] == user:
                    sums[choice.own_indices[place]] *= sign
        for place in range(found):
            item = scratch.touched[place]
            score = sign * sums[item]
            if score > 0 and choice.allowed[item]:
                length = _offer(best, indices, length, score, item)
        _sort_best_first(best, indices, length)


@block_kernel
def score_pairs(start, stop, bounds, items, profiles, similarity, scratch, scores):
    """Score the pairs ``bounds[row]`` to ``bounds[row + 1]`` of rows `start` to `stop` of the profiles."""
    for row in range(start, stop):
        _multiply_row(row, profiles, similarity, scratch)
        for pair in range(bounds[row], bounds[row + 1]):
            item = items[pair]
            scores[pair] = scratch.sums[item] if scratch.marks[item] == row else 0.0
