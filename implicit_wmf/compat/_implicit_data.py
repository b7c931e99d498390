"""Data and objective as ``implicit`` has them: confidence C = abs(r), preference by sign; elsewhere C = 1, P = 0."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csr_array

from .._asked import check_positions
from ..confidence import Problem, StoredCells, weigh
from ..config import WMFConfig
from ..errors import InputError
from ..interactions import Interactions
from ..training import compute_loss


class ModelFitError(InputError):
    """Data or factors cannot be used, mostly because numbers are or become other than finite."""


class UnknownIdError(InputError, IndexError):
    """An id is not in the model."""


class ParameterWarning(Warning):
    """A matrix had to be converted to CSR."""


def positions(name: str, ids: ArrayLike, count: int) -> NDArray[np.int64]:
    """Convert to a 1-D array of ids below `count`."""
    try:
        return check_positions(name, ids, count)
    except InputError as error:
        raise UnknownIdError(str(error)) from error


def check_sparse(name: str, matrix: Any) -> Any:
    """Refuse what is not sparse, with a warning where it is not CSR, which takes work."""
    if not sparse.issparse(matrix):
        raise InputError(f"{name} must be a CSR matrix, got {type(matrix).__name__}")
    if matrix.format != "csr":
        warnings.warn(f"{name} is converted from {matrix.format} to CSR", ParameterWarning, stacklevel=4)
    return matrix


def row_of(name: str, cells: Any, rows: NDArray[np.int64]) -> csr_array:
    """Take one row of a sparse matrix, of which nothing else is looked at where it is CSR.

    scipy would follow row pointers that were changed after the matrix was built wherever they lead.
    """
    if rows.size != 1:
        raise InputError(f"userid must be one index, got {rows.size}")
    row = int(rows[0])
    if cells.format != "csr" or not _leads_to(cells, row):
        cells = checked(name, cells)
    span = slice(*cells.indptr[row : row + 2].tolist())
    parts = cells.data[span], cells.indices[span], [0, span.stop - span.start]
    return csr_array(parts, shape=(1, cells.shape[1]))


def _leads_to(cells: Any, row: int) -> bool:
    """Whether the arrays of CSR are of the right kinds and lengths as far as this row."""
    indptr, indices, data = (np.asarray(part) for part in (cells.indptr, cells.indices, cells.data))
    flat = indptr.ndim == indices.ndim == data.ndim == 1 and indptr.dtype.kind == indices.dtype.kind == "i"
    if not flat or len(indptr) != cells.shape[0] + 1:
        return False
    begin, end = indptr[row : row + 2]
    return bool(indptr[0] == 0 <= begin <= end <= min(len(indices), len(data)))


def checked(name: str, matrix: Any) -> csr_array:
    """Convert a matrix whose arrays are looked at before compiled code follows them."""
    try:
        return Interactions.from_matrix(matrix).matrix
    except InputError as error:
        raise ModelFitError(f"{name}: {error}") from error


def check_confidences(
    name: str, matrix: Any, alpha: float = 1.0, rows: int | None = None, columns: int | None = None
) -> csr_array:
    """Check a matrix of `rows` rows and at most `columns` columns, to which it is widened; multiply it by alpha."""
    matrix = check_sparse(name, matrix)
    if rows is not None and matrix.shape[0] != rows:
        raise InputError(f"{name} has {matrix.shape[0]} rows; give one for each id, of which there are {rows}")
    if columns is not None and matrix.shape[1] > columns:
        raise InputError(f"{name} has {matrix.shape[1]} columns; the model knows {columns}")
    if rows == 0:
        return csr_array((0, columns or matrix.shape[1]), dtype=np.float32)
    cells = checked(name, matrix)
    with np.errstate(over="ignore"):
        values = cells.data * cells.dtype.type(alpha)
    return csr_array((values, cells.indices, cells.indptr), shape=(cells.shape[0], columns or cells.shape[1]))


def stored_cells(data: csr_array) -> StoredCells:
    """Split into preferences and confidences."""
    preference = (data.data > 0).astype(data.dtype)
    return StoredCells(csr_array((preference, data.indices, data.indptr), shape=data.shape), np.abs(data.data))


def weigh_confidences(data: csr_array, config: WMFConfig) -> Problem:
    """Make the weighted problem."""
    cells = stored_cells(data)
    confidence = csr_array((cells.confidence, data.indices, data.indptr), shape=data.shape)
    return weigh(cells.matrix, config, confidence)


def mean_loss(objective: float, data: csr_array) -> float:
    """Divide the objective, plus the weight of negative cells, by the confidence of all cells, as ``implicit`` does."""
    values = data.data.astype(np.float64)
    confidence = np.abs(values).sum() + data.shape[0] * data.shape[1] - data.nnz
    return float((objective - values[values < 0].sum()) / confidence)


def calculate_loss(Cui: Any, X: NDArray[Any], Y: NDArray[Any], regularization: float, num_threads: int = 0) -> float:
    """Compute what ``implicit`` reports as loss: the objective at users' X and items' Y over all cells' confidence.

    Cells of negative confidence add their weight to the objective, a constant.
    """
    data = check_confidences("Cui", Cui)
    users, items = (np.array(factors, np.float64, order="C") for factors in (X, Y))
    if users.ndim != 2 or items.ndim != 2 or (len(users), len(items)) != data.shape or users.shape[1] != items.shape[1]:
        raise InputError(f"X {users.shape} and Y {items.shape} are not factors for Cui {data.shape}")
    config = WMFConfig(
        factors=users.shape[1], regularization=regularization, dtype=np.float64, num_threads=num_threads or None
    )
    return mean_loss(compute_loss(weigh_confidences(data, config), users, items, config.num_threads).total, data)
