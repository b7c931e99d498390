"""Replacing what was saved, killed before every single step that touches the disk: a process of its own for each.

``python -m bench.kills.steps NAME FOLDER`` prints how often it was killed; it fails where something else is left than
what was there before or what replaces it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from implicit_wmf import WMF, Interactions, _folders
from implicit_wmf.checkpoints import checkpoint_epochs
from implicit_wmf.store import Store, write_store

from ..options import positive

TOUCHING = ("open", "os.", "shutil.", "ctypes.")
MOST_STEPS = 10_000


class Replacing(NamedTuple):
    """What is at a path, what replaces it and what is done after that was killed; and how to tell which is there."""

    before: Callable[[Path], Any]
    replace: Callable[[Path], Any]
    again: Callable[[Path], Any]
    read: Callable[[Path], Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.kills.steps", description=__doc__)
    parser.add_argument("name", choices=REPLACINGS)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--without-exchange", action="store_true", help="as where two names cannot be exchanged at once"
    )
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="take only one step of N")
    arguments = parser.parse_args()
    if arguments.without_exchange:
        _folders._EXCHANGES.clear()
    print(die_at_steps(REPLACINGS[arguments.name](), arguments.folder, arguments.every))


def die_at_steps(replacing: Replacing, folder: Path, every: int) -> int:
    """Replace again and again, killed `every` steps later each time, until it is done; return how often it was."""
    old, new, last = (_read_apart(replacing, folder, write) for write in replacing[:3])
    seen = []
    for step in range(1, MOST_STEPS, every):
        target = folder / f"at{step}" / "saved"
        target.parent.mkdir()
        replacing.before(target)
        killed = _in_child(partial(replacing.replace, target), step)
        found = replacing.read(target)
        if found not in (old, new):
            raise SystemExit(f"killed before step {step}, neither the old nor the new is there but {found!r}")
        seen.append(found == new)
        replacing.again(target)
        if os.listdir(target.parent) != ["saved"] or replacing.read(target) != last:
            raise SystemExit(f"killed before step {step} and done again, there are {os.listdir(target.parent)}")
        shutil.rmtree(target.parent)
        if not killed:
            break
    if seen != sorted(seen) or seen[0] or not seen[-1]:
        raise SystemExit(f"what is there does not go from the old to the new once: {seen}")
    return len(seen) - 1


def _read_apart(replacing: Replacing, folder: Path, write: Callable[[Path], Any]) -> Any:
    path = folder / "apart"
    write(path)
    try:
        return replacing.read(path)
    finally:
        shutil.rmtree(path)


def _in_child(action: Callable[[], Any], step: int) -> bool:
    """Do it in a forked process that is killed before a step; return whether it came so far."""
    child = os.fork()
    if child == 0:
        steps = iter(range(1, MOST_STEPS))

        def count(event: str, _: Any) -> None:
            if event.startswith(TOUCHING) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            action()
        except BaseException as error:
            print(f"step {step}: {error!r}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"before step {step} it ended with exit code {code}")
    return code != 0


def _models() -> Replacing:
    old, new = (WMF(2, iterations=1, random_state=seed).fit(_data(), progress=False) for seed in (0, 1))
    return Replacing(old.save, new.save, new.save, lambda path: WMF.load(path).user_factors.tobytes())


def _stores() -> Replacing:
    old, new = _data(), Interactions.from_matrix(_data().matrix * 2)

    def write(path: Path, data: Interactions) -> None:
        write_store(path, data, shards=2)

    return Replacing(
        *(partial(write, data=data) for data in (old, new, new)),
        lambda path: Store.open(path).interactions().matrix.toarray().tobytes(),
    )


def _checkpoints() -> Replacing:
    def fit(path: Path, iterations: int) -> None:
        # One thread: a forked process has none of the others.
        model = WMF(2, iterations=iterations, random_state=0, num_threads=1)
        model.fit(_data(), checkpoint=path, resume=True, progress=False)

    def read(path: Path) -> Any:
        """Return the epoch reached, and what a fit that goes on from there comes to."""
        epochs = checkpoint_epochs(path)
        ended = path.with_name("continued")
        shutil.copytree(_folders.current_folder(path), ended)
        try:
            model = WMF(2, iterations=4, random_state=0, num_threads=1)
            model.fit(_data(), checkpoint=ended, resume=True, progress=False)
        finally:
            shutil.rmtree(ended)
        return epochs, model.user_factors.tobytes()

    return Replacing(*(partial(fit, iterations=epochs) for epochs in (1, 2, 3)), read)


def _data() -> Interactions:
    dense = np.random.default_rng(0).integers(0, 3, size=(12, 9)).astype(np.float32)
    return Interactions.from_matrix(csr_array(dense))


REPLACINGS: dict[str, Callable[[], Replacing]] = {"model": _models, "checkpoint": _checkpoints, "store": _stores}


def names() -> Iterator[list[str]]:
    """Yield the arguments of all that there is to be run."""
    for name in REPLACINGS:
        yield [name]
        yield [name, "--without-exchange"]


if __name__ == "__main__":
    main()
