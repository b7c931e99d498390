"""What callers give, checked before anything is computed: kernels have no bounds checks."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._cells import cells_of_sparse, check_numbers
from .._ids import check_side
from ..errors import InputError

Floats = NDArray[np.float64]


def real_matrix(name: str, matrix: ArrayLike) -> Floats:
    """Convert to a float64 matrix that kernels can take, or raise InputError."""
    if isinstance(matrix, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array, whose mask would be lost; give {name}.filled(0)")
    try:
        array = check_numbers(np.asarray(matrix), name)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{name} is not a rectangular matrix of numbers ({error}); give a 2-D array") from error
    _check_sides(name, array.shape)
    return np.require(array, np.float64, ["C", "A"])


def check_matrix(name: str, matrix: ArrayLike, *, minimum: float = -np.inf) -> Floats:
    """Convert to a float64 matrix whose entries are finite and at least the minimum, or raise InputError."""
    array = real_matrix(name, matrix)
    check_values(name, array, lambda entry: divmod(entry, array.shape[1]), minimum=minimum)
    return array


def sparse_triple(name: str, matrix: Any) -> tuple[NDArray[Any], NDArray[Any], Floats]:
    """Rows, columns and values of a sparse matrix; scipy checks them only when it builds, and they may have changed."""
    _check_sides(name, matrix.shape)
    try:
        rows, columns, values = cells_of_sparse(matrix)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return rows, columns, check_numbers(values, name).astype(np.float64)


def check_values(
    name: str, values: Floats, place: Callable[[int], tuple[int, int]], *, minimum: float = -np.inf
) -> None:
    """Refuse values that are not finite or below a minimum, naming the row and column of the first."""
    good = np.isfinite(values) & (values >= minimum)
    if not good.all():
        first = int(np.argmin(good))
        row, column = place(first)
        wanted = "finite" if minimum == -np.inf else f"finite and at least {minimum:g}"
        raise InputError(f"{name} is {values.flat[first]:g} at row {row}, column {column}; it must be {wanted}")


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse a shape other than the expected one."""
    if tuple(shape) != tuple(expected):
        raise InputError(f"{name} has shape {tuple(shape)}; {tuple(expected)} is needed")


def check_index(name: str, index: Any, size: int) -> int:
    """Convert a position of 0 to size - 1, or raise InputError."""
    try:
        position = operator.index(index)
    except TypeError as error:
        raise InputError(f"{name} must be an integer, got {index!r}") from error
    if not 0 <= position < size:
        raise InputError(f"{name} is {position}; it must be from 0 to {size - 1}")
    return position


def check_factors(shape: tuple[int, int], left: ArrayLike, right: ArrayLike, names: str) -> tuple[Floats, Floats]:
    """Convert two factor matrices that belong to a matrix of this shape."""
    first, second = check_matrix(names[0], left), check_matrix(names[1], right)
    check_shape(names[0], first.shape, (shape[0], first.shape[1]))
    check_shape(names[1], second.shape, (shape[1], first.shape[1]))
    return first, second


def _check_sides(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{name} must be a matrix that is not empty, got shape {tuple(shape)}")
    for side in shape:
        check_side(side, name)
