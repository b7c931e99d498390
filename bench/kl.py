"""A sweep of KLMF's multiplicative updates beside an epoch of WMF by conjugate gradients."""

from __future__ import annotations

from .lab import Lab
from .plan import Plan
from .report import Report

CONTESTANTS = ("ours cg 3", "KLMF float64", "KLMF float32")


def kl_section(lab: Lab, plan: Plan, report: Report) -> None:
    shape, factors = plan.growth[0], plan.target_factors
    report.text(
        "## A sweep of KLMF",
        f"{shape}, d = {factors}. All users, then all items, once: by multiplicative updates for the Kullback-Leibler "
        "divergence in the dtype named (float64 is KLMF's default), and by 3 steps of conjugate gradients for WMF's "
        "objective in float32. The objectives differ, so only the times of a pass over the data are compared.",
    )
    jobs = [lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs) for name in CONTESTANTS]
    timings = lab.race(jobs, "KLMF")
    rows = []
    for timing in timings:
        failure = timing.failure or timings[0].failure
        figures = [f"{timing.best:.3g}", f"{timing.median:.3g}", f"{timings[0].ratio(timing):.2f}"]
        rows.append([timing.contestant, *([failure, "-", "-"] if failure else figures)])
    report.table(["contestant", "best s", "median s", f"times {CONTESTANTS[0]}"], rows)
