"""Runs jobs, each in a fresh process, interleaved round after round, and sums the rounds up."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from .data import data_file
from .plan import Objective, Shape

ROOT = Path(__file__).parent.parent
PEERS = ("irspack", "implicit")
Job = dict[str, Any]


def missing_peers() -> str:
    """Say which peers are not installed and how to add them; empty if none is missing."""
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if not missing:
        return ""
    return f"Without {' and '.join(missing)}, not installed: pip install 'implicit_wmf[bench]' adds the peers."


def without_missing(contestants: list[str]) -> list[str]:
    """Keep the contestants whose library is installed."""
    return [name for name in contestants if name.startswith("ours") or importlib.util.find_spec(name.split()[0])]


class JobError(RuntimeError):
    """A worker process ended without a result."""


@dataclass
class Lab:
    """The settings that all measurements share."""

    threads: int
    rounds: int
    budget: float
    cache: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """Environment of a worker: BLAS keeps to one thread, as implicit asks for, beside `threads` of the solver."""
        blas = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
        openmp = {"OMP_NUM_THREADS": str(self.threads)}
        return {**os.environ, **blas, **openmp, **changes}

    def run(self, job: Job, **environment: str) -> Any:
        """Run one job to its end and return its result."""
        job = {"threads": self.threads, **job}
        command = [sys.executable, "-m", "bench.worker", json.dumps(job)]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment(**environment), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise JobError(f"{job.get('contestant', job['task'])}: {reason}")
        return json.loads(done.stdout.splitlines()[-1])

    def fit_job(
        self, contestant: str, data: Shape | str, objective: Objective, factors: int, epochs: int, **others: Any
    ) -> Job:
        """Describe the measurement of one contestant."""
        return {
            "task": "fit",
            "contestant": contestant,
            "data": str(data_file(self.cache, data)),
            "objective": objective.settings(),
            "factors": factors,
            "epochs": epochs,
            "all_epochs": False,
            "budget": self.budget,
            "curve": 0,
            **others,
        }

    def race(self, jobs: list[Job], title: str) -> list[Timing]:
        """Run all jobs, round after round; a curve is asked for in the first round only, being the same in each."""
        timings = [Timing(job["contestant"]) for job in jobs]
        with tqdm(total=self.rounds * len(jobs), desc=title, unit="run") as bar:
            for number in range(self.rounds):
                for job, timing in zip(jobs, timings, strict=True):
                    bar.set_postfix_str(job["contestant"], refresh=True)
                    timing.add(self._attempt({**job, "curve": 0 if number else job["curve"]}))
                    bar.update()
        return timings

    def _attempt(self, job: Job) -> Job:
        """One library that fails must not lose the hours of the others."""
        try:
            return dict(self.run(job))
        except JobError as error:
            return {"seconds": [], "losses": [], "failure": str(error)}


class Timing:
    """What the rounds of one contestant came to; seconds are those of an epoch."""

    def __init__(self, contestant: str) -> None:
        self.contestant = contestant
        self.rounds: list[list[float]] = []
        self.losses: list[float] = []
        self.failure = ""

    def add(self, result: Job) -> None:
        """Take in the result of one round."""
        self.rounds.append(result["seconds"])
        self.losses = self.losses or result["losses"]
        self.failure = self.failure or result.get("failure", "")

    @property
    def best(self) -> float:
        """Of all epochs of all rounds."""
        return min(second for seconds in self.rounds for second in seconds)

    @property
    def median(self) -> float:
        """Of the rounds' medians."""
        return median(median(seconds) for seconds in self.rounds)

    def ratio(self, other: Timing) -> float:
        """How many times the other's epoch takes as long as this one's: the median of the rounds' ratios."""
        return median(median(b) / median(a) for a, b in zip(self.rounds, other.rounds, strict=True))

    def seconds_until(self, epoch: int) -> float:
        """Time of the first epochs, the median of the rounds."""
        return median(sum(seconds[:epoch]) for seconds in self.rounds)
