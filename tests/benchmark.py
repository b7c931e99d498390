"""Lets tests import bench, which is no part of the installed package, and its workers work in the tests' process."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # last, so that it shadows nothing

from bench.lab import PEERS, Lab  # noqa: E402
from bench.worker import perform  # noqa: E402


def work_here(monkeypatch):
    """Let ours work in this process, whose kernels are compiled; return a list of what each job changes outside."""
    run, environments = Lab.run, []

    def run_here(lab, job, *, timeout=None, **environment):
        environments.append(environment)
        if job.get("contestant", "").split(" ")[0] in PEERS:
            return run(lab, job, timeout=timeout, **environment)
        return json.loads(json.dumps(perform({"threads": lab.threads, **job})))

    monkeypatch.setattr(Lab, "run", run_here)
    return environments
