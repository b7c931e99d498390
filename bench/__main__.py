"""The command line: ``speed`` and ``quality`` measure, ``selfcheck`` finds unfairness, ``mutants`` holes in tests."""

from __future__ import annotations

import argparse
import sys

from implicit_wmf.errors import InputError

from .lab import JobError, Lab, missing_peers, without_missing
from .mutants import add_mutants, run_mutants
from .quality import add_quality, run_quality
from .quality_report import render_quality
from .records import read_json
from .speed_command import CACHE, add_report, add_speed, positive, run_report, run_speed


def main() -> None:
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except (InputError, JobError) as error:
        sys.exit(f"bench: {error}")


def _selfcheck(arguments: argparse.Namespace) -> None:
    """Print how far each contestant is from the literal objective; exit with 1 if far."""
    from .selfcheck import EXACT_PEERS

    lab = Lab(arguments.threads, 1, 0.0, CACHE)
    checks = lab.run({"task": "selfcheck", "peers": without_missing(EXACT_PEERS)})
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
    if record.get("benchmark") == "quality":
        render_quality(record, arguments.output or arguments.record.with_suffix(".md"))
    else:
        run_report(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, add, run, help_text in (
        ("speed", add_speed, run_speed, "seconds an epoch, to an objective, with size; writes RESULTS-speed.md"),
        ("quality", add_quality, run_quality, "metrics of the fits and seconds to them; writes RESULTS.md"),
        ("report", add_report, _report, "make a report again from its JSON record"),
        ("selfcheck", _add_selfcheck, _selfcheck, "whether all contestants are given the same problem"),
        ("mutants", add_mutants, run_mutants, "how many faults put into the mathematics the tests find"),
    ):
        command = commands.add_parser(name, help=help_text)
        add(command)
        command.set_defaults(run=run)
    return parser


def _add_selfcheck(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=positive, default=2, help="threads of every contestant (default 2)")


if __name__ == "__main__":
    main()
