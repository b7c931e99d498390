"""The sections of ``python -m bench speed``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from .growth import growth_section, threads_section
from .kl import kl_section
from .lab import JobError, Lab, Timing, without_missing
from .lists import lists_section
from .objectives import objective_section
from .plan import Plan
from .report import Report
from .share import share_section

OURS_CG = ["ours cg 2", "ours cg 3", "ours auto"]
EXACT_PEERS = ["irspack exact", "implicit exact"]
CG_PEERS = ["irspack cg 3", "irspack iALS++", "implicit cg 3"]


def run_sections(lab: Lab, plan: Plan, report: Report, names: list[str]) -> None:
    """Run the named sections in their usual order."""
    for name, section in SECTIONS.items():
        if name in names:
            try:
                section(lab, plan, report)
            except JobError as error:
                report.text(f"Section `{name}` ended early: {error}")


def exact_section(lab: Lab, plan: Plan, report: Report) -> None:
    report.text("## Exact epochs", f"Objective: {plan.epoch_objective}.")
    rows = []
    for shape in plan.shapes:
        for factors in plan.exact_factors:
            contestants = without_missing(["ours exact", *EXACT_PEERS])
            if factors > plan.implicit_exact_up_to:
                contestants = [name for name in contestants if name != "implicit exact"]
            jobs = [lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs) for name in contestants]
            timings = lab.race(jobs, f"exact {shape}, d = {factors}")
            rows += [[shape, factors, *_seconds(timing, timings[0])] for timing in timings]
    report.table(["data", "d", "contestant", "best s", "median s", "times ours exact"], rows)


def cg_section(lab: Lab, plan: Plan, report: Report) -> None:
    early, late = plan.checkpoints
    report.text(
        "## Approximate epochs",
        f"Objective: {plan.epoch_objective}. Objectives are relative to exact alternating least squares from the same "
        f"start after as many epochs; a number after `cg` is that of the steps, irspack's and implicit's default is 3. "
        f"irspack's iALS++ is left out above d = {plan.ialspp_up_to}.",
    )
    rows = []
    for shape in plan.shapes:
        for factors in plan.cg_factors:
            peers = [name for name in CG_PEERS if factors <= plan.ialspp_up_to or name != "irspack iALS++"]
            contestants = ["ours exact", *OURS_CG, *without_missing(peers)]
            jobs = [
                lab.fit_job(name, shape, plan.epoch_objective, factors, plan.epochs, curve=late) for name in contestants
            ]
            exact, *timings = lab.race(jobs, f"cg {shape}, d = {factors}")
            rows += [
                [shape, factors, *_seconds(timing, timings[0]), *_excess(timing, exact, early, late)]
                for timing in [exact, *timings]
            ]
    objectives = [f"objective, {epoch} epochs" for epoch in plan.checkpoints]
    report.table(["data", "d", "contestant", "best s", "median s", f"times {OURS_CG[0]}", *objectives], rows)


def _seconds(timing: Timing, ours: Timing) -> list[str]:
    if timing.failure or ours.failure:
        return [timing.contestant, timing.failure or "-", "-", "-"]
    return [timing.contestant, f"{timing.best:.3g}", f"{timing.median:.3g}", f"{ours.ratio(timing):.2f}"]


def _excess(timing: Timing, exact: Timing, *epochs: int) -> list[str]:
    if not timing.losses or not exact.losses:
        return ["-"] * len(epochs)
    return [f"{timing.losses[epoch - 1] / exact.losses[epoch - 1] - 1:+.1e}" for epoch in epochs]


def big_section(lab: Lab, plan: Plan, report: Report) -> None:
    shape, factors = plan.big, plan.big_factors
    job = lab.fit_job("ours auto", shape, plan.epoch_objective, factors, plan.big_epochs, task="fit_with_memory")
    result = lab.run(job)
    needed = result["csr"] + result["transpose"] + result["factors"]
    report.text(
        f"## {shape} interactions: time and memory",
        f"`auto`, d = {factors}, {plan.big_epochs} epochs. Compiled before, on a tiny matrix; nothing else warmed up. "
        "The peak is the process's own (VmHWM), with the interpreter, libraries and the input, which are Interactions.",
    )
    rows = [
        ["reading, conversion and fit, s", f"{result['seconds']:.1f}"],
        ["slowest and fastest epoch, s", f"{max(result['epoch_seconds']):.3g}, {min(result['epoch_seconds']):.3g}"],
        ["input CSR, MB", f"{result['csr'] / 1e6:.0f}"],
        ["its transpose, MB", f"{result['transpose'] / 1e6:.0f}"],
        ["factors, MB", f"{result['factors'] / 1e6:.0f}"],
    ]
    if result["peak"] is not None and result["before"] is not None:
        rows += [
            ["peak before loading the data, MB", f"{result['before'] / 1e6:.0f}"],
            ["peak, MB", f"{result['peak'] / 1e6:.0f}"],
            ["peak / (CSR + transpose + factors)", f"{result['peak'] / needed:.2f}"],
            ["the same without what was there before", f"{(result['peak'] - result['before']) / needed:.2f}"],
        ]
    report.table(["", "value"], rows)


def compile_section(lab: Lab, plan: Plan, report: Report) -> None:
    report.text(
        "## First fit of a fresh process",
        "Cold: an empty NUMBA_CACHE_DIR. Warm: the next process with the same one. One epoch on 5,000 interactions.",
    )
    rows = []
    for solver in plan.compile_solvers:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                result = lab.run({"task": "first_fit", "solver": solver}, NUMBA_CACHE_DIR=cache)
                rows.append([solver, state, f"{result['import']:.2f}", f"{result['fit']:.2f}"])
    report.table(["solver", "cache", "import s", "first fit s"], rows)


# the longest last, so that a run that is cut short has the others
SECTIONS: dict[str, Callable[[Lab, Plan, Report], None]] = {
    "exact": exact_section,
    "share": share_section,
    "threads": threads_section,
    "growth": growth_section,
    "big": big_section,
    "compile": compile_section,
    "kl": kl_section,
    "lists": lists_section,
    "objective": objective_section,
    "cg": cg_section,
}
