"""The cells of a matrix that an objective looks at, and the two loops over them that all objectives are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .. import kernels
from .._cells import aggregate_cells
from .._csr import rows_of_cells
from ..threads import run_blocks
from .inputs import Floats, check_matrix, check_shape, check_values, real_matrix, sparse_triple

_BLOCK_CELLS = 1 << 16


@dataclass(frozen=True, eq=False)
class Cells:
    """Positions of some cells of a matrix, row by row, columns rising within a row."""

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row of each cell."""
        return rows_of_cells(self.indptr)

    def row(self, k: int) -> slice:
        """Cells of row k."""
        return slice(int(self.indptr[k]), int(self.indptr[k + 1]))

    def place(self, cell: int) -> tuple[int, int]:
        """Row and column of one cell."""
        return int(np.searchsorted(self.indptr, cell, side="right")) - 1, int(self.columns[cell])

    def find(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.int64]:
        """Which cell is at each position; -1 where none is."""
        # Both sides are below 2**31, so a position's number fits in int64.
        known = self.rows * self.shape[1] + self.columns
        wanted = rows.astype(np.int64) * self.shape[1] + columns
        cell = np.searchsorted(known, wanted)
        there = cell < known.size
        there[there] = known[cell[there]] == wanted[there]
        return np.where(there, cell, -1)

    def products(self, left: Floats, right: Floats) -> Floats:
        """Inner product left_i . right_j of each cell (i, j)."""
        out = np.empty(self.columns.size)
        self._run(kernels.cells.cell_products, [self.indptr, self.columns, left, right], out)
        return out

    def combine(self, values: Floats, right: Floats) -> Floats:
        """Sum of values_ij right_j over the cells of each row i, (rows, d); 0 in right makes 0 of infinite values."""
        out = np.zeros((self.shape[0], right.shape[1]))
        self._run(kernels.cells.combine_rows, [self.indptr, self.columns, values, right], out)
        return out

    def transposed(self) -> tuple[Cells, NDArray[np.int64]]:
        """Return the cells column by column, and where in this order each of them is."""
        return self._transposed

    @cached_property
    def _transposed(self) -> tuple[Cells, NDArray[np.int64]]:
        places = sparse.csr_array((np.arange(self.columns.size), self.columns, self.indptr), shape=self.shape).T.tocsr()
        return _cells_of(places), places.data

    def _run(self, kernel: Any, inputs: list[NDArray[Any]], out: Floats) -> None:
        arrays = [kernels.jit.read_only(array) for array in inputs]
        edges = self._edges
        run_blocks(lambda block: kernel(*arrays, edges[block], edges[block + 1], out), len(edges) - 1)

    @property
    def _edges(self) -> list[int]:
        """Rows at which blocks of about equally many cells begin, and the end."""
        cuts = np.searchsorted(self.indptr, np.arange(0, self.columns.size, _BLOCK_CELLS))
        return [int(edge) for edge in np.unique([0, *cuts, self.shape[0]])]


def matrix_cells(name: str, matrix: Any, *, minimum: float = -np.inf) -> tuple[Cells, Floats]:
    """Copy a matrix into its cells, all of a dense one and the stored ones of a sparse one, and their values."""
    if sparse.issparse(matrix):
        rows, columns, values = sparse_triple(name, matrix)
        check_values(name, values, lambda cell: (rows[cell], columns[cell]))
        found = aggregate_cells(rows, columns, values, matrix.shape, "sum", None)[0]
        cells = _cells_of(found)
        check_values(name, found.data, cells.place, minimum=minimum)
        return cells, found.data
    dense = check_matrix(name, matrix, minimum=minimum)
    rows, columns = dense.shape
    indptr = np.arange(rows + 1, dtype=np.int64) * columns
    return Cells((rows, columns), indptr, np.tile(np.arange(columns, dtype=np.int64), rows)), dense.flatten()


def pattern_cells(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> Cells:
    """Cells at positions that are checked, in any order and repeated or not."""
    return _cells_of(aggregate_cells(rows, columns, np.ones(rows.size), shape, "sum", None)[0])


def values_at(name: str, matrix: Any, cells: Cells) -> Floats:
    """Entries of a dense or sparse matrix at the cells, checked there only; 0 where a sparse one stores nothing."""
    if sparse.issparse(matrix):
        rows, columns, stored = sparse_triple(name, matrix)
        check_shape(name, matrix.shape, cells.shape)
        place = cells.find(rows, columns)
        inside = place >= 0
        values = np.zeros(cells.columns.size)
        np.add.at(values, place[inside], stored[inside])
    else:
        dense = real_matrix(name, matrix)
        check_shape(name, dense.shape, cells.shape)
        values = dense[cells.rows, cells.columns]
    check_values(name, values, cells.place)
    return values


def _cells_of(canonical: Any) -> Cells:
    return Cells(canonical.shape, canonical.indptr.astype(np.int64), canonical.indices.astype(np.int64))
