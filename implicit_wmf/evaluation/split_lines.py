"""Event lines on their way to a split in time: columns, moments, and the Interactions of both parts."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._columns import take_columns, times
from ..errors import InputError
from ..interactions import Interactions


def take_table(frame: Any, **names: Hashable | None) -> pd.DataFrame:
    """Take the named columns of a frame of any kind into a pandas frame."""
    wanted = {argument: name for argument, name in names.items() if name is not None}
    for argument in ("user", "item"):
        if argument not in wanted:
            raise InputError(f"{argument}: None given; name the column that holds the {argument} ids")
    columns = take_columns(frame, wanted)
    if "timestamp" in wanted:
        columns["timestamp"] = _in_zone(columns["timestamp"], frame, wanted["timestamp"])
    table = pd.DataFrame({wanted[argument]: column for argument, column in columns.items()})
    if table.empty:
        raise InputError("frame: the table is empty; give at least two lines to split")
    return table


def _in_zone(times: pd.Series, frame: Any, name: Hashable) -> pd.Series:
    """Give times their time zone back, which columns of polars lose as NumPy arrays: a cut needs one or must not."""
    zone = getattr(frame.get_column(name).dtype, "time_zone", None) if hasattr(frame, "get_column") else None
    return times if zone is None else times.dt.tz_localize("UTC").dt.tz_convert(zone)


def moments_of(table: pd.DataFrame, timestamp: Hashable) -> NDArray[Any]:
    """Return the times of all lines as numbers or as datetime64, in UTC."""
    return times(table[timestamp], f"timestamp column {timestamp!r}", lambda line: f"line {line}")


def moment_of(cut: Any, column: Any, kind: np.dtype[Any]) -> Any:
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
    aware = isinstance(column, pd.DatetimeTZDtype)
    if moment.tzinfo is not None and not aware:
        raise InputError(f"cut is {cut!r} with a time zone, but the times have none; give a cut without, in their zone")
    if moment.tzinfo is not None:
        return moment.tz_convert(None).to_datetime64()
    if aware:
        raise InputError(f"cut is {cut!r} without a time zone, but the times are in {column.tz}; add one to the cut")
    return moment.to_datetime64()


def at_least_one(lines: NDArray[np.integer], share: float) -> NDArray[np.int64]:
    """Turn the share into a number of lines, at least one, for each number of lines."""
    return np.asarray(np.maximum(1, np.rint(lines * share).astype(np.int64)))


def last_of_users(users: NDArray[np.int64], order: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each line whether it is among its user's last ones, equal places in the order kept together.

    Of each user at least as many lines as wanted, (users,), are told, but never one at the user's first place.
    """
    by_time = np.lexsort((order, users))
    user, place = users[by_time], order[by_time]
    position = np.arange(user.size)
    starts_user = np.append(True, user[1:] != user[:-1])
    starts_time = starts_user | np.append(True, place[1:] != place[:-1])
    first_of_user = np.maximum.accumulate(np.where(starts_user, position, 0))
    first_of_time = np.maximum.accumulate(np.where(starts_time, position, 0))
    after_time = np.append(position[starts_time][1:], user.size)[np.cumsum(starts_time) - 1]
    later = first_of_user + np.bincount(users)[user] - after_time
    told = np.empty(user.size, dtype=bool)
    told[by_time] = (later < wanted[user]) & (first_of_time > first_of_user)
    return told


def two_interactions(
    table: pd.DataFrame, in_test: NDArray[np.bool_], **columns: Any
) -> tuple[Interactions, Interactions]:
    """Build both parts over the ids of the whole table, which is checked as a whole first."""
    whole = Interactions.from_frame(table, **columns)
    train, test = (
        Interactions.from_frame(table[part], **columns, users=whole.users, items=whole.items)
        for part in (~in_test, in_test)
    )
    return train, test
