"""Markdown under construction, with the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plots import Points, plot_curves
from .records import Record
from .timing import Timing

REPORTS = ("RESULTS.md", "RESULTS-speed.md", "RESULTS-speed-small.md", "RESULTS-lists.md")


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

    def curves(self, name: str, curves: Mapping[str, Points], *, title: str, **options: Any) -> None:
        """Add a plot, `<report>-<name>.png`; nothing without matplotlib, or where no contestant came through.

        `options` are those of :func:`bench.plots.plot_curves`.
        """
        shown = {label: points for label, points in curves.items() if len(points[0])}
        picture = Path("plots") / f"{self.path.stem}-{name}.png"
        if shown and plot_curves(self.path.parent / picture, shown, title=title, **options):
            self.text(f"![{title}]({picture.as_posix()})")


@dataclass(frozen=True)
class Section:
    """One part of the benchmark: `measure(lab, plan)` returns plain JSON, `render(page, record)` shows it."""

    measure: Any
    render: Any


def records_of(timings: Iterable[Timing]) -> list[Record]:
    """Everything that a race measured, for JSON."""
    return [timing.record() for timing in timings]


def timings_of(records: Iterable[Record]) -> list[Timing]:
    """Read a race's record."""
    return [Timing.from_record(record) for record in records]


def name_and_size(setting: Record) -> str:
    """Say what data were measured; their name may be their size."""
    size = f"{setting['users']:,} x {setting['items']:,}, {setting['interactions']:,}"
    return size if setting["data"] == size else f"{setting['data']}: {size}"


def seconds_against(timings: Iterable[Timing], size: str) -> dict[str, Points]:
    """Curves of median seconds against a part of the setting, such as "factors", for each contestant."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for timing in timings:
        if not timing.failure:
            x, y = curves.setdefault(timing.contestant, ([], []))
            x.append(timing.setting[size])
            y.append(timing.median)
    return dict(curves)
