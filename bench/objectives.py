"""Time to an objective: when the others reach what a peer reaches in its default number of epochs."""

from __future__ import annotations

from .data import movielens_source
from .lab import Lab, Timing, without_missing
from .plan import MOVIELENS, Objective, Plan, Shape
from .report import Report

OURS = ["ours auto", "ours exact", "ours cg 3"]
HEADER = ["contestant", "epochs", "objective at the end", "epochs to it", "s to it", "times as fast", "in its time"]


def objective_section(lab: Lab, plan: Plan, report: Report) -> None:
    report.text(
        "## Time to an objective",
        f"The first of each table is a peer with {plan.default_epochs} epochs; ours may use twice as many. All begin "
        f"at the common start, d = {plan.target_factors}. Objectives are relative to the first one's last. `epochs to "
        "it` and `s to it` are what it takes to get as low, `times as fast` compares that with all epochs of the "
        "first; `in its time` is the objective at the last epoch that ends before the first one's time is up. Seconds "
        "are medians of the rounds.",
    )
    for objective in plan.target_objectives:
        _compare(lab, plan, report, plan.dense, objective, ["implicit cg 3", "irspack cg 3", "irspack exact"])
    if plan.movielens_objectives and not movielens_source().exists():
        report.text("Without MovieLens 1M: set IMPLICIT_WMF_DATA to a folder that holds ml-1m-ncf/train.parquet.")
        return
    for objective in plan.movielens_objectives:
        _compare(lab, plan, report, MOVIELENS, objective, ["irspack cg 3", "irspack iALS++", "irspack exact"])


def _compare(lab: Lab, plan: Plan, report: Report, data: Shape | str, objective: Objective, peers: list[str]) -> None:
    # without a peer the table still shows ours, against our own CG
    contestants = [*without_missing(peers), *OURS] if without_missing(peers) else OURS[::-1]
    jobs = []
    for number, name in enumerate(contestants):
        epochs = plan.default_epochs * (2 if number and name.startswith("ours") else 1)
        job = lab.fit_job(name, data, objective, plan.target_factors, epochs, all_epochs=True, curve=epochs)
        jobs.append(job)
    reference, *others = lab.race(jobs, f"objective {data}, {objective}")
    report.text(f"### {data}: {objective}")
    if reference.failure:
        report.text(f"Nothing to compare with: {reference.failure}")
        return
    report.table(HEADER, [_row(timing, reference) for timing in [reference, *others]])


def _row(timing: Timing, reference: Timing) -> list[str]:
    if timing.failure:
        return [timing.contestant, timing.failure, *["-"] * (len(HEADER) - 2)]
    target, limit = reference.losses[-1], reference.seconds_until(len(reference.losses))
    row = [timing.contestant, str(len(timing.losses)), f"{timing.losses[-1] / target - 1:+.1e}"]
    reached = next((epoch for epoch, loss in enumerate(timing.losses, start=1) if loss <= target), None)
    if reached is None:
        row += ["never", "-", "-"]
    else:
        seconds = timing.seconds_until(reached)
        row += [str(reached), f"{seconds:.3g}", f"{limit / seconds:.2f}"]
    in_time = [loss for epoch, loss in enumerate(timing.losses, 1) if timing.seconds_until(epoch) <= limit]
    return [*row, f"{in_time[-1] / target - 1:+.1e}" if in_time else "no epoch"]
