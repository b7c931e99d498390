"""The alternating loop: each half-sweep solves one side's rows against the other side's factors.

The objective does not change when both factor matrices are multiplied by the same orthogonal matrix. Every half-sweep
therefore begins by rotating both to the eigenbasis of the fixed side's Gram matrix, which makes the part of every row's
system that all rows share diagonal (see :mod:`implicit_wmf.kernels.rows`). Nothing is ever rotated back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .confidence import SIDES, Problem, StoredCells, WeightedRows, literal_cells
from .config import WMFConfig
from .errors import InputError
from .row_plan import LEARNED, NOTHING_LEARNED, SidePlan
from .threads import run_blocks, single_threaded_blas

Array = NDArray[Any]
Bounds = list[tuple[int, int]]

# Fixed, so that sums do not depend on the number of threads: rows a BLAS call, and partial sums that are then added in
# their order.
BLAS_ROWS = 1024
_PARTIAL_SUMS = 16
# Row solves: enough blocks to balance, none so long (in nanoseconds) that Ctrl-C seems dead.
_MIN_BLOCKS = 64
_BLOCK_WORK = 20e6


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to.

    `loss` is the objective after the epoch and the sum of its three parts: `stored` cells, `background` (all other
    cells) and `regularization`; NaN where it was not asked for. `seconds` is the epoch's wall time, the loss included,
    the validation not. `exact_users` and `exact_items` are the shares of rows that were solved exactly, `user_steps`
    and `item_steps` the mean conjugate-gradient steps of the others (0 if there are none); NaN where an older model did
    not record them. `validation` has metrics on held-out interactions by name, empty where none were measured.
    """

    epoch: int
    loss: float
    stored: float
    background: float
    regularization: float
    seconds: float
    exact_users: float = np.nan
    exact_items: float = np.nan
    user_steps: float = np.nan
    item_steps: float = np.nan
    validation: dict[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Loss:
    """The objective in its three parts, float64."""

    stored: float
    background: float
    regularization: float

    @property
    def total(self) -> float:
        """The objective."""
        return self.stored + self.background + self.regularization


_UNKNOWN_LOSS = Loss(np.nan, np.nan, np.nan)


class Starting(Protocol):
    """The hyper-parameters of starting factors."""

    @property
    def factors(self) -> int:
        """Their length d."""

    @property
    def init_scale(self) -> float:
        """Their standard deviation, times sqrt(d)."""

    @property
    def factor_dtype(self) -> np.dtype[Any]:
        """Their precision."""

    @property
    def random_state(self) -> Any:
        """Their seed."""


def initial_factors(shape: tuple[int, int], config: Starting) -> tuple[Array, Array]:
    """Draw normal starting factors of standard deviation init_scale / sqrt(d), users first."""
    draw = _draws(config)
    users, items = (kernels.jit.aligned((count, config.factors), config.factor_dtype) for count in shape)
    return draw(users), draw(items)


def initial_item_factors(shape: tuple[int, int], config: Starting) -> Array:
    """Draw the items' factors of `initial_factors` without holding the users'."""
    users, items = shape
    draw = _draws(config)
    passed_over = np.empty((min(users, BLAS_ROWS), config.factors), config.factor_dtype)
    for start in range(0, users, BLAS_ROWS):
        draw(passed_over[: users - start])
    return draw(kernels.jit.aligned((items, config.factors), config.factor_dtype))


def _draws(config: Starting) -> Callable[[Array], Array]:
    """Make a function that fills arrays with the random numbers that follow."""
    generator = np.random.default_rng(config.random_state)
    dtype = config.factor_dtype
    with np.errstate(over="ignore"):
        scale = dtype.type(config.init_scale / np.sqrt(config.factors))
    if not np.isfinite(scale) or scale == 0:
        raise InputError(f"init_scale is {config.init_scale:g}, which {dtype} cannot hold divided by sqrt(factors)")

    def draw(factors: Array) -> Array:
        generator.standard_normal(dtype=dtype.type, out=factors)
        factors *= scale
        return factors

    return draw


class Reached(NamedTuple):
    """What an epoch came to, and all that the next one begins with."""

    user_factors: Array  # (users, d)
    item_factors: Array  # (items, d)
    user_steps: NDArray[np.float64] = NOTHING_LEARNED  # what the plans of both sides learned
    item_steps: NDArray[np.float64] = NOTHING_LEARNED


def outline(shape: tuple[int, int], config: WMFConfig) -> Reached:
    """Make arrays of the shapes and dtypes of what an epoch reaches, without their memory."""
    zero = config.factor_dtype.type(0)
    factors = [np.broadcast_to(zero, (count, config.factors)) for count in shape]
    return Reached(*factors, *2 * [np.broadcast_to(0.0, (LEARNED,))])


def epochs(
    problem: Problem, start: tuple[Array, Array] | Reached, *, done: int = 0, track_loss: bool = True
) -> Iterator[tuple[EpochRecord, Reached]]:
    """Yield (record, what was reached) after each epoch, from `start`, which so many epochs have reached, on.

    The arrays of the last yield stay as they are while the next epoch runs, so a caller that is interrupted holds the
    last whole epoch; the one after that reuses them, `start` too.
    """
    config = problem.config
    users, items, *learned = Reached(*start)
    spare_users, spare_items = (kernels.jit.aligned(factors.shape, factors.dtype) for factors in (users, items))
    sides = zip((problem.users, problem.items), learned, strict=True)
    user_plan, item_plan = (make_plan(side, config, before) for side, before in sides)
    for epoch in range(done + 1, config.iterations + 1):
        began = time.perf_counter()
        with single_threaded_blas():
            half_sweep(problem.users, (items, spare_items), (users, spare_users), config, user_plan)
            half_sweep(problem.items, (spare_users, spare_users), (spare_items, spare_items), config, item_plan)
            users, spare_users = spare_users, users
            items, spare_items = spare_items, items
            loss = compute_loss(problem, users, items, config.num_threads) if track_loss else _UNKNOWN_LOSS
        seconds = time.perf_counter() - began
        record = EpochRecord(
            epoch, loss.total, loss.stored, loss.background, loss.regularization, seconds,
            user_plan.exact, item_plan.exact, user_plan.mean_steps, item_plan.mean_steps,
        )  # fmt: skip
        yield record, Reached(users, items, user_plan.learned(), item_plan.learned())


def make_plan(side: WeightedRows, config: WMFConfig, learned: NDArray[np.float64] = NOTHING_LEARNED) -> SidePlan:
    """Plan how a side's rows are solved."""
    return SidePlan(
        side.row_sizes, side.rows.kinds, config.factors, config.factor_dtype,
        solver=config.solver, cg_steps=config.cg_steps, learned=learned,
    )  # fmt: skip


def half_sweep(
    side: WeightedRows,
    fixed: tuple[Array, Array],
    solved: tuple[Array, Array],
    config: WMFConfig,
    plan: SidePlan | None = None,
) -> None:
    """Solve one side's rows; each pair holds the array to read and the one to write, which may be the same.

    `plan` goes from one sweep of the side to the next.
    """
    plan = plan or make_plan(side, config)
    vectors, spectrum = to_eigenbasis(fixed[0], side.column_background, config.num_threads)
    rotate(*fixed, vectors, config)
    if plan.iterates:  # steps start from the rows as they are; exact rows are written without being read
        rotate(*solved, vectors, config)
    failed = solve_side(side.rows, plan, kernels.jit.whole_tiles(fixed[1]), spectrum, solved[1], config.num_threads)
    if failed >= 0:
        raise no_solution(side.name, failed, config)
    plan.learn()


def no_solution(side: str, position: int, config: WMFConfig) -> InputError:
    """Word that a row has no finite solution."""
    strength = config.regularizations[SIDES.index(side)]
    return InputError(
        f"the factors of the {side} at position {position} have no finite solution in {config.factor_dtype}: raise "
        f"regularization (now {strength:g} for {side}s), scale values and alpha to moderate sizes, or use "
        f"dtype='float64'"
    )


def to_eigenbasis(
    fixed: Array, scale: NDArray[np.float64], num_threads: int | None
) -> tuple[Array, NDArray[np.float64]]:
    """Eigenvectors (as columns) and eigenvalues, padded to whole tiles, of the fixed side's Gram matrix."""
    return eigenbasis(gram_matrix(fixed, scale, num_threads), fixed.dtype)


def eigenbasis(gram: NDArray[np.float64], dtype: np.dtype[Any]) -> tuple[Array, NDArray[np.float64]]:
    """Eigenvectors of a Gram matrix of factors of this precision, and eigenvalues, as of `to_eigenbasis`."""
    if not np.isfinite(gram).all():
        raise InputError(f"the factors overflow {dtype}: scale the values down, or use dtype='float64'")
    spectrum, vectors = np.linalg.eigh(gram)
    # Directions that the fixed side does not span have eigenvalues of rounding size, of either sign. The rotated
    # factors are rounded too: less than this floor is noise. With a tiny regularization, rows solved without the floor
    # made the objective rise tenfold (test_loss_never_rises_with_little_regularization).
    floored = np.maximum(spectrum, np.finfo(dtype).eps * spectrum[-1])
    padding = kernels.jit.whole_tiles(np.empty((0, spectrum.size), dtype)).shape[1] - spectrum.size
    return vectors.astype(dtype), np.pad(floored, (0, padding), constant_values=-1)


def gram_matrix(factors: Array, scale: NDArray[np.float64], num_threads: int | None) -> NDArray[np.float64]:
    """Sum of scale_j h_j h_j' in float64, (d, d); the same bits for any number of threads."""
    count, width = factors.shape
    bounds = _even_bounds(count, min(_PARTIAL_SUMS, max(1, count // BLAS_ROWS)))
    sums = [kernels.gram.make_sum(factors) for _ in bounds]
    rows, scale = kernels.jit.read_only(factors), kernels.jit.read_only(scale)

    def add(block: int) -> None:
        kernels.gram.add_gram(rows, scale, *bounds[block], kernels.gram.make_panel(factors), sums[block])

    run_blocks(add, len(bounds), num_threads)
    upper = np.triu(sum(sums)[:width, :width])
    return np.asarray(upper + np.triu(upper, 1).T)


def rotate(factors: Array, out: Array, vectors: Array, config: WMFConfig) -> None:
    """Write out = factors @ vectors; `out` may be `factors` itself."""
    bounds = _even_bounds(len(factors), -(-len(factors) // BLAS_ROWS))

    def multiply(block: int) -> None:
        rows = slice(*bounds[block])
        if out is factors:
            out[rows] = factors[rows] @ vectors
        else:
            np.matmul(factors[rows], vectors, out=out[rows])

    run_blocks(multiply, len(bounds), config.num_threads)


def solve_side(
    rows: Any,
    plan: SidePlan,
    fixed: Array,
    spectrum: NDArray[np.float64],
    solved: Array,
    num_threads: int | None,
) -> int:
    """Solve every row of a side, heaviest blocks first; returns the first row without a finite solution, or -1.

    Parameters
    ----------
    rows : kernels.rows.Rows
    plan : SidePlan
    fixed : (columns, width) array
        Factors of the other side, in whole tiles.
    spectrum : (width,) array
        Diagonal of the Gram matrix that all rows share, -1 for padding; see kernels.rows.
    solved : (rows, d) array
        Read where the plan has steps, and written.
    num_threads : int or None
        By default every core.
    """
    bounds = balanced_bounds(plan.work)
    failed = np.full(len(bounds), -1, dtype=np.int64)

    scratches: list[Any] = []  # as many as threads, in the end

    def solve(block: int) -> None:
        try:
            scratch = scratches.pop()
        except IndexError:
            scratch = kernels.rows.make_scratch(fixed)
        failed[block] = kernels.solve.solve_rows(
            rows, *bounds[block], fixed, spectrum, plan.steps, plan.tolerance, scratch, solved
        )
        scratches.append(scratch)

    run_blocks(solve, len(bounds), num_threads)
    return int(min(failed[failed >= 0], default=-1))


def balanced_bounds(work: NDArray[np.float64]) -> Bounds:
    """Cut the rows into ranges of about equal work (nanoseconds, roughly), the heaviest range first."""
    total = np.cumsum(work)
    count = int(max(_MIN_BLOCKS, min(total[-1] // _BLOCK_WORK, work.size)))
    cuts = np.searchsorted(total, np.linspace(0, total[-1], count + 1)[1:-1], side="left") + 1
    edges = np.unique(np.concatenate([[0], np.minimum(cuts, work.size), [work.size]]))
    cost = np.add.reduceat(work, edges[:-1])
    return [(int(edges[k]), int(edges[k + 1])) for k in np.argsort(-cost, kind="stable")]


def _even_bounds(count: int, blocks: int) -> Bounds:
    edges = np.linspace(0, count, blocks + 1).astype(np.int64)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def compute_loss(problem: Problem, users: Array, items: Array, num_threads: int | None) -> Loss:
    """Compute the objective at the given factors in float64; the m x n matrix is never formed.

    The stored cells are summed as they are. Over all cells the background is
    a0 tr((sum a_i w_i w_i')(sum b_j h_j h_j')), from which the stored cells' share is taken off.
    """
    side = problem.users
    stored, shared = sum_stored_cells(
        problem.stored, side.row_background, side.column_background, (users, items), problem.config, num_threads
    )
    with single_threaded_blas():
        user_gram = gram_matrix(users, side.row_background, num_threads)
        item_gram = gram_matrix(items, side.column_background, num_threads)
    rows, columns = problem.stored.matrix.shape
    elsewhere = float(np.sum(user_gram * item_gram) - shared) if problem.stored.matrix.nnz < rows * columns else 0.0
    return Loss(
        stored=float(stored),
        background=max(0.0, elsewhere),  # not the rounding of a difference
        regularization=sum(
            penalty(one.rows.regularization, factors) for one, factors in ((side, users), (problem.items, items))
        ),
    )


def sum_stored_cells(
    stored: StoredCells,
    row_background: NDArray[np.float64],
    column_scale: NDArray[np.float64],
    factors: tuple[Array, Array],
    config: WMFConfig,
    num_threads: int | None,
) -> NDArray[np.float64]:
    """Sum confidence (preference - p)^2 and background p^2 over the stored cells, p the predictions; (2,) float64."""
    users, items = factors
    bounds = balanced_bounds((np.diff(stored.matrix.indptr) + 1.0) * users.shape[1] / 4)
    sums = np.zeros((len(bounds), 2))

    def add(block: int) -> None:
        start, stop = bounds[block]
        cells = literal_cells(stored, row_background, column_scale, (start, stop), config)
        kernels.objective.sum_stored_cells(
            cells.indptr, cells.columns, cells.confidence, cells.preference, cells.background,
            kernels.jit.read_only(users[start:stop]), kernels.jit.read_only(items), sums[block],
        )  # fmt: skip

    run_blocks(add, len(bounds), num_threads)
    return np.asarray(sums.sum(axis=0))


def penalty(strengths: NDArray[np.float64], factors: Array) -> float:
    """Sum lambda_i |w_i|^2 over the rows of factors."""
    squares = np.einsum("ik,ik->i", factors, factors, dtype=np.float64)
    return float(strengths @ squares)
