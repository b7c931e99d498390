"""The logarithm of a quotient with B'XC inside: Kullback-Leibler divergences of non-negative matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .cells import Floats, check_matrix, check_shape, check_values, matrix_cells


class KLDivergence:
    """sum_ij A_ij log(A_ij / P_ij) with P = B' X C, B and C given; generalised, sum (... - A_ij + P_ij).

    X is p x q, B p x m, C q x n and A m x n. The gradient has X's own shape: -B (A / P) C', and generalised
    + (B 1)(C 1)'. (A hand-made formula that gives another shape has stacked the columns of X into one vector.)
    Cells with A = 0 add nothing to the first sum, as t log t goes to 0; a prediction of 0 where A > 0 makes the value
    infinite, and the gradient -inf in the entries of X that could mend it. Sparse A costs its stored cells: the sum of
    all predictions is (B 1)' X (C 1).

    Without `B` it is the identity and the gradient is of X in P = X C; without `C`, of X in P = B' X: the two halves of
    plain non-negative matrix factorization.

    Parameters
    ----------
    A : (m, n) array or scipy sparse matrix, >= 0
    B : (p, m) array >= 0, optional
    C : (q, n) array >= 0, optional
    generalized : bool
        Add - A + P over all cells, which makes it zero only where P = A (Lee and Seung 2001, equation 3).

    Raises
    ------
    InputError
        For negative entries (of X too), shapes that do not fit, and numbers that are not finite.
    """

    def __init__(
        self, A: Any, B: ArrayLike | None = None, C: ArrayLike | None = None, *, generalized: bool = True
    ) -> None:
        if B is None and C is None:
            raise InputError("give B, C or both: without them P is X itself")
        cells, values = matrix_cells("A", A)
        self._cells, self._values = cells, check_values("A", values, cells, minimum=0.0)
        self._left, self._right = (
            None if given is None else _check(name, given) for name, given in (("B", B), ("C", C))
        )
        for name, given, count in (("B", self._left, cells.shape[0]), ("C", self._right, cells.shape[1])):
            if given is not None:
                check_shape(name, given.shape, (given.shape[0], count))
        self._generalized = generalized

    def value(self, X: ArrayLike) -> float:
        """Compute the divergence at X, (p, q); infinite where a prediction is 0 and its entry of A is not."""
        factor = self._factor(X)
        positive = self._values > 0
        a, p = self._values[positive], self._predictions(factor)[positive]
        with np.errstate(divide="ignore"):
            total = float(a @ np.log(a / p))
        if self._generalized:
            left, right = self._sums()
            total += float(left @ factor @ right - self._values.sum())
        return total

    def gradient(self, X: ArrayLike) -> tuple[Floats]:
        """Gradient with respect to X, of its shape, in a tuple of one."""
        slopes = self._slopes(self._predictions(self._factor(X)))
        if self._right is None:
            other, places = self._cells.transposed()
            gradient = other.combine(slopes[places], self._left_columns()).T
        else:
            gradient = self._cells.combine(slopes, np.ascontiguousarray(self._right.T))
            gradient = gradient if self._left is None else _product(self._left, gradient)
        return (gradient + np.outer(*self._sums()) if self._generalized else np.ascontiguousarray(gradient),)

    def row_gradient(self, k: int, X: ArrayLike) -> Floats:
        """Gradient with respect to row k of X, (q,)."""
        factor = self._factor(X)
        slopes = self._slopes(self._predictions(factor))
        at = self._left_at(k)
        weighted = np.where(at > 0, slopes, 0.0) * at
        gradient = np.array([self._sum(weighted, self._right_at(column)) for column in range(factor.shape[1])])
        if self._generalized:
            left, right = self._sums()
            gradient += left[k] * right
        return gradient

    def entry_gradient(self, k: int, column: int, X: ArrayLike) -> float:
        """Differentiate by X_kl, l = `column`: -sum_ij A_ij B_ki C_lj / P_ij, generalised + sum_i B_ki sum_j C_lj."""
        slopes = self._slopes(self._predictions(self._factor(X)))
        total = self._sum(slopes, self._left_at(k) * self._right_at(column))
        if self._generalized:
            left, right = self._sums()
            total += left[k] * right[column]
        return float(total)

    def _left_at(self, k: int) -> Floats:
        """B_ki of each cell (i, j)."""
        rows = self._cells.rows
        return np.asarray((rows == k).astype(np.float64) if self._left is None else self._left[k, rows])

    def _right_at(self, column: int) -> Floats:
        """C_lj of each cell (i, j)."""
        columns = self._cells.columns
        return np.asarray(
            (columns == column).astype(np.float64) if self._right is None else self._right[column, columns]
        )

    def _left_columns(self) -> Floats:
        """B' as rows, where C is the identity and B is therefore given."""
        return np.ascontiguousarray(np.transpose(self._left))  # type: ignore[arg-type]

    def _sums(self) -> tuple[Floats, Floats]:
        """B 1 and C 1."""
        rows, columns = self._cells.shape
        left = np.ones(rows) if self._left is None else self._left.sum(axis=1)
        return left, np.ones(columns) if self._right is None else self._right.sum(axis=1)

    @staticmethod
    def _sum(slopes: Floats, factors: Floats) -> float:
        used = factors > 0  # 0 times infinity is 0
        return float(slopes[used] @ factors[used])

    def _predictions(self, factor: Floats) -> Floats:
        if self._right is None:
            return self._cells.products(self._left_columns(), np.ascontiguousarray(factor.T))
        left = factor if self._left is None else self._left.T @ factor
        return self._cells.products(left, np.ascontiguousarray(self._right.T))

    def _slopes(self, predictions: Floats) -> Floats:
        """Minus A / P of each cell, with 0 / 0 = 0."""
        out = np.zeros(predictions.size)
        positive = self._values > 0
        with np.errstate(divide="ignore"):
            out[positive] = -self._values[positive] / predictions[positive]
        return out

    def _factor(self, X: ArrayLike) -> Floats:
        factor = _check("X", X)
        left, right = self._sums()
        check_shape("X", factor.shape, (left.size, right.size))
        return factor


def _check(name: str, matrix: ArrayLike) -> Floats:
    array = check_matrix(name, matrix)
    bad = np.argwhere(array < 0)
    if bad.size:
        row, column = bad[0]
        raise InputError(f"{name} is {array[row, column]:g} at row {row}, column {column}; it must be at least 0")
    return array


def _product(left: Floats, right: Floats) -> Floats:
    """Left @ right where `right` may hold -inf, with 0 times infinity = 0."""
    endless = np.isinf(right)
    if not endless.any():
        return left @ right
    out = left @ np.where(endless, 0.0, right)
    out[(left > 0) @ endless] = -np.inf
    return out
