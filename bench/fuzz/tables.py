"""Whether text is read as it says or refused: by `read_interactions`, and by `prepare`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from implicit_wmf import Interactions
from implicit_wmf.errors import InputError
from implicit_wmf.store import Store
from implicit_wmf.store.preparing import prepare
from implicit_wmf.tables import read_interactions

from .children import Case, Check
from .reading import Reading, Refused, read

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def reading(folder: Path) -> Check:
    """Return the check of `read_interactions`."""

    def check(case: Case) -> str:
        path, asked = _write(case, folder), {name: name for name in case["asked"]}
        try:
            data = read_interactions(path, user="user", item="item", **asked)
        except InputError as error:
            return _refused(case, error)
        return _compare(case, data, 1e-12)

    return check


def preparing(folder: Path) -> Check:
    """Return the check of `prepare`; what it refuses is prepared without the wrong lines."""

    def check(case: Case) -> str:
        path, asked = _write(case, folder), {name: name for name in case["asked"]}
        options = {"user": "user", "item": "item", "progress": False, **asked}
        store = folder / "store"
        try:
            prepare([path], store, **options)
        except InputError as error:
            assert os.listdir(folder) == [path.name], f"a refused file left {os.listdir(folder)}"
            return f"{_refused(case, error)}, {_skip(path, store, options)}"
        return _compare(case, Store.open(store).interactions(), 1e-6)

    return check


def _skip(path: Path, store: Path, options: dict[str, Any]) -> str:
    """Check that every line is in the store or among the rejects."""
    try:
        prepared = prepare([path], store, on_error="skip", **options)
    except InputError as error:
        assert str(error).strip(), "a refusal without a word"
        return "skipping too"
    data = Store.open(store).interactions()
    rejects = [] if prepared.rejects is None else pd.read_csv(prepared.rejects, dtype=str)
    assert 0 < len(rejects) == prepared.rejected < prepared.lines, f"{prepared}, but {len(rejects)} rejects"
    if "value" not in options:
        kept = prepared.lines - prepared.rejected
        assert data.matrix.data.sum() == kept, f"{data.matrix.data.sum()} lines are in the store, expected {kept}"
    return "skipped"


def _write(case: Case, folder: Path) -> Path:
    path = folder / f"table{case['suffix']}"
    for left in folder.iterdir():
        left.unlink() if left.is_file() else shutil.rmtree(left)
    path.write_bytes(case["content"].encode("latin-1"))
    return path


def _refused(case: Case, error: InputError) -> str:
    assert str(error).strip(), "a refusal without a word"
    if case["whole"]:
        raise AssertionError(f"a well formed file was refused: {error}") from error
    return "refused"


def _compare(case: Case, data: Interactions, tolerance: float) -> str:
    content = case["content"].encode("latin-1")
    try:
        expected = read(content, case["suffix"], case["asked"])
    except Refused as error:
        raise AssertionError(f"read although it is wrong ({error}): {_shown(data)}") from error
    matrix = data.matrix.tocoo()
    users, items = data.users.tolist(), data.items.tolist()
    pairs = [(users[row], items[column]) for row, column in zip(matrix.row, matrix.col, strict=True)]
    assert set(pairs) == set(expected.sums) and len(pairs) == len(set(pairs)), (
        f"pairs are {pairs}, expected {list(expected.sums)}"
    )
    for pair, value in zip(pairs, matrix.data.tolist(), strict=True):
        error = abs(value - expected.sums[pair])
        assert error <= tolerance * expected.sizes[pair], f"{pair}: {value!r}, expected {expected.sums[pair]!r}"
    _compare_times(pairs, data, expected)
    return "read"


def _compare_times(pairs: list[tuple[Any, Any]], data: Interactions, expected: Reading) -> None:
    if expected.latest is None:
        return
    assert data.timestamps is not None
    for pair, moment in zip(pairs, data.timestamps, strict=True):
        text = str(np.datetime64(moment, "s")) if isinstance(moment, np.datetime64) else str(int(moment))
        assert text == expected.latest[pair], f"{pair}: time {text}, expected {expected.latest[pair]}"


def _shown(data: Interactions) -> str:
    return f"{data!r} of {data.users.tolist()[:5]} and {data.items.tolist()[:5]}: {data.matrix.data[:5]}"
