"""What commands fit on and judge with: one table split, or a model or table and held-out interactions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from .._words import count
from ..config import WMFConfig
from ..errors import InputError
from ..evaluation import split_by_time, split_last
from ..interactions import Interactions
from ..store import is_store
from ..tables import known_ids, match_ids, read_events, read_interactions
from ..tables.files import MATRIX
from ..validation import HeldOut, Removes
from .options import Columns, check_split, refuse_given, share

_INSTEAD = {  # of a store, by what was to be held out
    "test": "give a table, or fit a model to the store and measure that on a table, with --test",
    "validation": "give a table, or try settings on the store by `implicit-wmf fit` with --validation TABLE",
}


@dataclass(frozen=True)
class Source:
    """Where a command finds what it fits on and what it holds out: in one table, which is split, or in two.

    `part` is what is held out, "test" or "validation"; the options have it in their names.
    """

    path: Path | str  # a URL is that of a store, which has nothing to split
    columns: Columns
    part: str
    table: Path | None  # of held-out interactions
    fraction: float | None  # of the lines of the one table to hold out
    split: str  # "last": the last lines of each user; "time": all lines after a cut
    timestamp: str | None
    set_aside: float | None = None  # of the lines to leave out before, as a test part

    def check(self, ctx: typer.Context) -> None:
        """Refuse options without sense or effect."""
        share(f"{self.part}_fraction", self.fraction)
        share("test_fraction", self.set_aside)
        if self.table is not None:
            splitting = ("timestamp", "split", "validation_fraction", "test_fraction")
            refuse_given(ctx, splitting, f"with --{self.part}, because nothing is split")
        check_split(self.split, self.timestamp)

    def read(self, train: Interactions | None = None) -> tuple[Interactions, Interactions]:
        """Read both; `train` is what a saved model was fitted on, in place of the data at `path`.

        Where the data to fit on are a matrix, the columns are those of the held-out table alone.
        """
        if train is None and is_store(self.path):
            raise InputError(f"{self.path} is a store, which has no lines to hold out: {_INSTEAD[self.part]}")
        if self.table is None:
            return self._split()
        if train is None:
            train = (
                read_interactions(self.path) if _is_matrix(self.path) else read_interactions(self.path, **self.columns)
            )
        return train, read_held_out(self.table, self.columns, train)

    def _split(self) -> tuple[Interactions, Interactions]:
        """Split the one table.

        What is set aside is what would be held out for the same fraction; nothing of it is in the result, not even ids.
        """
        assert self.fraction is not None
        if _is_matrix(self.path):
            raise InputError(
                f"{self.path} is a matrix, which has no order to split by: "
                f"name held-out interactions with --{self.part}"
            )
        events = read_events(self.path, **self.columns, timestamp=self.timestamp)
        if self.set_aside is not None:
            numbered = events.assign(**{str(self.columns["item"]): np.arange(len(events))})  # then a pair is a line
            _, test = self._parts(numbered, self.columns | {"value": None}, self.set_aside)
            lines = test.items.to_numpy()[test.matrix.indices]
            events = events.drop(events.index[lines])
        return self._parts(events, self.columns, self.fraction)

    def _parts(self, events: pd.DataFrame, columns: Columns, fraction: float) -> tuple[Interactions, Interactions]:
        if self.split == "time":
            return split_by_time(events, **columns, timestamp=self.timestamp, test_fraction=fraction)
        by_user = events.groupby(columns["user"], observed=True, sort=False)
        times = by_user.size() if self.timestamp is None else by_user[self.timestamp].nunique()
        if times.max() < 2:
            lacking = "two lines" if self.timestamp is None else "lines at two different times"
            raise InputError(
                f"{self.path}: no user has {lacking} to split; name held-out interactions in a file of their own"
            )
        return split_last(events, **columns, timestamp=self.timestamp, test_fraction=fraction)


def tell_validation(train: Interactions, held_out: Interactions, metric: str, config: WMFConfig) -> None:
    """Say how much a validation rests on."""
    judge = HeldOut.of(train, held_out, metric, Removes(zeros=config.zeros_remove))
    typer.echo(f"validates on {count(judge.users.size, 'user')}: {count(judge.pairs, 'new pair')}")


def _is_matrix(path: Path | str) -> bool:
    return Path(path).suffix.lower() == MATRIX


def read_held_out(path: Path, columns: Columns, train: Interactions) -> Interactions:
    """Read held-out interactions onto the rows and columns of the training data; what is not there is counted."""
    if is_store(path):
        raise InputError(f"{path} is a store; name a table of held-out interactions")
    if _is_matrix(path):
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


def _read_matrix(path: Path, columns: Columns, train: Interactions) -> Interactions:
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
