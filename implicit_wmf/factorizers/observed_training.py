"""Alternating row solves over observed ratings, both sides by the same code.

With the other side fixed, a row's factors and its bias solve one least-squares problem: the features of a cell are the
other side's factors and a 1, its target is the rating less the mean and the other side's bias. That is a row of
:mod:`implicit_wmf.kernels.rows` whose cells all weigh 1. Cells that are not observed take no part, so there is no Gram
matrix to make diagonal: what the kernels call background is n_i^nu, and what they call spectrum is lambda.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .. import kernels
from .._cells import place_of
from ..errors import InputError
from ..row_plan import SidePlan
from ..threads import run_blocks
from ..training import balanced_bounds, initial_factors, solve_side
from .observed_config import ObservedMFConfig
from .records import IterationRecord

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Vectors(NamedTuple):
    """What is fitted of one side: factors (rows, d) and biases (rows,), of one dtype."""

    factors: Array
    biases: Array


@dataclass(frozen=True)
class RatedRows:
    """One side's half of the problem."""

    name: str
    rows: Any  # kernels.rows.Rows; the targets are put in for each half-sweep
    ratings: Floats  # (cells,), less the mean
    strengths: tuple[float, ...]  # lambda of the factors and, if the rows have biases, of the bias
    plan: SidePlan

    @property
    def has_bias(self) -> bool:
        """Whether the rows have biases."""
        return len(self.strengths) > 1


@dataclass(frozen=True)
class RatingProblem:
    """Observed ratings from both sides: users over items, and items over users."""

    users: RatedRows
    items: RatedRows


def mean_rating(ratings: csr_array) -> float:
    """Average the stored cells in float64."""
    with np.errstate(over="ignore"):  # `pose` refuses what comes of it
        return float(ratings.data.mean(dtype=np.float64))


def pose(ratings: csr_array, mean: float, config: ObservedMFConfig) -> RatingProblem:
    """Turn ratings (users x items, canonical, at least one) less `mean` into the problem that `config` describes.

    Raises
    ------
    InputError
        If a rating less the mean, or a penalty, overflows the precision of the factors.
    """
    _check_range(ratings, mean, config)
    return RatingProblem(
        _rated_rows("user", ratings, mean, config.user_bias, config),
        _rated_rows("item", ratings.T.tocsr(), mean, config.item_bias, config),
    )


def _check_range(ratings: csr_array, mean: float, config: ObservedMFConfig) -> None:
    values, dtype = ratings.data.astype(np.float64), config.factor_dtype
    with np.errstate(over="ignore", invalid="ignore"):
        bad = np.flatnonzero(~np.isfinite((values - mean).astype(dtype)))
    if bad.size:
        cell = int(bad[0])
        row, column = place_of(ratings, cell)
        raise InputError(
            f"ratings: {values[cell]:g} at row {row}, column {column}, less the mean {mean:g}, "
            f"overflows {dtype}; scale the ratings down, or use dtype='float64'"
        )


def _rated_rows(name: str, matrix: csr_array, mean: float, bias: bool, config: ObservedMFConfig) -> RatedRows:
    sizes = np.diff(matrix.indptr)
    strengths = (config.regularization, config.bias_regularization)[: 1 + bias]
    with np.errstate(over="ignore"):
        scale = sizes.astype(np.float64) ** config.regularization_exponent
        highest = (scale.max() * np.array(strengths)).astype(config.factor_dtype)
    if not np.isfinite(highest).all():
        raise InputError(
            f"the penalty of the {name} with {sizes.max()} ratings overflows {config.factor_dtype}: lower "
            f"regularization_exponent (now {config.regularization_exponent:g})"
        )
    one = kernels.jit.read_only(np.ones(1, config.factor_dtype))
    rows = kernels.rows.Rows(
        indptr=matrix.indptr.astype(np.int64),
        indices=kernels.jit.read_only(matrix.indices.astype(np.int32, copy=False)),
        values=one,
        value_step=0,
        scale=config.factor_dtype.type(1),
        targets=one,
        target_step=1,
        follow=config.factor_dtype.type(0),
        # Weights of 1 leave the dual open to every row. Targets of 0 need no kind of their own: the solution is 0.
        kinds=np.where(sizes > 0, kernels.rows.ANY, kernels.rows.EMPTY).astype(np.uint8),
        background=scale,
        regularization=np.zeros(sizes.size),
    )
    plan = SidePlan(sizes.astype(np.int64), rows.kinds, config.factors, config.factor_dtype)
    return RatedRows(name, rows, matrix.data.astype(np.float64) - mean, strengths, plan)


def start(shape: tuple[int, int], config: ObservedMFConfig) -> tuple[Vectors, Vectors]:
    """Draw starting factors of users and items; biases start at 0."""
    users, items = (
        Vectors(factors, np.zeros(len(factors), factors.dtype)) for factors in initial_factors(shape, config)
    )
    return users, items


def epochs(
    problem: RatingProblem, begin: tuple[Vectors, Vectors], config: ObservedMFConfig, *, track_loss: bool = True
) -> Iterator[tuple[IterationRecord, tuple[Vectors, Vectors]]]:
    """Yield (record, (users, items)) after each epoch; what was yielded stays as it is."""
    users, items = begin
    for epoch in range(1, config.iterations + 1):
        began = time.perf_counter()
        users = half_sweep(problem.users, items, config)
        items = half_sweep(problem.items, users, config)
        loss = compute_loss(problem, users, items, config.num_threads) if track_loss else np.nan
        yield IterationRecord(epoch, loss, time.perf_counter() - began), (users, items)


def half_sweep(side: RatedRows, fixed: Vectors, config: ObservedMFConfig) -> Vectors:
    """Solve one side's rows exactly, given the other side.

    Raises
    ------
    InputError
        If a row has no finite solution in the precision of the factors; names it.
    """
    count, d = side.rows.kinds.size, fixed.factors.shape[1]
    dtype = fixed.factors.dtype
    with np.errstate(over="ignore"):
        targets = (side.ratings - fixed.biases[side.rows.indices]).astype(dtype)
    features = kernels.jit.aligned((len(fixed.factors), d + side.has_bias), dtype)
    features[:, :d] = fixed.factors
    features[:, d:] = 1
    tiles = kernels.jit.whole_tiles(features)
    spectrum = np.full(tiles.shape[1], -1.0)
    spectrum[:d] = side.strengths[0]
    spectrum[d : d + side.has_bias] = side.strengths[1:]
    solved = kernels.jit.aligned((count, d + side.has_bias), dtype)
    rows = side.rows._replace(targets=kernels.jit.read_only(targets))
    failed = solve_side(rows, side.plan, tiles, spectrum, solved, config.num_threads)
    if failed >= 0:
        raise InputError(
            f"the factors of the {side.name} at position {failed} have no finite solution in {dtype}: raise "
            f"regularization (now {config.regularization:g}) or bias_regularization (now "
            f"{config.bias_regularization:g}), scale the ratings to moderate sizes, or use dtype='float64'"
        )
    if not side.has_bias:
        return Vectors(solved, np.zeros(count, dtype))
    return Vectors(np.ascontiguousarray(solved[:, :d]), np.ascontiguousarray(solved[:, d]))


def compute_loss(problem: RatingProblem, users: Vectors, items: Vectors, num_threads: int | None) -> float:
    """Compute the objective in float64, the same bits for any number of threads."""
    side = problem.users
    indptr, columns = side.rows.indptr, side.rows.indices
    bounds = balanced_bounds((np.diff(indptr) + 1.0) * users.factors.shape[1] / 4)
    sums = np.zeros((len(bounds), 2))
    fixed = kernels.jit.read_only(items.factors)

    def add(block: int) -> None:
        first, last = bounds[block]
        cells = slice(indptr[first], indptr[last])
        own = np.repeat(users.biases[first:last].astype(np.float64), np.diff(indptr[first : last + 1]))
        ones = np.ones(own.size)
        kernels.objective.sum_stored_cells(
            indptr[first : last + 1] - indptr[first], columns[cells], ones,
            side.ratings[cells] - own - items.biases[columns[cells]], ones,
            kernels.jit.read_only(users.factors[first:last]), fixed, sums[block],
        )  # fmt: skip

    run_blocks(add, len(bounds), num_threads)
    return float(sums[:, 0].sum() + _penalty(side, users) + _penalty(problem.items, items)) / 2


def _penalty(side: RatedRows, solved: Vectors) -> float:
    """Sum of n_i^nu (lambda |p_i|^2 + bias lambda b_i^2)."""
    squares = side.strengths[0] * np.einsum("ik,ik->i", solved.factors, solved.factors, dtype=np.float64)
    for strength in side.strengths[1:]:
        squares += strength * solved.biases.astype(np.float64) ** 2
    return float(side.rows.background @ squares)
