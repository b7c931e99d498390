"""``python -m bench speed`` and ``python -m bench report``: options, and what is done with them."""

from __future__ import annotations

import argparse
import tempfile
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
CACHE = Path(tempfile.gettempdir()) / "implicit_wmf_bench"


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
    parser.add_argument("--threads", type=positive, default=2, help="threads of every contestant (default 2)")
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds a measurement may time epochs, if one is shorter"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the data sets")
    parser.add_argument(
        "--output", type=Path, default=FOLDER / "RESULTS.md", help="the report; JSON and plots go beside it"
    )


def run_speed(arguments: argparse.Namespace) -> None:
    """Measure, and write the report after each section."""
    plan = plan_of(arguments)
    lab = Lab(arguments.threads, arguments.rounds or plan.rounds, arguments.budget, arguments.cache)
    if arguments.data:
        # at once, and not as the failure of every section
        data_file(lab.cache, plan.dense)
    report = Report(arguments.output)
    report.header(lab, plan)
    run_sections(lab, plan, report, arguments.only or list(DATA_SECTIONS if arguments.data else SECTIONS))


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Choose what is measured."""
    plan = SMALL if arguments.small else QUICK if arguments.quick else FULL
    if arguments.data:
        plan = plan.on_data(arguments.data)
    return plan.only_factors(arguments.factors) if arguments.factors else plan


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`; run it by :func:`run_report`."""
    parser.add_argument("record", type=Path, help="RESULTS.json of an earlier run")
    parser.add_argument("--output", type=Path, help="the report; by default the record's name with .md")


def run_report(arguments: argparse.Namespace) -> None:
    """Make the report of a record again, without measuring."""
    record = read_json(arguments.record)
    if record.get("benchmark") != "speed":
        raise InputError(f"{arguments.record} is not a record of python -m bench speed")
    render(record, arguments.output or arguments.record.with_suffix(".md"))


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number of at least 1")
    return value
