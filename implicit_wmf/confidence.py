"""The weighted problem: the two numbers that a stored cell has in the objective, and the background of all others.

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
from ._cells import place_of
from ._csr import rows_of_cells
from .config import WMFConfig
from .errors import InputError
from .threads import run_blocks
from .weightings import BACKGROUNDS, WEIGHTINGS, Floats

SIDES = ("user", "item")
# Cells whose confidence is computed at a time, in float64.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredCells:
    """The stored cells, row by row, and what is known of them.

    `matrix` holds counts, from which a weighting makes confidence and preference; or, where `confidence` has a number
    for each cell (NaN for the background's), preferences.
    """

    matrix: csr_array
    confidence: NDArray[Any] | None = None

    def transposed(self) -> StoredCells:
        """Return the same cells, column by column."""
        other = self.matrix.T.tocsr()
        if self.confidence is None:
            return StoredCells(other)
        pattern = csr_array((self.confidence, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape)
        return StoredCells(other, pattern.T.tocsr().data)

    def activity(self) -> Floats:
        """Count the positive cells of each row; cells that were removed are left out."""
        positive = self.matrix.data > 0
        if self.confidence is not None:
            positive &= self.confidence != 0
        counts = np.zeros(self.matrix.shape[0])
        filled = np.diff(self.matrix.indptr) > 0
        if filled.any():
            counts[filled] = np.add.reduceat(positive, self.matrix.indptr[:-1][filled], dtype=np.int64)
        return counts


@dataclass(frozen=True)
class WeightedRows:
    """One side's half of the problem: what its row solves need, and the background of both sides."""

    name: str  # of SIDES
    rows: Any  # kernels.rows.Rows
    row_background: Floats  # a0 a_i, (rows,); that of `rows` is 0 where a row has confidences in place of weights
    column_background: Floats  # b_j of the other side, (columns,)

    @property
    def row_sizes(self) -> NDArray[np.int64]:
        """Stored cells of each row."""
        return np.asarray(np.diff(self.rows.indptr))


@dataclass(frozen=True)
class LiteralCells:
    """Stored cells of a range of rows as the objective has them, in float64; `indptr` counts from the first cell."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    confidence: Floats
    preference: Floats
    background: Floats


@dataclass(frozen=True)
class Problem:
    """The weighted problem from both sides: users over items, and items over users."""

    stored: StoredCells
    users: WeightedRows
    items: WeightedRows
    config: WMFConfig


def weigh(counts: csr_array, config: WMFConfig, confidence: csr_array | None = None) -> Problem:
    """Turn data (users x items) into the weighted problem that `config` describes.

    Parameters
    ----------
    counts : canonical csr_array
        Counts, or preferences where confidence is given.
    config : WMFConfig
    confidence : canonical csr_array of the same shape, >= 0, optional
        Confidence of the cells that it stores; 0 removes a cell. Cells that only one of the two matrices stores have
        preference 0, or the background's confidence.

    Raises
    ------
    InputError
        If a confidence or penalty overflows the precision of the factors, naming row and column, or a background has
        another length than its side.
    """
    stored = stored_cells(counts, confidence, config)
    transposed = stored.transposed()
    user_scale = background_scale("user_background", stored, config)
    item_scale = background_scale("item_background", transposed, config)
    return Problem(
        stored=stored,
        users=weigh_rows("user", stored, user_scale, item_scale, config),
        items=weigh_rows("item", transposed, item_scale, user_scale, config),
        config=config,
    )


def stored_cells(counts: csr_array, confidence: csr_array | None, config: WMFConfig) -> StoredCells:
    """Take counts, or preferences with confidences, as what is known of the cells that either stores."""
    if confidence is not None:
        return _join(counts, confidence)
    if config.zeros_remove:
        positive = (counts.data > 0).astype(counts.dtype)
        return StoredCells(
            csr_array((positive, counts.indices, counts.indptr), shape=counts.shape), np.abs(counts.data)
        )
    return StoredCells(counts)


def _join(preference: csr_array, confidence: csr_array) -> StoredCells:
    """Cells that either matrix stores."""
    dtype = np.promote_types(preference.dtype, confidence.dtype)
    same = np.array_equal(preference.indptr, confidence.indptr)
    if same and np.array_equal(preference.indices, confidence.indices):
        return StoredCells(preference, confidence.data)
    columns = preference.shape[1]
    keys = [rows_of_cells(m.indptr) * columns + m.indices for m in (preference, confidence)]
    merged = np.sort(np.concatenate(keys), kind="stable")  # of two sorted runs: linear, where np.union1d is not
    union = merged[np.append(merged[:-1] != merged[1:], True)[: merged.size]]
    values, weights = np.zeros(union.size, dtype), np.full(union.size, np.nan, dtype)
    values[np.searchsorted(union, keys[0])] = preference.data
    weights[np.searchsorted(union, keys[1])] = confidence.data
    rows, indices = np.divmod(union, columns)
    indptr = np.searchsorted(rows, np.arange(preference.shape[0] + 1))
    return StoredCells(csr_array((values, indices, indptr), shape=preference.shape), weights)


def background_scale(name: str, stored: StoredCells, config: WMFConfig) -> Floats:
    """Background factor of each row, of mean 1 so that a0 keeps its meaning; (rows,) float64."""
    return scale_rows(name, stored.activity, stored.matrix.shape, config)


def scale_rows(name: str, activity: Callable[[], Floats], shape: tuple[int, int], config: WMFConfig) -> Floats:
    """Make what `background_scale` does from the number of positive cells of each row."""
    scheme = getattr(config, name)
    rows, columns = shape
    if scheme is None:
        return np.ones(rows)
    if isinstance(scheme, str):
        scale = BACKGROUNDS[name][scheme](activity(), columns, config)
    else:
        scale = np.array(scheme, dtype=np.float64)
        if scale.shape != (rows,):
            raise InputError(f"{name} has shape {scale.shape}; the data needs {(rows,)}, a number for each of them")
    largest = scale.max()
    if largest == 0:
        raise InputError(f"{name}: the background {scheme!r} is 0 everywhere on this data; use 'uniform'")
    scale = scale / largest  # first, because the sum may overflow
    return np.asarray(scale / scale.mean())


def literal_cells(
    stored: StoredCells, row_background: Floats, column_scale: Floats, rows: tuple[int, int], config: WMFConfig
) -> LiteralCells:
    """Make the literal confidence and preference of the stored cells of some rows, given the backgrounds."""
    start, stop = rows
    indptr = stored.matrix.indptr[start : stop + 1].astype(np.int64)
    span = slice(indptr[0], indptr[-1])
    columns = stored.matrix.indices[span].astype(np.int32, copy=False)
    background = np.repeat(row_background[start:stop], np.diff(indptr)) * column_scale[columns]
    values = stored.matrix.data[span].astype(np.float64)
    if stored.confidence is None:
        confidence, positive = WEIGHTINGS[config.weighting](np.abs(values), background, config)
        preference = np.where(values > 0, positive, 0.0)  # a negative count is a known negative
    else:
        given = stored.confidence[span].astype(np.float64)
        confidence, preference = np.where(np.isnan(given), background, given), values
    return LiteralCells(indptr - indptr[0], columns, confidence, preference, background)


class _Numbers(NamedTuple):
    """A number of each stored cell, or one for all (step 0), and its coefficient; see kernels.rows.Rows."""

    array: NDArray[Any]
    step: int
    coefficient: Any


def weigh_rows(
    name: str,
    stored: StoredCells,
    row_scale: Floats,
    column_scale: Floats,
    config: WMFConfig,
    regularization: Floats | None = None,
) -> WeightedRows:
    """Make the rows of the side of this name, of backgrounds of mean 1; penalties that are known are taken as given."""
    row_background = config.unobserved_weight * row_scale
    below = count_below(stored, row_background, column_scale)
    bare = choose_bare(np.diff(stored.matrix.indptr), below, len(column_scale))
    stored = store_bare(stored, bare)
    totals = regularization is None and config.regularization_exponent > 0
    rows, total = weigh_cells(stored, row_background, column_scale, config, bare, totals=totals)
    if regularization is None:
        total += np.where(bare, 0.0, row_background * column_scale.sum())
        regularization = penalties(total, config.regularizations[SIDES.index(name)], config)
    rows = rows._replace(background=np.where(bare, 0.0, row_background), regularization=regularization)
    kernels.rows.survey_rows(rows, 0, len(total))
    return WeightedRows(name, rows, row_background, column_scale)


def weigh_cells(
    stored: StoredCells,
    row_background: Floats,
    column_scale: Floats,
    config: WMFConfig,
    bare: NDArray[np.bool_] | None = None,
    *,
    totals: bool = False,
) -> tuple[Any, Floats]:
    """Make rows of cells alone, of unknown kind, no background and no penalty; and each row's total weight.

    In `bare` rows the weight is the confidence itself. The totals are 0 if they are not asked for.
    """
    dtype, matrix = config.factor_dtype, stored.matrix
    count = matrix.shape[0]
    weights, targets = _short_weights(stored, config), _short_targets(stored, config)
    total = np.zeros(count)
    if weights is None or targets is None or totals:
        full_weights = _Numbers(np.empty(matrix.nnz if weights is None else 0, dtype), 1, dtype.type(1))
        full_targets = _Numbers(np.empty(matrix.nnz if targets is None else 0, dtype), 1, dtype.type(0))
        scales = row_background, column_scale
        bare = np.zeros(count, dtype=bool) if bare is None else bare
        total = _fill(stored, scales, bare, (full_weights.array, full_targets.array), config)
        weights, targets = weights or full_weights, targets or full_targets
    rows = kernels.rows.Rows(
        indptr=matrix.indptr.astype(np.int64),
        indices=kernels.jit.read_only(matrix.indices.astype(np.int32, copy=False)),
        values=kernels.jit.read_only(weights.array),
        value_step=weights.step,
        scale=weights.coefficient,
        targets=kernels.jit.read_only(targets.array),
        target_step=targets.step,
        follow=targets.coefficient,
        kinds=np.full(count, kernels.rows.PRIMAL, np.uint8),
        background=np.zeros(count),
        regularization=np.zeros(count),
    )
    return rows, total


def count_below(stored: StoredCells, row_background: Floats, column_scale: Floats) -> NDArray[np.int64]:
    """Count the cells of each row whose confidence, where it is given, is below the background."""
    matrix = stored.matrix
    if stored.confidence is None:
        return np.zeros(matrix.shape[0], np.int64)
    row = rows_of_cells(matrix.indptr)
    below = stored.confidence < row_background[row] * column_scale[matrix.indices]
    return np.bincount(row[below], minlength=matrix.shape[0])


def choose_bare(sizes: NDArray[Any], below: NDArray[np.int64], columns: int) -> NDArray[np.bool_]:
    """Choose rows that are solved without the background.

    They are those that store half of their cells, some below the background. Weights below it cancel it, which costs
    digits, and the more the more cells there are: of a float32 row with a removed cell in 97 % of the columns, none
    would be left. So these rows get confidences in place of weights.
    """
    return np.asarray((2 * sizes >= columns) & (below > 0))


def store_bare(stored: StoredCells, bare: NDArray[np.bool_]) -> StoredCells:
    """Store all cells of some rows that weigh anything."""
    matrix = stored.matrix
    if stored.confidence is None or not bare.any():
        return stored
    columns = matrix.shape[1]
    row = rows_of_cells(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(np.where(bare, columns, np.diff(matrix.indptr)))])
    place = indptr[row] + np.where(bare[row], matrix.indices, np.arange(row.size) - matrix.indptr[row])
    indices = np.empty(indptr[-1], matrix.indices.dtype)
    in_bare = np.repeat(bare, np.diff(indptr))
    indices[in_bare] = np.tile(np.arange(columns), np.count_nonzero(bare))
    indices[place] = matrix.indices
    values, confidence = np.zeros(indices.size, matrix.dtype), np.full(indices.size, np.nan, stored.confidence.dtype)
    values[place], confidence[place] = matrix.data, stored.confidence
    kept = ~in_bare | (confidence != 0)
    indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
    pattern = csr_array((values[kept], indices[kept], indptr), shape=matrix.shape)
    return StoredCells(pattern, confidence[kept])


def penalties(total: Floats, strength: float, config: WMFConfig) -> Floats:
    """Penalty of each row of this total confidence."""
    with np.errstate(over="ignore"):
        penalty = strength * np.maximum(total, 0.0) ** config.regularization_exponent
    if not np.isfinite(penalty).all():
        raise InputError(
            f"the penalty of a row of total confidence {total.max():g} overflows: lower regularization_exponent "
            f"(now {config.regularization_exponent:g})"
        )
    return np.asarray(penalty)


def _short_weights(stored: StoredCells, config: WMFConfig) -> _Numbers | None:
    """Weights that take no array: the same for all cells, or alpha times the counts."""
    dtype, counts = config.factor_dtype, stored.matrix
    if stored.confidence is not None or counts.nnz == 0 or counts.data.min() < 0:
        return None
    least, most = _extreme_weights(counts, config)
    if not most < float(np.finfo(dtype).max):
        return None
    if least == most:
        return _Numbers(np.array([most], dtype), 0, dtype.type(1))
    if config.weighting == "linear" and counts.dtype == dtype and 1e-30 < config.alpha < 1e30:
        return _Numbers(counts.data, 1, dtype.type(config.alpha))
    return None


def _short_targets(stored: StoredCells, config: WMFConfig) -> _Numbers | None:
    """Targets that take no array: alpha for all cells, or the weight and the one background of all cells."""
    dtype, counts = config.factor_dtype, stored.matrix
    if stored.confidence is not None or counts.nnz == 0 or counts.data.min() <= 0:
        return None
    _, most = _extreme_weights(counts, config)
    if not max(most, config.unobserved_weight) < float(np.finfo(dtype).max) / 4:
        return None
    if config.weighting == "ials":
        return _Numbers(np.array([config.alpha], dtype), 0, dtype.type(0))
    backgrounds = (config.user_background, config.item_background)
    if all(scheme is None or isinstance(scheme, str) and scheme == "uniform" for scheme in backgrounds):
        return _Numbers(np.array([config.unobserved_weight], dtype), 0, dtype.type(1))
    return None


def _extreme_weights(counts: csr_array, config: WMFConfig) -> tuple[float, float]:
    """Return the least and the largest weight of counts >= 0: weights grow with the count."""
    ends = np.array([counts.data.min(), counts.data.max()], np.float64)
    with np.errstate(over="ignore", divide="ignore"):
        least, most = WEIGHTINGS[config.weighting](ends, np.zeros(2), config)[0]
    return float(least), float(most)


def _fill(
    stored: StoredCells,
    scales: tuple[Floats, Floats],
    bare: NDArray[np.bool_],
    arrays: tuple[NDArray[Any], NDArray[Any]],
    config: WMFConfig,
) -> Floats:
    """Fill in weights and targets, where their arrays are not empty; returns the total weight of each row.

    `scales` are the backgrounds of rows and columns; in `bare` rows the weight is the confidence itself.
    """
    totals = np.empty(stored.matrix.shape[0])
    chunks = list(_chunks(stored.matrix.indptr))

    def fill(chunk: int) -> None:
        start, stop = chunks[chunk]
        with np.errstate(over="ignore", invalid="ignore"):
            cells = literal_cells(stored, *scales, (start, stop), config)
            row_of_cell = rows_of_cells(cells.indptr)
            weight = cells.confidence - np.where(bare[start:stop][row_of_cell], 0.0, cells.background)
            target = cells.confidence * cells.preference
        totals[start:stop] = np.bincount(row_of_cell, weight, stop - start)
        span = slice(stored.matrix.indptr[start], stored.matrix.indptr[stop])
        for array, numbers in zip(arrays, (weight, target), strict=True):
            if array.size:
                array[span] = _to_dtype(numbers, cells, config.factor_dtype, stored, span.start)

    run_blocks(fill, len(chunks), config.num_threads)
    return totals


def _chunks(indptr: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Cut the rows into ranges of about _CHUNK stored cells."""
    edges = np.searchsorted(indptr, np.arange(0, indptr[-1], _CHUNK), side="left")
    edges = np.unique(np.concatenate([[0], edges, [len(indptr) - 1]]))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _to_dtype(
    values: Floats, cells: LiteralCells, dtype: np.dtype[Any], stored: StoredCells, first: int
) -> NDArray[Any]:
    """Convert the numbers of the cells from `first` on, refusing what the precision cannot hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(dtype)
    bad = np.flatnonzero(~np.isfinite(converted))
    if bad.size:
        cell = first + int(bad[0])
        matrix = stored.matrix
        place = "(row {}, column {})".format(*place_of(matrix, cell))
        if stored.confidence is not None:
            raise InputError(
                f"confidence {cells.confidence[bad[0]]:g} with preference {matrix.data[cell]:g} {place} overflows "
                f"{dtype}; scale them down, or use dtype='float64'"
            )
        raise InputError(
            f"the confidence of value {matrix.data[cell]:g} {place} overflows "
            f"{dtype}; scale the values down, lower alpha, or use weighting='log'"
        )
    return converted
