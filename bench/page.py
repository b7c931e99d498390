"""Markdown under construction, with the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from . import plots

REPORTS = (
    "RESULTS.md",
    "RESULTS-speed.md",
    "RESULTS-speed-small.md",
    "RESULTS-lists.md",
    "RESULTS-out-of-core.md",
    "RESULTS-scaling.md",
)


class Page:
    """Paragraphs, tables and plots of a report that will be at `path`; plots go to the folder `plots` beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks: list[str] = []

    @property
    def markdown(self) -> str:
        """All of it."""
        return "".join(f"{block}\n\n" for block in self._blocks)

    def save(self) -> None:
        """Write the report; what was there is replaced."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.markdown, encoding="utf-8")

    def text(self, *blocks: str) -> None:
        """Add paragraphs."""
        self._blocks += blocks

    def missing(self, peers: str) -> None:
        """Say what the report goes without: the peers named, and plots where matplotlib is not installed."""
        self.text(*filter(None, [peers, "" if plots.available() else plots.INSTALL]))

    def see_also(self) -> None:
        """Link the reports of this repository from each other, whatever the folder holds at the moment."""
        if self.path.name in REPORTS:
            others = (name for name in REPORTS if name != self.path.name)
            self.text("Other reports: " + ", ".join(f"[{name}]({name})" for name in others) + ".")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table whose columns are padded, so that it reads well on a terminal too."""
        cells = [list(header), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
        cells.insert(1, ["-" * width for width in widths])
        padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells)
        self.text("\n".join("| " + " | ".join(row) + " |" for row in padded))

    def curves(self, name: str, curves: Mapping[str, plots.Points], *, title: str, **options: Any) -> None:
        """Add a plot, `<report>-<name>.png`; nothing without matplotlib, or where no contestant came through.

        `options` are those of :func:`bench.plots.plot_curves`.
        """
        shown = {label: points for label, points in curves.items() if len(points[0])}
        picture = Path("plots") / f"{self.path.stem}-{name}.png"
        if shown and plots.plot_curves(self.path.parent / picture, shown, title=title, **options):
            self.text(f"![{title}]({picture.as_posix()})")


def spread(values: Sequence[float], form: str = ".3g") -> str:
    """Median [least, most] of the rounds; a single one stands alone."""
    if len(values) == 1:
        return format(values[0], form)
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"
