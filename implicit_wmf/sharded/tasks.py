"""What is done with one shard: each task is a function of the shard and of matrices that all shards are sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .. import kernels
from ..confidence import StoredCells, count_below, store_bare, stored_cells, weigh_cells, weigh_rows
from ..config import WMFConfig
from ..row_plan import SidePlan
from ..store import Shard
from ..threads import run_blocks
from ..training import (
    balanced_bounds,
    gram_matrix,
    no_solution,
    penalty,
    rotate,
    solve_side,
    sum_stored_cells,
)
from ..weightings import Floats
from .sums import Arrays
from .weights import ShardWeights

Array = NDArray[Any]


@dataclass(frozen=True)
class Scales:
    """Backgrounds of items and of a range of the users, of mean 1 each over all that there are."""

    users: Floats
    items: Floats
    first_user: int = 0

    def of_users(self, users: slice) -> Floats:
        """Return those of some of the users, by their positions among all."""
        return self.users[users.start - self.first_user : users.stop - self.first_user]


class Work:
    """A shard, the factors of its users, which tasks write, and what its cells weigh, which two of the tasks find."""

    def __init__(self, shard: Shard, users: Array, weights: ShardWeights, scales: Scales, config: WMFConfig) -> None:
        self.shard, self.users, self.weights, self.config = shard, users, weights, config
        self.user_scale, self.item_scale = scales.of_users(shard.users), scales.items

    @property
    def user_background(self) -> Floats:
        """a0 a_i of its users."""
        return self.config.unobserved_weight * self.user_scale

    @cached_property
    def by_user(self) -> csr_array:
        """Its cells by user, as they are in the store."""
        return self.shard.by_user()

    @cached_property
    def by_item(self) -> csr_array:
        """Its cells by item, as they are in the store."""
        return self.shard.by_item()

    @cached_property
    def cells(self) -> StoredCells:
        """Its cells by user."""
        return stored_cells(self.by_user, None, self.config)

    def weigh_users(self) -> Any:
        """Make its users' half of the problem: kernels.rows.Rows."""
        return weigh_rows("user", self.cells, self.user_scale, self.item_scale, self.config).rows

    @cached_property
    def user_rows(self) -> Any:
        """What `weigh_users` made."""
        return self.weights.rows("user", self.by_user) or self.weigh_users()

    def weigh_items(self) -> tuple[Any, Floats]:
        """Make rows of its cells by item (kernels.rows.Rows), and their total weights, if penalties depend on them."""
        cells, bare = self._item_cells(), self.weights.bare_items
        if bare is not None:
            cells = store_bare(cells, bare)
        totals = self.config.regularization_exponent > 0
        return weigh_cells(cells, self._item_background, self.user_scale, self.config, bare, totals=totals)

    def below_items(self) -> NDArray[np.int64]:
        """Count the cells of each item that weigh less than the background."""
        return count_below(self._item_cells(), self._item_background, self.user_scale)

    def _item_cells(self) -> StoredCells:
        return stored_cells(self.by_item, None, self.config)

    @property
    def _item_background(self) -> Floats:
        return self.config.unobserved_weight * self.item_scale

    @cached_property
    def item_rows(self) -> Any:
        """What `weigh_items` made."""
        return self.weights.rows("item", self.by_item) or self.weigh_items()[0]

    def tiles(self) -> Array:
        """Return its users' factors in whole tiles."""
        return np.asarray(kernels.jit.whole_tiles(self.users))


def below_items(work: Work) -> Arrays:
    """Count the cells of each item that weigh less than the background, (items,)."""
    return (work.below_items(),)


def weigh_users(work: Work) -> Arrays:
    """Weigh the cells by user."""
    work.weights.keep("user", work.weigh_users(), work.by_user)
    return ()


def weigh_items(work: Work, bare: NDArray[np.bool_] | None) -> Arrays:
    """Weigh the cells by item; returns each item's total weight, (items,), 0 where no penalty depends on it."""
    work.weights.bare_items = bare
    rows, totals = work.weigh_items()
    work.weights.keep("item", rows, work.by_item)
    return (totals,)


def solve_users(work: Work, items: Array, spectrum: Floats) -> Arrays:
    """Solve the users exactly against the items' factors, in the basis of these; returns their Gram matrix."""
    rows, config = work.user_rows, work.config
    plan = SidePlan(np.diff(rows.indptr), rows.kinds, config.factors, config.factor_dtype)
    failed = solve_side(rows, plan, items, spectrum, work.users, config.num_threads)
    if failed >= 0:
        raise no_solution("user", work.shard.start + failed, config)
    return (gram_matrix(work.users, work.user_scale, config.num_threads),)


def turn_users(work: Work, vectors: Array) -> Arrays:
    """Rotate the users' factors."""
    rotate(work.users, work.users, vectors, work.config)
    return ()


def start_items(work: Work, picked: Array, vectors: Array) -> Arrays:
    """Return its share of the residuals of some items at `vectors`, and of the diagonals of their systems."""
    residuals, diagonals = (kernels.jit.aligned(vectors.shape, vectors.dtype) for _ in range(2))
    fixed, rows = work.tiles(), work.item_rows

    def fill(start: int, stop: int) -> None:
        kernels.parts.part_residuals(rows, picked, start, stop, fixed, vectors, residuals, diagonals)

    _run(work, picked, fill)
    return residuals, diagonals


def multiply_items(work: Work, picked: Array, vectors: Array) -> Arrays:
    """Return its share of the products of some items' systems with `vectors`."""
    products = kernels.jit.aligned(vectors.shape, vectors.dtype)
    fixed, rows = work.tiles(), work.item_rows

    def fill(start: int, stop: int) -> None:
        kernels.parts.part_products(rows, picked, start, stop, fixed, vectors, products)

    _run(work, picked, fill)
    return (products,)


def make_systems(work: Work, picked: Array) -> Arrays:
    """Return its share of some items' d x d systems, upper triangles, and of their right-hand sides."""
    fixed, rows = work.tiles(), work.item_rows
    width = fixed.shape[1]
    # wider by a cache line, as kernels.rows.make_scratch explains
    wide = width + kernels.jit.VECTOR_BYTES // fixed.itemsize
    systems = kernels.jit.aligned((picked.size, width, wide), fixed.dtype)
    targets = kernels.jit.aligned((picked.size, width), fixed.dtype)
    scratches: list[Any] = []

    def fill(start: int, stop: int) -> None:
        try:
            scratch = scratches.pop()
        except IndexError:
            scratch = kernels.rows.make_scratch(fixed)
        kernels.parts.part_systems(rows, picked, start, stop, fixed, scratch, systems, targets)
        scratches.append(scratch)

    _run(work, picked, fill)
    return systems, targets


def read_users(work: Work) -> Arrays:
    """Copy its users' factors."""
    return (np.array(work.users),)


def sum_loss(work: Work, items: Array) -> Arrays:
    """Return its share of the objective: sums over stored cells, Gram matrix with the background, users' penalty."""
    config, rows = work.config, work.user_rows
    background = config.unobserved_weight * work.user_scale
    sums = sum_stored_cells(work.cells, background, work.item_scale, (work.users, items), config, config.num_threads)
    gram = gram_matrix(work.users, background, config.num_threads)
    return sums, gram, np.array([penalty(rows.regularization, work.users)])


def _run(work: Work, picked: Array, fill: Any) -> None:
    """Call fill(start, stop) on ranges of the picked rows."""
    sizes = np.diff(work.item_rows.indptr)[picked]
    bounds = balanced_bounds((sizes + 1.0) * work.users.shape[1] / 8)
    run_blocks(lambda block: fill(*bounds[block]), len(bounds), work.config.num_threads)


# What these leave behind is found again by those that follow: a shard that is taken elsewhere goes through them anew.
WEIGHING = (weigh_users, weigh_items)
SOLVING = (solve_users, turn_users)  # a version of the users' factors, which the first of them begins
SILENT = (weigh_users, turn_users)  # these return nothing, and may wait until others are asked for something
