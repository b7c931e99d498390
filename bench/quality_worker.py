"""One fit or one baseline in a process of its own: a JSON job as the only argument, the JSON result printed last."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from implicit_wmf import MostPopular

from .contestants import Contestant, Ours, Point, make, takes_start
from .plan import Objective
from .quality_data import NCF, Lists, Problem, Source, load_problem, validation_problem
from .records import machine_record

Job = dict[str, Any]

# What a validation part chooses from where no settings are published, around those of Rendle et al. 2022.
UNOBSERVED_WEIGHTS = (0.03, 0.1, 0.3)
REGULARIZATIONS = (0.001, 0.003, 0.01)
CHOICE_FACTORS = 32
CHOICE_EPOCHS = 8
# Fits of a contestant that cannot be watched: one for each point of its curve.
FEW_POINTS = 3


def fit(job: Job) -> Job:
    """Fit once before, then time a whole fit, measure its factors, and follow the metrics where asked to.

    `seconds` is what lies between the counts and the factors: the contestant's own copies and conversions count,
    imports, compilation, a JVM's start and our starting factors do not.
    """
    problem = _problem(job)
    new = _maker(job, problem)
    new().factors(1)
    began = time.perf_counter()
    users, items = new().factors(job["epochs"])
    seconds = time.perf_counter() - began
    table = problem.measure(Lists(users, items, problem.counts))
    points = _curve(job, new, Point(job["epochs"], seconds, users, items)) if job["curve"] else []
    return {
        "seconds": seconds,
        "metrics": json.loads(table.to_json(orient="records")),
        "left_out": table.attrs,
        "points": [_measured(point, problem) for point in points],
    }


def _maker(job: Job, problem: Problem) -> Callable[[], Contestant]:
    """Return a function that makes the contestant anew, from starting factors drawn before."""
    objective = Objective(**job["objective"])
    settings = {**objective.settings(), "factors": job["factors"], "random_state": job["seed"]}
    start = Ours(problem.counts, settings).factors(0) if takes_start(job["contestant"]) else None

    def new() -> Contestant:
        return make(
            job["contestant"], problem.counts, objective, job["factors"], job["threads"], start, seed=job["seed"]
        )

    return new


def _curve(job: Job, new: Callable[[], Contestant], last: Point) -> list[Point]:
    """Watch another fit; of one that cannot be watched, fits of a few lengths and the one that was timed."""
    if takes_start(job["contestant"]) or job["contestant"].startswith("ours"):
        return new().curve(range(1, last.epoch + 1))
    lengths = sorted({round(epoch) for epoch in np.geomspace(1, last.epoch, FEW_POINTS)} - {last.epoch})
    return [*new().curve(lengths), last]


def _measured(point: Point, problem: Problem) -> Job:
    table = problem.measure(Lists(point.users, point.items, problem.counts), bootstrap=0)
    return {"epoch": point.epoch, "seconds": point.seconds} | dict(zip(table["metric"], table["value"], strict=True))


def baseline(job: Job) -> Job:
    """Measure most-popular, and describe the data."""
    problem = _problem(job)
    options = {"ties": "optimistic"} if job["source"]["data"] == NCF else {}
    table = problem.measure(MostPopular().fit(problem.counts), **options)
    users, items = problem.counts.shape
    return {
        "metrics": json.loads(table.to_json(orient="records")),
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
    return {"factors": CHOICE_FACTORS, "epochs": CHOICE_EPOCHS, "tried": tried}


def machine(job: Job) -> Job:
    """Describe the machine as the measurements see it: with a worker's environment."""
    return machine_record()


def _problem(job: Job) -> Problem:
    return load_problem(Source(**job["source"]), Path(job["cache"]))


TASKS: dict[str, Callable[[Job], Any]] = {"fit": fit, "baseline": baseline, "choose": choose, "machine": machine}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    print(json.dumps(TASKS[task["task"]](task)))
