"""The command line: ``python -m bench speed`` measures, ``python -m bench selfcheck`` checks that it is fair."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .lab import Lab, missing_peers
from .plan import FULL, QUICK
from .report import Report
from .speed import SECTIONS, run_sections

ROOT = Path(__file__).parent.parent


def main() -> None:
    arguments = _parser().parse_args()
    lab = Lab(arguments.threads, arguments.rounds or 1, arguments.budget, arguments.cache)
    if arguments.command == "selfcheck":
        _selfcheck(lab)
        return
    plan = QUICK if arguments.quick else FULL
    if arguments.factors:
        plan = plan.only_factors(arguments.factors)
    lab.rounds = arguments.rounds or plan.rounds
    report = Report(arguments.output)
    report.header(lab, plan)
    run_sections(lab, plan, report, arguments.only or list(SECTIONS))


def _selfcheck(lab: Lab) -> None:
    """Print how far each contestant's epoch is from the minimiser of the literal objective; exit with 1 if far."""
    checks = lab.run({"task": "selfcheck", "peers": not missing_peers()})
    if missing_peers():
        print(missing_peers())
    for check in checks:
        print(f"{check['objective']:<40} {check['contestant']:<20} {check['error']:.1e} {check['verdict']}")
    if any(check["verdict"] != "ok" for check in checks):
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("command", choices=["speed", "selfcheck"])
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="sections to run; by default all")
    parser.add_argument("--quick", action="store_true", help="tiny data, one round: shows that everything runs")
    parser.add_argument("--factors", nargs="+", type=_positive, metavar="D", help="only these numbers of factors")
    parser.add_argument("--rounds", type=_positive, help="interleaved repetitions (default 3; 1 with --quick)")
    parser.add_argument("--threads", type=_positive, default=2, help="threads of every contestant (default 2)")
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds a measurement may time epochs, if one is shorter"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "implicit_wmf_bench", help="folder of the data sets"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "RESULTS.md", help="the report to write")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number of at least 1")
    return value


if __name__ == "__main__":
    main()
