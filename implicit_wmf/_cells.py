"""Cells of a sparse matrix: checked, gathered from any layout, and aggregated into canonical CSR."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ._ids import LARGEST_SIDE, as_array, check_side, plain
from .errors import InputError

AGGREGATES = ("sum", "max", "last", "count")
Array = NDArray[Any]


def check_indices(indices: Any, name: str, size: int | None = None) -> Array:
    """Integer positions in ``[0, size)`` as a 1-D array; without ``size`` only the range of a side is checked."""
    array = as_array(indices, name)
    if array.ndim != 1:
        raise InputError(f"{name}: expected a 1-D array, met {array.ndim} dimensions; flatten it")
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{name}: expected integers, met dtype {array.dtype}; convert them, or name raw ids by a frame"
        )
    if array.min() < 0:
        line = int(np.argmax(array < 0))
        raise InputError(f"{name}: {plain(array[line])} at position {line} is negative; indices count from 0")
    if size is None:
        check_side(int(array.max()) + 1, name)
    elif array.max() >= size:
        line = int(np.argmax(array >= size))
        raise InputError(f"{name}: {plain(array[line])} at position {line} is out of range for a size of {size}")
    return array


def check_shape(shape: Any, name: str = "shape") -> tuple[int, int]:
    """Two positive whole numbers that 32-bit indices can count."""
    try:
        users, items = (int(side) for side in shape)
        whole = (users, items) == tuple(shape)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or users < 1 or items < 1:
        raise InputError(f"{name}: expected two positive integers (users, items), met {shape!r}")
    check_side(users, "users")
    check_side(items, "items")
    return users, items


def check_numbers(values: Array, name: str) -> Array:
    """Values of a matrix as a real dtype; complex numbers, text and objects are refused."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name}: dtype {values.dtype} does not hold real numbers; convert it with astype(float)")
    return values


def check_finite(values: Array, rows: Array, columns: Array, name: str) -> None:
    """Refuse NaN and infinity, naming the cell."""
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            f"{name}: {plain(values[first])} at row {rows[first]}, column {columns[first]}; give finite numbers"
        )


def place_of(matrix: Any, cell: int) -> tuple[int, int]:
    """Row and column of a stored cell of CSR."""
    return int(np.searchsorted(matrix.indptr, cell, side="right")) - 1, int(matrix.indices[cell])


def check_not_negative(matrix: Any, name: str) -> None:
    """Refuse negative values of CSR, naming the cell."""
    negative = matrix.data < 0
    if negative.any():
        cell = int(np.argmax(negative))
        row, column = place_of(matrix, cell)
        raise InputError(f"{name} is {matrix.data[cell]:g} at row {row}, column {column}; it must be at least 0")


def data_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 where it holds every value of ``dtype``, float64 otherwise."""
    return np.dtype(np.float32) if np.result_type(dtype, np.float32) == np.float32 else np.dtype(np.float64)


def index_dtype(*counts: int) -> type[np.signedinteger[Any]]:
    """int32 where it counts as far as each of these, int64 otherwise."""
    return np.int32 if max(counts) <= LARGEST_SIDE else np.int64


def as_dense(matrix: Any) -> Array:
    """Take what is no sparse matrix as an array of numbers."""
    if isinstance(matrix, np.ma.MaskedArray):
        raise InputError("matrix: met a masked array, whose mask would be lost; give matrix.filled(0)")
    try:
        array = np.asarray(matrix)
    except ValueError as error:
        raise InputError(f"matrix: not a rectangular array of numbers ({error}); give a 2-D array") from error
    return check_numbers(array, "matrix")


def canonical_csr(matrix: Any, shape: tuple[int, int]) -> Any:
    """Build a fresh canonical CSR of a matrix's cells; one that is canonical already is copied without sorting."""
    if isinstance(matrix, np.ndarray):
        rows, columns = np.nonzero(matrix)
        values = matrix[rows, columns]
    else:
        rows, columns, values = cells_of_sparse(matrix)
    check_finite(check_numbers(values, "matrix"), rows, columns, "matrix")
    if getattr(matrix, "format", "") == "csr" and is_canonical(matrix.indptr, columns):
        kind = index_dtype(len(columns))
        return sparse.csr_array((_as_data(values), columns.astype(kind), np.array(matrix.indptr, kind)), shape=shape)
    return aggregate_cells(rows, columns, values, shape, "sum", None)[0]


def full_csr(matrix: Array) -> Any:
    """Store every cell of a dense array, whatever its value."""
    rows, columns = matrix.shape
    kind = index_dtype(matrix.size)
    indices, indptr = np.tile(np.arange(columns, dtype=kind), rows), np.arange(rows + 1, dtype=kind) * columns
    return sparse.csr_array((_as_data(matrix).ravel(), indices, indptr), shape=matrix.shape)


def _as_data(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(data_dtype(values.dtype))


def cells_of_sparse(matrix: Any) -> tuple[Array, Array, Array]:
    """Rows, columns and values of a scipy sparse matrix, whose arrays are checked before compiled code sees them."""
    if matrix.format in ("csr", "csc"):
        indptr, inner, values = check_compressed(matrix, matrix.format)
        outer = np.repeat(np.arange(len(indptr) - 1, dtype=inner.dtype), np.diff(indptr))
        return (outer, inner, values) if matrix.format == "csr" else (inner, outer, values)
    if matrix.format == "bsr":
        check_compressed(matrix, "bsr")
    elif matrix.format == "lil":
        return _cells_of_lil(matrix)
    return _check_coo(matrix if matrix.format == "coo" else matrix.tocoo())


def _check_coo(matrix: Any) -> tuple[Array, Array, Array]:
    rows = check_indices(matrix.row, "matrix.row", matrix.shape[0])
    columns = check_indices(matrix.col, "matrix.col", matrix.shape[1])
    values = np.asarray(matrix.data)
    if values.ndim != 1 or not len(rows) == len(columns) == len(values):
        raise InputError(
            f"matrix: row, col and data have shapes {rows.shape}, {columns.shape} and {values.shape}, "
            "not one length; build the matrix again"
        )
    return rows, columns, values


def check_compressed(matrix: Any, layout: str) -> tuple[Array, Array, Array]:
    """Check the triple of a csr, csc or bsr matrix, cut to its stored entries; scipy checks only when it builds."""
    block = tuple(matrix.data.shape[1:]) if layout == "bsr" else (1, 1)
    if len(block) != 2 or 0 in block or any(side % width for side, width in zip(matrix.shape, block, strict=True)):
        raise InputError(f"matrix: blocks of shape {block} do not tile the shape {matrix.shape}; build it again")
    sizes = [side // width for side, width in zip(matrix.shape, block, strict=True)]
    outer, inner = (sizes[1], sizes[0]) if layout == "csc" else (sizes[0], sizes[1])
    indptr, indices, values = (np.asarray(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    if indptr.ndim != 1 or indptr.dtype.kind not in "iu" or len(indptr) != outer + 1:
        raise InputError(f"matrix.indptr: expected {outer + 1} integers, met {indptr.dtype} of shape {indptr.shape}")
    steps = indptr[1:] < indptr[:-1]
    if indptr[0] != 0 or steps.any():
        place = 0 if indptr[0] != 0 else int(np.argmax(steps)) + 1
        raise InputError(f"matrix.indptr: {indptr[place]} at position {place}; it must start at 0 and never fall")
    stored = int(indptr[-1])
    if indices.ndim != 1 or len(indices) < stored or len(values) < stored or (layout != "bsr" and values.ndim != 1):
        raise InputError(
            f"matrix: indptr promises {stored} entries, indices has shape {indices.shape} and data {values.shape}; "
            "build the matrix again"
        )
    return indptr, check_indices(indices[:stored], "matrix.indices", inner), values[:stored]


def _cells_of_lil(matrix: Any) -> tuple[Array, Array, Array]:
    """Read lists of lists without scipy's own conversion, which trusts their lengths."""
    lengths = np.array([len(row) for row in matrix.rows], dtype=np.int64)
    if len(lengths) != matrix.shape[0] or not np.array_equal(lengths, [len(row) for row in matrix.data]):
        raise InputError("matrix: its lists of columns and of values differ in length; build the matrix again")
    columns = np.array(list(chain.from_iterable(matrix.rows)))
    values = np.array(list(chain.from_iterable(matrix.data)), dtype=matrix.dtype)
    rows = np.repeat(np.arange(matrix.shape[0]), lengths)
    return rows, check_indices(columns, "matrix.rows", matrix.shape[1]), values


def is_canonical(indptr: Array, indices: Array) -> bool:
    """Whether each row's columns rise strictly: sorted and without duplicates."""
    if len(indices) < 2:
        return True
    rising = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < len(indices))] - 1] = True
    return bool(rising.all())


def checked_csr(matrix: Any) -> Any:
    """Check that a matrix is canonical CSR of finite floats; return the same cells as read-only arrays.

    Kernels rely on indices that were checked once.
    """
    if not isinstance(matrix, sparse.csr_array) or matrix.dtype not in (np.float32, np.float64):
        raise InputError(f"matrix: expected a float csr_array, met {type(matrix).__name__}; use from_matrix")
    check_shape(matrix.shape, "matrix.shape")
    indptr, indices, values = check_compressed(matrix, "csr")
    if not len(matrix.data) == len(matrix.indices) == len(values) or not is_canonical(indptr, indices):
        raise InputError("matrix: not canonical (unsorted columns, duplicates or slack); use from_matrix")
    if not np.isfinite(values).all():
        check_finite(values, *cells_of_sparse(matrix)[:2], "matrix")
    parts = [part.view() for part in (matrix.data, matrix.indices, matrix.indptr)]
    for part in parts:
        part.flags.writeable = False
    return sparse.csr_array(tuple(parts), shape=matrix.shape, copy=False)


def aggregate_cells(
    rows: Array, columns: Array, values: Array, shape: tuple[int, int], how: str, timestamps: Array | None
) -> tuple[Any, Array | None]:
    """One cell for each pair in canonical CSR, and the last timestamp of each; arguments are checked by the caller."""
    order, keys = _sort_lines(rows, columns, shape, timestamps if how == "last" else None)
    first = np.empty(len(keys), dtype=bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    pairs = keys[starts]
    latest = None if timestamps is None else _reduce(np.maximum, timestamps[order], starts)
    data = _aggregate(values, order, starts, how)
    kind = index_dtype(*shape, len(pairs))
    pair_rows, pair_columns = np.divmod(pairs, shape[1])
    indptr = np.zeros(shape[0] + 1, dtype=kind)
    np.cumsum(np.bincount(pair_rows, minlength=shape[0]), out=indptr[1:])
    _check_overflow(data, pair_rows, pair_columns)
    return sparse.csr_array((data, pair_columns.astype(kind), indptr), shape=shape), latest


def _sort_lines(
    rows: Array, columns: Array, shape: tuple[int, int], timestamps: Array | None
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Lines in order of cell, lines of one cell by time and then as they came; and the sorted cell numbers."""
    # Both sides are below 2**31, so a cell's number fits in int64.
    keys = rows.astype(np.int64, copy=False) * shape[1] + columns.astype(np.int64, copy=False)
    if timestamps is None:
        order = np.argsort(keys, kind="stable")
    else:
        order = np.argsort(timestamps, kind="stable")
        order = order[np.argsort(keys[order], kind="stable")]
    return order, keys[order]


def _reduce(operation: np.ufunc, values: Array, starts: Array) -> Array:
    """``reduceat`` that copes with no line at all, and skips the work when each group is one line."""
    if len(starts) == len(values):
        return values
    reduced: Array = operation.reduceat(values, starts)
    return reduced


def _aggregate(values: Array, order: Array, starts: Array, how: str) -> Array:
    dtype = data_dtype(values.dtype)
    if how == "count":
        return np.diff(starts, append=len(order)).astype(dtype)
    if how == "last":
        ends = np.append(starts[1:], len(order))[: len(starts)] - 1
        picked = values[order[ends]]
    elif how == "max":
        picked = _reduce(np.maximum, values[order], starts)
    else:
        with np.errstate(over="ignore"):
            picked = _reduce(np.add, values[order].astype(np.float64), starts)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(picked, dtype=dtype)


def _check_overflow(data: Array, rows: Array, columns: Array) -> None:
    finite = np.isfinite(data)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            f"values: the value of row {rows[first]}, column {columns[first]} overflows {data.dtype}; "
            "scale the values down, or give float64"
        )
