"""Runs jobs, each in a fresh process, interleaved round after round, and sums the rounds up."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .data import data_file
from .plan import Objective
from .shapes import Shape
from .timing import Timing

ROOT = Path(__file__).parent.parent
PEERS = ("irspack", "implicit", "cmfrec", "spark")
_MODULES = {"spark": "pyspark"}
Job = dict[str, Any]


def missing_peers() -> str:
    """Say which peers cannot run here and how to add them; empty if none is missing."""
    missing = [_MODULES.get(name, name) for name in PEERS if not _importable(name)]
    reasons = []
    if missing:
        reasons.append(
            f"Without {', '.join(missing)} (not installed): pip install 'implicit_wmf[bench]' adds the peers."
        )
    if _importable("spark") and not _has_java():
        reasons.append("Without Spark, which needs Java 17 or newer: install one, or set JAVA_HOME to its folder.")
    return " ".join(reasons)


def without_missing(contestants: list[str]) -> list[str]:
    """Keep the contestants whose library is installed."""
    return [name for name in contestants if _can_run(name.split()[0])]


def _can_run(owner: str) -> bool:
    return owner not in PEERS or (_importable(owner) and (owner != "spark" or _has_java()))


def _importable(peer: str) -> bool:
    return importlib.util.find_spec(_MODULES.get(peer, peer)) is not None


def _has_java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=str(Path(home) / "bin") if home else None) is not None


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
        """Describe the measurement of one contestant; `rounds` limits its rounds."""
        path = data_file(self.cache, data)
        return {
            "task": "fit",
            "contestant": contestant,
            "data": str(path),
            "objective": objective.settings(),
            "factors": factors,
            "epochs": epochs,
            "all_epochs": False,
            "budget": self.budget,
            "curve": 0,
            "setting": {**describe(data, path), "factors": factors, "objective": str(objective),
                        "threads": others.get("threads", self.threads)},
            **others,
        }  # fmt: skip

    def race(self, jobs: list[Job], title: str) -> list[Timing]:
        """Run all jobs, round after round; a curve is asked for in the first round only, being the same in each.

        A contestant that failed is not asked again: it would fail once more, after as long.
        """
        timings = [Timing(job["contestant"], dict(job.get("setting", {}))) for job in jobs]
        with tqdm(total=self.rounds * len(jobs), desc=title, unit="run") as bar:
            for number in range(self.rounds):
                for job, timing in zip(jobs, timings, strict=True):
                    bar.set_postfix_str(job["contestant"], refresh=True)
                    if not timing.failure and number < job.get("rounds", self.rounds):
                        timing.add(self._attempt({**job, "curve": 0 if number else job["curve"]}))
                    bar.update()
        return timings

    def _attempt(self, job: Job) -> Job:
        """One library that fails must not lose the hours of the others."""
        try:
            return dict(self.run(job))
        except JobError as error:
            return {"seconds": [], "losses": [], "failure": str(error)}


def describe(data: Shape | str, path: Path) -> dict[str, Any]:
    """Name and size of a data set; the file's arrays of cells are not read."""
    with np.load(path, allow_pickle=False) as file:
        users, items = (int(size) for size in file["shape"])
        interactions = int(file["indptr"][-1])
    label = data.label if isinstance(data, Shape) else Path(data).name
    return {"data": label, "users": users, "items": items, "interactions": interactions}
