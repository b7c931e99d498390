"""From counts to the two numbers that a stored cell has in the objective, and the background of all other cells.

Confidence is ``C_ij = a0 a_i b_j + weight_ij``: the separable background plus the stored cell's weight above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from . import kernels
from .config import WMFConfig
from .errors import InputError

Floats = NDArray[np.float64]
# a weighting: counts r >= 0 and background of each stored cell -> (confidence, preference of a positive count)
Weighting = Callable[[Floats, Floats, WMFConfig], tuple[Floats, Floats | float]]


def _linear(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, float]:
    """Hu, Koren and Volinsky 2008, section 4, where the background is 1."""
    return background + config.alpha * counts, 1.0


def _log(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, float]:
    """Hu, Koren and Volinsky 2008, equation 6."""
    return background + config.alpha * np.log1p(counts / config.log_epsilon), 1.0


def _ials(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, Floats]:
    """Rendle et al. 2022, equation 2: alpha (1 - p)^2 for a stored cell, on top of the background's p^2."""
    confidence = background + config.alpha * (counts != 0)
    return confidence, np.divide(config.alpha, confidence, out=np.zeros_like(confidence), where=confidence > 0)


def _raw(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, float]:
    """Take the count as the confidence; a stored 0 removes the cell from the objective."""
    return counts, 1.0


WEIGHTINGS: dict[str, Weighting] = {"linear": _linear, "log": _log, "ials": _ials, "raw": _raw}


def _uniform(counts: csr_array) -> Floats:
    return np.ones(counts.shape[0])


def _activity(counts: csr_array) -> Floats:
    """Proportional to the row's number of positive cells (Pan et al. 2008, user-oriented weighting)."""
    return np.bincount(_row_of_cells(counts)[counts.data > 0], minlength=counts.shape[0]).astype(np.float64)


def _absence(counts: csr_array) -> Floats:
    """Proportional to the number of columns without a positive cell (Pan et al. 2008, item-oriented weighting)."""
    return np.asarray(counts.shape[1] - _activity(counts))


def _root_activity(counts: csr_array) -> Floats:
    """Activity to the power 1/2 (He et al. 2016, equation 8, with the exponent they found best)."""
    return np.sqrt(_activity(counts))


BACKGROUNDS: dict[str, Callable[[csr_array], Floats]] = {
    "uniform": _uniform,
    "user": _activity,
    "item": _absence,
    "popularity": _root_activity,
}


def _row_of_cells(matrix: csr_array) -> NDArray[np.int64]:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def background_scale(scheme: str | None, counts: csr_array) -> Floats:
    """Background factor of each row of `counts`, of mean 1 so that a0 keeps its meaning; (rows,) float64."""
    scale = BACKGROUNDS[scheme or "uniform"](counts)
    mean = scale.mean()
    if mean == 0:
        raise InputError(f"the background {scheme!r} is 0 everywhere on this data; use 'uniform'")
    return np.asarray(scale / mean)


# Cells whose confidence is computed at a time, in float64.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightedRows:
    """One side's half of the problem: what its row solves need, and the background of the other side."""

    rows: Any  # kernels.rows.Rows
    column_background: Floats  # b_j of the other side, (columns,)

    @property
    def row_sizes(self) -> NDArray[np.int64]:
        """Stored cells of each row."""
        return np.asarray(np.diff(self.rows.indptr))


@dataclass(frozen=True)
class Cells:
    """Stored cells of a range of rows as the objective has them, in float64; `indptr` counts from the first cell."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    confidence: Floats
    preference: Floats
    background: Floats


@dataclass(frozen=True)
class Problem:
    """The weighted problem from both sides: users over items, and items over users."""

    counts: csr_array
    users: WeightedRows
    items: WeightedRows
    config: WMFConfig


def weigh(counts: csr_array, config: WMFConfig) -> Problem:
    """Turn counts (users x items, canonical) into the weighted problem that `config` describes.

    Raises
    ------
    InputError
        If a confidence or penalty overflows the precision of the factors, naming row and column.
    """
    transposed = counts.T.tocsr()
    user_scale = background_scale(config.user_background, counts)
    item_scale = background_scale(config.item_background, transposed)
    return Problem(
        counts=counts,
        users=_weigh_rows(counts, user_scale, item_scale, config),
        items=_weigh_rows(transposed, item_scale, user_scale, config),
        config=config,
    )


def cells_of_rows(problem: Problem, start: int, stop: int) -> Cells:
    """Make the literal confidence and preference of the stored cells of users start to stop - 1."""
    side = problem.users
    return _cells(problem.counts, side.rows.background, side.column_background, (start, stop), problem.config)


def _cells(
    counts: csr_array, row_background: Floats, column_scale: Floats, rows: tuple[int, int], config: WMFConfig
) -> Cells:
    start, stop = rows
    indptr = counts.indptr[start : stop + 1].astype(np.int64)
    span = slice(indptr[0], indptr[-1])
    columns = counts.indices[span]
    background = np.repeat(row_background[start:stop], np.diff(indptr)) * column_scale[columns]
    values = counts.data[span]
    confidence, preference = WEIGHTINGS[config.weighting](np.abs(values).astype(np.float64), background, config)
    # a negative count is a known negative
    return Cells(indptr - indptr[0], columns, confidence, np.where(values > 0, preference, 0.0), background)


class _Numbers(NamedTuple):
    """A number of each stored cell, or one for all (step 0), and its coefficient; see kernels.rows.Rows."""

    array: NDArray[Any]
    step: int
    coefficient: Any


def _weigh_rows(counts: csr_array, row_scale: Floats, column_scale: Floats, config: WMFConfig) -> WeightedRows:
    dtype = config.factor_dtype
    row_background = config.unobserved_weight * row_scale
    weights, targets = _short_weights(counts, config), _short_targets(counts, config)
    total = row_background * column_scale.sum()
    if weights is None or targets is None or config.regularization_exponent > 0:
        full_weights = _Numbers(np.empty(counts.nnz if weights is None else 0, dtype), 1, dtype.type(1))
        full_targets = _Numbers(np.empty(counts.nnz if targets is None else 0, dtype), 1, dtype.type(0))
        total += _fill(counts, row_background, column_scale, (full_weights.array, full_targets.array), config)
        weights, targets = weights or full_weights, targets or full_targets
    with np.errstate(over="ignore"):
        penalty = config.regularization * np.maximum(total, 0.0) ** config.regularization_exponent
    if not np.isfinite(penalty).all():
        raise InputError(
            f"the penalty of a row of total confidence {total.max():g} overflows: lower regularization_exponent "
            f"(now {config.regularization_exponent:g})"
        )
    rows = kernels.rows.Rows(
        indptr=counts.indptr.astype(np.int64),
        indices=kernels.jit.read_only(counts.indices.astype(np.int32, copy=False)),
        values=kernels.jit.read_only(weights.array),
        value_step=weights.step,
        scale=weights.coefficient,
        targets=kernels.jit.read_only(targets.array),
        target_step=targets.step,
        follow=targets.coefficient,
        kinds=np.empty(counts.shape[0], np.uint8),
        background=row_background,
        regularization=penalty,
    )
    kernels.rows.survey_rows(rows, 0, counts.shape[0])
    return WeightedRows(rows, column_scale)


def _short_weights(counts: csr_array, config: WMFConfig) -> _Numbers | None:
    """Weights that take no array: the same for all cells, or alpha times the counts."""
    dtype = config.factor_dtype
    if config.weighting == "raw" or counts.nnz == 0 or counts.data.min() < 0:
        return None
    least, most = _extreme_weights(counts, config)
    if not most < float(np.finfo(dtype).max):
        return None
    if least == most:
        return _Numbers(np.array([most], dtype), 0, dtype.type(1))
    if config.weighting == "linear" and counts.dtype == dtype and 1e-30 < config.alpha < 1e30:
        return _Numbers(counts.data, 1, dtype.type(config.alpha))
    return None


def _short_targets(counts: csr_array, config: WMFConfig) -> _Numbers | None:
    """Targets that take no array: alpha for all cells, or the weight and the one background of all cells."""
    dtype = config.factor_dtype
    if config.weighting == "raw" or counts.nnz == 0 or counts.data.min() <= 0:
        return None
    _, most = _extreme_weights(counts, config)
    if not max(most, config.unobserved_weight) < float(np.finfo(dtype).max) / 4:
        return None
    if config.weighting == "ials":
        return _Numbers(np.array([config.alpha], dtype), 0, dtype.type(0))
    if {config.user_background, config.item_background} <= {None, "uniform"}:
        return _Numbers(np.array([config.unobserved_weight], dtype), 0, dtype.type(1))
    return None


def _extreme_weights(counts: csr_array, config: WMFConfig) -> tuple[float, float]:
    """Return the least and the largest weight of counts >= 0: weights grow with the count."""
    ends = np.array([counts.data.min(), counts.data.max()], np.float64)
    with np.errstate(over="ignore", divide="ignore"):
        least, most = WEIGHTINGS[config.weighting](ends, np.zeros(2), config)[0]
    return float(least), float(most)


def _fill(
    counts: csr_array,
    row_background: Floats,
    column_scale: Floats,
    arrays: tuple[NDArray[Any], NDArray[Any]],
    config: WMFConfig,
) -> Floats:
    """Fill in weights and targets, where their arrays are not empty; returns the total weight of each row."""
    weights, targets = arrays
    totals = np.empty(counts.shape[0])
    for start, stop in _chunks(counts.indptr):
        with np.errstate(over="ignore", invalid="ignore"):
            cells = _cells(counts, row_background, column_scale, (start, stop), config)
            weight = cells.confidence - cells.background
            target = cells.confidence * cells.preference
        row_of_cell = np.repeat(np.arange(stop - start), np.diff(cells.indptr))
        totals[start:stop] = np.bincount(row_of_cell, weight, stop - start)
        span = slice(counts.indptr[start], counts.indptr[stop])
        for array, numbers in ((weights, weight), (targets, target)):
            if array.size:
                array[span] = _to_dtype(numbers, config.factor_dtype, counts, span.start)
    return totals


def _chunks(indptr: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Cut the rows into ranges of about _CHUNK stored cells."""
    edges = np.searchsorted(indptr, np.arange(0, indptr[-1], _CHUNK), side="left")
    edges = np.unique(np.concatenate([[0], edges, [len(indptr) - 1]]))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _to_dtype(values: Floats, dtype: np.dtype[Any], counts: csr_array, first: int) -> NDArray[Any]:
    """Convert the numbers of the cells from `first` on, refusing what the precision cannot hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(dtype)
    bad = np.flatnonzero(~np.isfinite(converted))
    if bad.size:
        cell = first + int(bad[0])
        row = int(np.searchsorted(counts.indptr, cell, side="right")) - 1
        raise InputError(
            f"the confidence of value {counts.data[cell]:g} (row {row}, column {counts.indices[cell]}) overflows "
            f"{dtype}; scale the values down, lower alpha, or use weighting='log'"
        )
    return converted
