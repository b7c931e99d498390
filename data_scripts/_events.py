"""Events of users and items under dense codes: collected from blocks, thinned out, and written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from _lines import LineFormat
from _source import Source
from numpy.typing import NDArray

from implicit_wmf.errors import InputError, MissingExtraError
from implicit_wmf.tables import check_writable, write_table

Ids = NDArray[Any]
SUFFIXES = (".npz", ".parquet")
ROWS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Events:
    """What users did to items, a line each.

    Attributes
    ----------
    user, item : numpy.ndarray of int32, shape (lines,)
        Positions in `users` and `items`.
    users, items : numpy.ndarray of int64 or object
        The publisher's ids, in order.
    value_name : str or None
        What a line's value is called; None where a line says only that there was an event.
    values : numpy.ndarray of float32, shape (lines,), or None
    seconds : numpy.ndarray of int64, shape (lines,), or None
        Unix time.
    item_names : dict of str to str
        Names of items, by id.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    users: Ids
    items: Ids
    value_name: str | None = None
    values: NDArray[np.float32] | None = None
    seconds: NDArray[np.int64] | None = None
    item_names: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def take(self, kept: NDArray[np.bool_]) -> Events:
        """Keep some of the lines, and the users and items that still have any."""
        user, users = _used(self.user[kept], self.users)
        item, items = _used(self.item[kept], self.items)
        values = None if self.values is None else self.values[kept]
        seconds = None if self.seconds is None else self.seconds[kept]
        return replace(self, user=user, item=item, users=users, items=items, values=values, seconds=seconds)

    def matrix(self, *, binary: bool = False) -> scipy.sparse.csr_array:
        """Users x items, float32: the sums of the pairs' values, or ones."""
        ones = binary or self.values is None
        values = np.ones(len(self), dtype=np.float32) if ones else self.values
        shape = (len(self.users), len(self.items))
        matrix = scipy.sparse.csr_array(scipy.sparse.coo_array((values, (self.user, self.item)), shape=shape))
        matrix.sum_duplicates()
        if ones:
            matrix.data[:] = 1.0
        return matrix


def _used(codes: NDArray[np.int32], ids: Ids) -> tuple[NDArray[np.int32], Ids]:
    present = np.zeros(len(ids), dtype=bool)
    present[codes] = True
    return (np.cumsum(present, dtype=np.int32) - 1)[codes], ids[present]


class Collector:
    """Gathers blocks of lines into `Events`: 8 bytes a line, 4 more with values, 8 more with times."""

    def __init__(self, value_name: str | None = None, *, timed: bool = False) -> None:
        self._value_name = value_name
        self._codes: dict[str, dict[Any, int]] = {"user": {}, "item": {}}
        dtypes: dict[str, Any] = {"user": np.int32, "item": np.int32}
        dtypes |= {"value": np.float32} if value_name else {}
        self._dtypes = dtypes | ({"seconds": np.int64} if timed else {})
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in self._dtypes}

    def add(self, *, user: pd.Series, item: pd.Series, **others: pd.Series) -> None:
        """Take in a block's columns: user, item, and those of value and seconds that there are."""
        for side, column in (("user", user), ("item", item)):
            self._parts[side].append(self._encode(self._codes[side], column))
        for name, column in others.items():
            self._parts[name].append(column.to_numpy(dtype=self._dtypes[name]))

    @staticmethod
    def _encode(known: dict[Any, int], column: pd.Series) -> NDArray[np.int32]:
        """Return a block's codes by way of its distinct ids, of which there are far fewer than lines."""
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, uniques = column.cat.codes.to_numpy(), column.cat.categories
        else:
            codes, uniques = pd.factorize(column)
        lookup = np.fromiter((known.setdefault(one, len(known)) for one in uniques.tolist()), np.int32, len(uniques))
        return lookup[codes]

    def events(self) -> Events:
        """Return all that was gathered, ids in order."""
        columns = {}
        for name, dtype in self._dtypes.items():
            parts = self._parts.pop(name)
            columns[name] = np.concatenate(parts) if parts else np.empty(0, dtype)
        users, columns["user"] = self._in_order("user", columns["user"])
        items, columns["item"] = self._in_order("item", columns["item"])
        return Events(
            columns["user"],
            columns["item"],
            users,
            items,
            value_name=self._value_name,
            values=columns.get("value"),
            seconds=columns.get("seconds"),
        )

    def _in_order(self, side: str, codes: NDArray[np.int32]) -> tuple[Ids, NDArray[np.int32]]:
        known = list(self._codes.pop(side))
        numeric = bool(known) and isinstance(known[0], int)
        ids = np.array(known, dtype=np.int64 if numeric else object)
        order = np.argsort(ids, kind="stable")
        place = np.empty(len(ids), dtype=np.int32)
        place[order] = np.arange(len(ids), dtype=np.int32)
        return ids[order], place[codes]


def collect(source: Source, name: str, form: LineFormat) -> Events:
    """Return the lines of a file as they stand there: user, item, value and, where there is a fourth field, time."""
    value, *timed = [field.name for field in form.fields[2:]]
    collector = Collector(value, timed=bool(timed))
    columns = dict(zip(("user", "item", "value", "seconds"), (field.name for field in form.fields), strict=False))
    with source.open(name) as stream:
        for block in form.read(stream, name):
            collector.add(**{column: block[field] for column, field in columns.items()})
    return collector.events()


def refuse_repeats(events: Events, name: str) -> None:
    """Raise InputError where a user has rated an item twice, as no user of such a data set has."""
    matrix = events.matrix(binary=True)
    if matrix.nnz == len(events):
        return
    frame = pd.DataFrame({"user": events.user, "item": events.item})
    user, item = frame[frame.duplicated()].iloc[0]
    raise InputError(
        f"{name}: user {events.users[user]} has rated item {events.items[item]} more than once "
        f"({len(events) - matrix.nnz:,} lines repeat a pair); give the publisher's file, which does not"
    )


def thin_out(events: Events, *, min_value: float | None, min_user: int, min_item: int) -> Events:
    """Keep values of at least `min_value`, then items with enough lines, then users with enough of those.

    Each once and in this order, as the code of Liang et al. 2018 does it; an item may be left with fewer.
    """
    if min_value is not None and events.values is not None:
        events = events.take(events.values >= min_value)
    if min_item > 1:
        events = events.take(np.bincount(events.item, minlength=1)[events.item] >= min_item)
    if min_user > 1:
        events = events.take(np.bincount(events.user, minlength=1)[events.user] >= min_user)
    if not len(events):
        raise InputError("no line is left; lower --min-rating, --min-user or --min-item")
    return events


def check_output(path: Path) -> None:
    """Raise what `write_events` would for a path, before the work."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"OUT {path.name!r} has an unknown suffix; data sets are written as {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        parquet_writing()
    check_writable(path.with_suffix(".csv"))
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


def write_events(events: Events, path: Path, *, binary: bool = False) -> list[Path]:
    """Write events, and the ids that the matrix form loses; return the files, each written whole or not at all.

    Parameters
    ----------
    events : Events
    path : pathlib.Path
        .npz: a matrix for ``scipy.sparse.load_npz``, users x items; its rows' and columns' ids go to ``.users.csv`` and
        ``.items.csv`` beside it, unless they are 0, 1, 2 and so on. .parquet: a line an event, with its time; only
        names of items go to ``.items.csv``.
    binary : bool
        Whether the matrix has ones for values.
    """
    if path.suffix.lower() == ".parquet":
        write_whole(path, lambda file: _write_parquet(events, file))
        return [path, *([_write_ids(path, "item", events.items, events.item_names)] if events.item_names else [])]
    # Uncompressed: ids compress little, and a fit would wait for zlib each time.
    write_whole(path, lambda file: scipy.sparse.save_npz(file, events.matrix(binary=binary), compressed=False))
    sides: tuple[tuple[str, Ids, dict[str, str]], ...] = (
        ("user", events.users, {}),
        ("item", events.items, events.item_names),
    )
    written = [
        _write_ids(path, side, ids, names)
        for side, ids, names in sides
        if names or ids.dtype == object or not np.array_equal(ids, np.arange(len(ids)))
    ]
    return [path, *written]


def _write_ids(path: Path, side: str, ids: Ids, names: dict[str, str]) -> Path:
    frame = pd.DataFrame({side: ids})
    if names:
        frame["name"] = [names.get(one, "") for one in ids.tolist()]
    target = path.with_suffix(f".{side}s.csv")
    write_table(frame, target)
    return target


def write_whole(path: Path, write: Callable[[Any], None]) -> None:
    """Let `write` fill a file under another name, and give it its own once it is complete."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(events: Events, file: Any) -> None:
    pyarrow, parquet = parquet_writing()
    ids = {side: pyarrow.array(known) for side, known in (("user", events.users), ("item", events.items))}
    fields = [(side, known.type) for side, known in ids.items()]
    fields += [(events.value_name, pyarrow.float32())] if events.values is not None else []
    fields += [("timestamp", pyarrow.timestamp("ms"))] if events.seconds is not None else []
    schema = pyarrow.schema(fields)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(events), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            columns = [ids["user"].take(pyarrow.array(events.user[rows]))]
            columns.append(ids["item"].take(pyarrow.array(events.item[rows])))
            columns += [pyarrow.array(events.values[rows])] if events.values is not None else []
            columns += (
                [pyarrow.array(events.seconds[rows] * 1000, schema[-1].type)] if events.seconds is not None else []
            )
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def parquet_writing() -> tuple[Any, Any]:
    """Return pyarrow and its module of Parquet, or say what is missing."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(package="pyarrow", extra="parquet", purpose="Writing Parquet files") from error
    return pyarrow, parquet
