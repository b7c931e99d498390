"""The items' half-sweep: their cells are in all shards, so every shard adds its part to every item's system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import kernels
from ..config import WMFConfig
from ..row_plan import SidePlan
from ..threads import run_blocks
from ..training import balanced_bounds, no_solution
from ..weightings import Floats
from .memory import Memory
from .runner import Runner
from .tasks import Array, make_systems, multiply_items, start_items


@dataclass(frozen=True)
class ItemSide:
    """What the items' systems have beside their cells."""

    background: Floats  # a0 b_j
    regularization: Floats  # mu_j
    empty: Array  # bool: without any target, so that their factors are 0
    memory: Memory

    def diagonals(self, spectrum: Floats, picked: Array) -> Any:
        """Return D_j of some items: kernels.parts.Diagonals."""
        return kernels.parts.Diagonals(self.background[picked], self.regularization[picked], spectrum)


def solve_items(
    runner: Runner, items: Array, spectrum: Floats, side: ItemSide, plan: SidePlan, config: WMFConfig
) -> Array:
    """Solve all items against the users' factors as the shards have them; returns new factors.

    Where the plan has steps, by conjugate gradients in all items at once, from what they are, a pass over the shards a
    step; the others, and those that did not get there, exactly.

    Parameters
    ----------
    runner : Runner
    items : (items, d) array
        In the basis of the users' Gram matrix.
    spectrum : (width,) array
        Its eigenvalues, -1 for padding.
    side : ItemSide
    plan : SidePlan
        `plan.steps` becomes the steps that were taken, as in `training.solve_side`.
    config : WMFConfig

    Raises
    ------
    InputError
        If an item has no finite solution.
    """
    solved = np.array(kernels.jit.whole_tiles(items))
    solved[side.empty] = 0
    allowed = np.where(side.empty, 0, plan.steps)
    exact = (allowed == 0) & ~side.empty
    plan.steps[:] = 0
    going = np.flatnonzero(allowed)
    if going.size:
        taken = _search(runner, solved, going, side.diagonals(spectrum, going), plan.tolerance, allowed[going])
        plan.steps[going] = np.where(taken < 0, allowed[going] + 1, taken)
        exact[going[taken < 0]] = True
    width = solved.shape[1]
    # a system is a cache line a row wider, and its right-hand side is beside it
    block = side.memory.systems(width * (width + kernels.jit.VECTOR_BYTES // solved.itemsize + 1) * solved.itemsize)
    chosen = np.flatnonzero(exact)
    for begin in range(0, chosen.size, block):
        picked = chosen[begin : begin + block]
        failed = _solve(runner, solved, picked, side.diagonals(spectrum, picked), config)
        if failed >= 0:
            raise no_solution("item", failed, config)
    plan.learn()
    return np.ascontiguousarray(solved[:, : items.shape[1]])


def _solve(runner: Runner, solved: Array, picked: Array, diagonals: Any, config: WMFConfig) -> int:
    """Solve some items exactly, into `solved`; returns the first one without a finite solution, or -1."""
    systems, targets = runner.total(make_systems, picked)
    state = np.empty(picked.size, np.uint8)
    width = targets.shape[1]
    bounds = balanced_bounds(np.full(picked.size, width**3 / 400 + 20.0 * width))

    def solve(block: int) -> None:
        kernels.parts.solve_systems(*bounds[block], diagonals, systems, targets, state)

    run_blocks(solve, len(bounds), config.num_threads)
    solved[picked] = targets
    failed = picked[state != kernels.parts.DONE]
    return int(failed[0]) if failed.size else -1


def _search(runner: Runner, solved: Array, going: Array, diagonals: Any, tolerance: float, allowed: Array) -> Array:
    """Improve some items in `solved`, each until its residual will do; returns the steps taken, -1 where it did not.

    With a tolerance of 0 all take the steps that they are allowed, and are content with that.
    """
    taken = np.full(going.size, -1)
    search = _begin(runner, solved[going], going, diagonals, tolerance)
    places = np.arange(going.size)  # in `going`
    for step in range(int(allowed.max()) + 1):
        done = search.state == kernels.parts.DONE
        if tolerance == 0:
            done |= (search.state == kernels.parts.GOING) & (allowed[places] == step)
        solved[going[places[done]]] = search.solution[done]
        taken[places[done]] = step
        left = (search.state == kernels.parts.GOING) & ~done & (allowed[places] > step)
        if not left.any():
            break
        if not left.all():
            places = places[left]
            search, diagonals = _choose(search, left), _choose(diagonals, left)
        (products,) = runner.total(multiply_items, going[places], kernels.jit.read_only(search.direction))
        _blocks(kernels.parts.advance_search, places.size, diagonals, products, search)
    return taken


def _begin(runner: Runner, vectors: Array, going: Array, diagonals: Any, tolerance: float) -> Any:
    residual, inverse = runner.total(start_items, going, kernels.jit.read_only(vectors))
    count = going.size
    search = kernels.parts.Search(
        vectors, residual, inverse, np.empty_like(vectors), np.empty(count), np.empty(count), np.empty(count, np.uint8)
    )
    _blocks(kernels.parts.begin_search, count, diagonals, tolerance, search)
    return search


def _blocks(kernel: Any, count: int, *arguments: Any) -> None:
    """Call a kernel on ranges of the rows."""
    edges = np.linspace(0, count, min(count, 64) + 1).astype(np.int64).tolist()
    run_blocks(lambda block: kernel(edges[block], edges[block + 1], *arguments), len(edges) - 1)


def _choose(rows: Any, left: Array) -> Any:
    """Keep some of the rows; the spectrum of `Diagonals` belongs to all."""
    kept = {name: array[left] for name, array in rows._asdict().items() if name != "spectrum"}
    return rows._replace(**kept)
