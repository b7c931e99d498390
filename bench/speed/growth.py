"""How an epoch's time grows with interactions, factors and threads."""

from __future__ import annotations

from statistics import median

import numpy as np

from ..lab import without_missing
from ..page import Page, spread
from ..plots import fitted_slope
from ..records import Record, last_level_cache
from .lab import SpeedLab
from .plan import Plan
from .section import Section, name_and_size, records_of, seconds_against, timings_of
from .timing import Timing

LOG_LOG = {"ylabel": "seconds an epoch", "logx": True, "logy": True, "slopes": True}


def _measure_threads(lab: SpeedLab, plan: Plan) -> Record:
    jobs = [
        lab.fit_job(name, plan.dense, plan.epoch_objective, plan.thread_factors, plan.epochs, threads=threads)
        for name in without_missing(list(plan.growth_contestants))
        for threads in (1, lab.threads)
    ]
    timings = lab.race(jobs, "threads")
    return {
        "threads": lab.threads,
        "objective": str(plan.epoch_objective),
        "races": [records_of(timings[start : start + 2]) for start in range(0, len(timings), 2)],
    }


def _render_threads(page: Page, record: Record) -> None:
    races = [timings_of(race) for race in record["races"]]
    page.text(
        "## Threads",
        f"{name_and_size(races[0][0].setting)}, d = {races[0][0].setting['factors']}, {record['objective']}.",
    )
    rows = []
    for one, several in races:
        failure = one.failure or several.failure
        figures = [one.seconds_text(), several.seconds_text(), several.ratio_text(one)] if not failure else []
        rows.append([one.contestant, *(figures or [failure, "-", "-"])])
    page.table(["contestant", "1 thread, s", f"{record['threads']} threads, s", "times as fast"], rows)


def _measure_growth(lab: SpeedLab, plan: Plan) -> Record:
    contestants = without_missing(list(plan.growth_contestants))
    by_interactions = [
        lab.fit_job(name, shape, plan.epoch_objective, plan.thread_factors, plan.epochs)
        for shape in plan.growth
        for name in contestants
    ]
    by_factors = [
        lab.fit_job(name, plan.dense, plan.epoch_objective, factors, plan.epochs)
        for factors in plan.growth_factors
        for name in plan.within_reach(tuple(contestants), factors)
    ]
    return {
        "objective": str(plan.epoch_objective),
        "last_level_cache_bytes": last_level_cache(),
        "interactions": records_of(lab.race(by_interactions, "growth with interactions")),
        "factors": records_of(lab.race(by_factors, "growth with factors")),
    }


def _render_growth(page: Page, record: Record) -> None:
    _with_interactions(page, record)
    _with_factors(page, record)


def _with_interactions(page: Page, record: Record) -> None:
    timings = timings_of(record["interactions"])
    cache = record["last_level_cache_bytes"]
    size = "of unknown size" if cache is None else f"of {cache / 1e6:.0f} MB"
    page.text(
        "## Growth with interactions",
        f"Users and items grow along, d = {timings[0].setting['factors']}, {record['objective']}. A slope of 1 is "
        "linear time: between neighbours, then fitted to all. Expect a step where the factors outgrow the last-level "
        f"cache {size}: from there each row's factors come from memory.",
    )
    rows = []
    for timing, slope in _with_slopes(timings, "interactions"):
        setting = timing.setting
        megabytes = [f"{setting[side] * setting['factors'] * 4 / 1e6:.1f}" for side in ("users", "items")]
        rows.append([timing.contestant, name_and_size(timing.setting), *megabytes, *_per_interaction(timing), slope])
    header = ["contestant", "data", "users MB", "items MB", "s an epoch", "ns an interaction", "slope"]
    page.table(header, rows)
    curves = seconds_against(timings, "interactions")
    title = f"Seconds an epoch against interactions, d = {timings[0].setting['factors']}"
    page.curves("growth-interactions", curves, title=title, xlabel="interactions", **LOG_LOG)


def _with_factors(page: Page, record: Record) -> None:
    timings = timings_of(record["factors"])
    page.text("## Growth with factors", f"{name_and_size(timings[0].setting)}, {record['objective']}.")
    rows = [
        [timing.contestant, timing.setting["factors"], *_per_interaction(timing), slope]
        for timing, slope in _with_slopes(timings, "factors")
    ]
    page.table(["contestant", "d", "s an epoch", "ns an interaction", "slope"], rows)
    curves = seconds_against(timings, "factors")
    title = f"Seconds an epoch against factors, {timings[0].setting['data']}"
    page.curves("growth-factors", curves, title=title, xlabel="factors d", **LOG_LOG)


def _per_interaction(timing: Timing) -> list[str]:
    if timing.failure:
        return [timing.failure, "-"]
    return [timing.seconds_text(), f"{timing.median / timing.setting['interactions'] * 1e9:.0f}"]


def _with_slopes(timings: list[Timing], size: str) -> list[tuple[Timing, str]]:
    """Put a contestant's timings together, each with the exponent since the one before."""
    pairs = []
    for name in dict.fromkeys(timing.contestant for timing in timings):
        series = [timing for timing in timings if timing.contestant == name]
        pairs += list(zip(series, slopes([timing.setting[size] for timing in series], series), strict=True))
    return pairs


def slopes(sizes: list[int], timings: list[Timing]) -> list[str]:
    """Exponents of time over size between neighbours; the last also says that of the whole series, of each round."""
    if any(timing.failure for timing in timings) or len(sizes) < 2:
        return ["-"] * len(sizes)
    x, y = np.log(sizes), np.log([timing.median for timing in timings])
    texts = ["", *(f"{slope:.2f}" for slope in np.diff(y) / np.diff(x))]
    rounds = zip(*([median(seconds) for seconds in timing.rounds] for timing in timings), strict=False)
    texts[-1] += f" (fitted to all: {spread([fitted_slope(sizes, seconds) for seconds in rounds], '.2f')})"
    return texts


THREADS = Section(_measure_threads, _render_threads)
GROWTH = Section(_measure_growth, _render_growth)
