"""Tasks of a worker: fits with their metrics, baselines, and what is chosen on a validation part."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from implicit_wmf import MostPopular
from implicit_wmf.evaluation.sampled import TIES

from ..contestants import Contestant, Ours, Point, make, takes_start
from ..lab import Job
from ..objective import Objective
from .data import SAMPLED_METRICS, Lists, Problem, Source, load_problem, validation_problem

# What a validation part chooses from where no settings are published, around those of Rendle et al. 2022.
UNOBSERVED_WEIGHTS = (0.03, 0.1, 0.3)
REGULARIZATIONS = (0.001, 0.003, 0.01)
CHOICE_FACTORS = 32
CHOICE_EPOCHS = 8
# Fits of a contestant that cannot be watched: one for each point of its curve.
FEW_POINTS = 3
# A short fit is repeated until all of them took about so long: one of .4 s alone varies by a third.
FITTING_SECONDS = 2.0
# What multiplies the strength of a nearest contestant, from one that has the same sum of penalties.
STRENGTH_FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def fit(job: Job) -> Job:
    """Fit once before, then time whole fits, measure the factors, and follow the metrics where asked to.

    `seconds`, the median of `fits`, is what lies between the counts and the factors: the contestant's own copies and
    conversions count, imports, compilation, a JVM's start and our starting factors do not. `curve_seconds` is what the
    curve took, with its metrics.
    """
    problem = _problem(job)
    new = _maker(job, problem)
    new().factors(1)
    fits: list[float] = []
    while sum(fits) + (median(fits) / 2 if fits else 0) < FITTING_SECONDS:
        began = time.perf_counter()
        users, items = new().factors(job["epochs"])
        fits.append(time.perf_counter() - began)
    table = problem.measure(Lists(users, items, problem.counts), bootstrap=0)
    began = time.perf_counter()
    points = _curve(job, new, Point(job["epochs"], median(fits), users, items)) if job["curve"] else []
    measured = [_measured(point, problem) for point in points]
    return {
        "seconds": median(fits),
        "fits": fits,
        "metrics": _rows(table),
        "left_out": table.attrs,
        "points": measured,
        "curve_seconds": time.perf_counter() - began,
    }


def _rows(table: pd.DataFrame) -> list[Job]:
    return list(json.loads(table[["metric", "value", "standard_error", "users"]].to_json(orient="records")))


def _maker(job: Job, problem: Problem) -> Callable[[], Contestant]:
    """Return a function that makes the contestant anew, from starting factors drawn before."""
    objective = Objective(**job["objective"])
    settings = {**objective.settings(), "factors": job["factors"], "random_state": job["seed"]}
    start = Ours(problem.counts, settings).factors(0) if takes_start(job["contestant"]) else None

    def new() -> Contestant:
        return make(
            job["contestant"], problem.counts, objective, job["factors"], job["threads"], start, job["seed"],
            job["strength_factor"],
        )  # fmt: skip

    return new


def _curve(job: Job, new: Callable[[], Contestant], last: Point) -> list[Point]:
    """Watch another fit; of one that cannot be watched, fits of a few lengths and the one that was timed.

    The clock starts before the contestant is made, as that of `seconds` does.
    """
    began = time.perf_counter()
    if takes_start(job["contestant"]) or job["contestant"].startswith("ours"):
        return new().curve(range(1, last.epoch + 1), began)
    lengths = sorted({round(epoch) for epoch in np.geomspace(1, last.epoch, FEW_POINTS)} - {last.epoch})
    return [*new().curve(lengths, began), last]


def _measured(point: Point, problem: Problem) -> Job:
    table = problem.measure(Lists(point.users, point.items, problem.counts), bootstrap=0)
    return {"epoch": point.epoch, "seconds": point.seconds} | dict(zip(table["metric"], table["value"], strict=True))


def baseline(job: Job) -> Job:
    """Measure most-popular, by every rule for ties where the protocol has several, and describe the data."""
    problem = _problem(job)
    model = MostPopular().fit(problem.counts)
    table = problem.measure(model, bootstrap=0)
    rules = TIES if problem.metrics == SAMPLED_METRICS else ()
    users, items = problem.counts.shape
    return {
        "metrics": _rows(table),
        "ties": {rule: _rows(problem.measure(model, bootstrap=0, ties=rule)) for rule in rules},
        "left_out": table.attrs,
        "protocol": problem.protocol,
        "train": {"users": users, "items": items, "interactions": int(problem.counts.nnz)},
    }


def choose(job: Job) -> Job:
    """Measure the grid of settings on a validation part of the training data, with our own fits."""
    problem = validation_problem(_problem(job))
    tried = []
    for weight, regularization in product(UNOBSERVED_WEIGHTS, REGULARIZATIONS):
        objective = Objective(1.0, regularization, "ials", weight, 1.0)
        ours = make("ours auto", problem.counts, objective, CHOICE_FACTORS, job["threads"])
        table = problem.measure(Lists(*ours.factors(CHOICE_EPOCHS), problem.counts), bootstrap=0)
        metric = problem.metrics[-1]
        value = float(table.set_index("metric")["value"][metric])
        tried.append({"objective": objective.settings(), "metric": metric, "value": value})
    return {"factors": CHOICE_FACTORS, "epochs": CHOICE_EPOCHS, "tried": tried, "part": problem.protocol}


def strength(job: Job) -> Job:
    """Choose the strength of a nearest contestant on a validation part, with the fits that will be measured.

    From the strength with the same sum of penalties, factors are tried downwards while that is better, or else upwards.
    """
    problem = validation_problem(_problem(job))
    metric = problem.metrics[-1]

    def measure(factor: float) -> float:
        users, items = _maker({**job, "strength_factor": factor}, problem)().factors(job["epochs"])
        table = problem.measure(Lists(users, items, problem.counts), bootstrap=0)
        return float(table.set_index("metric")["value"][metric])

    tried = climb(STRENGTH_FACTORS, 1.0, measure)
    return {
        "strength_factor": max(tried, key=lambda factor: tried[factor]),
        "metric": metric,
        "tried": [{"strength_factor": factor, "value": value} for factor, value in tried.items()],
        "part": problem.protocol,
    }


def climb(grid: Sequence[float], start: float, measure: Callable[[float], float]) -> dict[float, float]:
    """Measure at `start`, then below it while that is better, or else above; what was measured, in that order."""
    values = {start: measure(start)}
    for step in (-1, 1):
        place = grid.index(start) + step
        while 0 <= place < len(grid):
            values[grid[place]] = measure(grid[place])
            if values[grid[place]] <= values[grid[place - step]]:
                break
            place += step
        if max(values.values()) > values[start]:
            break
    return values


def _problem(job: Job) -> Problem:
    return load_problem(Source(**job["source"]), Path(job["cache"]))
