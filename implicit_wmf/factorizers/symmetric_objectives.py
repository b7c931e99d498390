"""What SymmetricMF minimises besides SymmetricSquares: all cells of a sparse R alike, and a penalty."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..objectives.cells import matrix_cells
from ..objectives.inputs import Floats, check_matrix, check_shape


class SymmetricObjective(Protocol):
    """The square of what is linear in G G', and possibly a penalty that is quadratic in G."""

    def value(self, G: ArrayLike) -> float:
        """Compute the objective at G, (n, r)."""

    def gradient(self, G: ArrayLike) -> tuple[Floats]:
        """Gradient with respect to G, of its shape (n, r), in a tuple of one."""


class UnweightedSymmetricSquares:
    """|R - G G'|^2 over all cells of a sparse R (n x n), in time and memory proportional to what it stores.

    With S the stored cells it is sum_S (R_ij - g_i . g_j)^2 + |G'G|^2 - sum_S (g_i . g_j)^2, and the gradient is
    -2 (R + R') G + 4 G (G'G). The last two terms of the value cancel where S holds most of G G': it is exact to
    rounding of |G'G|^2 rather than of itself.

    Parameters
    ----------
    R : (n, n) scipy sparse matrix
        Targets, 0 where nothing is stored; need not be symmetric.

    Raises
    ------
    InputError
        For a matrix that is not square, and numbers that are not finite.
    """

    def __init__(self, R: Any) -> None:
        self._cells, self._targets = matrix_cells("R", R)
        if self._cells.shape[0] != self._cells.shape[1]:
            raise InputError(f"R has shape {self._cells.shape}; it must be square")
        self._both, self._sums = matrix_cells("R + R'", R + R.T)

    def value(self, G: ArrayLike) -> float:
        """Compute the objective at G, (n, r)."""
        factor = self._factor(G)
        products = self._cells.products(factor, factor)
        elsewhere = ((factor.T @ factor) ** 2).sum() - (products**2).sum()
        return float(((self._targets - products) ** 2).sum() + max(0.0, elsewhere))

    def gradient(self, G: ArrayLike) -> tuple[Floats]:
        """Gradient with respect to G, of its shape (n, r), in a tuple of one."""
        factor = self._factor(G)
        return (4 * factor @ (factor.T @ factor) - 2 * self._both.combine(self._sums, factor),)

    def _factor(self, G: ArrayLike) -> Floats:
        factor = check_matrix("G", G)
        check_shape("G", factor.shape, (self._cells.shape[0], factor.shape[1]))
        return factor


class Penalized:
    """An objective of G with regularization |G|^2 added."""

    def __init__(self, objective: SymmetricObjective, regularization: float) -> None:
        self._objective, self._regularization = objective, regularization

    def value(self, G: ArrayLike) -> float:
        """Compute the objective at G, (n, r)."""
        return self._objective.value(G) + self._regularization * float((np.asarray(G) ** 2).sum())

    def gradient(self, G: ArrayLike) -> tuple[Floats]:
        """Gradient with respect to G, of its shape (n, r), in a tuple of one."""
        return (self._objective.gradient(G)[0] + 2 * self._regularization * np.asarray(G),)
