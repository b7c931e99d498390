"""Stored cells of canonical CSR matrices: whose they are, and matrices of some of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from . import kernels


def rows_of_cells(indptr: NDArray[Any]) -> NDArray[np.int64]:
    """Row of each stored cell."""
    return np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))


def kernel_cells(matrix: csr_array | Any) -> Any:
    """Return the places of the stored cells as kernels take them: kernels.cells.Cells; gives those back as well."""
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False)
    return kernels.cells.Cells(kernels.jit.read_only(indptr), kernels.jit.read_only(indices))


def no_kernel_cells(rows: int) -> Any:
    """Return what `kernel_cells` does of a matrix that stores nothing, which for one row is slow to make."""
    indptr, indices = np.zeros(rows + 1, np.int64), np.zeros(0, np.int32)
    return kernels.cells.Cells(kernels.jit.read_only(indptr), kernels.jit.read_only(indices))


def positive_in_columns(matrix: csr_array) -> NDArray[np.int64]:
    """Count the positive cells of each column: the users who have an item."""
    return np.bincount(matrix.indices[matrix.data > 0], minlength=matrix.shape[1])


def keep_cells(cells: csr_array, kept: NDArray[np.bool_]) -> csr_array:
    """Leave out all cells but those that `kept` says."""
    ends = np.concatenate([[0], np.cumsum(kept)])
    return csr_array((cells.data[kept], cells.indices[kept], ends[cells.indptr]), shape=cells.shape)


def drop_cells(cells: csr_array, dropped: csr_array) -> csr_array:
    """Leave out the cells that `dropped` stores."""
    keys, others = (rows_of_cells(m.indptr) * m.shape[1] + m.indices for m in (cells, dropped))
    return keep_cells(cells, ~np.isin(keys, others))


def join_cells(one: csr_array | None, other: csr_array) -> csr_array:
    """Cells that either stores."""
    if one is None:
        return other
    patterns = (csr_array((np.ones(m.nnz), m.indices, m.indptr), shape=m.shape) for m in (one, other))
    return sum(patterns)
