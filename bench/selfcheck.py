"""Are all contestants given the same problem? One epoch of each is compared with a dense solution of the literal one.

The reference shares no code with the package. Users times items is compared, because ours rotates both factor matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import scipy.sparse

from implicit_wmf import row_plan

from .contestants import SEED, CannotExpressError, Ours, make
from .plan import Objective

FACTORS = 8
# CG for as many steps as factors, and more for rounding, is exact; so is iALS++ while one block holds all factors.
# "ours auto" is missing because it may leave early epochs inexact on purpose.
EXACT = ["ours exact", "ours cg 24"]
EXACT_PEERS = ["irspack exact", "irspack cg 24", "irspack iALS++", "implicit exact", "implicit cg 24"]
OBJECTIVES = [
    Objective(2.5, 0.3),
    Objective(2.5, 0.3, unobserved_weight=0.4),
    Objective(1.0, 0.05, "ials", 0.3, 1.0),
]
TOLERANCE = 1e-3


def selfcheck(peers: bool, threads: int) -> list[dict[str, object]]:
    """Return, for every objective and contestant that can express it, the relative error of an epoch's scores."""
    counts = _counts()
    checks: list[dict[str, object]] = []
    for objective in OBJECTIVES:
        expected = reference_scores(counts.toarray().astype(float), objective, _start(counts, objective))
        for name in EXACT + (EXACT_PEERS if peers else []):
            try:
                with _without_exact_rows() if name.startswith("ours cg") else nullcontext():
                    users, items = make(name, counts, objective, FACTORS, threads).factors(1)
            except CannotExpressError:
                continue
            error = float(np.abs(users @ items.T - expected).max() / np.abs(expected).max())
            verdict = "ok" if error < TOLERANCE else "NOT THE SAME PROBLEM"
            checks.append({"objective": str(objective), "contestant": name, "error": error, "verdict": verdict})
    return checks


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


def _start(counts: scipy.sparse.csr_array, objective: Objective) -> np.ndarray:
    """Item factors that every contestant starts from."""
    return Ours(counts, {**objective.settings(), "factors": FACTORS, "random_state": SEED}).factors(0)[1]


def reference_scores(counts: np.ndarray, objective: Objective, items: np.ndarray) -> np.ndarray:
    """W H' after an exact epoch: users solved against `items`, then items against those users."""
    stored = counts > 0
    weight = objective.alpha * (stored if objective.weighting == "ials" else counts)
    confidence = objective.unobserved_weight + weight
    preference = weight / confidence if objective.weighting == "ials" else stored.astype(float)
    users = _solve(confidence, preference, items.astype(float), objective)
    items = _solve(confidence.T, preference.T, users, objective)
    return np.asarray(users @ items.T)


def _solve(confidence: np.ndarray, preference: np.ndarray, fixed: np.ndarray, objective: Objective) -> np.ndarray:
    rows = []
    for c, p in zip(confidence, preference, strict=True):
        penalty = objective.regularization * c.sum() ** objective.regularization_exponent
        rows.append(np.linalg.solve(fixed.T @ (c[:, None] * fixed) + penalty * np.eye(FACTORS), fixed.T @ (c * p)))
    return np.array(rows)
