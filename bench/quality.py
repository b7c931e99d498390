"""``python -m bench quality``: what the fits are worth, ours beside the peers' and beside published numbers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from implicit_wmf.errors import InputError

from .lab import ROOT, JobError, Lab, missing_peers, without_missing
from .page import Page
from .plan import Objective
from .quality_data import NCF, RETAIL, Source
from .quality_report import render_quality
from .records import Record, write_json
from .speed_command import CACHE, FOLDER, positive

# The only settings published for the NCF split, for d = 192 (see the report); used for every d.
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
RACE_FACTORS = (64,)
# After its first round, a contestant whose job took longer is left alone: the minutes go to the others.
PATIENCE = 40.0


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
        default=list(RACE_FACTORS),
        help="those with peers (default 64)",
    )
    parser.add_argument("--rounds", "--seeds", type=positive, default=3, help="interleaved rounds, a seed each (3)")
    parser.add_argument("--epochs", type=positive, default=EPOCHS, help=f"epochs of every fit (default {EPOCHS})")
    parser.add_argument("--minutes", type=float, default=9.0, help="no round begins that would end later (default 9)")
    parser.add_argument("--only", nargs="+", metavar="OWNER", help="race these alone: irspack, implicit, cmfrec, spark")
    parser.add_argument("--threads", type=positive, default=2, help="threads of every contestant (default 2)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the data sets")
    parser.add_argument("--output", type=Path, help="the report; JSON and plots go beside it")


def run_quality(arguments: argparse.Namespace) -> None:
    """Measure round after round, and write record and report after each."""
    lab = Lab(arguments.threads, arguments.rounds, 0.0, arguments.cache)
    source = _source(arguments)
    page = Page(arguments.output or FOLDER / _file_name(source))
    common = {"source": source.settings(), "cache": str(arguments.cache)}
    record: Record = {
        "benchmark": "quality",
        "data": source.settings(),
        "threads": lab.threads,
        "rounds": lab.rounds,
        "epochs": arguments.epochs,
        "missing": missing_peers(),
        "machine": run_job(lab, {"task": "machine"}),
        "baseline": run_job(lab, {"task": "baseline", **common}),
    }
    record |= _settings(lab, common, source)
    record["runs"] = []
    jobs = [{**job, **common, "objective": record["objective"]} for job in plan_jobs(arguments)]
    for _ in run_rounds(lab, jobs, record["runs"], arguments.minutes):
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
    return "RESULTS-quality.md" if source.data == NCF else f"RESULTS-quality-{Path(source.data).stem}.md"


def _settings(lab: Lab, common: Record, source: Source) -> Record:
    """Take the published objective, or choose one on a part of the training data."""
    if source.data == NCF:
        return {"objective": PUBLISHED_OBJECTIVE.settings(), "choice": None}
    choice = run_job(lab, {"task": "choose", **common})
    best = max(choice["tried"], key=lambda tried: tried["value"])
    return {"objective": best["objective"], "choice": choice}


def plan_jobs(arguments: argparse.Namespace) -> list[Record]:
    """List one round: ours for every d, the others where they race."""
    factors = arguments.factors or (NCF_FACTORS if arguments.data == NCF else OTHER_FACTORS)
    race = [d for d in arguments.race if d in factors] if arguments.factors else arguments.race
    peers = [name for name in without_missing(list(PEERS)) if not arguments.only or name.split()[0] in arguments.only]
    pairs = [
        (d, contestant)
        for d in sorted({*factors, *race})
        for contestant in ([OURS, "ours exact", *peers] if d in race else [OURS])
    ]
    return [
        {"task": "fit", "contestant": contestant, "factors": d, "epochs": arguments.epochs, "curve": d in race}
        for d, contestant in pairs
    ]


def run_rounds(lab: Lab, jobs: list[Record], runs: list[Record], minutes: float) -> Iterator[None]:
    """Run all jobs, round after round, each round with its seed; curves in the first round.

    A job that failed, or a peer's that took long, is not run again. No round begins that would end too late; ours may
    go on alone, because what they reach is compared with published means of several seeds.
    """
    began = time.perf_counter()
    expected = dict.fromkeys(range(len(jobs)), 0.0)
    with tqdm(total=lab.rounds * len(jobs), unit="run") as bar:
        for seed in range(lab.rounds):
            left = 60 * minutes - (time.perf_counter() - began)
            ours = [number for number in expected if jobs[number]["contestant"].startswith("ours")]
            chosen = next((some for some in (list(expected), ours) if sum(map(expected.get, some)) <= left), [])
            if not chosen:
                break
            for number in chosen:
                job = jobs[number]
                bar.set_postfix_str(f"{job['contestant']}, d = {job['factors']}", refresh=True)
                run = _attempt(lab, {**job, "seed": seed, "curve": job["curve"] and seed == 0})
                runs.append(run)
                expected[number] = run["job_seconds"]
                too_long = run["job_seconds"] > PATIENCE and not job["contestant"].startswith("ours")
                if run["failure"] or too_long:
                    del expected[number]
                bar.update()
            yield


def _attempt(lab: Lab, job: Record) -> Record:
    """One library that fails must not lose the others."""
    began = time.perf_counter()
    known: Record = {key: job[key] for key in ("contestant", "factors", "seed")} | {"failure": None}
    try:
        known |= run_job(lab, job)
    except JobError as error:
        known["failure"] = str(error)
    return known | {"job_seconds": time.perf_counter() - began}


def run_job(lab: Lab, job: Record) -> Any:
    """Run one job in a fresh process and return its result."""
    command = [sys.executable, "-m", "bench.quality_worker", json.dumps({"threads": lab.threads, **job})]
    done = subprocess.run(command, cwd=ROOT, env=lab.environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise JobError(f"{job.get('contestant', job['task'])}: {reason}")
    return json.loads(done.stdout.splitlines()[-1])
