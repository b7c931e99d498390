"""A sweep of KLMF's multiplicative updates beside an epoch of WMF by conjugate gradients."""

from __future__ import annotations

from .epochs import seconds_and_ratio
from .lab import Lab
from .page import Page, Section, records_of, timings_of
from .plan import Plan
from .records import Record

CONTESTANTS = ("ours cg 3", "KLMF float64", "KLMF float32")


def _measure(lab: Lab, plan: Plan) -> Record:
    shape, factors = plan.growth[0], plan.target_factors
    jobs = [lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs) for name in CONTESTANTS]
    return {"data": str(shape), "factors": factors, "race": records_of(lab.race(jobs, "KLMF"))}


def _render(page: Page, record: Record) -> None:
    page.text(
        "## A sweep of KLMF",
        f"{record['data']}, d = {record['factors']}. All users, then all items, once: by multiplicative updates for "
        "the Kullback-Leibler divergence in the dtype named (float64 is KLMF's default), and by 3 steps of conjugate "
        "gradients for WMF's objective in float32. The objectives differ, so only the times of a pass over the data "
        "are compared.",
    )
    timings = timings_of(record["race"])
    rows = [[timing.contestant, *seconds_and_ratio(timing, timings[0])] for timing in timings]
    page.table(["contestant", "s an epoch", f"times {CONTESTANTS[0]}"], rows)


KL = Section(_measure, _render)
