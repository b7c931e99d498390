"""``python -m bench speed``: its options, and what is done with them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..data import REAL, data_file
from ..lab import JobError
from ..options import FOLDER, add_places, add_threads, positive
from ..shapes import LIKE
from .lab import SpeedLab
from .plan import FULL, QUICK, SMALL, Plan
from .report import Report
from .sections import DATA_SECTIONS, SECTIONS

SMALL_MINUTES = 9.0  # what has begun by then ends within the tenth


def add_speed(parser: argparse.ArgumentParser) -> None:
    """Add the options of `speed`; run it by :func:`run_speed`."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="smaller data, fewer sizes: ten minutes on two cores")
    # for tests: shows that everything runs, measures nothing
    size.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(SECTIONS),
        metavar="SECTION",
        help=f"sections to run, by default all: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--data",
        metavar="NAME|FILE",
        help=f"run {', '.join(DATA_SECTIONS)} on a file (.npz or a table), on a known set ({', '.join(REAL)}), or on "
        f"synthetic data of a public size ({', '.join(LIKE)})",
    )
    parser.add_argument("--factors", nargs="+", type=positive, metavar="D", help="only these numbers of factors")
    parser.add_argument("--rounds", type=positive, help="interleaved repetitions (default 3; 2 with --small)")
    parser.add_argument(
        "--minutes", type=float, help="no section and no round begins after these (default none; 9 with --small)"
    )
    add_threads(parser)
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds a measurement may time epochs, if one is shorter"
    )
    add_places(parser)


def run_speed(arguments: argparse.Namespace) -> None:
    """Measure, and write the report after each section."""
    plan = plan_of(arguments)
    minutes = SMALL_MINUTES if arguments.minutes is None and arguments.small else arguments.minutes
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    lab = SpeedLab(arguments.threads, arguments.rounds or plan.rounds, arguments.budget, arguments.cache, deadline)
    if arguments.data:
        # at once, and not as the failure of every section
        data_file(lab.cache, plan.dense)
    report = Report(arguments.output or FOLDER / _file_name(arguments))
    report.header(lab, plan)
    run_sections(lab, plan, report, arguments.only or list(DATA_SECTIONS if arguments.data else SECTIONS))


def run_sections(lab: SpeedLab, plan: Plan, report: Report, names: list[str]) -> None:
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


def _file_name(arguments: argparse.Namespace) -> str:
    """Give each kind of run a report of its own, so that one of a part does not replace that of the whole."""
    parts = ["small"] * arguments.small + ["quick"] * arguments.quick
    parts += [Path(arguments.data).stem] if arguments.data else []
    parts += arguments.only or []
    parts += [f"d{factors}" for factors in arguments.factors or []]
    return "-".join(["RESULTS-speed", *parts]) + ".md"


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Choose what is measured."""
    plan = SMALL if arguments.small else QUICK if arguments.quick else FULL
    if arguments.data:
        plan = plan.on_data(arguments.data)
    return plan.only_factors(arguments.factors) if arguments.factors else plan
