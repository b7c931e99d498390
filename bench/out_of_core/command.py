"""``python -m bench out-of-core``: seconds and memory of ``prepare`` and of fits on what it makes, by size."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from implicit_wmf._arrow import parquet_files
from implicit_wmf.errors import InputError
from implicit_wmf.store import Store

from ..lab import ROOT, JobError
from ..options import FOLDER, add_interactions, add_output, positive
from ..records import Record, machine_record, write_json
from ..watching import Ended, run_to_end
from .report import bars, render_out_of_core

LINES = (50_000_000, 100_000_000)
FACTORS, EPOCHS = 64, 2
FIT_LIMIT = "4GB"
SHARD_CELL_BYTES = 16  # an index and a value, by user and by item


def add_out_of_core(parser: argparse.ArgumentParser) -> None:
    """Add the options of `out-of-core`; run it by :func:`run_out_of_core`."""
    add_interactions(parser)
    parser.add_argument(
        "--lines", nargs="+", type=positive, default=LINES, metavar="N",
        help="sizes: as many of the files, in the order of their names, as have so many lines "
        f"(default {' and '.join(map('{:,}'.format, LINES))})",
    )  # fmt: skip
    parser.add_argument("--factors", type=positive, default=FACTORS, help=f"length of the factors ({FACTORS})")
    parser.add_argument("--epochs", type=positive, default=EPOCHS, help=f"epochs of every fit ({EPOCHS})")
    parser.add_argument("--solver", default="auto", help="of the rows, of every fit (auto)")
    parser.add_argument("--memory-limit", default=FIT_LIMIT, help=f"what fit is held to ({FIT_LIMIT})")
    parser.add_argument("--skip-in-memory", action="store_true", help="no fit in memory to compare with")
    parser.add_argument("--folder", type=Path, help="where there is room; by default for temporary files")
    add_output(parser)


def run_out_of_core(arguments: argparse.Namespace) -> None:
    """Measure size after size, and write record and report after each; exit with 1 if a bar is missed."""
    sizes = [files_of(arguments.data, lines) for lines in sorted(arguments.lines)]
    path = arguments.output or FOLDER / "RESULTS-out-of-core.md"
    record: Record = {
        "benchmark": "out-of-core",
        "data": arguments.data.name,
        "factors": arguments.factors,
        "epochs": arguments.epochs,
        "solver": arguments.solver,
        "memory_limit": arguments.memory_limit,
        "machine": machine_record(),
        "runs": [],
    }
    for files in sizes:
        folder = Path(tempfile.mkdtemp(prefix="implicit_wmf_out_of_core_", dir=arguments.folder))
        try:
            record["runs"].append(_measure(files, folder, arguments))
        finally:
            shutil.rmtree(folder)
        write_json(path.with_suffix(".json"), record)
        render_out_of_core(record, path)
    print(path.read_text(encoding="utf-8"), end="")
    if not all(bar.kept for bar in bars(record)):
        raise SystemExit(1)


def files_of(folder: Path, lines: int) -> dict[Path, int]:
    """Choose the first files that have so many lines together; return the lines of each."""
    _, parquet = parquet_files("Counting the lines of Parquet files")
    chosen: dict[Path, int] = {}
    for path in sorted(folder.glob("*.parquet")):
        if sum(chosen.values()) >= lines:
            break
        chosen[path.resolve()] = parquet.read_metadata(path).num_rows
    if sum(chosen.values()) < lines:
        raise InputError(
            f"--data {folder} has {sum(chosen.values()):,} lines in Parquet files where {lines:,} are asked for; ask "
            f"for fewer, or write them: python data_scripts/synthetic_interactions.py -o {folder} --lines {lines}"
        )
    return chosen


def _measure(files: dict[Path, int], folder: Path, arguments: argparse.Namespace) -> Record:
    columns = [option for name in ("user", "item", "value") for option in (f"--{name}", getattr(arguments, name))]
    prepared = _command(folder, "prepare", *map(str, files), "-o", "store", *columns, "--quiet")
    store = Store.open(folder / "store")
    fitted = _command(
        folder, "fit", "store", "-o", "model", "--factors", arguments.factors, "--iterations", arguments.epochs,
        "--random-state", 0, "--solver", arguments.solver, "--memory-limit", arguments.memory_limit, "--quiet",
    )  # fmt: skip
    history = json.loads((folder / "model" / "model.json").read_text(encoding="utf-8"))["history"]
    run = {
        "lines": sum(files.values()),
        "store": _facts(store),
        "prepare": prepared.figures,
        "fit": fitted.figures | {"history": history},
        "in_memory": None,
    }
    if not arguments.skip_in_memory:
        run["in_memory"] = _in_memory(folder, arguments)
    return run


def _facts(store: Store) -> Record:
    return {
        "users": store.shape[0],
        "items": store.shape[1],
        "pairs": store.nnz,
        "shards": len(store.shards),
        "bytes": sum(path.stat().st_size for path in store.path.iterdir()),
        "largest_shard_bytes": max(shard.nnz for shard in store.shards) * SHARD_CELL_BYTES,
    }


def _command(folder: Path, *words: Any) -> Ended:
    return _run([sys.executable, "-m", "implicit_wmf", *map(str, words)], folder, words[0])


def _in_memory(folder: Path, arguments: argparse.Namespace) -> Record:
    """Fit the same data with the same settings in memory."""
    job = {
        "task": "out_of_core.in_memory.fit", "store": str(folder / "store"), "factors": arguments.factors,
        "epochs": arguments.epochs, "solver": arguments.solver,
    }  # fmt: skip
    ended = _run([sys.executable, "-m", "bench.worker", json.dumps(job)], ROOT, "the fit in memory")
    return ended.figures | {"history": json.loads(ended.output.splitlines()[-1])}


def _run(command: Sequence[str], folder: Path, what: str) -> Ended:
    ended = run_to_end(command, cwd=folder)
    if ended.exit_code:
        raise JobError(f"{what} ended with exit code {ended.exit_code}: {ended.output.strip()[-2000:]}")
    return ended
