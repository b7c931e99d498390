"""``python -m bench kills``: kill -9 at random moments and before every step, and what is there afterwards."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from implicit_wmf._folders import current_folder
from implicit_wmf.errors import InputError

from ..lab import ROOT
from ..options import positive
from ..watching import Ended, run_to_end
from .scenarios import SCENARIOS, Broken, Scenario, Signature
from .steps import names

TIMES = 30
LINES = 400_000
# What a command that does not end by itself is given.
ENDLESS_SECONDS = 4.0
MOST_TRIALS = 20


def add_kills(parser: argparse.ArgumentParser) -> None:
    """Add the options of `kills`; run it by :func:`run_kills`."""
    parser.add_argument("--times", type=positive, default=TIMES, metavar="N", help=f"of each kind of work ({TIMES})")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--lines", type=positive, default=LINES, metavar="N", help=f"of the data ({LINES:,})")
    kinds = [*SCENARIOS, "steps"]
    parser.add_argument(
        "--only", nargs="+", choices=kinds, metavar="WORK", default=kinds, help=f"of {', '.join(kinds)} (default all)"
    )


def run_kills(arguments: argparse.Namespace) -> None:
    """Kill each kind of work so many times; exit with 1 where anything is broken."""
    try:
        for name in arguments.only:
            with tempfile.TemporaryDirectory(prefix="implicit_wmf_kills_") as folder:
                if name == "steps":
                    kill_at_steps(Path(folder))
                else:
                    _kill_at_moments(name, Path(folder), arguments)
    except Broken as error:
        raise SystemExit(f"broken: {error}") from None


def _kill_at_moments(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    work = folder / "work"
    work.mkdir()
    outcomes = kill_loop(
        SCENARIOS[name](work, arguments.lines), arguments.times, random.Random(f"{name} {arguments.seed}")
    )
    told = ", ".join(f"{outcome} {number}" for outcome, number in sorted(outcomes.items()))
    print(f"{name:<10} {arguments.times} times, afterwards there was: {told}", flush=True)


def kill_loop(scenario: Scenario, times: int, generator: random.Random) -> Counter[str]:
    """Kill a scenario's command, look at what is left, kill it again at times, and let it come to its end; so often.

    A command that is done before the moment it was to be killed at does not count, and is begun afresh.

    Returns
    -------
    Counter
        What was there after the first kill: "nothing", "the old", "the new", and what was beside it.

    Raises
    ------
    Broken
        If something else was there, or the end is another one than that of a run left alone.
    """
    inputs = set(os.listdir(scenario.folder))
    former = scenario.folder.with_name("former")
    old, _ = _run_alone(scenario, inputs, scenario.former, keep=former)
    new, window = _run_alone(scenario, inputs, scenario.whole)
    if scenario.endless:
        window = _Window(window.last, window.last + ENDLESS_SECONDS)
    outcomes: Counter[str] = Counter()
    for _ in tqdm(range(times), desc=scenario.name, unit="time", disable=None):
        for _ in range(MOST_TRIALS):
            _clear(scenario.folder, inputs)
            if generator.random() < 0.5:
                shutil.copytree(former, scenario.place)
            left, seconds = _kill(scenario, window, generator, (old, new))
            if left is not None:
                break
            # The machine may have been busier when the window was measured.
            window = _Window(window.first * seconds / window.last, seconds)
        else:
            raise Broken(f"{scenario.name} was done {MOST_TRIALS} times before it was to be killed; give it more lines")
        outcomes[left] += 1
        if generator.random() < 0.5:
            _kill(scenario, window, generator, (old, new))
        _run(scenario, scenario.whole)
        _check_end(scenario, inputs, new)
    return outcomes


@dataclass
class _Window:
    """Seconds from the start of a command to shortly before it first touches the disk, and to its end."""

    first: float
    last: float


def _kill(
    scenario: Scenario, window: _Window, generator: random.Random, known: tuple[Signature, Signature]
) -> tuple[str | None, float]:
    """Kill the command at some moment; return what is left, None if it was done before, and how long it ran."""
    before = _look(scenario)
    ended = _run(scenario, scenario.command, generator.uniform(window.first, window.last))
    found = _look(scenario)
    if found not in (before, *known):
        raise Broken(f"{scenario.name}, killed after {ended.seconds:.2f} s: neither the old nor the new is there")
    beside = scenario.look_beside(scenario.folder)
    return f"{_called(found, known[0])}{beside}" if ended.exit_code else None, ended.seconds


def _called(found: Signature | None, old: Signature) -> str:
    return "nothing" if found is None else "the old" if found == old else "the new"


def _run_alone(
    scenario: Scenario, inputs: set[str], command: Sequence[str], keep: Path | None = None
) -> tuple[Signature, _Window]:
    """Run a command to its end where there is nothing but the inputs; return what is there then, and when it worked."""
    _clear(scenario.folder, inputs)
    untouched = scenario.folder.stat().st_mtime_ns
    touched: list[float] = []

    def notice(seconds: float) -> bool:
        if not touched and scenario.folder.stat().st_mtime_ns != untouched:
            touched.append(seconds)
        return False

    ended = _checked(scenario, run_to_end(command, cwd=scenario.folder, kill_when=notice), (0,))
    result = scenario.read(scenario.place)
    if keep is not None:
        shutil.copytree(scenario.place, keep)
    return result, _Window(0.9 * min(touched, default=0.0), ended.seconds)


def _run(scenario: Scenario, command: Sequence[str], kill_after: float | None = None) -> Ended:
    """Run a command; it may fail only if it is killed."""
    if kill_after is None:
        return _checked(scenario, run_to_end(command, cwd=scenario.folder), (0,))
    ended = run_to_end(command, cwd=scenario.folder, kill_when=lambda seconds: seconds >= kill_after)
    return _checked(scenario, ended, (0, -signal.SIGKILL))


def _checked(scenario: Scenario, ended: Ended, codes: Sequence[int]) -> Ended:
    if ended.exit_code not in codes:
        raise Broken(f"{scenario.name} ended with exit code {ended.exit_code}: {ended.output.strip()[-2000:]}")
    return ended


def _look(scenario: Scenario) -> Signature | None:
    """Return what is there, None for nothing; what is there can be opened."""
    if not current_folder(scenario.place).exists():
        return None
    try:
        return scenario.read(scenario.place)
    except InputError as error:
        raise Broken(f"{scenario.name}: what is left cannot be opened: {error}") from error


def _check_end(scenario: Scenario, inputs: set[str], new: Signature) -> None:
    found = scenario.read(scenario.place)
    if found != new:
        differing = sorted(name for name in {*found, *new} if found.get(name) != new.get(name))
        raise Broken(f"{scenario.name}: begun again, {', '.join(differing)} are not those of a run left alone")
    left = set(os.listdir(scenario.folder)) - inputs - {scenario.target}
    if left:
        raise Broken(f"{scenario.name}: begun again and done, {', '.join(sorted(left))} is left over")


def _clear(folder: Path, inputs: set[str]) -> None:
    for name in set(os.listdir(folder)) - inputs:
        shutil.rmtree(folder / name)


def kill_at_steps(folder: Path, every: int = 1) -> None:
    """Kill what replaces a model, a checkpoint and a store before each (or every n-th) step that touches the disk."""
    for arguments in names():
        place = folder / "-".join(arguments)
        place.mkdir()
        command = [sys.executable, "-m", "bench.kills.steps", arguments[0], str(place), *arguments[1:]]
        # Interpreted: a forked process has no threads to run kernels on but its own, and there is little to do.
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
        done = subprocess.run(
            [*command, "--every", str(every)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Broken(f"{' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        print(f"{' '.join(arguments)}: killed before {done.stdout.strip()} steps", flush=True)
