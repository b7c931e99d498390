"""Whole fits of ours: time and memory of a big one, and the first one of a fresh process."""

from __future__ import annotations

import tempfile

from ..page import Page, spread
from ..records import Record
from .lab import SpeedLab
from .plan import Plan
from .section import Section, name_and_size


def _measure_big(lab: SpeedLab, plan: Plan) -> Record:
    fits = []
    for shape in plan.big:
        if fits and lab.late():
            lab.left_out.append(f"the whole fit of {shape}")
            continue
        job = lab.fit_job(
            "ours auto",
            shape,
            plan.epoch_objective,
            plan.big_factors,
            plan.big_epochs,
            task="speed.fits.fit_with_memory",
        )
        fits.append({"setting": job["setting"], **lab.run(job)})
    return {"epochs": plan.big_epochs, "fits": fits}


def _render_big(page: Page, record: Record) -> None:
    page.text(
        "## Whole fits: time and memory",
        f"`auto`, {record['epochs']} epochs, one run each. Compiled before, on a tiny matrix; nothing else warmed up. "
        "Seconds include reading and conversion. Megabytes: of the input (CSR) with its transpose and the factors, and "
        "of the process at its peak (VmHWM), above what interpreter and libraries held before.",
    )
    header = [
        "data",
        "d",
        "seconds",
        "s an epoch",
        "CSR + transpose MB",
        "factors MB",
        "peak above MB",
        "peak / needed",
    ]
    page.table(header, [_big_row(fit) for fit in record["fits"]])


def _big_row(fit: Record) -> list[object]:
    data = fit["csr"] + fit["transpose"]
    row = [
        name_and_size(fit["setting"]),
        fit["setting"]["factors"],
        f"{fit['seconds']:.1f}",
        spread(fit["epoch_seconds"]),
        f"{data / 1e6:.0f}",
        f"{fit['factors'] / 1e6:.0f}",
    ]
    if fit["peak"] is None or fit["before"] is None:
        return [*row, "not told", "not told"]
    above = fit["peak"] - fit["before"]
    return [*row, f"{above / 1e6:.0f}", f"{above / (data + fit['factors']):.2f}"]


def _measure_compile(lab: SpeedLab, plan: Plan) -> Record:
    fits = [
        {"solver": solver, "cache": state, "import": [], "fit": []}
        for solver in plan.compile_solvers
        for state in ("cold", "warm")
    ]
    for number in range(lab.rounds):
        if number and lab.late():
            lab.left_out.append(f"{lab.rounds - number} of {lab.rounds} rounds of first fits")
            break
        for cold, warm in zip(fits[::2], fits[1::2], strict=True):
            with tempfile.TemporaryDirectory() as cache:
                for fit in (cold, warm):
                    result = lab.run({"task": "speed.fits.first_fit", "solver": fit["solver"]}, NUMBA_CACHE_DIR=cache)
                    fit["import"].append(result["import"])
                    fit["fit"].append(result["fit"])
    return {"fits": fits}


def _render_compile(page: Page, record: Record) -> None:
    page.text(
        "## First fit of a fresh process",
        "Cold: an empty NUMBA_CACHE_DIR. Warm: the next process with the same one. One epoch on 5,000 interactions.",
    )
    rows = [[fit["solver"], fit["cache"], spread(fit["import"], ".2f"), spread(fit["fit"], ".2f")]
            for fit in record["fits"]]  # fmt: skip
    page.table(["solver", "cache", "import s", "first fit s"], rows)


BIG = Section(_measure_big, _render_big)
COMPILE = Section(_measure_compile, _render_compile)
