"""Time to an objective: when the others reach what a peer reaches in its default number of epochs."""

from __future__ import annotations

from statistics import median

from ..data import MOVIELENS, movielens_source
from ..lab import without_missing
from ..objective import Objective
from ..page import Page, spread
from ..plots import Points
from ..records import Record
from ..shapes import Shape
from .lab import SpeedLab
from .plan import Plan
from .section import Section, records_of, timings_of
from .timing import Timing

OURS = ["ours auto", "ours exact", "ours cg 3"]
HEADER = [
    "contestant", "epochs", "setup s", "objective at the end", "epochs to it", "s to it", "times as fast",
    "in its time",
]  # fmt: skip
WITHOUT_MOVIELENS = "Without MovieLens 1M: set IMPLICIT_WMF_DATA to a folder that holds ml-1m-ncf/train.parquet."


def _measure(lab: SpeedLab, plan: Plan) -> Record:
    comparisons = [
        _compare(lab, plan, plan.dense, objective, ["implicit cg 3", "irspack cg 3", "irspack exact"])
        for objective in plan.target_objectives
    ]
    absent = bool(plan.movielens_objectives) and not movielens_source().exists()
    if not absent:
        comparisons += [
            _compare(lab, plan, MOVIELENS, objective, ["irspack cg 3", "irspack iALS++", "irspack exact"])
            for objective in plan.movielens_objectives
        ]
    return {
        "epochs": plan.default_epochs,
        "factors": plan.target_factors,
        "without_movielens": absent,
        "comparisons": comparisons,
    }


def _compare(lab: SpeedLab, plan: Plan, data: Shape | str, objective: Objective, peers: list[str]) -> Record:
    peers = plan.within_reach(tuple(peers), plan.target_factors)
    # without a peer the table still shows ours, against our own CG
    contestants = [*without_missing(peers), *OURS] if without_missing(peers) else OURS[::-1]
    jobs = []
    for number, name in enumerate(contestants):
        epochs = plan.default_epochs * (2 if number and name.startswith("ours") else 1)
        job = lab.fit_job(
            name, data, objective, plan.target_factors, epochs, all_epochs=True, with_setup=True, curve=epochs
        )
        jobs.append(job)
    timings = lab.race(jobs, f"objective {data}, {objective}")
    return {"data": str(data), "objective": str(objective), "race": records_of(timings)}


def _render(page: Page, record: Record) -> None:
    page.text(
        "## Time to an objective",
        f"The first of each table is a peer with {record['epochs']} epochs; ours may use twice as many. All begin "
        f"at the common start, d = {record['factors']}. Seconds begin before a contestant is constructed, so they have "
        "its `setup`: translating the objective, converting and transposing the data, allocation, and for ours drawing "
        "the start, which the peers are given. Compilation and imports are done before. Objectives are relative to the "
        "first one's last. `epochs to it` and `s to it` are what it takes to get as low, `times as fast` compares that "
        "with all epochs of the first; `in its time` is the objective at the last epoch that ends before the first "
        "one's time is up. The plots show how far each is above the lowest objective of all.",
    )
    for number, comparison in enumerate(record["comparisons"], start=1):
        page.text(f"### {comparison['data']}: {comparison['objective']}")
        timings = timings_of(comparison["race"])
        if timings[0].failure:
            page.text(f"Nothing to compare with: {timings[0].failure}")
            continue
        page.table(HEADER, [table_row(timing, timings[0]) for timing in timings])
        page.curves(
            f"objective-{number}",
            _curves(timings),
            title=f"{timings[0].setting['data']}: {comparison['objective']}",
            xlabel="seconds",
            ylabel="objective above the lowest, relative",
            logx=True,
            logy=True,
        )
    if record["without_movielens"]:
        page.text(WITHOUT_MOVIELENS)


def table_row(timing: Timing, reference: Timing) -> list[str]:
    """Compare a contestant with the first one."""
    if timing.failure:
        return [timing.contestant, timing.failure, *["-"] * (len(HEADER) - 2)]
    target, limits = reference.losses[-1], reference.seconds_until(len(reference.losses))
    setup = spread(timing.setups, ".2g") if timing.setups else "-"
    row = [timing.contestant, str(len(timing.losses)), setup, f"{timing.losses[-1] / target - 1:+.1e}"]
    reached = next((epoch for epoch, loss in enumerate(timing.losses, start=1) if loss <= target), None)
    if reached is None:
        row += ["never", "-", "-"]
    else:
        seconds = timing.seconds_until(reached)
        ratios = [limit / needed for limit, needed in zip(limits, seconds, strict=False)]
        row += [str(reached), spread(seconds), spread(ratios, ".2f")]
    limit = median(limits)
    in_time = [loss for epoch, loss in enumerate(timing.losses, 1) if median(timing.seconds_until(epoch)) <= limit]
    return [*row, f"{in_time[-1] / target - 1:+.1e}" if in_time else "no epoch"]


def _curves(timings: list[Timing]) -> dict[str, Points]:
    """Objective after each epoch, relative to the lowest of all, at the median of its rounds' seconds."""
    timings = [timing for timing in timings if not timing.failure]
    lowest = min(loss for timing in timings for loss in timing.losses)
    curves = {}
    for timing in timings:
        curves[timing.contestant] = (
            [median(timing.seconds_until(epoch)) for epoch in range(1, len(timing.losses) + 1)],
            [loss / lowest - 1 for loss in timing.losses],
        )
    return dict(curves)


OBJECTIVE = Section(_measure, _render)
