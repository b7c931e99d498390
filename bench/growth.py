"""How an epoch's time grows with interactions, factors and threads."""

from __future__ import annotations

import numpy as np

from .lab import Lab, Timing
from .plan import Plan
from .report import Report, last_level_cache


def threads_section(lab: Lab, plan: Plan, report: Report) -> None:
    report.text("## Threads", f"{plan.dense}, d = {plan.thread_factors}, {plan.epoch_objective}.")
    rows = []
    for name in plan.growth_contestants:
        jobs = [
            lab.fit_job(name, plan.dense, plan.epoch_objective, plan.thread_factors, plan.epochs, threads=threads)
            for threads in (1, lab.threads)
        ]
        one, several = lab.race(jobs, f"threads, {name}")
        failure = one.failure or several.failure
        figures = [failure, "-", "-"] if failure else _pair(one, several)
        rows.append([name, *figures])
    report.table(["contestant", "1 thread, s", f"{lab.threads} threads, s", "times as fast"], rows)


def _pair(one: Timing, several: Timing) -> list[str]:
    return [f"{one.median:.3g}", f"{several.median:.3g}", f"{several.ratio(one):.2f}"]


def growth_section(lab: Lab, plan: Plan, report: Report) -> None:
    _with_interactions(lab, plan, report)
    _with_factors(lab, plan, report)


def _with_interactions(lab: Lab, plan: Plan, report: Report) -> None:
    factors = plan.thread_factors
    cache = last_level_cache()
    size = "of unknown size" if cache is None else f"of {cache / 1e6:.0f} MB"
    report.text(
        "## Growth with interactions",
        f"Users and items grow along, d = {factors}, {plan.epoch_objective}. A slope of 1 is linear time. Expect a "
        f"step where the factors outgrow the last-level cache {size}: from there each row's factors come from memory.",
    )
    rows = []
    for name in plan.growth_contestants:
        jobs = [lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs) for shape in plan.growth]
        timings = lab.race(jobs, f"growth, {name}")
        slopes = _slopes([shape.interactions for shape in plan.growth], timings)
        for shape, timing, slope in zip(plan.growth, timings, slopes, strict=True):
            megabytes = [f"{side * factors * 4 / 1e6:.1f}" for side in (shape.users, shape.items)]
            rows.append([name, shape, *megabytes, *_per(timing, shape.interactions), slope])
    header = ["contestant", "data", "users MB", "items MB", "median s", "ns an interaction", "slope"]
    report.table(header, rows)


def _with_factors(lab: Lab, plan: Plan, report: Report) -> None:
    report.text("## Growth with factors", f"{plan.dense}, {plan.epoch_objective}.")
    rows = []
    for name in plan.growth_contestants:
        jobs = [lab.fit_job(name, plan.dense, plan.epoch_objective, d, plan.epochs) for d in plan.growth_factors]
        timings = lab.race(jobs, f"growth in d, {name}")
        slopes = _slopes(list(plan.growth_factors), timings)
        rows += [
            [name, d, *_per(timing, plan.dense.interactions), slope]
            for d, timing, slope in zip(plan.growth_factors, timings, slopes, strict=True)
        ]
    report.table(["contestant", "d", "median s", "ns an interaction", "slope"], rows)


def _per(timing: Timing, interactions: int) -> list[str]:
    if timing.failure:
        return [timing.failure, "-"]
    return [f"{timing.median:.3g}", f"{timing.median / interactions * 1e9:.0f}"]


def _slopes(sizes: list[int], timings: list[Timing]) -> list[str]:
    """Exponents of time over size between neighbours; the last also says that of the whole series."""
    if any(timing.failure for timing in timings):
        return ["-"] * len(sizes)
    x, y = np.log(sizes), np.log([timing.median for timing in timings])
    texts = ["", *(f"{slope:.2f}" for slope in np.diff(y) / np.diff(x))]
    texts[-1] += f" (fitted to all: {np.polyfit(x, y, 1)[0]:.2f})"
    return texts
