"""Batch jobs that end early, and what they leave."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from implicit_wmf import WMF, Interactions
from implicit_wmf.batch import folder as folder_module

pytest.importorskip("pyarrow")  # of the last of these ids, and of all that jobs write

IDS = {
    "positions": None,
    "int": np.arange(7, 57)[::-1] * 10**15,
    "unsigned": np.arange(50, dtype=np.uint64) + 2**63,
    "float": np.arange(50) / 4 - 1,
    "text": [f"ü{i}'\n\"" for i in range(50)],
    "times": pd.date_range("2020-01-01", periods=50, freq="h"),
    "zoned": pd.date_range("2020-01-01", periods=50, freq="h", tz="Europe/Paris"),
    "dates": [date(2020, 1, 1 + i % 28) if i < 28 else date(2021, 1, 1 + i % 28) for i in range(50)],
    "bytes": [f"{i}".encode() for i in range(50)],
    "tuples": [(i, i + 1) for i in range(50)],
    "months": pd.period_range("2020-01", periods=50, freq="M"),
    "arrow": pd.array([f"{i:03}" for i in range(50)], dtype="string[pyarrow]"),
}


def fitted(users=None, items=None, shape=(50, 23), seed=0):
    generator = np.random.default_rng(seed)
    dense = (generator.random(shape) < np.linspace(0.05, 0.95, shape[0])[:, None]).astype(np.float32)
    data = Interactions.from_matrix(sparse.csr_array(dense), users=users, items=items)
    return WMF(3, iterations=2, random_state=seed).fit(data)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def interrupt_after(monkeypatch, parts):
    """Let the next job end when it has written some parts."""
    add = folder_module.PartFolder.add
    left = iter(range(parts))

    def add_some(self, *arguments):
        if next(left, None) is None:
            monkeypatch.setattr(folder_module.PartFolder, "add", add)
            raise KeyboardInterrupt
        add(self, *arguments)

    monkeypatch.setattr(folder_module.PartFolder, "add", add_some)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
