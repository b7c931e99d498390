"""Interactions: who took what, checked once; the one border where outside data is converted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ._cells import (
    AGGREGATES,
    aggregate_cells,
    cells_of_sparse,
    check_compressed,
    check_finite,
    check_indices,
    check_numbers,
    check_shape,
    data_dtype,
    is_canonical,
)
from ._columns import numbers, take_columns, times
from ._ids import Place, make_index, number_ids, positions_of
from .errors import InputError


def _line(position: int) -> str:
    return f"line {position}"


def _position(position: int) -> str:
    return f"position {position}"


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """A users x items matrix of interactions with the ids of its rows and columns.

    Use one of the constructors `from_frame`, `from_matrix` and `from_triples`; they copy what they are given. The
    class itself takes parts that are canonical already (as attributes of other Interactions are), checks that they
    are, and does not copy them. What it holds is read-only.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array of shape (users, items)
        float32 or float64, finite, each row's columns sorted and without duplicates; int32 indices wherever they
        suffice. Stored zeros are kept: they mean something under raw confidence.
    users, items : pandas.Index
        Distinct ids without gaps; position = row or column of the matrix. ``RangeIndex`` where none were given.
    timestamps : ndarray of shape (matrix.nnz,) or None
        Time of each pair's last interaction, aligned with ``matrix.data``; numbers or datetime64.

    Raises
    ------
    InputError
        Where a part breaks what is said above.

    Examples
    --------
    >>> from implicit_wmf.interactions import Interactions
    >>> data = Interactions.from_triples([0, 0, 1, 0], [2, 0, 1, 2], [1.0, 5.0, 2.0, 3.0])
    >>> data
    Interactions(2 users x 3 items, 3 pairs)
    >>> data.matrix.toarray()
    array([[5., 0., 4.],
           [0., 2., 0.]])
    """

    matrix: Any
    users: pd.Index
    items: pd.Index
    timestamps: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        matrix = self.matrix
        if not isinstance(matrix, sparse.csr_array) or matrix.dtype not in (np.float32, np.float64):
            raise InputError(f"matrix: expected a float csr_array, met {type(matrix).__name__}; use from_matrix")
        check_shape(matrix.shape, "matrix.shape")
        indptr, indices, values = check_compressed(matrix, "csr")
        if not len(matrix.data) == len(matrix.indices) == len(values) or not is_canonical(indptr, indices):
            raise InputError("matrix: not canonical (unsorted columns, duplicates or slack); use from_matrix")
        if not np.isfinite(values).all():
            check_finite(values, *cells_of_sparse(matrix)[:2], "matrix")
        for name, index, size in (("users", self.users, self.shape[0]), ("items", self.items, self.shape[1])):
            if not isinstance(index, pd.Index) or len(index) != size:
                raise InputError(f"{name}: expected a pandas Index of {size} ids, met {type(index).__name__}")
            make_index(index, name, size)
        object.__setattr__(self, "matrix", _read_only(matrix))
        if self.timestamps is not None and len(times(self.timestamps, "timestamps", _position)) != self.nnz:
            raise InputError(f"timestamps: {len(self.timestamps)} given for {self.nnz} pairs; give one for each")

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: Hashable,
        item: Hashable,
        value: Hashable | None = None,
        timestamp: Hashable | None = None,
        aggregate: str = "sum",
        users: Any = None,
        items: Any = None,
    ) -> Interactions:
        """Build interactions from a table with one line for each interaction.

        Parameters
        ----------
        frame : pandas.DataFrame, polars.DataFrame, pyarrow.Table
            Or anything with ``__arrow_c_stream__`` (needs pyarrow) or ``__dataframe__``.
        user, item : hashable
            Names of the columns of ids. Ids are of any hashable kind: numbers, text, tuples, dates, categories.
        value : hashable, optional
            Name of the column of numbers or booleans. Without it every line counts 1, as float32.
        timestamp : hashable, optional
            Name of a column of numbers or datetimes (time zones are turned to UTC).
        aggregate : {"sum", "max", "last", "count"}
            What lines of the same pair become: their sum (in float64), their largest value, the value with the latest
            timestamp (of equal ones, and without timestamps, the later line), or the number of lines.
        users, items : sequence of hashable, optional
            Ids that fix the rows or columns, in this order; a line with another id is refused. By default the ids
            of the frame, sorted; ids that cannot be sorted (text among numbers) in order of first appearance.

        Returns
        -------
        Interactions
            With float32 data where it holds every value of the column's dtype, float64 otherwise.

        Raises
        ------
        InputError
            For unknown columns, missing ids, values or timestamps, values that are not finite real numbers, ids
            outside ``users`` or ``items``, an empty frame, and sums that overflow. Lines are counted from 0.
        MissingExtraError
            For Arrow data without pyarrow.

        Examples
        --------
        >>> import pandas as pd
        >>> from implicit_wmf.interactions import Interactions
        >>> frame = pd.DataFrame({"who": ["eva", "ann", "eva"], "what": ["tea", "tea", "tea"], "n": [2, 1, 4]})
        >>> data = Interactions.from_frame(frame, user="who", item="what", value="n")
        >>> list(data.users), data.matrix.toarray().tolist()
        (['ann', 'eva'], [[1.0], [6.0]])
        """
        names = {"user": user, "item": item, "value": value, "timestamp": timestamp}
        wanted = {argument: name for argument, name in names.items() if name is not None}
        for argument in ("user", "item"):
            if argument not in wanted:
                raise InputError(f"{argument}: None given; name the column that holds the {argument} ids")
        columns = take_columns(frame, wanted)
        return cls._from_columns(columns, wanted, aggregate=aggregate, users=users, items=items, place=_line)

    @classmethod
    def _from_columns(
        cls,
        columns: dict[str, pd.Series],
        names: Mapping[str, Hashable],
        *,
        aggregate: str,
        users: Any,
        items: Any,
        place: Place,
    ) -> Interactions:
        """Columns by argument; ``place`` words where a line is, which files count otherwise than frames."""
        _check_aggregate(aggregate)
        lines = len(columns["user"])
        if lines == 0:
            raise InputError("frame: the table is empty; give at least one line")
        given = {"user": users, "item": items}
        called = {argument: f"{argument} column {name!r}" for argument, name in names.items()}
        codes, indexes = {}, {}
        for side, ids in given.items():
            index = None if ids is None else make_index(ids, f"{side}s")
            codes[side], indexes[side] = number_ids(columns[side], called[side], index, place)
        values: NDArray[Any] = np.ones(lines, dtype=np.float32)
        if "value" in columns:
            values = numbers(columns["value"], called["value"], place)
        moments = times(columns["timestamp"], called["timestamp"], place) if "timestamp" in columns else None
        shape = (len(indexes["user"]), len(indexes["item"]))
        matrix, latest = aggregate_cells(codes["user"], codes["item"], values, shape, aggregate, moments)
        return cls(matrix, indexes["user"], indexes["item"], latest)

    @classmethod
    def from_matrix(
        cls, matrix: Any, *, users: Any = None, items: Any = None, keep_zeros: bool = False
    ) -> Interactions:
        """Build interactions from a matrix, sparse or dense; its arrays are copied.

        Parameters
        ----------
        matrix : scipy.sparse matrix or array, or array_like, of shape (users, items)
            Any sparse format, canonical or not, with real or boolean values. Duplicates are summed in float64 and
            stored zeros kept (the dia format has none); zeros of a dense array are not stored.
        users, items : sequence of hashable, optional
            Id of each row and column; their positions by default.
        keep_zeros : bool
            Store every cell of a dense array.

        Returns
        -------
        Interactions
            With float32 data where it holds every value of the matrix's dtype, float64 otherwise.

        Raises
        ------
        InputError
            For index arrays that are out of range or disagree, other than two dimensions, an empty side, values that
            are not finite real numbers, and ids that repeat, are missing, or are not as many as the rows or columns.
        """
        if isinstance(matrix, pd.DataFrame):
            raise InputError("matrix: met a DataFrame; use from_frame, or give matrix.to_numpy()")
        if not sparse.issparse(matrix):
            matrix = _dense(matrix)
        if len(matrix.shape) != 2:
            raise InputError(f"matrix: expected 2 dimensions (users, items), met {len(matrix.shape)}; reshape it")
        shape = check_shape(matrix.shape, "matrix.shape")
        row_ids, column_ids = make_index(users, "users", shape[0]), make_index(items, "items", shape[1])
        if isinstance(matrix, np.ndarray) and keep_zeros:
            return cls(_full(matrix), row_ids, column_ids)
        if isinstance(matrix, np.ndarray):
            rows, columns = np.nonzero(matrix)
            values = matrix[rows, columns]
        else:
            rows, columns, values = cells_of_sparse(matrix)
        check_finite(check_numbers(values, "matrix"), rows, columns, "matrix")
        return cls(_canonical(matrix, rows, columns, values, shape), row_ids, column_ids)

    @classmethod
    def from_triples(
        cls,
        rows: Any,
        columns: Any,
        values: Any = None,
        *,
        shape: tuple[int, int] | None = None,
        aggregate: str = "sum",
        timestamps: Any = None,
        users: Any = None,
        items: Any = None,
    ) -> Interactions:
        """Build interactions from indices of users and items.

        Parameters
        ----------
        rows, columns : array_like of int, shape (lines,)
            User and item index of each line, from 0.
        values : array_like of real or bool, shape (lines,), optional
            1 for every line (float32) by default.
        shape : (int, int), optional
            Users and items; by default as many as ``users`` and ``items``, or as the largest index asks for.
        aggregate : {"sum", "max", "last", "count"}
            As in `from_frame`.
        timestamps : array_like of real or datetime64, shape (lines,), optional
            Time of each line.
        users, items : sequence of hashable, optional
            Id of each row and column; their positions by default.

        Returns
        -------
        Interactions
            With float32 data where it holds every value of the dtype of ``values``, float64 otherwise.

        Raises
        ------
        InputError
            For lengths that differ, indices that are not integers, negative or out of range, values that are not
            finite real numbers, missing timestamps, bad ids, sums that overflow, and no line without a shape.
        """
        _check_aggregate(aggregate)
        given = (
            make_index(users, "users") if users is not None else None,
            make_index(items, "items") if items is not None else None,
        )
        size = _triple_shape(rows, columns, shape, given)
        rows, columns = check_indices(rows, "rows", size[0]), check_indices(columns, "columns", size[1])
        lines = len(rows)
        numeric = (
            np.ones(lines, dtype=np.float32)
            if values is None
            else numbers(_flat(values, "values"), "values", _position)
        )
        moments = None if timestamps is None else times(_flat(timestamps, "timestamps"), "timestamps", _position)
        for name, array in (("columns", columns), ("values", numeric), ("timestamps", moments)):
            if array is not None and len(array) != lines:
                raise InputError(f"{name}: {len(array)} given for {lines} rows; give one for each")
        matrix, latest = aggregate_cells(rows, columns, numeric, size, aggregate, moments)
        return cls(matrix, make_index(given[0], "users", size[0]), make_index(given[1], "items", size[1]), latest)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items."""
        users, items = self.matrix.shape
        return int(users), int(items)

    @property
    def nnz(self) -> int:
        """Number of pairs, stored zeros included."""
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        users, items = self.shape
        return f"Interactions({users} users x {items} items, {self.nnz} pairs)"

    def user_indices(self, ids: Any) -> NDArray[np.int64]:
        """Rows of the given users.

        Parameters
        ----------
        ids : hashable or sequence of hashable
            Raw ids. One id, and a tuple is one id, gives an array of length 1.

        Returns
        -------
        ndarray of int64, shape (number of ids,)

        Raises
        ------
        InputError
            Naming the first unknown ids and how many there are.
        """
        return positions_of(self.users, ids, "users")

    def item_indices(self, ids: Any) -> NDArray[np.int64]:
        """Columns of the given items, as `user_indices` does for users.

        Parameters
        ----------
        ids : hashable or sequence of hashable
            Raw ids. One id, and a tuple is one id, gives an array of length 1.

        Returns
        -------
        ndarray of int64, shape (number of ids,)

        Raises
        ------
        InputError
            Naming the first unknown ids and how many there are.
        """
        return positions_of(self.items, ids, "items")


def as_interactions(data: Any, name: str = "data", *, keep_zeros: bool = False) -> Interactions:
    """Take interactions as they are and a matrix by `from_matrix`; a table does not say which columns to take.

    Raises
    ------
    InputError
        As from `from_matrix`, with the argument's name.
    """
    if isinstance(data, Interactions):
        return data
    if isinstance(data, pd.DataFrame) or hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        raise InputError(
            f"{name}: met a table ({type(data).__name__}), which does not say what its users and items are; "
            f"give Interactions.from_frame({name}, user=..., item=...)"
        )
    try:
        return Interactions.from_matrix(data, keep_zeros=keep_zeros)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _read_only(matrix: Any) -> Any:
    """View the same cells as read-only arrays: kernels rely on indices that were checked once."""
    parts = [part.view() for part in (matrix.data, matrix.indices, matrix.indptr)]
    for part in parts:
        part.flags.writeable = False
    return sparse.csr_array(tuple(parts), shape=matrix.shape, copy=False)


def _check_aggregate(aggregate: str) -> None:
    if aggregate not in AGGREGATES:
        raise InputError(f"aggregate: {aggregate!r} is unknown; choose one of {', '.join(AGGREGATES)}")


def _flat(values: Any, name: str) -> Any:
    """Return a Series, or a 1-D array; pandas would take a nested list for a column of objects."""
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{name}: expected a 1-D array, met {array.ndim} dimensions; flatten it")
    return array


def _dense(matrix: Any) -> NDArray[Any]:
    if isinstance(matrix, np.ma.MaskedArray):
        raise InputError("matrix: met a masked array, whose mask would be lost; give matrix.filled(0)")
    try:
        return check_numbers(np.asarray(matrix), "matrix")
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"matrix: not a rectangular array of numbers ({error}); give a 2-D array") from error


def _canonical(matrix: Any, rows: Any, columns: Any, values: Any, shape: tuple[int, int]) -> Any:
    """Build a fresh canonical CSR; a matrix that is one already is copied without sorting."""
    if getattr(matrix, "format", "") == "csr" and is_canonical(matrix.indptr, columns):
        index_dtype = np.int32 if len(columns) < 2**31 else np.int64
        with np.errstate(over="ignore"):
            data = values.astype(data_dtype(values.dtype))
        return sparse.csr_array((data, columns.astype(index_dtype), np.array(matrix.indptr, index_dtype)), shape=shape)
    return aggregate_cells(rows, columns, values, shape, "sum", None)[0]


def _full(matrix: NDArray[Any]) -> Any:
    """Store every cell of a dense array; the constructor checks the values."""
    rows, columns = matrix.shape
    index_dtype = np.int32 if matrix.size < 2**31 else np.int64
    with np.errstate(over="ignore"):
        values = matrix.astype(data_dtype(matrix.dtype)).ravel()
    indptr = np.arange(rows + 1, dtype=index_dtype) * columns
    return sparse.csr_array((values, np.tile(np.arange(columns, dtype=index_dtype), rows), indptr), shape=matrix.shape)


def _triple_shape(rows: Any, columns: Any, shape: Any, given: tuple[Any, Any]) -> tuple[int, int]:
    """Return the shape that was given, or the one that the ids and the indices ask for."""
    if shape is not None:
        return check_shape(shape)
    sizes = []
    for name, indices, ids in (("rows", rows, given[0]), ("columns", columns, given[1])):
        array = check_indices(indices, name)
        if ids is None and array.size == 0:
            raise InputError(f"{name}: empty; give at least one line, or a shape")
        sizes.append(int(array.max()) + 1 if ids is None else len(ids))
    return check_shape(sizes)
