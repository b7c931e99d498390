"""``python -m bench fuzz``: hypothesis draws cases, child processes check them, and what goes wrong is made small."""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from implicit_wmf.errors import InputError, MissingExtraError

from ..options import positive
from .children import Case, Child, Finding


@dataclass(frozen=True)
class Part:
    """What is fuzzed: what cases are drawn from, who checks them, and their share of all."""

    cases: str
    maker: str
    share: float


PARTS = {
    "reading": Part("tables", "bench.fuzz.tables.reading", 0.3),
    "preparing": Part("tables", "bench.fuzz.tables.preparing", 0.25),
    "model": Part("damages", "bench.fuzz.saved.models", 0.15),
    "checkpoint": Part("damages", "bench.fuzz.saved.checkpoints", 0.1),
    "store": Part("damages", "bench.fuzz.saved.stores", 0.2),
}
MANY = 10_000


def add_fuzz(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fuzz`; run it by :func:`run_fuzz`."""
    parser.add_argument("--cases", type=positive, default=MANY, metavar="N", help=f"of all parts ({MANY:,})")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default 0)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="check again the case that a finding has saved")
    parser.add_argument(
        "--findings", type=Path, default=Path("build/fuzz"), metavar="FOLDER",
        help="where the smallest case of each finding goes (default %(default)s)",
    )  # fmt: skip


def run_fuzz(arguments: argparse.Namespace) -> None:
    """Check part after part and say what became of the cases; exit with 1 where any went wrong."""
    if arguments.replay:
        _replay(arguments.replay)
        return
    if find_spec("hypothesis") is None:
        raise MissingExtraError("hypothesis", extra="test", purpose="Fuzzing")
    from .fuzzing import CASES, fuzz

    chosen = arguments.only or list(PARTS)
    whole = sum(PARTS[name].share for name in chosen)
    failed = False
    for name in chosen:
        part = PARTS[name]
        count = max(1, round(arguments.cases * part.share / whole))
        began = time.perf_counter()
        verdicts, finding = fuzz(CASES[part.cases](), part.maker, count, arguments.seed)
        seconds = time.perf_counter() - began
        told = ", ".join(f"{verdict} {number:,}" for verdict, number in sorted(verdicts.items()))
        print(f"{name:<12} {sum(verdicts.values()):>7,} cases in {seconds:.0f} s: {told}", flush=True)
        if finding is not None:
            failed = True
            print(f"{finding[1]}\nsaved as {_save(arguments.findings, name, *finding)}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _save(folder: Path, name: str, case: Case, error: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"part": name, "case": case, "error": error}, indent=1)
    path = folder / f"{name}-{zlib.crc32(content.encode()):08x}.json"
    path.write_text(content, encoding="utf-8")
    return path


def _replay(path: Path) -> None:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        maker = PARTS[saved["part"]].maker
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--replay {path} is no finding of python -m bench fuzz: {error}") from error
    child = Child(maker)
    try:
        print(f"{saved['part']}: {child.check(saved['case'])}")
    except Finding as error:
        raise SystemExit(str(error)) from None
    finally:
        child.close()
