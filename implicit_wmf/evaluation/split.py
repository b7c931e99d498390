"""Splits of event lines in time, into Interactions for training and for testing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._columns import take_columns, times
from ..errors import InputError
from ..interactions import Interactions
from .metrics import stored_pairs


def split_by_time(
    frame: Any,
    *,
    user: Hashable,
    item: Hashable,
    value: Hashable | None = None,
    timestamp: Hashable,
    test_fraction: float = 0.2,
    cut: Any = None,
) -> tuple[Interactions, Interactions]:
    """Split event lines at one moment for all users, as if a model were trained at that moment and used afterwards.

    Lines at or after the cut are test lines, so nothing in train is later than anything in test. Lines are split before
    they are summed to cells: who takes the same item before and after the cut has it in both parts (see `new_pairs`).

    Parameters
    ----------
    frame
        One event a line, as `Interactions.from_frame` takes it. Not changed; the order of lines does not matter.
    user, item, value
        Column names, as in `Interactions.from_frame`.
    timestamp
        Name of the column of times: dates, or numbers in any unit; none missing. Time zones are turned to UTC.
    test_fraction
        The share of lines to test on, between 0 and 1: the cut is the latest time that leaves at least this share,
        rounded to whole lines, at or after it. Lines of equal time stay together, so the share can become larger.
    cut
        The first time that belongs to test; replaces `test_fraction`. With a time zone if the column has one; without
        one it is compared as it stands.

    Returns
    -------
    train, test : Interactions
        Of one shape, with the same ids: all users and items of the frame.

    Raises
    ------
    InputError
        If a time is missing or not comparable, `test_fraction` is not between 0 and 1, or one part would be empty.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({"who": ["a", "b", "a"], "what": ["x", "x", "y"], "day": [1, 2, 3]})
    >>> train, test = split_by_time(events, user="who", item="what", timestamp="day", cut=3)
    >>> train.matrix.nnz, test.matrix.nnz, test.shape
    (2, 1, (2, 2))
    """
    table = _take_table(frame, user=user, item=item, value=value, timestamp=timestamp)
    moments = _moments(table, timestamp)
    if cut is None:
        lines = int(_test_lines(np.array(moments.size), test_fraction))
        first = np.sort(moments)[moments.size - lines]
    else:
        first = _moment(cut, table[timestamp].dtype, moments.dtype)
    in_test = moments >= first
    if in_test.all() or not in_test.any():
        empty, side = ("train", "before") if in_test.all() else ("test", "at or after")
        raise InputError(
            f"{empty} would be empty: none of the {moments.size} lines has a {timestamp!r} {side} the cut {first}; "
            f"times run from {moments.min()} to {moments.max()}: give a cut or a test_fraction with lines on both sides"
        )
    return _two_interactions(table, in_test, user=user, item=item, value=value, timestamp=timestamp)


def split_last(
    frame: Any,
    *,
    user: Hashable,
    item: Hashable,
    value: Hashable | None = None,
    timestamp: Hashable | None = None,
    test_fraction: float = 0.2,
) -> tuple[Interactions, Interactions]:
    """Split each user's own lines in time: the last ones are for testing.

    Every user with lines at two times or more is in both parts, but train then holds lines of some users that are later
    than test lines of others: where that matters, use `split_by_time`.

    Parameters
    ----------
    frame, user, item, value
        As in `split_by_time`.
    timestamp
        Name of the column of times; None takes the lines as they stand, each user's last ones last. Lines of one user
        with equal times, such as one basket, stay together.
    test_fraction
        Share of lines, between 0 and 1: a user's test lines are those of the fewest last times that make up at least
        this share, rounded to whole lines and at least one, but never those of the user's first time.

    Returns
    -------
    train, test : Interactions
        Of one shape, with the same ids: all users and items of the frame.

    Raises
    ------
    InputError
        As in `split_by_time`; test would be empty if no user has lines at two times.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({"who": ["a", "a", "b", "a"], "what": ["x", "y", "x", "z"]})
    >>> train, test = split_last(events, user="who", item="what", test_fraction=0.3)
    >>> train.matrix.sum(axis=1).tolist(), test.matrix.sum(axis=1).tolist()
    ([2.0, 1.0], [1.0, 0.0])
    """
    table = _take_table(frame, user=user, item=item, value=value, timestamp=timestamp)
    users = pd.factorize(table[user], use_na_sentinel=False)[0].astype(np.int64)
    order = np.arange(len(table)) if timestamp is None else _moments(table, timestamp)
    in_test = _last_lines(users, order, test_fraction)
    if not in_test.any():
        raise InputError(
            f"test would be empty: none of the {users.max(initial=-1) + 1} users has lines at two different times; "
            "split_by_time can split such data"
        )
    return _two_interactions(table, in_test, user=user, item=item, value=value, timestamp=timestamp)


def new_pairs(test: Interactions, train: Interactions) -> Interactions:
    """Leave out of test the pairs that train stores: a recommender that filters what is known can never reach them.

    Parameters
    ----------
    test, train
        Interactions of one shape with the same ids. Not changed.

    Returns
    -------
    Interactions
        The other pairs of test, with their values and timestamps.

    Raises
    ------
    InputError
        If the two differ in shape or ids.
    """
    check_same_ids(train, test)
    matrix = test.matrix
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    new = ~stored_pairs(rows, matrix.indices, train.matrix.indptr, train.matrix.indices)
    indptr = np.append(0, np.cumsum(new))[matrix.indptr]
    indptr = indptr.astype(matrix.indptr.dtype)
    kept = csr_array((matrix.data[new], matrix.indices[new], indptr), shape=matrix.shape)
    timestamps = None if test.timestamps is None else test.timestamps[new]
    return Interactions(kept, test.users, test.items, timestamps)


def check_same_ids(train: Interactions, test: Interactions) -> None:
    """Refuse two Interactions whose rows or columns do not stand for the same users and items."""
    if train.shape != test.shape:
        raise InputError(
            f"train has shape {train.shape} and test {test.shape}; build both with the same users and items, "
            "as split_by_time does"
        )
    for side in ("users", "items"):
        if not getattr(train, side).equals(getattr(test, side)):
            raise InputError(
                f"train.{side} and test.{side} hold different ids or another order; build both with the same {side}, "
                "as split_by_time does"
            )


def _take_table(frame: Any, **names: Hashable | None) -> pd.DataFrame:
    """Take the named columns of a frame of any kind into a pandas frame."""
    wanted = {argument: name for argument, name in names.items() if name is not None}
    columns = take_columns(frame, wanted)
    table = pd.DataFrame({wanted[argument]: column for argument, column in columns.items()})
    if table.empty:
        raise InputError("frame: the table is empty; give at least two lines to split")
    return table


def _moments(table: pd.DataFrame, timestamp: Hashable) -> NDArray[Any]:
    """Return the times of all lines as numbers or as datetime64, in UTC."""
    return times(table[timestamp], f"timestamp column {timestamp!r}", lambda line: f"line {line}")


def _moment(cut: Any, column: Any, kind: np.dtype[Any]) -> Any:
    """Turn a cut that the caller gave into a value that compares with the times."""
    number = isinstance(cut, int | float | np.number) and not isinstance(cut, bool)
    if kind.kind != "M":
        if not number or np.isnan(cut):
            raise InputError(f"cut is {cut!r}, but the times are numbers ({kind}); give a number")
        return cut
    try:
        moment = pd.NaT if number else pd.Timestamp(cut)
    except (TypeError, ValueError):
        moment = pd.NaT
    if moment is pd.NaT:
        raise InputError(f"cut is {cut!r}, but the times are dates; give a date, such as '2011-12-01'")
    if moment.tzinfo is not None:
        return moment.tz_convert(None).to_datetime64()
    if isinstance(column, pd.DatetimeTZDtype):
        raise InputError(f"cut is {cut!r} without a time zone, but the times are in {column.tz}; add one to the cut")
    return moment.to_datetime64()


def _test_lines(lines: NDArray[np.integer], test_fraction: float) -> NDArray[np.int64]:
    """Turn the share into a number of lines, at least one, for each number of lines."""
    if not isinstance(test_fraction, int | float | np.number) or not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction!r}; give a number between 0 and 1, such as 0.2")
    return np.asarray(np.maximum(1, np.rint(lines * float(test_fraction)).astype(np.int64)))


def _last_lines(users: NDArray[np.int64], order: NDArray[Any], test_fraction: float) -> NDArray[np.bool_]:
    """Tell for each line whether it is among its user's last ones, equal places in the order kept together."""
    by_time = np.lexsort((order, users))
    user, place = users[by_time], order[by_time]
    position = np.arange(user.size)
    starts_user = np.append(True, user[1:] != user[:-1])
    starts_time = starts_user | np.append(True, place[1:] != place[:-1])
    first_of_user = np.maximum.accumulate(np.where(starts_user, position, 0))
    first_of_time = np.maximum.accumulate(np.where(starts_time, position, 0))
    after_time = np.append(position[starts_time][1:], user.size)[np.cumsum(starts_time) - 1]
    lines = np.bincount(users)[user]
    later = first_of_user + lines - after_time
    in_test = np.empty(user.size, dtype=bool)
    in_test[by_time] = (later < _test_lines(lines, test_fraction)) & (first_of_time > first_of_user)
    return in_test


def _two_interactions(
    table: pd.DataFrame, in_test: NDArray[np.bool_], **columns: Any
) -> tuple[Interactions, Interactions]:
    """Build both parts over the ids of the whole table, which is checked as a whole first."""
    whole = Interactions.from_frame(table, **columns)
    train, test = (
        Interactions.from_frame(table[part], **columns, users=whole.users, items=whole.items)
        for part in (~in_test, in_test)
    )
    return train, test
