"""Which users and items are kept, and in which order items stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cell_lists import Block, CellLists


class Core(NamedTuple):
    """What is kept: users as booleans, the new position of each item (-1 for none), and the cells of each kept user."""

    users: NDArray[np.bool_]
    item_places: NDArray[np.int32]
    item_order: NDArray[np.int64]
    user_cells: NDArray[np.int64]


def find_core(cells: CellLists, minimum: tuple[int, int], block_cells: int) -> Core:
    """Drop users with too few items and items with too few users until none is left, and order items by their users.

    What is left, the largest part in which every user has so many items and every item so many users, does not depend
    on the order in which they are dropped (Seidman 1983, "Network structure and minimum degree").

    Parameters
    ----------
    cells : CellLists
    minimum : (int, int)
        Distinct items of a user, and distinct users of an item.
    block_cells : int
        About how many cells are read at once.

    Returns
    -------
    Core
        Empty where nothing is left.
    """
    users, items = np.ones(len(cells.user_cells), bool), np.ones(cells.items, bool)
    while True:
        degrees = np.zeros(len(users), np.int64), np.zeros(len(items), np.int64)
        left = users.sum() + items.sum()
        for block in blocks(cells, block_cells):
            _count(block, users, items, minimum[0], degrees)
        items &= degrees[1] >= minimum[1]
        if users.sum() + items.sum() == left:
            break
    order = np.lexsort((np.arange(len(items)), -degrees[1]))
    order = order[items[order]]
    places = np.full(len(items), -1, np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return Core(users, places, order, degrees[0][users])


def blocks(cells: CellLists, block_cells: int, first: int = 0, last: int | None = None) -> Iterator[Block]:
    """Read the cells of the users from `first` to `last` in blocks of about so many."""
    ends = np.cumsum(cells.user_cells[first:last])
    cuts = np.searchsorted(ends, np.arange(block_cells, ends[-1], block_cells))
    edges = (first + np.unique(np.concatenate([[0], cuts, [len(ends)]]))).tolist()
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        yield cells.block(start, stop)


def _count(
    block: Block, users: NDArray[np.bool_], items: NDArray[np.bool_], minimum: int, degrees: tuple[Any, Any]
) -> None:
    """Count the items of each user, drop users with too few, and count the users of each item."""
    own = slice(block.start, block.stop)
    sizes = np.diff(block.indptr)
    alive = items[block.items] & np.repeat(users[own], sizes)
    before = np.concatenate([[0], np.cumsum(alive)])
    degrees[0][own] = np.diff(before[block.indptr])
    users[own] &= degrees[0][own] >= minimum
    alive &= np.repeat(users[own], sizes)
    degrees[1][:] += np.bincount(block.items[alive], minlength=len(items))
