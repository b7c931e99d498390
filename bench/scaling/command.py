"""``python -m bench scaling``: epochs by worker processes of one machine, constants of larger ones, and Spark's ALS."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from implicit_wmf.store import Store, prepare

from ..lab import Job, Lab, missing_peers, without_missing
from ..options import FOLDER, add_interactions, add_output, positive
from ..out_of_core.command import files_of
from ..quality.report import render_quality
from ..records import Record, machine_record, read_json, write_json
from .report import bars, render_scaling
from .spark import CONTESTANT

INTERACTIONS = 20_000_000
# of WMF, in the comparison with Spark as well: penalties so small that it hardly matters that Spark's are other ones
OBJECTIVE = {"alpha": 1.0, "regularization": 0.01}


@dataclass(frozen=True)
class Plan:
    """What is measured; `constants` is a job of :func:`bench.scaling.constants.measure`."""

    interactions: int
    factors: int
    epochs: int
    rounds: int
    shards: int
    workers: tuple[int, ...]
    constants: Job


FULL = Plan(
    INTERACTIONS, 64, 5, 3, 16, (1, 2, 4),
    {"items": 1_000_000, "users": [50_000, 150_000], "cells_of_user": 100, "factors": 128, "steps": 3},
)  # fmt: skip
SMALL = Plan(
    1_000, 8, 3, 1, 4, (1, 2),
    {"items": 300, "users": [200, 400], "cells_of_user": 10, "factors": 8, "steps": 3},
)  # fmt: skip


def add_scaling(parser: argparse.ArgumentParser) -> None:
    """Add the options of `scaling`; run it by :func:`run_scaling`."""
    add_interactions(parser)
    parser.add_argument(
        "--interactions", type=positive, metavar="N",
        help=f"as many of the files, in the order of their names, as have so many lines ({INTERACTIONS:,})",
    )  # fmt: skip
    parser.add_argument("--workers", nargs="+", type=positive, metavar="N", help="worker processes, in turn (1 2 4)")
    parser.add_argument("--factors", type=positive, help=f"length of the factors ({FULL.factors})")
    parser.add_argument("--epochs", type=positive, help=f"of a fit, the first does not count ({FULL.epochs})")
    parser.add_argument("--rounds", type=positive, help=f"in which all are repeated in turn ({FULL.rounds})")
    parser.add_argument("--shards", type=positive, help=f"of the store ({FULL.shards})")
    parser.add_argument("--solver", default="auto", help="of the rows, of all but Spark (auto)")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART",
        help=f"of {', '.join(PARTS)}; the others are kept as they are in the record that is there",
    )  # fmt: skip
    parser.add_argument("--small", action="store_true", help="seconds for everything, to try it out")
    parser.add_argument("--folder", type=Path, help="where there is room; by default for temporary files")
    add_output(parser)


def run_scaling(arguments: argparse.Namespace) -> None:
    """Measure part after part, and write record and report after each; exit with 1 if a bar is missed."""
    path = arguments.output or FOLDER / "RESULTS-scaling.md"
    old = path.with_suffix(".json")
    record: Record = read_json(old) if arguments.only and old.exists() else {"benchmark": "scaling"}
    plan = _plan(arguments)
    with _store(plan, arguments) as store:
        for name in arguments.only or PARTS:
            record[name] = PARTS[name](plan, store, arguments.solver) | {"machine": machine_record()}
            write_json(old, record)
            render_scaling(record, path)
    quality = path.with_name("RESULTS.json")
    if quality.exists():  # which shows the comparison with Spark as well
        render_quality(read_json(quality), quality.with_suffix(".md"))
    print(path.read_text(encoding="utf-8"), end="")
    if not all(bar.kept for bar in bars(record)):
        raise SystemExit(1)


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = asdict(SMALL if arguments.small else FULL)
    given = {name: getattr(arguments, name) for name in plan.keys() - {"constants"}}
    return Plan(**plan | {name: value for name, value in given.items() if value is not None})


@contextmanager
def _store(plan: Plan, arguments: argparse.Namespace) -> Iterator[Store]:
    """Prepare a store of the data, which is gone afterwards."""
    files = files_of(arguments.data, plan.interactions)
    folder = Path(tempfile.mkdtemp(prefix="implicit_wmf_scaling_", dir=arguments.folder))
    try:
        columns = {name: getattr(arguments, name) for name in ("user", "item", "value")}
        prepare(list(files), folder / "store", **columns, shards=plan.shards, progress=False)
        yield Store.open(folder / "store")
    finally:
        shutil.rmtree(folder)


def _measure_workers(plan: Plan, store: Store, solver: str) -> Record:
    jobs = {str(workers): _job(plan, store, solver, workers) for workers in (0, *sorted(set(plan.workers)))}
    settings = {"epochs": plan.epochs, "factors": plan.factors, "solver": solver}
    return settings | {"store": _facts(store), "runs": _race(Lab(1, plan.rounds), jobs)}


def _measure_constants(plan: Plan, store: Store, solver: str) -> Record:
    threads = machine_record()["usable_cores"]
    return dict(Lab(threads, 1).run({"task": "scaling.constants.measure", **plan.constants}))


def _measure_spark(plan: Plan, store: Store, solver: str) -> Record:
    """Measure fits of the same epochs without their losses, on all cores: by one process, by workers, and by Spark."""
    cores = machine_record()["usable_cores"]
    ours = _job(plan, store, solver, 0) | {"track_loss": False, "judge": True}
    jobs = {
        "ours, one process": ours | {"threads": cores},
        f"ours, {cores} workers": ours | {"workers": cores, "threads": 1},
    }
    if without_missing([CONTESTANT]):
        jobs[CONTESTANT] = ours | {"task": "scaling.spark.fit", "threads": cores}
    settings = {"epochs": plan.epochs, "factors": plan.factors, "solver": solver, "objective": OBJECTIVE}
    found = {"missing": "" if CONTESTANT in jobs else missing_peers(), "cores": cores, "store": _facts(store)}
    return settings | found | {"runs": _race(Lab(cores, plan.rounds), jobs)}


def _job(plan: Plan, store: Store, solver: str, workers: int) -> Job:
    settings = {"factors": plan.factors, "iterations": plan.epochs, "solver": solver, **OBJECTIVE}
    return {
        "task": "scaling.fits.fit", "store": str(store.path), "settings": settings, "workers": workers, "threads": 1,
        "track_loss": True, "judge": False,
    }  # fmt: skip


def _race(lab: Lab, jobs: dict[str, Job]) -> dict[str, list[Record]]:
    """Run all jobs in turn, round after round; returns what came of each, a record a round."""
    runs: dict[str, list[Record]] = {name: [] for name in jobs}
    turns = [name for _ in range(lab.rounds) for name in jobs]
    for name in tqdm(turns, desc="fits", disable=None, file=sys.stderr):
        runs[name].append(lab.run(jobs[name]))
    return runs


def _facts(store: Store) -> Record:
    users, items = store.shape
    return {"users": users, "items": items, "pairs": store.nnz, "shards": len(store.shards)}


PARTS: dict[str, Callable[[Plan, Store, str], Record]] = {
    "workers": _measure_workers, "constants": _measure_constants, "spark": _measure_spark,
}  # fmt: skip
