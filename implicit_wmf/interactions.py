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
    as_dense,
    canonical_csr,
    check_indices,
    check_shape,
    checked_csr,
    full_csr,
)
from ._columns import numbers, take_columns, times
from ._ids import Place, as_array, make_index, number_ids, positions_of
from .errors import InputError

_line = "line {}".format
_position = "position {}".format


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
        object.__setattr__(self, "matrix", checked_csr(self.matrix))
        for name, index, size in (("users", self.users, self.shape[0]), ("items", self.items, self.shape[1])):
            if not isinstance(index, pd.Index) or len(index) != size:
                raise InputError(f"{name}: expected a pandas Index of {size} ids, met {type(index).__name__}")
            make_index(index, name, size)
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
        given = make_index(users, "users"), make_index(items, "items")
        return cls._from_columns(columns, wanted, given, aggregate, _line)

    @classmethod
    def _from_columns(
        cls,
        columns: dict[str, pd.Series],
        names: Mapping[str, Hashable],
        given: tuple[pd.Index | None, pd.Index | None],
        aggregate: str,
        place: Place,
    ) -> Interactions:
        """Columns by argument, `given` as of `make_index`; files count lines otherwise than frames, in `place`."""
        _check_aggregate(aggregate)
        lines = len(columns["user"])
        if lines == 0:
            raise InputError("frame: the table is empty; give at least one line")
        called = {argument: f"{argument} column {name!r}" for argument, name in names.items()}
        rows, users = number_ids(columns["user"], called["user"], given[0], place)
        positions, items = number_ids(columns["item"], called["item"], given[1], place)
        values: NDArray[Any] = np.ones(lines, dtype=np.float32)
        if "value" in columns:
            values = numbers(columns["value"], called["value"], place)
        moments = times(columns["timestamp"], called["timestamp"], place) if "timestamp" in columns else None
        matrix, latest = aggregate_cells(rows, positions, values, (len(users), len(items)), aggregate, moments)
        return cls(matrix, users, items, latest)

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
            matrix = as_dense(matrix)
        if len(matrix.shape) != 2:
            raise InputError(f"matrix: expected 2 dimensions (users, items), met {len(matrix.shape)}; reshape it")
        shape = check_shape(matrix.shape, "matrix.shape")
        ids = make_index(users, "users", shape[0]), make_index(items, "items", shape[1])
        full = keep_zeros and isinstance(matrix, np.ndarray)
        return cls(full_csr(matrix) if full else canonical_csr(matrix, shape), *ids)

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
        sizes = (None, None) if shape is None else check_shape(shape)
        rows, users = _numbered(rows, users, sizes[0], ("rows", "users"))
        columns, items = _numbered(columns, items, sizes[1], ("columns", "items"))
        lines = len(rows)
        values = np.ones(lines, np.float32) if values is None else numbers(_flat(values, "values"), "values", _position)
        moments = None if timestamps is None else times(_flat(timestamps, "timestamps"), "timestamps", _position)
        for name, array in (("columns", columns), ("values", values), ("timestamps", moments)):
            if array is not None and len(array) != lines:
                raise InputError(f"{name}: {len(array)} given for {lines} rows; give one for each")
        shape = check_shape([len(users), len(items)])
        matrix, latest = aggregate_cells(rows, columns, values, shape, aggregate, moments)
        return cls(matrix, users, items, latest)

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
        As from `from_matrix`, with the argument's name; for a table, and for a store.
    """
    if isinstance(data, Interactions):
        return data
    refuse_store(data, name)
    if isinstance(data, pd.DataFrame) or hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        raise InputError(
            f"{name}: met a table ({type(data).__name__}), which does not say what its users and items are; "
            f"give Interactions.from_frame({name}, user=..., item=...), or .to_numpy() of one that is users x items"
        )
    try:
        return Interactions.from_matrix(data, keep_zeros=keep_zeros)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def refuse_store(data: Any, name: str) -> None:
    """Refuse a store where interactions are wanted: only a fit of WMF takes it shard by shard.

    Raises
    ------
    InputError
        With the argument's name.
    """
    if hasattr(data, "mapped_interactions"):  # the module of stores stands upon this one
        raise InputError(
            f"{name}: met a {type(data).__name__}, which only WMF.fit and `implicit-wmf fit` work through on the disk; "
            f"give {name}.mapped_interactions(), which has to fit in memory here"
        )


def _check_aggregate(aggregate: str) -> None:
    if not isinstance(aggregate, str) or aggregate not in AGGREGATES:
        raise InputError(f"aggregate: {aggregate!r} is unknown; choose one of {', '.join(AGGREGATES)}")


def _flat(values: Any, name: str) -> Any:
    """Return a Series, or a 1-D array; pandas would take a nested list for a column of objects."""
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    array = as_array(values, name)
    if array.ndim != 1:
        raise InputError(f"{name}: expected a 1-D array, met {array.ndim} dimensions; flatten it")
    return array


def _numbered(indices: Any, ids: Any, size: int | None, names: tuple[str, str]) -> tuple[NDArray[Any], pd.Index]:
    """Check one side's indices against its ids, or its size, or neither; return them and the ids."""
    index = make_index(ids, names[1], size)
    if index is not None and not len(index):
        raise InputError(f"{names[1]}: empty; give at least one id, or leave them out")
    array = check_indices(indices, names[0], None if index is None else len(index))
    if index is None and array.size == 0:
        raise InputError(f"{names[0]}: empty; give at least one line, or a shape")
    return array, pd.RangeIndex(int(array.max()) + 1) if index is None else index
