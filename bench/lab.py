"""Runs jobs, each in a fresh process, interleaved round after round, and sums the rounds up."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .data import data_file
from .plan import Objective
from .records import Record
from .shapes import Shape
from .timing import Timing

ROOT = Path(__file__).parent.parent
PEERS = ("irspack", "implicit", "cmfrec", "spark")
_MODULES = {"spark": "pyspark"}
Job = Record
RACE_SECONDS = 900.0  # of one contestant in one round: only one that hangs takes as long
LAST_SECONDS = 60.0  # what a worker may take that begins when hardly any of the minutes are left
NO_TIME = "not run: the minutes were spent"


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
    """The settings that all measurements share.

    After `deadline`, a value of `time.monotonic`, no section and no round begins; `left_out` says which.
    """

    threads: int
    rounds: int
    budget: float
    cache: Path
    deadline: float | None = None
    left_out: list[str] = field(default_factory=list)

    def late(self) -> bool:
        """Tell whether the deadline is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def environment(self, **changes: str) -> dict[str, str]:
        """Environment of a worker: BLAS keeps to one thread, as implicit asks for, beside `threads` of the solver."""
        blas = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
        openmp = {"OMP_NUM_THREADS": str(self.threads)}
        return {**os.environ, **blas, **openmp, **changes}

    def run(self, job: Job, *, module: str = "bench.worker", timeout: float | None = None, **environment: str) -> Any:
        """Run one job to its end and return its result.

        Parameters
        ----------
        job : dict
            What the worker is to do.
        module : str
            The worker: it takes the job as JSON and prints the result as JSON, on its last line.
        timeout : float, optional
            Seconds after which the worker is killed, with whatever it started; by default it may take its time.
        **environment : str
            Variables of the worker's environment.

        Raises
        ------
        JobError
            If the worker fails or is killed.
        """
        job = {"threads": self.threads, **job}
        who = job.get("contestant", job.get("task", module))
        command = [sys.executable, "-m", module, json.dumps(job)]
        # a group of its own, so that Spark's Java machine ends with it
        with subprocess.Popen(
            command, cwd=ROOT, env=self.environment(**environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                stdout, stderr = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise JobError(f"{who}: killed, not done after {timeout:.0f} s") from None
            except BaseException:
                _kill(process)  # Ctrl-C does not reach another group
                raise
        if process.returncode != 0:
            reason = (stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
            raise JobError(f"{who}: {reason}")
        return json.loads(stdout.splitlines()[-1])

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
            "with_setup": False,
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
                if self.late():
                    self._leave_out(title, number, timings)
                    break
                for job, timing in zip(jobs, timings, strict=True):
                    bar.set_postfix_str(job["contestant"], refresh=True)
                    if not timing.failure and number < job.get("rounds", self.rounds):
                        timing.add(self._attempt({**job, "curve": 0 if number else job["curve"]}))
                    bar.update()
        return timings

    def _leave_out(self, title: str, number: int, timings: list[Timing]) -> None:
        """Note that the time was up when so many rounds of a race were done."""
        self.left_out.append(f"{self.rounds - number} of {self.rounds} rounds of {title}")
        for timing in timings:
            timing.failure = timing.failure or ("" if timing.rounds else NO_TIME)

    def _attempt(self, job: Job) -> Job:
        """One library that fails or hangs must not lose the hours of the others."""
        left = RACE_SECONDS if self.deadline is None else max(LAST_SECONDS, self.deadline - time.monotonic())
        try:
            return dict(self.run(job, timeout=min(RACE_SECONDS, left)))
        except JobError as error:
            return {"seconds": [], "losses": [], "failure": str(error)}


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a worker and its children."""
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself meanwhile
        os.killpg(process.pid, signal.SIGKILL)


def describe(data: Shape | str, path: Path) -> dict[str, Any]:
    """Name and size of a data set; the file's arrays of cells are not read."""
    with np.load(path, allow_pickle=False) as file:
        users, items = (int(size) for size in file["shape"])
        interactions = int(file["indptr"][-1])
    label = data.label if isinstance(data, Shape) else Path(data).name
    return {"data": label, "users": users, "items": items, "interactions": interactions}
