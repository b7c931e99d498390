"""The logarithm of a quotient with B'XC inside: Kullback-Leibler divergences of non-negative matrices."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from ..errors import InputError
from .cells import matrix_cells
from .inputs import Floats, check_index, check_matrix, check_shape

_ALL = slice(None)


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
        For negative entries, shapes that do not fit, numbers that are not finite, and neither `B` nor `C`; from the
        methods for such an X, and for a `k` or `column` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.objectives import KLDivergence
    >>> objective = KLDivergence([[1.0, 0.0], [0.0, 2.0]], C=np.eye(2))
    >>> objective.gradient(np.ones((2, 2)))[0].tolist()
    [[0.0, 1.0], [1.0, -1.0]]
    """

    def __init__(
        self, A: Any, B: ArrayLike | None = None, C: ArrayLike | None = None, *, generalized: bool = True
    ) -> None:
        if B is None and C is None:
            raise InputError("give B, C or both: without them P is X itself")
        self._cells, self._values = matrix_cells("A", A, minimum=0.0)
        rows, columns = self._cells.shape
        self._left, self._right = _transposed("B", B, rows), _transposed("C", C, columns)
        self._sums = (  # B 1 and C 1
            np.ones(rows) if self._left is None else self._left.sum(axis=0),
            np.ones(columns) if self._right is None else self._right.sum(axis=0),
        )
        self._generalized = generalized

    def value(self, X: ArrayLike) -> float:
        """Compute the divergence; infinite where a prediction is 0 and its entry of A is not.

        Parameters
        ----------
        X : (p, q) array, >= 0

        Returns
        -------
        float
        """
        factor = self._factor(X)
        predictions = self._predictions(factor)
        terms = rel_entr(self._values, predictions)
        if not self._generalized:
            return float(terms.sum())
        # Near the minimum the three sums cancel to nothing, so the terms of a cell are added up first.
        total = float((terms - (self._values - predictions)).sum())
        if predictions.size < self._cells.shape[0] * self._cells.shape[1]:
            left, right = self._sums
            total += max(0.0, float(left @ factor @ right - predictions.sum()))  # predictions where A stores nothing
        return total

    def gradient(self, X: ArrayLike) -> tuple[Floats]:
        """Compute the gradient with respect to X.

        Parameters
        ----------
        X : (p, q) array, >= 0

        Returns
        -------
        tuple of one (p, q) array
        """
        slopes = self._slopes(self._predictions(self._factor(X)))
        if self._right is None:
            other, places = self._cells.transposed()
            gradient = other.combine(slopes[places], cast(Floats, self._left)).T
        else:
            gradient = self._cells.combine(slopes, self._right)
            gradient = gradient if self._left is None else _product(self._left.T, gradient)
        return (gradient + np.outer(*self._sums) if self._generalized else np.ascontiguousarray(gradient),)

    def row_gradient(self, k: int, X: ArrayLike) -> Floats:
        """Compute the gradient with respect to row k of X: only rows of the data with B_ki > 0 take part.

        Parameters
        ----------
        k : int
        X : (p, q) array, >= 0

        Returns
        -------
        (q,) array
        """
        factor = self._factor(X)
        k = check_index("k", k, factor.shape[0])
        columns, slopes = self._row(k, factor)
        totals = np.zeros(self._cells.shape[1])
        np.add.at(totals, columns, slopes)
        gradient = totals if self._right is None else _product(self._right.T, totals)
        left, right = self._sums
        return np.asarray(gradient + left[k] * right) if self._generalized else gradient

    def entry_gradient(self, k: int, column: int, X: ArrayLike) -> float:
        """Differentiate by entry (k, `column`) of X, X_kl: -sum_ij A_ij B_ki C_lj / P_ij.

        Generalised, sum_i B_ki sum_j C_lj is added.

        Parameters
        ----------
        k, column : int
        X : (p, q) array, >= 0

        Returns
        -------
        float
        """
        factor = self._factor(X)
        k, column = check_index("k", k, factor.shape[0]), check_index("column", column, factor.shape[1])
        columns, slopes = self._row(k, factor)
        factors = columns == column if self._right is None else self._right[columns, column]
        used = factors > 0  # 0 times infinity is 0
        total = slopes[used] @ factors[used]
        left, right = self._sums
        return float(total + left[k] * right[column] if self._generalized else total)

    def _row(self, k: int, factor: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Return the columns of the cells (i, j) that row k of X takes part in, and their slopes times B_ki."""
        if self._left is None:
            cells = self._cells.row(k)
            columns = self._cells.columns[cells]
            return columns, self._slopes(cast(Floats, self._right)[columns] @ factor[k], cells)
        weights = self._left[self._cells.rows, k]
        used = weights > 0
        slopes = self._slopes(self._predictions(factor))
        return self._cells.columns[used], weights[used] * slopes[used]

    def _predictions(self, factor: Floats) -> Floats:
        if self._right is None:
            return self._cells.products(cast(Floats, self._left), np.ascontiguousarray(factor.T))
        return self._cells.products(factor if self._left is None else self._left @ factor, self._right)

    def _slopes(self, predictions: Floats, cells: slice = _ALL) -> Floats:
        """Minus A / P of each cell, with 0 / 0 = 0."""
        values = self._values[cells]
        positive = values > 0
        out = np.zeros(predictions.size)
        with np.errstate(divide="ignore", over="ignore"):
            out[positive] = -values[positive] / predictions[positive]
        return out

    def _factor(self, X: ArrayLike) -> Floats:
        factor = check_matrix("X", X, minimum=0.0)
        check_shape("X", factor.shape, (self._sums[0].size, self._sums[1].size))
        return factor


def _transposed(name: str, matrix: ArrayLike | None, count: int) -> Floats | None:
    """Copy B or C, which has `count` columns, with its columns as rows, one for each row or column of the data."""
    if matrix is None:
        return None
    array = check_matrix(name, matrix, minimum=0.0)
    check_shape(name, array.shape, (array.shape[0], count))
    return np.array(array.T, order="C")


def _product(left: Floats, right: Floats) -> Floats:
    """Left @ right where `right` may hold -inf, with 0 times infinity = 0."""
    endless = np.isinf(right)
    if not endless.any():
        return left @ right
    out = left @ np.where(endless, 0.0, right)
    out[(left > 0) @ endless] = -np.inf
    return out
