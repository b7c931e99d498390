"""``python -m bench quality``: what the fits are worth, ours beside the peers' and beside published numbers."""

from __future__ import annotations

import argparse
import math
import random
import re
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from tqdm import tqdm

from implicit_wmf.errors import InputError

from ..contestants import is_nearest
from ..lab import PEERS as OWNERS
from ..lab import JobError, Lab, missing_peers, without_missing
from ..objective import Objective
from ..options import FOLDER, add_places, add_threads, positive
from ..page import Page
from ..peers.irspack import IALSPP_BLOCK
from ..records import Record, write_json
from .data import NCF, RETAIL, Source
from .report import render_quality

# The only settings published for the NCF split, for d = 192; used for every d.
PUBLISHED_OBJECTIVE = Objective(1.0, 0.007, "ials", 0.3, 1.0)
EPOCHS = 12
NCF_FACTORS = (32, 64, 96, 128, 192, 384)
OTHER_FACTORS = (32, 64, 128)
OURS = "ours auto"
PEERS = (
    "irspack exact",
    "irspack iALS++",
    "irspack cg 3",
    "implicit cg 3 nearest",
    "cmfrec exact nearest",
    "cmfrec cg 3 nearest",
    "spark exact nearest",
)
RACE_FACTORS = (64, 128)
# Raced up to so many factors unless asked for by name: beyond, they would take minutes of the whole command's 8.
SLOW = ("cmfrec exact nearest", "spark exact nearest")
SLOW_FACTORS = 64
# After its first round, a peer whose job took longer is left alone: the minutes go to the others.
PATIENCE = 20.0
MINUTES = 7.5
# A job that takes longer hangs.
JOB_SECONDS = 1800.0


def add_quality(parser: argparse.ArgumentParser) -> None:
    """Add the options of `quality`; run it by :func:`run_quality`."""
    parser.add_argument(
        "--data", default=NCF, metavar="NAME|FILE", help=f"{NCF} (default), {RETAIL}, another known set, or a file"
    )
    for column in ("user", "item", "value", "timestamp"):
        parser.add_argument(f"--{column}", metavar="COLUMN", help=f"the table's column of {column}s, with --timestamp")
    parser.add_argument("--factors", nargs="+", type=positive, metavar="D", help="numbers of factors of ours")
    parser.add_argument(
        "--race",
        nargs="*",
        type=positive,
        metavar="D",
        help=f"those with peers (default {' and '.join(map(str, RACE_FACTORS))}, or what --factors says)",
    )
    parser.add_argument("--rounds", "--seeds", type=positive, default=3, help="interleaved rounds, a seed each (3)")
    parser.add_argument("--epochs", type=positive, default=EPOCHS, help=f"epochs of every fit (default {EPOCHS})")
    parser.add_argument(
        "--minutes",
        type=minutes,
        default=MINUTES,
        help=f"after the first round, only what will be done by then (default {MINUTES:g})",
    )
    parser.add_argument("--only", nargs="+", choices=OWNERS, help="race these alone")
    add_threads(parser)
    add_places(parser)


def minutes(text: str) -> float:
    """Convert to minutes, a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return number


def run_quality(arguments: argparse.Namespace) -> None:
    """Measure round after round, and write record and report after each."""
    deadline = time.perf_counter() + 60 * arguments.minutes
    lab = Lab(arguments.threads, arguments.rounds)
    source = _source(arguments)
    page = Page(arguments.output or FOLDER / _file_name(source))
    jobs = plan_jobs(arguments)
    common = {"source": source.settings(), "cache": str(arguments.cache)}
    record: Record = {
        "benchmark": "quality",
        # a record is for others to read: where a file lies is nobody's business
        "data": {**source.settings(), "data": Path(source.data).name},
        "threads": lab.threads,
        "rounds": lab.rounds,
        "epochs": arguments.epochs,
        "missing": missing_peers(),
        "machine": _run(lab, {"task": "records.machine"}),
        "baseline": _run(lab, {"task": "quality.fits.baseline", **common}),
        "patience": PATIENCE,
    }
    record |= _settings(lab, common, source)
    jobs = [{**job, **common, "objective": record["objective"]} for job in jobs]
    record["contestants"] = choose_strengths(lab, jobs)
    record["runs"] = []
    for _ in run_rounds(lab, jobs, record["runs"], deadline):
        write_json(page.path.with_suffix(".json"), record)
        render_quality(record, page.path)
    print(page.path.read_text(encoding="utf-8"), end="")


def _source(arguments: argparse.Namespace) -> Source:
    columns = {name: getattr(arguments, name) for name in ("user", "item", "value", "timestamp")}
    if arguments.data in (NCF, RETAIL) or columns["timestamp"] is None:
        given = [f"--{name}" for name, column in columns.items() if column is not None]
        if given:
            raise InputError(f"{given[0]}: columns are named, user and item too, for a table split by --timestamp only")
    return Source(arguments.data, **columns)


def _file_name(source: Source) -> str:
    return "RESULTS.md" if source.data == NCF else f"RESULTS-quality-{Path(source.data).stem}.md"


def _settings(lab: Lab, common: Record, source: Source) -> Record:
    """Take the published objective, or choose one on a part of the training data."""
    if source.data == NCF:
        return {"objective": PUBLISHED_OBJECTIVE.settings(), "choice": None}
    choice = _run(lab, {"task": "quality.fits.choose", **common})
    best = max(choice["tried"], key=lambda tried: tried["value"])
    return {"objective": best["objective"], "choice": choice}


def plan_jobs(arguments: argparse.Namespace) -> list[Record]:
    """List one round: ours for every d, the others where they race."""
    factors = arguments.factors or (NCF_FACTORS if arguments.data == NCF else OTHER_FACTORS)
    race = arguments.race
    if race is None:
        race = arguments.factors or RACE_FACTORS
    known = without_missing(list(PEERS))
    absent = sorted(set(arguments.only or ()) - {name.split()[0] for name in known})
    if absent:
        raise InputError(f"--only: {', '.join(absent)} cannot run here. {missing_peers()}")
    pairs = [
        (d, contestant)
        for d in sorted({*factors, *race})
        for contestant in ([OURS, "ours exact", *_peers(known, d, arguments.only)] if d in race else [OURS])
    ]
    return [
        {"task": "quality.fits.fit", "contestant": contestant, "factors": d, "epochs": arguments.epochs,
         "curve": d in race, "strength_factor": 1.0}
        for d, contestant in pairs
    ]  # fmt: skip


def _peers(known: list[str], d: int, only: list[str] | None) -> list[str]:
    """Choose those that race at d.

    irspack's iALS++ solves blocks of 64 factors, its default: up to d = 64 that is its Cholesky solver with overhead.
    """
    chosen = [name for name in known if not only or name.split()[0] in only]
    if d <= IALSPP_BLOCK:
        chosen = [name for name in chosen if name != "irspack iALS++"]
    return [name for name in chosen if only or d <= SLOW_FACTORS or name not in SLOW]


def choose_strengths(lab: Lab, jobs: list[Record]) -> list[Record]:
    """Give each nearest contestant's job the strength that is best on a validation part; return how it was found.

    One contestant that fails is left as it is: its fit will say why.
    """
    found = []
    for job in tqdm(jobs, desc="strengths of the nearest", unit="contestant"):
        known: Record = {"contestant": job["contestant"], "factors": job["factors"]}
        if is_nearest(job["contestant"]):
            try:
                known |= _run(lab, {**job, "task": "quality.fits.strength", "seed": 0})
                job["strength_factor"] = known["strength_factor"]
            except JobError as error:
                known["failure"] = str(error)
        found.append(known)
    return found


def run_rounds(lab: Lab, jobs: list[Record], runs: list[Record], deadline: float) -> Iterator[None]:
    """Run all jobs, round after round, each round with its seed and in an order of its own; curves in the first round.

    A job that failed, or a peer's that took long, is not run again. A round but the first that would end after the
    deadline goes on without the slowest peers, and without ours it does not begin: what ours reach is compared with
    published figures.
    """
    expected = dict.fromkeys(range(len(jobs)), 0.0)
    with tqdm(total=lab.rounds * len(jobs), unit="run") as bar:
        for seed in range(lab.rounds):
            left = deadline - time.perf_counter() if seed else math.inf
            chosen = _that_fit(jobs, expected, left)
            if not chosen:
                break
            # who runs first in every round may find another machine than who runs last
            random.Random(seed).shuffle(chosen)
            for number in chosen:
                job = jobs[number]
                bar.set_postfix_str(f"{job['contestant']}, d = {job['factors']}", refresh=True)
                run = _attempt(lab, {**job, "seed": seed, "curve": job["curve"] and seed == 0})
                runs.append(run)
                expected[number] = run["job_seconds"] - run.get("curve_seconds", 0.0)
                if run["failure"] or (expected[number] > PATIENCE and not _is_ours(job)):
                    del expected[number]
                bar.update()
            yield


def _that_fit(jobs: list[Record], expected: dict[int, float], left: float) -> list[int]:
    """Choose all of ours and as many peers, the fastest first, as the seconds suffice for; none if not for ours."""
    order = sorted(expected, key=lambda number: (not _is_ours(jobs[number]), expected[number]))
    ends = dict(zip(order, accumulate(expected[number] for number in order), strict=True))
    fitting = [number for number in expected if ends[number] <= left]
    return fitting if all(number in fitting for number in expected if _is_ours(jobs[number])) else []


def _is_ours(job: Record) -> bool:
    return bool(job["contestant"].startswith("ours"))


def _attempt(lab: Lab, job: Record) -> Record:
    """One library that fails must not lose the others."""
    began = time.perf_counter()
    known: Record = {key: job[key] for key in ("contestant", "factors", "strength_factor", "seed")}
    known["failure"] = None
    try:
        known |= _run(lab, job)
    except JobError as error:
        known["failure"] = str(error)
    return known | {"job_seconds": time.perf_counter() - began}


def _run(lab: Lab, job: Record) -> Any:
    """Run one job in a fresh process; an error is told by its class alone, not by the module that it lives in."""
    try:
        return lab.run(job, timeout=JOB_SECONDS)
    except JobError as error:
        raise JobError(re.sub(r"(^|: )(?:\w+\.)+(\w+)(?=:|$)", r"\1\2", str(error), count=1)) from None
