"""Sums of squared residuals of a factorization in two factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from ..errors import InputError
from .cells import Cells, Floats, check_factors, check_matrix, check_shape, check_values, matrix_cells, values_at


class _Squares:
    """Sum over cells of weight (target - w_i . h_j)^2, times a scale, plus a penalty lambda / 2 (|W|^2 + |H|^2)."""

    _names = "WH"

    def __init__(self, cells: Cells, targets: Floats, weights: Floats, penalty: float, scale: float) -> None:
        self._cells, self._targets, self._weights = cells, targets, weights
        self._penalty, self._scale = penalty, scale

    def value(self, W: ArrayLike, H: ArrayLike) -> float:
        """Compute the objective at factors of shapes (rows, d) and (columns, d)."""
        left, right = self._factors(W, H)
        residuals = self._targets - self._cells.products(left, right)
        return float(
            self._scale * (self._weights @ residuals**2) + self._penalty / 2 * (_square(left) + _square(right))
        )

    def gradient(self, W: ArrayLike, H: ArrayLike) -> tuple[Floats, Floats]:
        """Gradients with respect to both factors, each of its factor's shape."""
        left, right = self._factors(W, H)
        slopes = self._slopes(self._targets - self._cells.products(left, right), slice(None))
        other, places = self._cells.transposed()
        return (
            self._cells.combine(slopes, right) + self._penalty * left,
            other.combine(slopes[places], left) + self._penalty * right,
        )

    def row_gradient(self, k: int, W: ArrayLike, H: ArrayLike) -> Floats:
        """Gradient with respect to row k of the first factor, (d,): only row k of the data takes part."""
        left, right = self._factors(W, H)
        cells = self._cells.row(k)
        fixed = right[self._cells.columns[cells]]
        slopes = self._slopes(self._targets[cells] - fixed @ left[k], cells)
        return np.asarray(slopes @ fixed + self._penalty * left[k])

    def entry_gradient(self, k: int, column: int, W: ArrayLike, H: ArrayLike) -> float:
        """Differentiate by entry (k, column) of the first factor, summed cell by cell."""
        left, right = self._factors(W, H)
        cells = self._cells.row(k)
        total = self._penalty * left[k, column]
        for cell in range(cells.start, cells.stop):
            fixed = right[self._cells.columns[cell]]
            residual = self._targets[cell] - left[k] @ fixed
            total -= 2 * self._scale * self._weights[cell] * residual * fixed[column]
        return float(total)

    def row_system(self, k: int, H: ArrayLike) -> tuple[Floats, Floats]:
        """Return A (d, d) and b (d,) with A w_k = b where the row's gradient is zero."""
        right = check_matrix(self._names[1], H)
        check_shape(self._names[1], right.shape, (self._cells.shape[1], right.shape[1]))
        cells = self._cells.row(k)
        fixed, weights = right[self._cells.columns[cells]], 2 * self._scale * self._weights[cells]
        system = (fixed.T * weights) @ fixed + self._penalty * np.eye(right.shape[1])
        return system, (weights * self._targets[cells]) @ fixed

    def _slopes(self, residuals: Floats, cells: slice) -> Floats:
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
        For shapes that do not fit, negative weights, and numbers that are not finite.
    """

    def __init__(self, Y: Any, C: Any) -> None:
        cells, weights = matrix_cells("C", C)
        super().__init__(cells, values_at("Y", Y, cells), check_values("C", weights, cells, minimum=0.0), 0.0, 1.0)


class ObservedSquares(_Squares):
    """1/2 sum (M_ij - u_i . v_j)^2 over the observed cells + lambda / 2 (|U|^2 + |V|^2).

    The gradient has two parts: df/dU = -(M - U V') V, the residual taken on the observed cells, + lambda U.

    Parameters
    ----------
    M : (m, n) array or scipy sparse matrix
        Entries; those of cells that are not observed do not matter.
    observed : scipy sparse matrix, boolean (m, n) array, or pair of index arrays (rows, columns)
        The known cells: the stored ones, the true ones, or those listed.
    regularization : float
        lambda >= 0.

    Raises
    ------
    InputError
        If nothing is observed, for shapes that do not fit, and entries that are not finite.
    """

    _names = "UV"

    def __init__(self, M: Any, observed: Any, regularization: float = 0.0) -> None:
        if not (np.isfinite(regularization) and regularization >= 0):
            raise InputError(f"regularization must be a finite number of at least 0, got {regularization!r}")
        cells = observed_cells(observed, np.shape(M) if not sparse.issparse(M) else M.shape)
        entries = M if sparse.issparse(M) else np.where(_mask(cells), np.asarray(M, dtype=np.float64), 0.0)
        super().__init__(cells, values_at("M", entries, cells), np.ones(cells.columns.size), float(regularization), 0.5)


def observed_cells(observed: Any, shape: tuple[int, ...]) -> Cells:
    """Turn a pattern, a mask or index pairs into cells."""
    if sparse.issparse(observed):
        pattern = sparse.csr_array(observed)
        pattern.sum_duplicates()
    elif isinstance(observed, tuple):
        pattern = _pattern_of_pairs(observed, shape)
    else:
        mask = np.asarray(observed)
        if mask.dtype != bool:
            raise InputError(f"observed must be sparse, boolean, or a pair of index arrays, got dtype {mask.dtype}")
        pattern = sparse.csr_array(mask)
    check_shape("observed", pattern.shape, shape)
    if pattern.nnz == 0:
        raise InputError("observed has no cell at all; at least one entry must be known")
    return Cells(pattern.shape, pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64))


def _pattern_of_pairs(pairs: tuple[ArrayLike, ArrayLike], shape: tuple[int, ...]) -> Any:
    rows, columns = (np.atleast_1d(np.asarray(part)) for part in pairs)
    if rows.shape != columns.shape or rows.ndim != 1:
        raise InputError(f"observed has {rows.shape} row and {columns.shape} column indices; they come in pairs")
    for name, indices, count in (("row", rows, shape[0]), ("column", columns, shape[1])):
        if indices.size and (indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= count):
            raise InputError(f"observed has {name} indices outside 0 to {count - 1}")
    pattern = sparse.csr_array((np.ones(rows.size), (rows.astype(np.int64), columns.astype(np.int64))), shape=shape)
    pattern.sum_duplicates()
    return pattern


def _mask(cells: Cells) -> NDArray[np.bool_]:
    mask = np.zeros(cells.shape, dtype=bool)
    mask[cells.rows, cells.columns] = True
    return mask


def _square(factor: Floats) -> float:
    return float(np.einsum("ik,ik->", factor, factor))
