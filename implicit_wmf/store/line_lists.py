"""Numbered lines on disk, the lines of a range of users together, whatever order they come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .database import Database
from .kept import Kept
from .progress import Progress

_BATCH = 1 << 20
_KINDS: dict[str, np.dtype[Any]] = {
    "users": np.dtype(np.int32),
    "items": np.dtype(np.int32),
    "values": np.dtype(np.float64),
}
_SQL = {"users": "CAST(users.rowid AS INTEGER)", "items": "CAST(items.rowid AS INTEGER)", "values": "v", "times": "t"}

Lines = dict[str, NDArray[Any]]


class LineLists:
    """A file a column; a user's lines are somewhere in the part of its range.

    Parameters
    ----------
    folder : Path
        For the files.
    user_lines : (users,) array of int64
        Lines of each user.
    range_lines : int
        About how many lines a range of users has, unless one user has more; and how many are read at once.
    has_values : bool
        Whether a line has a number of its own.
    times : numpy.dtype or None
        Of the line's time.

    Attributes
    ----------
    edges : (ranges + 1,) array of int64
        Where each range of users begins, and the number of users.
    """

    def __init__(
        self,
        folder: Path,
        user_lines: NDArray[np.int64],
        range_lines: int,
        *,
        has_values: bool,
        times: np.dtype[Any] | None,
    ) -> None:
        ends = np.cumsum(user_lines)
        cuts = np.searchsorted(ends, np.arange(range_lines, ends[-1], range_lines))
        self.edges = np.unique(np.concatenate([[0], cuts, [len(ends)]])).astype(np.int64)
        self._starts = np.concatenate([[0], ends[self.edges[1:] - 1]])
        self._range_lines = range_lines
        self._kinds = {name: kind for name, kind in _KINDS.items() if has_values or name != "values"}
        self._kinds |= {} if times is None else {"times": times}
        self._folder = folder

    def fill(self, database: Database, kept: Kept, progress: Progress) -> int:
        """Write the numbered lines, and return how many they are.

        Parameters
        ----------
        database : Database
            With the tables of `number_ids`.
        kept : Kept
        progress : Progress

        Returns
        -------
        int
        """
        # The fewer bytes, the faster numpy sorts.
        ranges = np.arange(len(self.edges) - 1).astype(np.min_scalar_type(len(self.edges) - 2))
        range_of = np.repeat(ranges, np.diff(self.edges))
        places = self._starts[:-1].copy()
        columns = ", ".join(_SQL[name] for name in self._kinds)
        query = f"SELECT {columns} FROM ({kept.query}) JOIN users ON u = users.id JOIN items ON i = items.id"
        with ExitStack() as stack:
            files = {name: stack.enter_context((self._folder / name).open("wb")) for name in self._kinds}
            for batch in database.stream(query, _BATCH):
                lines = dict(zip(self._kinds, map(np.asarray, batch), strict=True))
                self._scatter(files, lines, range_of, places)
                progress.add(len(batch[0]))
        return int((places - self._starts[:-1]).sum())

    def _scatter(self, files: dict[str, Any], lines: Lines, range_of: NDArray[Any], places: NDArray[np.int64]) -> None:
        """Write each line at the next place of its range."""
        ranges = range_of[lines["users"]]
        order = np.argsort(ranges, kind="stable")
        counts = np.bincount(ranges, minlength=len(places))
        met, ends = np.flatnonzero(counts), np.cumsum(counts)
        for name, file in files.items():
            kind = self._kinds[name]
            values = lines[name][order].view(kind) if name == "times" else lines[name][order].astype(kind, copy=False)
            for number in met:
                file.seek(places[number] * kind.itemsize)
                file.write(values[ends[number] - counts[number] : ends[number]].view(np.uint8).data)
        places += counts

    def ranges(self) -> Iterator[tuple[int, int, Iterator[Lines]]]:
        """Yield the first user of each range, the one after its last, and its lines in pieces.

        Yields
        ------
        (int, int, iterator of dict of ndarray)
            Lines as arrays ``users`` (counted from the first), ``items`` and perhaps ``values`` and ``times``.
        """
        for number in range(len(self.edges) - 1):
            start, stop = self.edges[number : number + 2].tolist()
            first, last = self._starts[number : number + 2].tolist()
            yield start, stop, self._pieces(start, first, last)

    def _pieces(self, start: int, first: int, last: int) -> Iterator[Lines]:
        # A range is a little larger than asked for; a second piece would be sorted once more for that.
        for begin in range(first, last, 2 * self._range_lines):
            count = min(2 * self._range_lines, last - begin)
            lines = {
                name: np.fromfile(self._folder / name, kind, count, offset=begin * kind.itemsize)
                for name, kind in self._kinds.items()
            }
            lines["users"] -= start
            yield lines

    def remove(self) -> None:
        """Remove the files."""
        for name in self._kinds:
            (self._folder / name).unlink()
