"""Multiplicative updates under the generalised Kullback-Leibler divergence, and the divergence itself.

With predictions p_ij = w_i . h_j of counts a_ij, a row's update is Lee and Seung's (2001, Theorem 2):

    w_ik <- w_ik * (sum_j a_ij h_jk / p_ij) / (sum_j h_jk)

Its numerator needs the row's stored cells only, 4 flops a cell and factor. Here d is the padded width of the fixed
factors, as in :mod:`implicit_wmf.kernels.rows`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import simd
from .jit import aligned, block_kernel, inner
from .rows import all_finite, clear, prefetch_ahead


class CountRows(NamedTuple):
    """One side's rows: CSR arrays over the stored counts."""

    indptr: Any  # int64 (rows + 1)
    indices: Any  # int32 (stored cells), positions in the fixed side
    values: Any  # >= 0 (stored cells), of the factors' dtype


def make_scratch(fixed: Any) -> Any:
    """Allocate a row and its numerator, (2, d), for a block of rows against these factors."""
    return aligned((2, fixed.shape[1]), fixed.dtype)


@inner
def _ratio(count, prediction, limit):
    """Count / prediction; 0 / 0 is 0, and no ratio is above the limit, a prediction of 0 or not."""
    if count / limit < prediction:  # limit * prediction may overflow
        return count / prediction
    return limit if count > 0 else count


@inner
def _add_cells(rows, begin, end, fixed, limit, vector, numerator):
    """Add a_j / p_j h_j over the row's cells to the numerator, four cells at a time."""
    indices, values = rows.indices, rows.values
    whole = begin + (end - begin) // 4 * 4
    for cell in range(begin, whole, 4):
        for ahead in range(cell, cell + 4):
            prefetch_ahead(rows, ahead, fixed)
        picks = (indices[cell], indices[cell + 1], indices[cell + 2], indices[cell + 3])
        p, q, r, s = simd.dots(fixed, picks, vector)
        ratios = (
            _ratio(values[cell], p, limit),
            _ratio(values[cell + 1], q, limit),
            _ratio(values[cell + 2], r, limit),
            _ratio(values[cell + 3], s, limit),
        )
        simd.add_rows(fixed, picks, ratios, numerator)
    for cell in range(whole, end):
        prefetch_ahead(rows, cell, fixed)
        pick = (indices[cell],)
        (p,) = simd.dots(fixed, pick, vector)
        simd.add_rows(fixed, pick, (_ratio(values[cell], p, limit),), numerator)


@block_kernel
def update_rows(rows, start, stop, fixed, reciprocals, current, scratch, solved):
    """Update rows start to stop - 1 of `current` into `solved`, each from `fixed` and itself.

    `reciprocals` (d) are those of the column sums of `fixed`, and 0 where a column has no weight: its entries become 0.
    Returns -1, or the index of the first row whose update this precision cannot hold.
    """
    vector, numerator = scratch[0], scratch[1]
    # Far above what is met, and products of a ratio with a factor are still finite: a prediction that underflowed to 0
    # is raised again by large steps, and one that must stay 0 meets only factors of 0.
    limit = np.sqrt(np.finfo(fixed.dtype).max)
    factors = solved.shape[1]
    for row in range(start, stop):
        for k in range(vector.size):
            vector[k] = current[row, k] if k < factors else 0
        clear(numerator)
        _add_cells(rows, rows.indptr[row], rows.indptr[row + 1], fixed, limit, vector, numerator)
        for k in range(factors):
            vector[k] *= numerator[k] * reciprocals[k]
        if not all_finite(vector):
            return row
        for k in range(factors):
            solved[row, k] = vector[k]
    return -1


@inner
def _divergence(count, prediction):
    """Return a log(a / p) - a + p: p where a = 0, and infinite where p = 0 alone."""
    if not count > 0:
        return prediction
    if not prediction > 0:
        return np.inf
    # The logarithm of the quotient has all digits where a and p are close, but the quotient may overflow.
    close = count / 1e300 < prediction
    logarithm = math.log(count / prediction) if close else math.log(count) - math.log(prediction)
    return count * logarithm - count + prediction


@block_kernel
def sum_divergence(rows, start, stop, left, right, sums):
    """Write two sums over the stored cells of rows start to stop - 1 into `sums`: the divergence, and predictions.

    All float64, both factors padded.
    """
    total = 0.0
    predicted = 0.0
    for row in range(start, stop):
        vector = left[row]
        for cell in range(rows.indptr[row], rows.indptr[row + 1]):
            prefetch_ahead(rows, cell, right)
            (p,) = simd.dots(right, (rows.indices[cell],), vector)
            total += _divergence(rows.values[cell], p)
            predicted += p
    sums[0] = total
    sums[1] = predicted
