"""From counts to the two numbers that a stored cell has in the objective, and the background of all other cells.

Confidence is ``C_ij = a0 a_i b_j + weight_ij``: the separable background plus the stored cell's weight above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class WeightedRows:
    """One side's half of the problem: what its row solves need, and what its share of the objective is made of."""

    counts: csr_array
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
        users=_weigh_rows(counts, user_scale, item_scale, config),
        items=_weigh_rows(transposed, item_scale, user_scale, config),
        config=config,
    )


def cells_of_rows(side: WeightedRows, start: int, stop: int, config: WMFConfig) -> Cells:
    """Make the literal confidence and preference of the stored cells of rows start to stop - 1."""
    indptr = side.rows.indptr[start : stop + 1]
    span = slice(indptr[0], indptr[-1])
    columns = side.rows.indices[span]
    background = np.repeat(side.rows.background[start:stop], np.diff(indptr)) * side.column_background[columns]
    confidence, preference = _literal(side.counts.data[span], background, config)
    return Cells(indptr - indptr[0], columns, confidence, preference, background)


def _literal(counts: NDArray[Any], background: Floats, config: WMFConfig) -> tuple[Floats, Floats]:
    """C and P of stored cells; a negative count is a known negative."""
    magnitude = np.abs(counts).astype(np.float64)
    confidence, preference = WEIGHTINGS[config.weighting](magnitude, background, config)
    return confidence, np.where(counts > 0, preference, 0.0)


def _weigh_rows(counts: csr_array, row_scale: Floats, column_scale: Floats, config: WMFConfig) -> WeightedRows:
    row_background = config.unobserved_weight * row_scale
    row_of_cell = _row_of_cells(counts)
    background = row_background[row_of_cell] * column_scale[counts.indices]
    with np.errstate(over="ignore", invalid="ignore"):
        confidence, preference = _literal(counts.data, background, config)
        weights = _to_dtype(confidence - background, config.factor_dtype, counts)
        targets = _to_dtype(confidence * preference, config.factor_dtype, counts)
        total = np.bincount(row_of_cell, weights=confidence - background, minlength=counts.shape[0])
        total += row_background * column_scale.sum()
        penalty = config.regularization * np.maximum(total, 0.0) ** config.regularization_exponent
    if not np.isfinite(penalty).all():
        raise InputError(
            f"the penalty of a row of total confidence {total.max():g} overflows: lower regularization_exponent "
            f"(now {config.regularization_exponent:g})"
        )
    rows = kernels.rows.Rows(
        indptr=counts.indptr.astype(np.int64),
        indices=kernels.jit.read_only(counts.indices.astype(np.int32, copy=False)),
        weights=weights,
        targets=targets,
        background=row_background,
        regularization=penalty,
    )
    return WeightedRows(counts, rows, column_scale)


def _to_dtype(values: Floats, dtype: np.dtype[Any], counts: csr_array) -> NDArray[Any]:
    """Convert, refusing what the precision cannot hold."""
    converted = values.astype(dtype)
    bad = np.flatnonzero(~np.isfinite(converted))
    if bad.size:
        cell = bad[0]
        row = int(np.searchsorted(counts.indptr, cell, side="right")) - 1
        raise InputError(
            f"the confidence of value {counts.data[cell]:g} (row {row}, column {counts.indices[cell]}) overflows "
            f"{dtype}; scale the values down, lower alpha, or use weighting='log'"
        )
    return converted
