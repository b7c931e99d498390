"""Are all contestants given the same problem? They are compared with dense solutions of the literal one.

Those that can be given a start: one epoch from it, users times items, because ours rotates both factor matrices. All:
the literal objective's value where they have converged, against its minimum. The references share no code with the
package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import scipy.sparse

from implicit_wmf import row_plan

from .contestants import SEED, CannotExpressError, Ours, make
from .lab import Job
from .objective import Objective

FACTORS = 8
# CG for as many steps as factors, and more for rounding, is exact; so is iALS++ while one block holds all factors.
# "ours auto" is missing because it may leave early epochs inexact on purpose.
EXACT = ["ours exact", "ours cg 24"]
STARTED_PEERS = ["irspack exact", "irspack cg 24", "irspack iALS++", "implicit exact", "implicit cg 24"]
EXACT_PEERS = [*STARTED_PEERS, "cmfrec exact", "cmfrec cg 24", "spark exact"]
OBJECTIVES = [
    Objective(2.5, 0.3),
    Objective(2.5, 0.3, unobserved_weight=0.4),
    Objective(2.5, 0.3, "ials", 0.4),
    Objective(1.0, 0.05, "ials", 0.3, 1.0),
]
# Strong penalties: with weak ones there are several local minima, and each contestant may end in another.
CONVEX_OBJECTIVES = [
    Objective(2.5, 10.0),
    Objective(2.5, 8.0, unobserved_weight=0.4),
    Objective(2.5, 4.0, "ials", 0.4),
    Objective(1.0, 0.2, "ials", 0.3, 1.0),
]
EPOCHS = 100
TOLERANCE = 1e-3
# Of the objective's value, which is flat at its minimum: 1 % more regularization shows as 1e-5.
VALUE_TOLERANCE = 5e-6

Check = dict[str, object]


def selfcheck(job: Job) -> list[Check]:
    """Return the relative errors of ours and the job's `peers`, for every problem that a contestant can express."""
    names, threads = EXACT + job["peers"], job["threads"]
    checks = []
    for objective in OBJECTIVES:
        checks += _first_epochs([name for name in names if name in EXACT + STARTED_PEERS], objective, threads)
    for objective in CONVEX_OBJECTIVES:
        checks += _minima(names, _counts(), objective, "", threads)
        # Spark's own ground; those that have shown a first epoch of every kind need not show it here
        others = [name for name in names if name not in [*STARTED_PEERS, "ours cg 24"] or name == "implicit exact"]
        checks += _minima(others, _regular_counts(), objective, ", rows and columns of one length", threads)
    return checks


def _first_epochs(names: list[str], objective: Objective, threads: int) -> Iterator[Check]:
    counts = _counts()
    expected = reference_scores(counts.toarray().astype(float), objective, _start(counts, objective))
    for name, (users, items) in _factors(names, counts, objective, 1, threads):
        error = float(np.abs(users @ items.T - expected).max() / np.abs(expected).max())
        yield _check(f"one epoch: {objective}", name, error, TOLERANCE)


def _minima(
    names: list[str], counts: scipy.sparse.csr_array, objective: Objective, kind: str, threads: int
) -> Iterator[Check]:
    dense = counts.toarray().astype(float)
    lowest = reference_value(dense, objective, *reference_minimiser(dense, objective, _start(counts, objective)))
    for name, (users, items) in _factors(names, counts, objective, EPOCHS, threads):
        error = abs(reference_value(dense, objective, users, items) / lowest - 1)
        yield _check(f"minimum: {objective}{kind}", name, error, VALUE_TOLERANCE)


def _factors(
    names: list[str], counts: scipy.sparse.csr_array, objective: Objective, epochs: int, threads: int
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Factors of each contestant that can express the objective."""
    for name in names:
        try:
            with _without_exact_rows() if name.startswith("ours cg") else nullcontext():
                yield name, make(name, counts, objective, FACTORS, threads).factors(epochs)
        except CannotExpressError:
            continue


def _check(objective: str, name: str, error: float, tolerance: float) -> Check:
    # not the other way round: a NaN is no agreement
    verdict = "ok" if error < tolerance else "NOT THE SAME PROBLEM"
    return {"objective": objective, "contestant": name, "error": error, "verdict": verdict}


@contextmanager
def _without_exact_rows() -> Iterator[None]:
    """Have every row of ours solved by steps, where exact ones would take no longer."""
    cost = row_plan.exact_cost
    row_plan.exact_cost = lambda cells, width, dual: np.full(len(cells), 1e8)
    try:
        yield
    finally:
        row_plan.exact_cost = cost


def _counts() -> scipy.sparse.csr_array:
    """Every user and item has cells: for the empty ones, implicit writes zeros and irspack may keep the start."""
    generator = np.random.default_rng(0)
    dense = generator.integers(1, 5, size=(40, 30)) * (generator.random((40, 30)) < 0.3)
    np.fill_diagonal(dense, 2)
    dense[30:, 0] = 1
    return scipy.sparse.csr_array(dense.astype(np.float32))


def _regular_counts() -> scipy.sparse.csr_array:
    """Five cells in every row and column, the only data whose objective Spark can express; values 1 to 4."""
    size = 30
    generator = np.random.default_rng(1)
    rows = np.repeat(np.arange(size), 5)
    columns = (rows + np.tile([0, 1, 3, 7, 12], size)) % size
    order = generator.permutation(size)
    values = generator.integers(1, 5, rows.size).astype(np.float32)
    return scipy.sparse.csr_array((values, (rows, order[columns])), shape=(size, size))


def _start(counts: scipy.sparse.csr_array, objective: Objective) -> np.ndarray:
    """Item factors that every contestant starts from."""
    return Ours(counts, {**objective.settings(), "factors": FACTORS, "random_state": SEED}).factors(0)[1]


def reference_scores(counts: np.ndarray, objective: Objective, items: np.ndarray, epochs: int = 1) -> np.ndarray:
    """W H' after exact epochs: users solved against `items`, then items against those users."""
    users, items = reference_epochs(counts, objective, items, epochs)
    return np.asarray(users @ items.T)


def reference_minimiser(counts: np.ndarray, objective: Objective, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W and H after so many epochs that another thousand change nothing."""
    return reference_epochs(counts, objective, items, 1000)


def reference_epochs(
    counts: np.ndarray, objective: Objective, items: np.ndarray, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Alternate the row systems of the literal objective, in float64."""
    confidence, preference = literal_cells(counts, objective)
    users, items = np.empty(0), items.astype(float)
    for _ in range(epochs):
        users = _solve(confidence, preference, items, objective)
        items = _solve(confidence.T, preference.T, users, objective)
    return users, items


def reference_value(counts: np.ndarray, objective: Objective, users: np.ndarray, items: np.ndarray) -> float:
    """Sum over all cells and both penalties, in float64."""
    confidence, preference = literal_cells(counts, objective)
    users, items = users.astype(float), items.astype(float)
    value = (confidence * (preference - users @ items.T) ** 2).sum()
    value += (_penalties(confidence, objective) * (users**2).sum(axis=1)).sum()
    value += (_penalties(confidence.T, objective) * (items**2).sum(axis=1)).sum()
    return float(value)


def literal_cells(counts: np.ndarray, objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """C and P, dense."""
    stored = counts > 0
    weight = objective.alpha * (stored if objective.weighting == "ials" else counts)
    confidence = objective.unobserved_weight + weight
    preference = weight / confidence if objective.weighting == "ials" else stored.astype(float)
    return confidence, preference


def _penalties(confidence: np.ndarray, objective: Objective) -> np.ndarray:
    return np.asarray(objective.regularization * confidence.sum(axis=1) ** objective.regularization_exponent)


def _solve(confidence: np.ndarray, preference: np.ndarray, fixed: np.ndarray, objective: Objective) -> np.ndarray:
    grams = (confidence[:, :, None] * fixed).transpose(0, 2, 1) @ fixed
    systems = grams + _penalties(confidence, objective)[:, None, None] * np.eye(fixed.shape[1])
    return np.asarray(np.linalg.solve(systems, ((confidence * preference) @ fixed)[:, :, None])[:, :, 0])
