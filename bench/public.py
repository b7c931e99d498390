"""Epochs on data of the sizes of public data sets."""

from __future__ import annotations

from .epochs import place, seconds_and_ratio
from .lab import Lab, without_missing
from .page import Page, Section, records_of, timings_of
from .plan import Plan
from .records import Record
from .timing import Timing


def _measure(lab: Lab, plan: Plan) -> Record:
    races = []
    for shape in plan.public:
        for factors in plan.public_factors:
            jobs = [
                lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs)
                for name in without_missing(plan.within_reach(plan.public_contestants, factors))
            ]
            races.append(records_of(lab.race(jobs, f"public {shape.label}, d = {factors}")))
    return {"objective": str(plan.epoch_objective), "sizes": [str(shape) for shape in plan.public], "races": races}


def _render(page: Page, record: Record) -> None:
    page.text(
        "## Sizes of public data sets",
        f"Synthetic data with users, items and interactions as many as in the data sets named, or so many times fewer: "
        f"{'; '.join(record['sizes'])}. Objective: {record['objective']}.",
    )
    rows = []
    for race in map(timings_of, record["races"]):
        rows += [[*place(timing), *seconds_and_ratio(timing, race[0]), _rate(timing)] for timing in race]
    page.table(["data", "d", "contestant", "s an epoch", "times ours exact", "interactions a second"], rows)


def _rate(timing: Timing) -> str:
    return "-" if timing.failure else f"{timing.setting['interactions'] / timing.median:,.0f}"


PUBLIC = Section(_measure, _render)
