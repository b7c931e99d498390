"""The long run of a batch job: ``python -m bench.batch_job`` kills it twice and compares with a run left alone.

A synthetic model of 1 million users x 100,000 items, d = 64, is saved, and ``implicit-wmf recommend`` writes everyone's
ten best: once without disturbance, once killed (SIGKILL) at a third and at two thirds and started again. Shown are the
peak memory above the model's own arrays and the speed; checked are that every user has one whole list and that all
files are the same byte for byte. The norms of the items spread as lognormal numbers do, which makes ranking fast: the
speed is this model's, not everybody's.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet

from implicit_wmf.batch import users_done

from ..watching import run_to_end
from .model import user_ids

LIMIT = 2 << 30  # bytes above the model


def main() -> None:
    arguments = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="implicit_wmf_batch_", dir=arguments.folder))
    try:
        _run(folder, arguments)
    finally:
        shutil.rmtree(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.batch_job", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--number", type=int, default=10, help="length of the lists")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room; by default for temporary files")
    return parser


def _run(folder: Path, arguments: argparse.Namespace) -> None:
    # In a process of its own: the peak of a child counts what its parent held when it was started.
    sizes = [f"--{name}={getattr(arguments, name)}" for name in ("users", "items", "factors")]
    subprocess.run([sys.executable, "-m", f"{__package__}.model", str(folder / "model"), *sizes], check=True)
    model_bytes = sum(path.stat().st_size for path in (folder / "model").glob("*.npy"))
    print(f"model: {arguments.users:,} users x {arguments.items:,} items, d = {arguments.factors}, {_mb(model_bytes)}")
    runs = [("whole", None), ("killed", 1 / 3), ("killed", 2 / 3), ("killed", None)]
    peaks = [_recommend(folder, output, arguments.number, share and share * arguments.users) for output, share in runs]
    above = max(peaks) - model_bytes
    print(f"peak memory: {_mb(max(peaks))}, {_mb(above)} above the model's arrays (limit {_mb(LIMIT)})")
    whole, killed = (_checksums(folder / name) for name in ("whole", "killed"))
    same, once = whole == killed, _every_user_once(folder, arguments)
    print(f"{len(whole)} files, byte for byte the same: {same}; every user once, with a whole list: {once}")
    if not (same and once and above <= LIMIT):
        raise SystemExit(1)


def _recommend(folder: Path, output: str, number: int, kill_at: float | None = None) -> int:
    """Run the command, kill it when so many users are done, and return its peak memory in bytes."""
    command = [sys.executable, "-m", "implicit_wmf", "recommend", "model", "-o", output, "--n", str(number)]
    least = None if kill_at is None else max(kill_at, _users_done(folder / output) + 1)
    ended = run_to_end(command, cwd=folder, kill_when=least and (lambda _: _users_done(folder / output) >= least))
    if kill_at is not None and ended.exit_code == 0:
        raise SystemExit("the command ended before it was to be killed; give it more users")
    if kill_at is None and ended.exit_code:
        raise SystemExit(f"the command failed with exit code {ended.exit_code}:\n{ended.output}")
    how = "done" if kill_at is None else f"killed with {_users_done(folder / output):,} users done"
    print(f"{output}: {how} after {ended.seconds:.1f} s, peak {_mb(ended.peak)}", flush=True)
    return ended.peak


def _users_done(output: Path) -> int:
    return (users_done(output) or (0, 0))[0]


def _checksums(folder: Path) -> dict[str, int]:
    return {path.name: zlib.crc32(path.read_bytes()) for path in sorted(folder.iterdir())}


def _every_user_once(folder: Path, arguments: argparse.Namespace) -> bool:
    """Whether the lists are of all users in order, each with the ranks from 1 on and no item twice."""
    number, start = arguments.number, 0
    for path in sorted((folder / "killed").glob("part-*.parquet")):
        table = pyarrow.parquet.read_table(path)
        users = table["user"].to_numpy().reshape(-1, number)
        ranks = table["rank"].to_numpy().reshape(-1, number)
        items = np.sort(table["item"].dictionary_encode().combine_chunks().indices.to_numpy().reshape(-1, number))
        expected = user_ids(np.arange(start, start + len(users)))[:, None]
        if not ((users == expected).all() and (ranks == np.arange(number) + 1).all() and np.diff(items).all()):
            return False
        start += len(users)
    return start == arguments.users


def _mb(size: float) -> str:
    return f"{size / 2**20:,.0f} MB"


if __name__ == "__main__":
    main()
