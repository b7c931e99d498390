"""Splits of event lines in time, into Interactions for training and for testing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import parameters
from .._csr import rows_of_cells
from .._ids import same_ids
from ..errors import InputError
from ..interactions import Interactions, as_interactions
from .split_lines import at_least_one, last_of_users, moment_of, moments_of, take_table, two_interactions
from .split_parts import check_share, keep_pairs, stored_pairs


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
    frame : pandas, polars or Arrow table
        One event a line, as `Interactions.from_frame` takes it. Not changed; the order of lines does not matter.
    user, item, value : as in `Interactions.from_frame`
        Column names.
    timestamp : hashable
        Name of the column of times: dates, or numbers in any unit; none missing. Time zones are turned to UTC.
    test_fraction : float
        The share of lines to test on, between 0 and 1: the cut is the latest time that leaves at least this share,
        rounded to whole lines, at or after it. Lines of equal time stay together, so the share can become larger.
    cut : timestamp or number, optional
        The first time that belongs to test; replaces `test_fraction`. With a time zone if the column has one, without
        if it has none.

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
    if timestamp is None:
        raise InputError("timestamp: None given; name the column that holds the times, or use split_last")
    table = take_table(frame, user=user, item=item, value=value, timestamp=timestamp)
    moments = moments_of(table, timestamp)
    if cut is None:
        lines = int(at_least_one(np.array(moments.size), check_share("test_fraction", test_fraction, 0.2)))
        first = np.sort(moments)[moments.size - lines]
    else:
        first = moment_of(cut, table[timestamp].dtype, moments.dtype)
    in_test = moments >= first
    if in_test.all() or not in_test.any():
        empty, side = ("train", "before") if in_test.all() else ("test", "at or after")
        raise InputError(
            f"{empty} would be empty: none of the {moments.size} lines has a {timestamp!r} {side} the cut {first}; "
            f"times run from {moments.min()} to {moments.max()}: give a cut or a test_fraction with lines on both sides"
        )
    return two_interactions(table, in_test, user=user, item=item, value=value, timestamp=timestamp)


def split_last(
    frame: Any,
    *,
    user: Hashable,
    item: Hashable,
    value: Hashable | None = None,
    timestamp: Hashable | None = None,
    test_fraction: float = 0.2,
    k: int | None = None,
) -> tuple[Interactions, Interactions]:
    """Split each user's own lines in time: the last ones are for testing.

    Every user with lines at two times or more is in both parts, and all of a user's lines in train are earlier than
    those in test. Between users that does not hold, train has lines of some that are later than test lines of others:
    where that matters, use `split_by_time`. Lines are split before they are summed to cells: who takes the same item
    early and late has it in both parts (see `new_pairs`).

    Parameters
    ----------
    frame, user, item, value : as in `split_by_time`
    timestamp : hashable or None
        Name of the column of times; None takes the lines as they stand, each user's last ones last. Lines of one user
        with equal times, such as one basket, stay together.
    test_fraction : float
        Share of lines, between 0 and 1: a user's test lines are those of the fewest last times that make up at least
        this share, rounded to whole lines and at least one, but never those of the user's first time.
    k : int, optional
        How many lines, from 1 on; replaces `test_fraction`. A user's test lines are those of the fewest last times that
        make up at least k lines: more than k where the k-th last line shares its time with earlier ones. Users with
        fewer than k lines after their first time have all of these in test.

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
    table = take_table(frame, user=user, item=item, value=value, timestamp=timestamp)
    users = pd.factorize(table[user], use_na_sentinel=False)[0].astype(np.int64)
    order = np.arange(len(table)) if timestamp is None else moments_of(table, timestamp)
    in_test = last_of_users(users, order, _wanted_lines(np.bincount(users), test_fraction, k))
    if not in_test.any():
        raise InputError(
            f"test would be empty: none of the {users.max() + 1} users has lines at two different times; "
            "split_by_time can split such data"
        )
    return two_interactions(table, in_test, user=user, item=item, value=value, timestamp=timestamp)


def new_pairs(test: Any, train: Any) -> Interactions:
    """Leave out of test the pairs that train stores: a recommender that filters what is known can never reach them.

    Parameters
    ----------
    test, train : Interactions, or matrices of shape (users, items)
        Of one shape, with the same ids where both have any; a matrix, which has none, is taken by position. Not
        changed.

    Returns
    -------
    Interactions
        The other pairs of test, with their values and timestamps.

    Raises
    ------
    InputError
        If the two differ in shape or ids, or are not what is said above.
    """
    test, train = as_interactions(test, "test"), as_interactions(train, "train")
    check_same_ids(train, test)
    matrix = test.matrix
    rows = rows_of_cells(matrix.indptr)
    return keep_pairs(test, ~stored_pairs(rows, matrix.indices, train.matrix.indptr, train.matrix.indices))


def check_same_ids(train: Interactions, test: Interactions) -> None:
    """Refuse two Interactions whose rows or columns do not stand for the same users and items, as far as ids tell."""
    if train.shape != test.shape:
        raise InputError(
            f"train has shape {train.shape} and test {test.shape}; build both with the same users and items, "
            "as split_by_time does"
        )
    for side in ("users", "items"):
        if not same_ids(getattr(train, side), getattr(test, side)):
            raise InputError(
                f"train.{side} and test.{side} hold different ids or another order; build both with the same {side}, "
                "as split_by_time does"
            )


def _wanted_lines(lines: NDArray[np.integer], test_fraction: float, k: int | None) -> NDArray[np.int64]:
    """Return how many lines of each user to test on at least."""
    if k is None:
        return at_least_one(lines, check_share("test_fraction", test_fraction, 0.2))
    parameters.whole(1)("k", k)
    return np.full(lines.shape, min(k, lines.max()))
