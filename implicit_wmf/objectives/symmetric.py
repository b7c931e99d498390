"""The squared Frobenius norm with G G' inside a Hadamard product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .cells import Floats, check_matrix, check_shape, matrix_cells, values_at


class SymmetricSquares:
    """|R - P o (G G')|^2 for one factor G (n x r); P and R need not be symmetric.

    With M = P o (G G') - R the gradient is 2 (P o M + P' o M') G. By entries, for one column g of G and half of the
    objective: sum_i P_ik (P_ik g_i g_k - R_ik) g_i + sum_j P_kj (P_kj g_k g_j - R_kj) g_j.

    Parameters
    ----------
    R, P : (n, n) array or scipy sparse matrix
        Targets and weights. Cells that a sparse P does not store predict 0, whatever G is.

    Raises
    ------
    InputError
        For matrices that are not square or of different shapes, and numbers that are not finite.
    """

    def __init__(self, R: Any, P: Any) -> None:
        self._cells, self._weights = matrix_cells("P", P)
        rows, columns = self._cells.shape
        if rows != columns:
            raise InputError(f"P has shape {self._cells.shape}; it must be square")
        self._targets = values_at("R", R, self._cells)
        total = matrix_cells("R", R)[1]
        self._elsewhere = max(0.0, float(total @ total - self._targets @ self._targets))  # R where P stores nothing

    def value(self, G: ArrayLike) -> float:
        """Compute the objective at G, (n, r)."""
        factor = self._factor(G)
        residuals = self._weights * self._cells.products(factor, factor) - self._targets
        return float(residuals @ residuals) + self._elsewhere

    def gradient(self, G: ArrayLike) -> tuple[Floats]:
        """Gradient with respect to G, of its shape, in a tuple of one."""
        factor = self._factor(G)
        slopes = self._slopes(factor)
        other, places = self._cells.transposed()
        return (self._cells.combine(slopes, factor) + other.combine(slopes[places], factor),)

    def row_gradient(self, k: int, G: ArrayLike) -> Floats:
        """Gradient with respect to row k of G, (r,): row k and column k of the data take part."""
        factor = self._factor(G)
        other, places = self._cells.transposed()
        total = np.zeros(factor.shape[1])
        for cells, order in ((self._cells, None), (other, places)):
            span = cells.row(k)
            at = np.arange(span.start, span.stop) if order is None else order[span]
            fixed = factor[cells.columns[span]]
            weights = self._weights[at]
            total += 2 * (weights * (weights * (fixed @ factor[k]) - self._targets[at])) @ fixed
        return total

    def entry_gradient(self, k: int, column: int, G: ArrayLike) -> float:
        """Differentiate by entry (k, column) of G, by the entry-wise form: sums over column k and over row k."""
        factor = self._factor(G)
        other, places = self._cells.transposed()
        total = 0.0
        for cells, order in ((other, places), (self._cells, None)):
            for cell in range(cells.row(k).start, cells.row(k).stop):
                at = cell if order is None else order[cell]
                i = cells.columns[cell]
                weight, target = self._weights[at], self._targets[at]
                total += weight * (weight * (factor[i] @ factor[k]) - target) * factor[i, column]
        return float(2 * total)

    def _slopes(self, factor: Floats) -> Floats:
        return 2 * self._weights * (self._weights * self._cells.products(factor, factor) - self._targets)

    def _factor(self, G: ArrayLike) -> Floats:
        factor = check_matrix("G", G)
        check_shape("G", factor.shape, (self._cells.shape[0], factor.shape[1]))
        return factor
