"""Ids become numbers, in their own order: that of numbers, times, or the bytes of text in UTF-8."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._ids import check_side
from .columns import text
from .database import Database
from .format import IDS
from .kept import Kept
from .progress import Progress

_BATCH = 1 << 20
_SIDES = {"users": "u", "items": "i"}


class Numbered(NamedTuple):
    """Users and items by their ids in rising order: lines of each user, and the number of items."""

    user_lines: NDArray[np.int64]
    items: int


def number_ids(database: Database, kept: Kept, lines: int, folder: Path, progress: Progress) -> Numbered:
    """Give the ids of both sides numbers, and write them to ``users.parquet`` and ``items.parquet`` in their order.

    Parameters
    ----------
    database : Database
        Has the tables ``users`` and ``items`` afterwards, whose ``rowid`` is the number of ``id``.
    kept : Kept
    lines : int
        How many lines are kept.
    folder : Path
    progress : Progress

    Returns
    -------
    Numbered

    Raises
    ------
    InputError
        For more ids than 32-bit indices can count.
    """
    sizes = {}
    for side, letter in _SIDES.items():
        # DuckDB keeps the order of what is inserted, so that the number of a row is the place of its id.
        counted = f"SELECT {letter} AS id, count(*) AS lines FROM ({kept.query}) GROUP BY 1 ORDER BY 1"
        progress.run(database, f"CREATE TABLE {side} AS {counted}", lines)
        sizes[side] = database.one(f"SELECT count(*) FROM {side}")[0]
        check_side(sizes[side], side)
        target = text(folder / IDS.format(side))
        database.run(f"COPY (SELECT id FROM {side} ORDER BY rowid) TO {target} (FORMAT parquet)")
    batches = database.stream("SELECT lines FROM users ORDER BY rowid", _BATCH)
    return Numbered(np.concatenate([batch[0].to_numpy() for batch in batches]), sizes["items"])
