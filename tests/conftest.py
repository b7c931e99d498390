import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csr_array

from implicit_wmf import WMF, Interactions, row_plan

pytest.register_assert_rewrite(*(path.stem for path in Path(__file__).parent.glob("*.py")))
pytest_plugins = ["fixed_lists", "real_implicit", "searches"]  # fixtures that several files share

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
FIT = ("--user", "who", "--item", "what", "--value", "n")  # the columns of purchases.csv


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


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command in a temporary folder; gives back exit code, standard output and standard error."""
    from implicit_wmf.cli import main  # which most tests need not load

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["implicit-wmf", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run_command


@pytest.fixture
def purchases(tmp_path):
    generator = np.random.default_rng(0)
    taste = np.arange(40) % 2
    lines = [
        (f"u{user:02}", f"{item:03}", int(generator.integers(1, 5)), day)
        for user in range(40)
        for day, item in enumerate(generator.permutation(np.arange(taste[user], 30, 2))[:10])
    ]
    frame = pd.DataFrame(lines, columns=["who", "what", "n", "day"])
    frame.to_csv(tmp_path / "purchases.csv", index=False)
    return frame
