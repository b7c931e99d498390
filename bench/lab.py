"""Who can run here, and jobs that run, each in a fresh process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .records import Record

ROOT = Path(__file__).parent.parent
PEERS = ("irspack", "implicit", "cmfrec", "spark")
_MODULES = {"spark": "pyspark"}
Job = Record
WORKER = "bench.worker"


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
    """What all measurements share: the threads of every contestant, and in how many rounds each is repeated."""

    threads: int
    rounds: int

    def environment(self, **changes: str) -> dict[str, str]:
        """Environment of a worker: BLAS keeps to one thread, as implicit asks for, beside `threads` of the solver."""
        blas = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
        openmp = {"OMP_NUM_THREADS": str(self.threads)}
        return {**os.environ, **blas, **openmp, **changes}

    def run(self, job: Job, *, timeout: float | None = None, **environment: str) -> Any:
        """Run one job to its end and return its result.

        Parameters
        ----------
        job : dict
            What the worker is to do; its `task` is a function, see `bench.worker.perform`.
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
        who = job.get("contestant") or job["task"].rpartition(".")[2]
        command = [sys.executable, "-m", WORKER, json.dumps(job)]
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


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a worker and its children."""
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself meanwhile
        os.killpg(process.pid, signal.SIGKILL)
