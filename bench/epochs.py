"""Epochs of ours and of the peers, exact and approximate, on the same data and objective."""

from __future__ import annotations

from .contestants import takes_start
from .lab import Job, Lab, without_missing
from .page import Page, Record, Section, records_of, seconds_against, timings_of
from .plan import Plan
from .shapes import Shape
from .timing import Timing

ABOUT_PEERS = (
    "cmfrec and Spark start from factors of their own and tell nothing between epochs: their seconds are (a fit of n + "
    "1 epochs - a fit of one) / n. `nearest` marks one that cannot express the objective and minimises the nearest."
)
OURS_CG = ("ours cg 2", "ours cg 3", "ours auto")


def _jobs(lab: Lab, plan: Plan, names: tuple[str, ...], data: Shape | str, factors: int, curve: int = 0) -> list[Job]:
    jobs = []
    for name in without_missing(plan.within_reach(names, factors)):
        rounds, epochs = (1, 1) if name in plan.once else (lab.rounds, plan.epochs)
        # from another start, objectives after as many epochs compare nothing
        followed = curve if name.startswith("ours") or takes_start(name) else 0
        job = lab.fit_job(name, data, plan.epoch_objective, factors, epochs, rounds=rounds, curve=followed)
        jobs.append(job)
    return jobs


def _measure_exact(lab: Lab, plan: Plan) -> Record:
    races = []
    for data in plan.data:
        for factors in plan.exact_factors:
            jobs = _jobs(lab, plan, ("ours exact", *plan.exact_peers), data, factors)
            races.append(records_of(lab.race(jobs, f"exact {data}, d = {factors}")))
    return {"objective": str(plan.epoch_objective), "once": list(plan.once), "races": races}


def _render_exact(page: Page, record: Record) -> None:
    page.text("## Exact epochs", f"Objective: {record['objective']}.{_once(record)} {ABOUT_PEERS}")
    races = [timings_of(race) for race in record["races"]]
    rows = [[*place(timing), *seconds_and_ratio(timing, race[0])] for race in races for timing in race]
    page.table(["data", "d", "contestant", "s an epoch", "times ours exact"], rows)
    _against_factors(page, "exact", races)


def _measure_cg(lab: Lab, plan: Plan) -> Record:
    races = []
    for data in plan.data:
        for factors in plan.cg_factors:
            jobs = _jobs(lab, plan, ("ours exact", *OURS_CG, *plan.cg_peers), data, factors, curve=plan.checkpoints[-1])
            races.append(records_of(lab.race(jobs, f"cg {data}, d = {factors}")))
    return {"objective": str(plan.epoch_objective), "checkpoints": list(plan.checkpoints), "races": races}


def _render_cg(page: Page, record: Record) -> None:
    checkpoints = record["checkpoints"]
    page.text(
        "## Approximate epochs",
        f"Objective: {record['objective']}. Objectives are relative to exact alternating least squares from the same "
        "start after as many epochs; a number after `cg` is that of the steps, irspack's, implicit's and cmfrec's "
        f"default is 3. Contestants that take minutes an epoch are left out. {ABOUT_PEERS} So their objectives "
        "are not followed.",
    )
    races = [timings_of(race) for race in record["races"]]
    rows = []
    for race in races:
        exact, ours = race[0], next(timing for timing in race if timing.contestant == OURS_CG[0])
        rows += [
            [*place(timing), *seconds_and_ratio(timing, ours), *_excess(timing, exact, checkpoints)] for timing in race
        ]
    objectives = [f"objective, {epoch} epochs" for epoch in checkpoints]
    page.table(["data", "d", "contestant", "s an epoch", f"times {OURS_CG[0]}", *objectives], rows)
    _against_factors(page, "cg", races)


def place(timing: Timing) -> list[object]:
    """Where a row of a table was measured."""
    return [timing.setting["data"], timing.setting["factors"], timing.contestant]


def seconds_and_ratio(timing: Timing, ours: Timing) -> list[str]:
    """Two cells: the contestant's seconds, and how many times ours they are."""
    if timing.failure:
        return [timing.failure, "-"]
    return [timing.seconds_text(), "-" if ours.failure else ours.ratio_text(timing)]


def _excess(timing: Timing, exact: Timing, epochs: list[int]) -> list[str]:
    if not timing.losses or not exact.losses:
        return ["-"] * len(epochs)
    return [f"{timing.losses[epoch - 1] / exact.losses[epoch - 1] - 1:+.1e}" for epoch in epochs]


def _once(record: Record) -> str:
    return f" One epoch in one round only: {', '.join(record['once'])}." if record["once"] else ""


def _against_factors(page: Page, name: str, races: list[list[Timing]]) -> None:
    """Draw seconds against factors, on each data set with enough numbers of them for a line."""
    everything = [timing for race in races for timing in race]
    for number, data in enumerate(dict.fromkeys(timing.setting["data"] for timing in everything), start=1):
        timings = [timing for timing in everything if timing.setting["data"] == data]
        if len({timing.setting["factors"] for timing in timings}) > 2:
            page.curves(
                f"{name}-{number}",
                seconds_against(timings, "factors"),
                title=f"Seconds an epoch against factors, {data}",
                xlabel="factors d",
                ylabel="seconds an epoch",
                logx=True,
                logy=True,
                slopes=True,
            )


EXACT = Section(_measure_exact, _render_exact)
CG = Section(_measure_cg, _render_cg)
