"""Epochs of ours and of the peers, exact and approximate, on the same data and objective; a sweep of KLMF."""

from __future__ import annotations

from ..contestants import takes_start
from ..lab import Job, without_missing
from ..page import Page
from ..records import Record
from ..shapes import Shape
from .lab import SpeedLab
from .plan import Plan
from .section import Section, place, records_of, seconds_against, seconds_and_ratio, timings_of
from .timing import Timing

ABOUT_PEERS = (
    "cmfrec and Spark start from factors of their own and tell nothing between epochs: their seconds are (a fit of n + "
    "1 epochs - a fit of one) / n, one number a round. `nearest` marks one that cannot express the objective."
)
OURS_CG = ("ours cg 2", "ours cg 3", "ours auto")
KL_CONTESTANTS = ("ours cg 3", "KLMF float64", "KLMF float32")


def _jobs(
    lab: SpeedLab, plan: Plan, names: tuple[str, ...], data: Shape | str, factors: int, curve: int = 0
) -> list[Job]:
    jobs = []
    for name in without_missing(plan.within_reach(names, factors)):
        if name.startswith("ours") or takes_start(name):
            jobs.append(lab.fit_job(name, data, plan.epoch_objective, factors, plan.epochs, curve=curve))
            continue
        # All epochs, whatever they cost: the difference of two fits is noise where it is of one epoch. No curve: from
        # another start, objectives after as many epochs compare nothing.
        rounds = min(lab.rounds, plan.rounds_of.get(name, lab.rounds))
        job = lab.fit_job(name, data, plan.epoch_objective, factors, plan.fit_epochs, rounds=rounds, all_epochs=True)
        jobs.append(job)
    return jobs


def _measure_exact(lab: SpeedLab, plan: Plan) -> Record:
    races = []
    for data in plan.data:
        for factors in plan.exact_factors:
            jobs = _jobs(lab, plan, ("ours exact", *plan.exact_peers), data, factors)
            races.append(records_of(lab.race(jobs, f"exact {data}, d = {factors}")))
    fewer = {name: rounds for name, rounds in plan.rounds_of.items() if rounds < lab.rounds}
    return {
        "objective": str(plan.epoch_objective), "fit_epochs": plan.fit_epochs, "rounds_of": fewer, "races": races
    }  # fmt: skip


def _render_exact(page: Page, record: Record) -> None:
    page.text("## Exact epochs", f"Objective: {record['objective']}. {ABOUT_PEERS} {_fits(record)}")
    races = [timings_of(race) for race in record["races"]]
    rows = [[*place(timing), *seconds_and_ratio(timing, race[0])] for race in races for timing in race]
    page.table(["data", "d", "contestant", "s an epoch", "times ours exact"], rows)
    _against_factors(page, "exact", races)


def _measure_cg(lab: SpeedLab, plan: Plan) -> Record:
    races = []
    for data in plan.data:
        for factors in plan.cg_factors:
            jobs = _jobs(lab, plan, ("ours exact", *OURS_CG, *plan.cg_peers), data, factors, curve=plan.checkpoints[-1])
            races.append(records_of(lab.race(jobs, f"cg {data}, d = {factors}")))
    return {
        "objective": str(plan.epoch_objective),
        "fit_epochs": plan.fit_epochs,
        "checkpoints": list(plan.checkpoints),
        "races": races,
    }


def _render_cg(page: Page, record: Record) -> None:
    checkpoints = record["checkpoints"]
    page.text(
        "## Approximate epochs",
        f"Objective: {record['objective']}. Objectives are relative to exact alternating least squares from the same "
        "start after as many epochs; a number after `cg` is that of the steps, irspack's, implicit's and cmfrec's "
        "default is 3. irspack's iALS++ is left out where its block of 64 factors is the whole system, as are "
        f"contestants that take minutes an epoch. {ABOUT_PEERS} {_fits(record)} So their objectives are not followed.",
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


def _measure_public(lab: SpeedLab, plan: Plan) -> Record:
    races = []
    for shape in plan.public:
        for factors in plan.public_factors:
            jobs = [
                lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs)
                for name in without_missing(plan.within_reach(plan.public_contestants, factors))
            ]
            races.append(records_of(lab.race(jobs, f"public {shape.label}, d = {factors}")))
    return {"objective": str(plan.epoch_objective), "sizes": [str(shape) for shape in plan.public], "races": races}


def _render_public(page: Page, record: Record) -> None:
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


def _measure_kl(lab: SpeedLab, plan: Plan) -> Record:
    shape, factors = plan.growth[0], plan.target_factors
    jobs = [lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs) for name in KL_CONTESTANTS]
    return {"data": str(shape), "factors": factors, "race": records_of(lab.race(jobs, "KLMF"))}


def _render_kl(page: Page, record: Record) -> None:
    page.text(
        "## A sweep of KLMF",
        f"{record['data']}, d = {record['factors']}. All users, then all items, once: by multiplicative updates for "
        "the Kullback-Leibler divergence in the dtype named (float64 is KLMF's default), and by 3 steps of conjugate "
        "gradients for WMF's objective in float32. The objectives differ, so only the times of a pass over the data "
        "are compared.",
    )
    timings = timings_of(record["race"])
    rows = [[timing.contestant, *seconds_and_ratio(timing, timings[0])] for timing in timings]
    page.table(["contestant", "s an epoch", f"times {KL_CONTESTANTS[0]}"], rows)


def _excess(timing: Timing, exact: Timing, epochs: list[int]) -> list[str]:
    if not timing.losses or not exact.losses:
        return ["-"] * len(epochs)
    return [f"{timing.losses[epoch - 1] / exact.losses[epoch - 1] - 1:+.1e}" for epoch in epochs]


def _fits(record: Record) -> str:
    fewer = [f"{name} in {rounds} rounds only" for name, rounds in record.get("rounds_of", {}).items()]
    return ", ".join([f"Here n = {record['fit_epochs']}", *fewer]) + "."


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
PUBLIC = Section(_measure_public, _render_public)
KL = Section(_measure_kl, _render_kl)
