"""Stored cells of a matrix, and the two loops over them that the objectives are made of, in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

from .jit import block_kernel


class Cells(NamedTuple):
    """Places of the stored cells of each row, as CSR arrays; a row's columns are sorted."""

    indptr: Any  # int64 (rows + 1)
    indices: Any  # int32


@block_kernel
def cell_products(indptr, columns, left, right, start, stop, out):
    """Write left_i . right_j of each cell (i, j) of rows start to stop - 1 into `out`."""
    for row in range(start, stop):
        for cell in range(indptr[row], indptr[row + 1]):
            total = 0.0
            for k in range(left.shape[1]):
                total += left[row, k] * right[columns[cell], k]
            out[cell] = total


@block_kernel
def combine_rows(indptr, columns, values, right, start, stop, out):
    """Add values_ij right_j over the cells of each row i of start to stop - 1 to its row of `out`.

    Entries of `right` that are 0 add nothing, infinite values or not: slopes of a divergence are infinite where the
    prediction is 0, and an entry of X that cannot raise that prediction has a finite gradient.
    """
    for row in range(start, stop):
        for cell in range(indptr[row], indptr[row + 1]):
            value = values[cell]
            for k in range(right.shape[1]):
                entry = right[columns[cell], k]
                out[row, k] += value * entry if entry != 0 else 0.0
