"""Sums over all shards in a fixed tree: the same bits whoever computed which parts, and in which order they came.

The tree's leaves are the shards in their order; neighbours are added in pairs, then pairs of pairs. A range of shards
comes to a few whole branches of the tree, which join those of the ranges beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..threads import run_blocks

Array = NDArray[Any]
Arrays = tuple[Array, ...]

_ROWS_AT_ONCE = 16384  # of parts that are added, which threads share out


class Branch(NamedTuple):
    """The sum of the parts of shards first to first + size - 1; size is a power of 2 that divides first."""

    first: int
    size: int
    sums: Arrays


def grow(branches: Iterable[Branch], *, in_place: bool) -> tuple[Branch, ...]:
    """Join branches that are neighbours in the tree, as they come in the order of their shards.

    Parameters
    ----------
    branches : iterable of Branch
        Those of consecutive shards; of n that come one by one, log2(n) + 1 are held.
    in_place : bool
        Whether the arrays may be overwritten.
    """
    grown: list[Branch] = []
    for branch in branches:
        while grown and grown[-1].size == branch.size and grown[-1].first % (2 * branch.size) == 0:
            left = grown.pop()
            branch = Branch(left.first, 2 * left.size, _add(left.sums, branch.sums, in_place))
        grown.append(branch)
    return tuple(grown)


def branches_of(first: int, stop: int) -> int:
    """Count the branches that shards first to stop - 1 come to."""
    found = 0
    while first < stop:
        size = first & -first or 1 << stop.bit_length()  # the largest power of 2 that divides first
        while first + size > stop:
            size //= 2
        first, found = first + size, found + 1
    return found


def total(branches: Iterable[Branch]) -> Arrays:
    """Add up the branches of all shards, which may be overwritten."""
    *others, last = grow(branches, in_place=True)
    sums = last.sums
    for branch in reversed(others):
        sums = _add(branch.sums, sums, in_place=True)
    return sums


def _add(left: Arrays, right: Arrays, in_place: bool) -> Arrays:
    sums = left if in_place else tuple(one.copy() for one in left)
    for one, other in zip(sums, right, strict=True):
        edges = range(0, len(one), _ROWS_AT_ONCE)

        def add(block: int, one: Array = one, other: Array = other, edges: range = edges) -> None:
            rows = slice(edges[block], edges[block] + _ROWS_AT_ONCE)
            one[rows] += other[rows]

        run_blocks(add, len(edges))
    return sums
