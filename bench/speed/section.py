"""What a section of the report is, and what several of them show alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..plots import Points
from ..records import Record
from .timing import Timing


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


def place(timing: Timing) -> list[object]:
    """Where a row of a table was measured."""
    return [timing.setting["data"], timing.setting["factors"], timing.contestant]


def seconds_and_ratio(timing: Timing, ours: Timing) -> list[str]:
    """Two cells: the contestant's seconds, and how many times ours they are."""
    if timing.failure:
        return [timing.failure, "-"]
    return [timing.seconds_text(), "-" if ours.failure else ours.ratio_text(timing)]
