"""The cells of a matrix that an objective looks at, and the two loops over them that all objectives are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .. import kernels
from ..errors import InputError
from ..threads import run_blocks

Floats = NDArray[np.float64]
_BLOCK_CELLS = 1 << 16


@dataclass(frozen=True)
class Cells:
    """Positions of some cells of a matrix, row by row."""

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    columns: NDArray[np.int64]
    _order: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row of each cell."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def row(self, k: int) -> slice:
        """Cells of row k."""
        return slice(int(self.indptr[k]), int(self.indptr[k + 1]))

    def products(self, left: Floats, right: Floats) -> Floats:
        """Inner product left_i . right_j of each cell (i, j)."""
        out = np.empty(self.columns.size)
        bounds = self._bounds()
        run_blocks(
            lambda block: kernels.cells.cell_products(self.indptr, self.columns, *bounds[block], left, right, out),
            len(bounds),
        )
        return out

    def combine(self, values: Floats, right: Floats) -> Floats:
        """Sum of values_ij right_j over the cells of each row i, (rows, d)."""
        out = np.zeros((self.shape[0], right.shape[1]))
        bounds = self._bounds()
        run_blocks(
            lambda block: kernels.cells.combine_rows(self.indptr, self.columns, values, *bounds[block], right, out),
            len(bounds),
        )
        return out

    def transposed(self) -> tuple[Cells, NDArray[np.int64]]:
        """Return the cells column by column, and where in this order each of them is."""
        if not self._order:
            places = sparse.csr_array(
                (np.arange(self.columns.size), self.columns, self.indptr), shape=self.shape
            ).T.tocsr()
            other = Cells(self.shape[::-1], places.indptr.astype(np.int64), places.indices.astype(np.int64))
            self._order.update(cells=other, places=places.data)
        return self._order["cells"], self._order["places"]

    def _bounds(self) -> list[tuple[int, int]]:
        cuts = np.searchsorted(self.indptr, np.arange(0, self.columns.size, _BLOCK_CELLS))
        edges = np.unique([0, *cuts, self.shape[0]])
        return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def matrix_cells(name: str, matrix: Any) -> tuple[Cells, Floats]:
    """Split a matrix into its cells, all of a dense one and the stored ones of a sparse one, and their values."""
    if sparse.issparse(matrix):
        found = sparse.csr_array(matrix, dtype=np.float64)
        found.sum_duplicates()
        cells = Cells(found.shape, found.indptr.astype(np.int64), found.indices.astype(np.int64))
        return cells, check_values(name, found.data, cells)
    dense = check_matrix(name, matrix)
    rows, columns = dense.shape
    cells = Cells(dense.shape, np.arange(rows + 1) * columns, np.tile(np.arange(columns), rows))
    return cells, dense.ravel()


def values_at(name: str, matrix: Any, cells: Cells) -> Floats:
    """Entries of a dense or sparse matrix at the cells; 0 where a sparse one stores nothing."""
    if not sparse.issparse(matrix):
        dense = check_matrix(name, matrix)
        check_shape(name, dense.shape, cells.shape)
        return dense[cells.rows, cells.columns]
    check_shape(name, matrix.shape, cells.shape)
    found, values = matrix_cells(name, matrix)
    stride = cells.shape[1]
    keys, wanted = found.rows * stride + found.columns, cells.rows * stride + cells.columns
    place = np.minimum(np.searchsorted(keys, wanted), max(keys.size - 1, 0))
    out = np.zeros(wanted.size)
    if keys.size:
        hit = keys[place] == wanted
        out[hit] = values[place[hit]]
    return out


def check_matrix(name: str, matrix: ArrayLike) -> Floats:
    """Convert to a finite float64 matrix, or raise InputError."""
    try:
        array = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not a matrix of real numbers: {error}") from error
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} must be a matrix that is not empty, got shape {array.shape}")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = bad[0]
        raise InputError(f"{name} is {array[row, column]} at row {row}, column {column}; it must be finite")
    return np.ascontiguousarray(array)


def check_values(name: str, values: Floats, cells: Cells, *, minimum: float = -np.inf) -> Floats:
    """Refuse values of cells that are not finite or below a minimum, naming the first."""
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= minimum)))
    if bad.size:
        cell = bad[0]
        wanted = "finite" if minimum == -np.inf else f"finite and at least {minimum:g}"
        raise InputError(
            f"{name} is {values[cell]:g} at row {cells.rows[cell]}, column {cells.columns[cell]}; it must be {wanted}"
        )
    return values


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse a shape other than the expected one."""
    if tuple(shape) != tuple(expected):
        raise InputError(f"{name} has shape {tuple(shape)}; {tuple(expected)} is needed")


def check_factors(shape: tuple[int, int], left: ArrayLike, right: ArrayLike, names: str) -> tuple[Floats, Floats]:
    """Convert two factor matrices that belong to a matrix of this shape."""
    first, second = check_matrix(names[0], left), check_matrix(names[1], right)
    check_shape(names[0], first.shape, (shape[0], first.shape[1]))
    check_shape(names[1], second.shape, (shape[1], first.shape[1]))
    return first, second
