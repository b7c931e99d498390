import os

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csr_array

from implicit_wmf import WMF, Interactions, row_plan

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


def to_sparse(dense):
    """The stored cells of a dense array that has NaN where nothing is stored; zeros are stored."""
    rows, columns = np.nonzero(~np.isnan(dense))
    return csr_array(coo_array((dense[rows, columns], (rows, columns)), shape=dense.shape))


def awkward_counts(users=30, items=80, seed=0):
    """Counts with an empty row and column, a full row, rows of every length, known negatives, zeros and fractions."""
    generator = np.random.default_rng(seed)
    dense = np.full((users, items), np.nan)
    stored = generator.random(dense.shape) < np.linspace(0.01, 0.95, users)[:, None]
    dense[stored] = 0.7 * generator.integers(-1, 4, size=stored.sum())
    if users > 4 and items > 4:
        dense[-1] = 0.7 * generator.integers(1, 4, size=items)
        dense[3] = np.nan
        dense[:, 4] = np.nan
    return dense


@pytest.fixture
def by_steps(monkeypatch):
    """Let no row be solved exactly because that is cheaper, in data as small as those of tests."""
    monkeypatch.setattr(row_plan, "exact_cost", lambda cells, width, dual: np.full(len(cells), 1e8))


@pytest.fixture
def counts():
    return to_sparse(awkward_counts())


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "who": ["eva", "ann", "eva", "bob", "ann", "cy"],
            "what": ["tea", "tea", "jam", "jam", "rye", "tea"],
            "n": [2, 1, 4, 1, 1, 3],
        }
    )


@pytest.fixture
def model(frame):
    data = Interactions.from_frame(frame, user="who", item="what", value="n")
    return WMF(2, iterations=3, random_state=0).fit(data)
