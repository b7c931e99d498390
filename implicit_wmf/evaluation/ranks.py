"""AUC, from the rank of every target in the whole catalogue."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .. import kernels
from .._csr import kernel_cells, rows_of_cells
from ..errors import InputError
from .hits import run_in_blocks
from .list_checks import Positions
from .lists import Recommender, WrongModelError, ask

Counts = NDArray[np.int64]

_DENSE = 1 << 22  # scores at a time of models that are asked for whole lists


@runtime_checkable
class RankCounter(Protocol):
    """What ranks targets without making lists."""

    def rank_counts(self, users: Any, targets: Any, seen: Any = None) -> tuple[Counts, Counts]:
        """Count the candidates that score higher than each target, and the others that score the same."""


def auc(model: Recommender, users: Positions, targets: csr_array, seen: csr_array) -> NDArray[np.float64]:
    """Share of the pairs of a target and another candidate that the model's scores put in the right order, ties half.

    Candidates are the items that the user does not have in train. It is the area under the user's ROC curve (Hanley and
    McNeil 1982, "The meaning and use of the area under a receiver operating characteristic curve"), averaged over users
    as by Rendle et al. 2009, "BPR: Bayesian personalized ranking from implicit feedback", section 4.1.1. Items that a
    model does not list, though asked for as many as there are, are tied below all that it lists. Models without
    `rank_counts` are asked for lists of all items. No cell is in both targets and seen, which have a row a user,
    and each user has a target. NaN for a user whose candidates are all targets.
    """
    if isinstance(model, RankCounter):
        higher, equal = _asked_counts(model, users, targets, seen)
    else:
        higher, equal = _counts_of_lists(model, users, targets, seen)
    relevant = np.diff(targets.indptr).astype(np.int64)
    others = targets.shape[1] - np.diff(seen.indptr) - relevant
    pairs = relevant * others
    # of two targets one is above the other, or both are half above: those pairs do not count
    wrong = np.add.reduceat(higher + equal / 2, targets.indptr[:-1]) - relevant * (relevant - 1) / 2
    return np.where(pairs > 0, (pairs - wrong) / np.maximum(pairs, 1), np.nan)


OF_RANKS = {"auc": auc}  # by the names that `evaluate` takes, without a cut-off


def _asked_counts(model: RankCounter, users: Positions, targets: csr_array, seen: csr_array) -> tuple[Counts, Counts]:
    try:
        return model.rank_counts(users, targets, seen)
    except InputError as error:
        raise WrongModelError(f"rank_counts: {error}") from error


def _counts_of_lists(
    model: Recommender, users: Positions, targets: csr_array, seen: csr_array
) -> tuple[Counts, Counts]:
    """Count from lists of all items, a few users at a time."""
    length = max(1, _DENSE // targets.shape[1])
    parts = [
        _counts_of_batch(model, users[batch], targets[batch], seen[batch])
        for batch in (slice(start, start + length) for start in range(0, users.size, length))
    ]
    higher, equal = (np.concatenate(counts) for counts in zip(*parts, strict=True))
    return higher, equal


def _counts_of_batch(
    model: Recommender, users: Positions, targets: csr_array, seen: csr_array
) -> tuple[Counts, Counts]:
    ids, scores = ask(model, users, targets.shape[1], seen)
    rows = np.full(ids.shape, -np.inf)
    listed = np.nonzero(ids >= 0)
    rows[listed[0], ids[listed]] = scores[listed]
    rows[rows_of_cells(seen.indptr), seen.indices] = np.nan
    wanted, higher, equal = kernel_cells(targets), np.zeros(targets.nnz, np.int64), np.zeros(targets.nnz, np.int64)
    run_in_blocks(lambda start, stop: kernels.ranks.rank_in_rows(start, stop, rows, wanted, higher, equal), users.size)
    return higher, equal - 1
