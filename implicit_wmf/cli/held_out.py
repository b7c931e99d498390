"""What commands fit on and judge with: one table split, or a model or table and held-out interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer

from ..errors import InputError
from ..evaluation import split_by_time, split_last
from ..interactions import Interactions
from ..tables import known_ids, match_ids, read_events, read_interactions


def split_table(
    path: Path, columns: dict[str, Any], timestamp: str | None, fraction: float, split: str, instead: str
) -> tuple[Interactions, Interactions]:
    """Split the last lines off a table: each user's own (`split` "last"), or those after a cut ("time").

    `instead` is the option that names a file of held-out interactions.
    """
    return _split(_read_events(path, columns, timestamp, instead), path, columns, timestamp, fraction, split)


def split_table_twice(
    path: Path, columns: dict[str, Any], timestamp: str | None, fractions: tuple[float, float], split: str
) -> tuple[Interactions, Interactions]:
    """Split a validation part off a table (second fraction) after a test part (first fraction, may be 0).

    The test part is what `split_table` holds out for the same fraction; nothing of it is in the result, not even ids.
    """
    events = _read_events(path, columns, timestamp, "--validation")
    of_test, of_validation = fractions
    if of_test:
        numbered = events.assign(**{columns["item"]: np.arange(len(events))})  # then a pair is a line
        names = columns | {"value": None}
        _, test = _split(numbered, path, names, timestamp, of_test, split)
        lines = test.items.to_numpy()[test.matrix.indices]
        events = events.drop(events.index[lines])
    return _split(events, path, columns, timestamp, of_validation, split)


def _read_events(path: Path, columns: dict[str, Any], timestamp: str | None, instead: str) -> pd.DataFrame:
    if path.suffix.lower() == ".npz":
        raise InputError(
            f"{path} is a matrix, which has no order to split by: name held-out interactions with {instead}"
        )
    return read_events(path, **columns, timestamp=timestamp)


def _split(
    events: pd.DataFrame, path: Path, columns: dict[str, Any], timestamp: str | None, fraction: float, split: str
) -> tuple[Interactions, Interactions]:
    """Split lines that were read from a table, by one of the two ways that the command line has."""
    if split == "time":
        return split_by_time(events, **columns, timestamp=timestamp, test_fraction=fraction)
    by_user = events.groupby(columns["user"], observed=True, sort=False)
    times = by_user.size() if timestamp is None else by_user[timestamp].nunique()
    if times.max() < 2:
        lacking = "two lines" if timestamp is None else "lines at two different times"
        raise InputError(f"{path}: no user has {lacking} to split; name held-out interactions in a file of their own")
    return split_last(events, **columns, timestamp=timestamp, test_fraction=fraction)


def read_train(path: Path, columns: dict[str, Any]) -> Interactions:
    """Read training interactions; where they are a matrix, the columns are those of the test table alone."""
    return read_interactions(path) if path.suffix.lower() == ".npz" else read_interactions(path, **columns)


def read_held_out(path: Path, columns: dict[str, Any], train: Interactions) -> Interactions:
    """Read held-out interactions onto the rows and columns of the training data; what is not there is counted."""
    if path.suffix.lower() == ".npz":
        return _read_matrix(path, columns, train)
    events = read_events(path, **columns)
    known = pd.Series(True, index=events.index)
    for name, ids in ((columns["user"], train.users), (columns["item"], train.items)):
        events[name] = match_ids(events[name], ids)
        known &= known_ids(events[name], ids)
    if not known.any():
        raise InputError(f"{path}: no line is of a user and an item of the training data; are the ids the same there?")
    if not known.all():
        typer.echo(f"left out: {(~known).sum():,} of {known.size:,} test lines, of users or items not in training")
    return Interactions.from_frame(events[known], **columns, users=train.users, items=train.items)


def _read_matrix(path: Path, columns: dict[str, Any], train: Interactions) -> Interactions:
    if not (isinstance(train.users, pd.RangeIndex) and isinstance(train.items, pd.RangeIndex)):
        raise InputError(
            f"{path} is a matrix, and nothing tells which of the training data's ids its rows and columns are; "
            "give a table of held-out interactions"
        )
    held_out = read_interactions(path, **columns)
    if held_out.shape != train.shape:
        theirs, ours = (f"{users:,} x {items:,}" for users, items in (held_out.shape, train.shape))
        raise InputError(f"{path} has {theirs} users x items, the training data {ours}; give a matrix of that shape")
    return held_out
