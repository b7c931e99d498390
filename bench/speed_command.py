"""``python -m bench speed`` and ``python -m bench report``: options, and what is done with them."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from implicit_wmf.errors import InputError

from .data import REAL, data_file
from .lab import Lab
from .plan import FULL, QUICK, SMALL, Plan
from .records import read_json
from .report import Report, render
from .shapes import LIKE
from .speed import DATA_SECTIONS, SECTIONS, run_sections

FOLDER = Path(__file__).parent
# the user's own: what a shared folder holds under a known name may be anybody's
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implicit_wmf_bench"
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
    parser.add_argument("--threads", type=positive, default=2, help="threads of every contestant (default 2)")
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds a measurement may time epochs, if one is shorter"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the data sets")
    parser.add_argument("--output", type=markdown, help="the report, .md; JSON and plots go beside it")


def run_speed(arguments: argparse.Namespace) -> None:
    """Measure, and write the report after each section."""
    plan = plan_of(arguments)
    minutes = SMALL_MINUTES if arguments.minutes is None and arguments.small else arguments.minutes
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    lab = Lab(arguments.threads, arguments.rounds or plan.rounds, arguments.budget, arguments.cache, deadline)
    if arguments.data:
        # at once, and not as the failure of every section
        data_file(lab.cache, plan.dense)
    report = Report(arguments.output or FOLDER / _file_name(arguments))
    report.header(lab, plan)
    run_sections(lab, plan, report, arguments.only or list(DATA_SECTIONS if arguments.data else SECTIONS))


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


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`; run it by :func:`run_report`."""
    parser.add_argument("record", type=Path, help="JSON of an earlier run")
    parser.add_argument("--output", type=markdown, help="the report; by default the record's name with .md")


def run_report(arguments: argparse.Namespace) -> None:
    """Make the report of a record again, without measuring."""
    record = read_json(arguments.record)
    if record.get("benchmark") != "speed":
        raise InputError(f"{arguments.record} is not a record of python -m bench speed")
    render(record, arguments.output or arguments.record.with_suffix(".md"))


def markdown(text: str) -> Path:
    """Read the path of a report: its record has the same name with .json, and must not replace it."""
    if not text.endswith(".md"):
        raise argparse.ArgumentTypeError(f"{text} is the path of a report and must end in .md")
    return Path(text)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number of at least 1")
    return value
