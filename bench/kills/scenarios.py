"""Work that may be killed at any moment: what it is given, what may be left of it, and what it ends as."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from implicit_wmf import WMF, Interactions
from implicit_wmf._folders import current_folder
from implicit_wmf.checkpoints import checkpoint_epochs
from implicit_wmf.store import Store, write_store

from . import saver
from .saver import SEEDS

Signature = dict[str, Any]


class Broken(Exception):
    """Something else is left than what was there before or what was to be."""


@dataclass
class Scenario:
    """A command that puts something at `folder / target`, over what was made of other data before, or over nothing.

    Attributes
    ----------
    name : str
    folder : pathlib.Path
        Where it runs; holds the inputs and the results alone.
    command, former, whole : list of str
        The command that is killed, the one that makes what was there before, and the one that makes what is to be there
        in the end.
    target : str
        What it makes.
    read : callable
        Opens what is at a path, and tells what it is by what is in it.
    look_beside : callable
        Checks what else there is in the folder after a kill, and says so.
    endless : bool
        Whether the command ends only when it is killed.
    """

    name: str
    folder: Path
    command: list[str]
    former: list[str]
    whole: list[str]
    target: str
    read: Callable[[Path], Signature]
    look_beside: Callable[[Path], str] = lambda folder: ""
    endless: bool = False

    @property
    def place(self) -> Path:
        """Where the result is to be."""
        return self.folder / self.target


def _cli(*words: Any) -> list[str]:
    return [sys.executable, "-m", "implicit_wmf", *map(str, words)]


COLUMNS = ("--user", "user", "--item", "item", "--value", "value")


def preparing(folder: Path, lines: int) -> Scenario:
    """Make a store of a table of text and one of Parquet."""
    _write_lines(folder / "now", lines)
    _write_lines(folder / "before", max(2, lines // 10))
    common = ("-o", "store", *COLUMNS, "--shards", 3, "--quiet")
    command = _cli("prepare", "now", *common)
    return Scenario("prepare", folder, command, _cli("prepare", "before", *common), command, "store", read_store)


def fitting(folder: Path, lines: int) -> Scenario:
    """Fit a table in memory, with checkpoints."""
    _write_lines(folder / "now", lines)
    return _fit("fit", folder, "now/lines.csv", COLUMNS)


def fitting_store(folder: Path, lines: int) -> Scenario:
    """Fit a store, with checkpoints."""
    table = _lines(lines)
    write_store(folder / "store", Interactions.from_frame(table, user="user", item="item", value="value"), shards=4)
    return _fit("fit of a store", folder, "store", ())


def _fit(name: str, folder: Path, source: str, columns: tuple[str, ...]) -> Scenario:
    common = (*columns, "--random-state", 0, "--quiet")
    command = _cli(
        "fit", source, "-o", "model", "--factors", 8, "--iterations", 30, "--checkpoint", "state", "--resume", *common
    )
    former = _cli("fit", source, "-o", "model", "--factors", 3, "--iterations", 1, *common)

    def look(folder: Path) -> str:
        if not current_folder(folder / "state").exists():
            return ""
        epochs = checkpoint_epochs(folder / "state")
        if epochs is None:
            raise Broken(f"{name}: the checkpoint that is left cannot be read")
        return " beside a checkpoint"

    return Scenario(name, folder, command, former, command, "model", read_model, look)


def saving(folder: Path, lines: int) -> Scenario:
    """Save two models in turns over one another, until killed."""
    _write_lines(folder / "now", lines)
    former, whole = (
        _cli("fit", "now/lines.csv", *COLUMNS, "--iterations", 1, "--quiet", "-o", "model", "--random-state", seed)
        for seed in SEEDS
    )
    command = [sys.executable, saver.__file__, "model", "now/lines.csv"]
    return Scenario("save", folder, command, former, whole, "model", read_model, endless=True)


SCENARIOS: dict[str, Callable[[Path, int], Scenario]] = {
    "prepare": preparing,
    "fit": fitting,
    "fit-store": fitting_store,
    "save": saving,
}


def read_store(path: Path) -> Signature:
    """Open a store and verify it; all its bytes but facts such as the time it took."""
    store = Store.open(path)
    store.verify()
    store.interactions()
    return _contents(store.path, "manifest.json", ("source", "crc32"))


def read_model(path: Path) -> Signature:
    """Load a model, whose checksums are verified; all its bytes but the seconds in its history."""
    model = WMF.load(path)
    losses = [record.loss for record in model.history]
    return _contents(path, "model.json", ("history", "crc32")) | {"losses": losses}


def _contents(folder: Path, manifest: str, apart: tuple[str, ...]) -> Signature:
    contents: Signature = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != manifest
    }
    facts = json.loads((folder / manifest).read_text(encoding="utf-8"))
    return contents | {name: fact for name, fact in facts.items() if name not in apart}


def _write_lines(folder: Path, lines: int) -> None:
    """Write half of the lines as text and half as Parquet."""
    folder.mkdir()
    table = _lines(lines)
    half = lines // 2
    table[:half].to_csv(folder / "lines.csv", index=False)
    table[half:].to_parquet(folder / "lines.parquet", index=False)


def _lines(lines: int) -> pd.DataFrame:
    generator = np.random.default_rng(lines)
    users, items = max(2, lines // 20), max(2, lines // 200)
    return pd.DataFrame(
        {
            "user": generator.integers(users, size=lines) * 7 + 3,
            "item": np.minimum(generator.zipf(1.3, size=lines), items) * 11,
            "value": generator.integers(1, 5, size=lines),
        }
    )
