"""The command line: ``speed``, ``quality``, ``out-of-core`` and ``scaling`` measure, the others look for faults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from implicit_wmf.errors import InputError, MissingExtraError

from .fuzz.command import add_fuzz, run_fuzz
from .kills.command import add_kills, run_kills
from .lab import JobError, Lab, missing_peers, without_missing
from .mutants import add_mutants, run_mutants
from .options import add_threads, markdown
from .out_of_core.command import add_out_of_core, run_out_of_core
from .out_of_core.report import render_out_of_core
from .quality.command import add_quality, run_quality
from .quality.report import render_quality
from .records import read_json
from .scaling.command import add_scaling, run_scaling
from .scaling.report import render_scaling
from .selfcheck import EXACT_PEERS
from .speed.command import add_speed, run_speed
from .speed.report import render_speed

RENDERERS = {
    "speed": render_speed,
    "quality": render_quality,
    "out-of-core": render_out_of_core,
    "scaling": render_scaling,
}


def main(command_line: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(command_line)
    try:
        arguments.run(arguments)
    except (InputError, JobError, MissingExtraError) as error:
        sys.exit(f"bench: {error}")


def _selfcheck(arguments: argparse.Namespace) -> None:
    """Print how far each contestant is from the literal objective; exit with 1 if far."""
    lab = Lab(arguments.threads, 1)
    checks = lab.run({"task": "selfcheck.selfcheck", "peers": without_missing(EXACT_PEERS)})
    if missing_peers():
        print(missing_peers())
    width = max(len(check["objective"]) for check in checks)
    for check in checks:
        print(f"{check['objective']:<{width}} {check['contestant']:<15} {check['error']:.1e} {check['verdict']}")
    if any(check["verdict"] != "ok" for check in checks):
        raise SystemExit(1)


def _report(arguments: argparse.Namespace) -> None:
    """Make a report of its record again."""
    record = read_json(arguments.record)
    render = RENDERERS.get(record["benchmark"])
    if render is None:
        raise InputError(f"{arguments.record} is not a record of python -m bench {' or '.join(RENDERERS)}")
    render(record, arguments.output or arguments.record.with_suffix(".md"))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, run, help_text in (
        ("speed", add_speed, run_speed, "seconds an epoch, to an objective, with size; writes RESULTS-speed.md"),
        ("quality", add_quality, run_quality, "metrics of the fits and seconds to them; writes RESULTS.md"),
        (
            "out-of-core",
            add_out_of_core,
            run_out_of_core,
            "seconds and memory of prepare and of fits on a store; writes RESULTS-out-of-core.md",
        ),
        (
            "scaling",
            add_scaling,
            run_scaling,
            "seconds and bytes of an epoch by Dask workers, and by Spark; writes RESULTS-scaling.md",
        ),
        ("report", _add_report, _report, "make a report again from its JSON record"),
        ("selfcheck", add_threads, _selfcheck, "whether all contestants are given the same problem"),
        ("kills", add_kills, run_kills, "what kill -9 leaves of saves, fits with checkpoints, and prepare"),
        ("fuzz", add_fuzz, run_fuzz, "files that are spoiled by chance, through all that reads them"),
        ("mutants", add_mutants, run_mutants, "how many faults put into the mathematics the tests find"),
    ):
        command = commands.add_parser(name, help=help_text)
        add(command)
        command.set_defaults(run=run)
    return parser


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", type=Path, help="JSON of an earlier run")
    parser.add_argument("--output", type=markdown, help="the report; by default the record's name with .md")


if __name__ == "__main__":
    main()
