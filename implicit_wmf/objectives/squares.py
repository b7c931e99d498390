"""Sums of squared residuals of a factorization in two factors."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .._cells import check_indices
from .._ids import as_array
from ..errors import InputError
from .cells import Cells, matrix_cells, pattern_cells, values_at
from .inputs import (
    Floats,
    check_factors,
    check_index,
    check_matrix,
    check_shape,
    check_values,
    real_matrix,
    sparse_triple,
)

_ALL = slice(None)


class _Squares:
    """Sum over cells of weight (target - w_i . h_j)^2, times a scale, plus a penalty lambda / 2 (|W|^2 + |H|^2)."""

    _names = "WH"

    def __init__(self, cells: Cells, targets: Floats, weights: Floats, penalty: float, scale: float) -> None:
        self._cells, self._targets, self._weights = cells, targets, weights
        self._penalty, self._scale = penalty, scale

    def value(self, W: ArrayLike, H: ArrayLike) -> float:
        """Compute the objective.

        Parameters
        ----------
        W, H : (m, d) and (n, d) arrays
            The factors; U and V in the terms of `ObservedSquares`.

        Returns
        -------
        float
        """
        left, right = self._factors(W, H)
        residuals = self._targets - self._cells.products(left, right)
        # Sums and not BLAS, whose dot product of long vectors depends on the number of threads.
        squares = (self._weights * residuals**2).sum()
        return float(self._scale * squares + self._penalty / 2 * ((left**2).sum() + (right**2).sum()))

    def gradient(self, W: ArrayLike, H: ArrayLike) -> tuple[Floats, Floats]:
        """Compute the gradients with respect to W and H.

        Parameters
        ----------
        W, H : as in `value`

        Returns
        -------
        (m, d) and (n, d) arrays
        """
        left, right = self._factors(W, H)
        slopes = self._slopes(self._targets - self._cells.products(left, right))
        other, places = self._cells.transposed()
        return (
            self._cells.combine(slopes, right) + self._penalty * left,
            other.combine(slopes[places], left) + self._penalty * right,
        )

    def row_gradient(self, k: int, W: ArrayLike, H: ArrayLike) -> Floats:
        """Compute the gradient with respect to row k of W: only row k of the data takes part.

        Parameters
        ----------
        k : int
        W, H : as in `value`

        Returns
        -------
        (d,) array
        """
        row, slopes, columns, right = self._row(k, W, H)
        return slopes @ right[columns] + self._penalty * row

    def entry_gradient(self, k: int, column: int, W: ArrayLike, H: ArrayLike) -> float:
        """Differentiate by entry (k, column) of W: one sum over the cells of row k.

        Parameters
        ----------
        k, column : int
        W, H : as in `value`

        Returns
        -------
        float
        """
        row, slopes, columns, right = self._row(k, W, H)
        column = check_index("column", column, row.size)
        return float(slopes @ right[columns, column] + self._penalty * row[column])

    def row_system(self, k: int, H: ArrayLike) -> tuple[Floats, Floats]:
        """Compute the system of row k: its gradient is A w_k - b, so that it is zero where A w_k = b.

        Parameters
        ----------
        k : int
        H : as in `value`

        Returns
        -------
        A, b : (d, d) and (d,) arrays
        """
        right = check_matrix(self._names[1], H)
        check_shape(self._names[1], right.shape, (self._cells.shape[1], right.shape[1]))
        cells = self._cells.row(check_index("k", k, self._cells.shape[0]))
        fixed, weights = right[self._cells.columns[cells]], 2 * self._scale * self._weights[cells]
        system = (fixed.T * weights) @ fixed + self._penalty * np.eye(right.shape[1])
        return system, (weights * self._targets[cells]) @ fixed

    def _row(self, k: int, W: ArrayLike, H: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
        """Return row k of the first factor, the slopes and columns of its cells, and the second factor."""
        left, right = self._factors(W, H)
        row = left[check_index("k", k, len(left))]
        cells = self._cells.row(k)
        columns = self._cells.columns[cells]
        return row, self._slopes(self._targets[cells] - right[columns] @ row, cells), columns, right

    def _slopes(self, residuals: Floats, cells: slice = _ALL) -> Floats:
        """Differentiate by each cell's prediction."""
        return -2 * self._scale * self._weights[cells] * residuals

    def _factors(self, left: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
        return check_factors(self._cells.shape, left, right, self._names)


class WeightedSquares(_Squares):
    """sum_ij C_ij (Y_ij - w_i . h_j)^2, by the Hadamard product sum C o (Y - W H')^2.

    The gradients are df/dW = -2 (C o (Y - W H')) H and df/dH = -2 (C o (Y - W H'))' W.

    Parameters
    ----------
    Y : (m, n) array or scipy sparse matrix
        Targets; a sparse one is 0 where it stores nothing.
    C : (m, n) array or scipy sparse matrix
        Weights >= 0; cells that a sparse one does not store weigh nothing and are never looked at.

    Raises
    ------
    InputError
        For shapes that do not fit, negative weights, and numbers that are not finite, wherever they are; from the
        methods too, and for a `k` or `column` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.objectives import WeightedSquares
    >>> objective = WeightedSquares(np.eye(2), [[1.0, 2.0], [3.0, 4.0]])
    >>> objective.row_gradient(0, np.ones((2, 1)), np.full((2, 1), 0.5)).tolist()
    [0.5]
    """

    def __init__(self, Y: Any, C: Any) -> None:
        cells, weights = matrix_cells("C", C, minimum=0.0)
        if sparse.issparse(Y):
            rows, columns, values = sparse_triple("Y", Y)
            check_values("Y", values, lambda cell: (rows[cell], columns[cell]))
        else:
            Y = check_matrix("Y", Y)
        super().__init__(cells, values_at("Y", Y, cells), weights, 0.0, 1.0)


class ObservedSquares(_Squares):
    """1/2 sum (M_ij - u_i . v_j)^2 over the observed cells + lambda / 2 (|U|^2 + |V|^2).

    The gradient has two parts: df/dU = -(M - U V') V, the residual taken on the observed cells, + lambda U.

    Parameters
    ----------
    M : (m, n) array or scipy sparse matrix
        Entries; those of cells that are not observed do not matter and may be NaN. A sparse one is 0 where it stores
        nothing.
    observed : (m, n) scipy sparse matrix, (m, n) array of bool, or tuple of two index arrays (rows, columns)
        The known cells: the stored ones (zeros too), the true ones, or those listed (once, if listed twice).
    regularization : float
        lambda >= 0.

    Raises
    ------
    InputError
        If nothing is observed, for shapes that do not fit, indices out of range, a negative `regularization`, and
        observed entries that are not finite; from the methods for such factors, `k` and `column`.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.objectives import ObservedSquares
    >>> ratings = np.array([[5.0, np.nan], [np.nan, 3.0]])
    >>> objective = ObservedSquares(ratings, ~np.isnan(ratings), regularization=0.5)
    >>> objective.gradient(np.ones((2, 1)), np.ones((2, 1)))[0].tolist()
    [[-3.5], [-1.5]]
    """

    _names = "UV"

    def __init__(self, M: Any, observed: Any, regularization: float = 0.0) -> None:
        if not (isinstance(regularization, Real) and 0 <= regularization < np.inf):
            raise InputError(f"regularization must be a finite number of at least 0, got {regularization!r}")
        entries = M if sparse.issparse(M) else real_matrix("M", M)
        cells = observed_cells(observed, entries.shape)
        super().__init__(cells, values_at("M", entries, cells), np.ones(cells.columns.size), float(regularization), 0.5)


def observed_cells(observed: Any, shape: tuple[int, int]) -> Cells:
    """Turn a pattern, a mask or index pairs into cells."""
    if sparse.issparse(observed):
        check_shape("observed", observed.shape, shape)
        rows, columns, _ = sparse_triple("observed", observed)
    elif isinstance(observed, tuple):
        rows, columns = _pairs(observed, shape)
    else:
        mask = as_array(observed, "observed")
        if mask.dtype != bool:
            kind = f"{type(observed).__name__} of dtype {mask.dtype}"
            raise InputError(f"observed must be sparse, a boolean array, or a tuple of two index arrays, got {kind}")
        check_shape("observed", mask.shape, shape)
        rows, columns = np.nonzero(mask)
    if rows.size == 0:
        raise InputError("observed has no cell at all; at least one entry must be known")
    return pattern_cells(rows, columns, shape)


def _pairs(pairs: tuple[Any, ...], shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(pairs) != 2:
        raise InputError(f"observed is a tuple of {len(pairs)}; give two index arrays, (rows, columns)")
    rows = check_indices(pairs[0], "observed rows", shape[0])
    columns = check_indices(pairs[1], "observed columns", shape[1])
    if rows.size != columns.size:
        raise InputError(f"observed has {rows.size} row and {columns.size} column indices; they come in pairs")
    return rows, columns
