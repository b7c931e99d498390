"""Progress on standard error, in rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from .database import Database


class Progress:
    """A bar of rows for one step."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def add(self, rows: int) -> None:
        """Tell that so many more rows are done."""
        self._bar.update(rows)

    def run(self, database: Database, query: str, rows: int) -> list[Any]:
        """Run a query that takes so many rows, and show how far it is."""
        begun = self._bar.n
        try:
            result = database.run(query, lambda share: self._show(begun + int(share * rows)))
        except BaseException:
            self._show(begun)
            raise
        self._show(begun + rows)
        return result

    def _show(self, rows: int) -> None:
        self._bar.update(rows - self._bar.n)


@contextmanager
def step(name: str, total: int | None, show: bool | None) -> Iterator[Progress]:
    """Show a bar while a step runs; with `show` None on a terminal only."""
    disable = None if show is None else not show
    with tqdm(total=total, disable=disable, desc=name, unit="row", unit_scale=True) as bar:
        yield Progress(bar)
