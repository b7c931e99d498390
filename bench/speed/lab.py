"""Races: the same measurement of several contestants, interleaved round after round, and summed up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..data import data_file
from ..lab import Job, JobError, Lab
from ..objective import Objective
from ..shapes import Shape
from .timing import Timing

RACE_SECONDS = 900.0  # of one contestant in one round: only one that hangs takes as long
LAST_SECONDS = 60.0  # what a worker may take that begins when hardly any of the minutes are left
NO_TIME = "not run: the minutes were spent"


@dataclass
class SpeedLab(Lab):
    """A lab that times epochs for up to `budget` seconds, of data sets kept in `cache`.

    After `deadline`, a value of `time.monotonic`, no section and no round begins; `left_out` says which.
    """

    budget: float
    cache: Path
    deadline: float | None = None
    left_out: list[str] = field(default_factory=list)

    def late(self) -> bool:
        """Tell whether the deadline is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def fit_job(
        self, contestant: str, data: Shape | str, objective: Objective, factors: int, epochs: int, **others: Any
    ) -> Job:
        """Describe the measurement of one contestant; `rounds` limits its rounds."""
        path = data_file(self.cache, data)
        return {
            "task": "speed.fits.fit",
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


def describe(data: Shape | str, path: Path) -> dict[str, Any]:
    """Name and size of a data set; the file's arrays of cells are not read."""
    with np.load(path, allow_pickle=False) as file:
        users, items = (int(size) for size in file["shape"])
        interactions = int(file["indptr"][-1])
    label = data.label if isinstance(data, Shape) else Path(data).name
    return {"data": label, "users": users, "items": items, "interactions": interactions}
