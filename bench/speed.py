"""The sections of ``python -m bench speed``, and how they are run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .epochs import CG, EXACT
from .growth import GROWTH, THREADS
from .kl import KL
from .lab import JobError, Lab
from .lists import LISTS
from .objectives import OBJECTIVE
from .page import Section
from .plan import Plan
from .public import PUBLIC
from .share import SHARE
from .whole import BIG, COMPILE

if TYPE_CHECKING:
    from .report import Report

# the longest last, so that a run that is cut short has the others
SECTIONS: dict[str, Section] = {
    "exact": EXACT,
    "share": SHARE,
    "threads": THREADS,
    "growth": GROWTH,
    "compile": COMPILE,
    "kl": KL,
    "lists": LISTS,
    "objective": OBJECTIVE,
    "cg": CG,
    "public": PUBLIC,
    "big": BIG,
}

# those that are about the data given by --data, not about a size of the plan's own
DATA_SECTIONS = ("exact", "objective", "cg")


def run_sections(lab: Lab, plan: Plan, report: Report, names: list[str]) -> None:
    """Run the named sections in their usual order, as far as the time goes."""
    for name, section in SECTIONS.items():
        if name in names:
            if lab.late():
                lab.left_out.append(f"section `{name}`")
                continue
            began = time.perf_counter()
            try:
                measured = section.measure(lab, plan)
            except JobError as error:
                measured = {"failure": str(error)}
            report.add(name, measured, time.perf_counter() - began)
    report.leave_out(lab.left_out)
