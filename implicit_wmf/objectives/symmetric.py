"""The squared Frobenius norm with G G' inside a Hadamard product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .cells import matrix_cells
from .inputs import Floats, check_index, check_matrix, check_shape

_ALL = slice(None)


class SymmetricSquares:
    """|R - P o (G G')|^2 for one factor G (n x r); P and R need not be symmetric.

    With M = P o (G G') - R the gradient is 2 (P o M + P' o M') G. By entries, for one column g of G and half of the
    objective: sum_i P_ik (P_ik g_i g_k - R_ik) g_i + sum_j P_kj (P_kj g_k g_j - R_kj) g_j.

    Parameters
    ----------
    R, P : (n, n) array or scipy sparse matrix
        Targets and weights of any sign. Cells that a sparse P does not store predict 0, whatever G is; a sparse R is 0
        where it stores nothing.

    Raises
    ------
    InputError
        For matrices that are not square or of different shapes, and numbers that are not finite; from the methods for
        such a G, and for a `k` or `column` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.objectives import SymmetricSquares
    >>> objective = SymmetricSquares(np.eye(2), np.ones((2, 2)))
    >>> objective.value(np.ones((2, 1))), objective.gradient(np.ones((2, 1)))[0].tolist()
    (2.0, [[4.0], [4.0]])
    """

    def __init__(self, R: Any, P: Any) -> None:
        self._cells, self._weights = matrix_cells("P", P)
        rows, columns = self._cells.shape
        if rows != columns:
            raise InputError(f"P has shape {self._cells.shape}; it must be square")
        stored, values = matrix_cells("R", R)
        check_shape("R", stored.shape, self._cells.shape)
        place = self._cells.find(stored.rows, stored.columns)
        self._targets = np.zeros(self._weights.size)
        self._targets[place[place >= 0]] = values[place >= 0]
        outside = values[place < 0]
        self._elsewhere = float((outside**2).sum())  # R where P stores nothing

    def value(self, G: ArrayLike) -> float:
        """Compute the objective.

        Parameters
        ----------
        G : (n, r) array

        Returns
        -------
        float
        """
        factor = self._factor(G)
        residuals = self._weights * self._cells.products(factor, factor) - self._targets
        return float((residuals**2).sum()) + self._elsewhere

    def gradient(self, G: ArrayLike) -> tuple[Floats]:
        """Compute the gradient with respect to G.

        Parameters
        ----------
        G : (n, r) array

        Returns
        -------
        tuple of one (n, r) array
        """
        factor = self._factor(G)
        slopes = self._slopes(self._cells.products(factor, factor))
        other, places = self._cells.transposed()
        return (self._cells.combine(slopes, factor) + other.combine(slopes[places], factor),)

    def row_gradient(self, k: int, G: ArrayLike) -> Floats:
        """Compute the gradient with respect to row k of G: row k and column k of the data take part.

        Parameters
        ----------
        k : int
        G : (n, r) array

        Returns
        -------
        (r,) array
        """
        factor, slopes, others = self._row(k, G)
        return np.asarray(slopes @ factor[others])

    def entry_gradient(self, k: int, column: int, G: ArrayLike) -> float:
        """Differentiate by entry (k, column) of G, by the entry-wise form: sums over column k and over row k.

        Parameters
        ----------
        k, column : int
        G : (n, r) array

        Returns
        -------
        float
        """
        factor, slopes, others = self._row(k, G)
        return float(slopes @ factor[others, check_index("column", column, factor.shape[1])])

    def _row(self, k: int, G: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Return G, and of the cells of row k and then of column k the slopes and the other side's index."""
        factor = self._factor(G)
        k = check_index("k", k, len(factor))
        other, places = self._cells.transposed()
        row, column = self._cells.row(k), other.row(k)
        cells = np.concatenate([np.arange(row.start, row.stop), places[column]])
        others = np.concatenate([self._cells.columns[row], other.columns[column]])
        return factor, self._slopes(factor[others] @ factor[k], cells), others

    def _slopes(self, products: Floats, cells: Any = _ALL) -> Floats:
        """Differentiate by each cell's g_i . g_j."""
        weights = self._weights[cells]
        return np.asarray(2 * weights * (weights * products - self._targets[cells]))

    def _factor(self, G: ArrayLike) -> Floats:
        factor = check_matrix("G", G)
        check_shape("G", factor.shape, (self._cells.shape[0], factor.shape[1]))
        return factor
