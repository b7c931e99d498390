"""Batch jobs that end early, and what they leave."""

import numpy as np
from scipy import sparse

from implicit_wmf import WMF, Interactions
from implicit_wmf.batch import folder as folder_module


def fitted(users=None, items=None, shape=(50, 23), seed=0):
    generator = np.random.default_rng(seed)
    dense = (generator.random(shape) < np.linspace(0.05, 0.95, shape[0])[:, None]).astype(np.float32)
    data = Interactions.from_matrix(sparse.csr_array(dense), users=users, items=items)
    return WMF(3, iterations=2, random_state=seed).fit(data)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def interrupt_after(monkeypatch, parts, error=KeyboardInterrupt):
    """Let the next job end when it has written some parts."""
    add = folder_module.PartFolder.add
    left = iter(range(parts))

    def add_some(self, *arguments):
        if next(left, None) is None:
            monkeypatch.setattr(folder_module.PartFolder, "add", add)
            raise error
        add(self, *arguments)

    monkeypatch.setattr(folder_module.PartFolder, "add", add_some)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
