"""Who is evaluated on what, and every metric's values, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .._asked import check_positions
from ..errors import InputError
from ..interactions import Interactions, as_interactions
from .catalogue import OF_ALL_LISTS, OF_EACH_LIST, Exposure, popularity_ranks
from .hits import Floats
from .list_checks import Positions
from .lists import Recommender, ask
from .metrics import METRICS, Metric, score_distinct
from .ranks import OF_RANKS
from .split import new_pairs

# For each metric a value a user, or one number for a metric of all lists together.
Measured = dict[str, Any]

# Of a batch's lists, which take some 50 bytes each while they are checked.
_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Cases:
    """The users to evaluate, what they have, and what is to be found.

    Attributes
    ----------
    train
        What is known of the users and not to be found again.
    targets
        Cells (users, items) of all users; those of the evaluated ones count.
    users
        Integers (evaluated,): their rows; each has a target and a stored pair in train.
    left_out
        Numbers of the others, by reason.
    """

    train: Interactions
    targets: csr_array
    users: Positions
    left_out: dict[str, int]

    @classmethod
    def find(cls, train: Any, test: Any, users: Any = None) -> Cases:
        """Choose among some rows, by default all, those with targets and history, if there are any."""
        train = as_interactions(train, "train")
        targets = targets_of(train, test)
        rows = np.arange(train.shape[0]) if users is None else _rows(users, train.shape[0])
        has_target, has_history = (np.diff(matrix.indptr)[rows] > 0 for matrix in (targets, train.matrix))
        left_out = {
            "without_targets": int((~has_target).sum()),
            "without_history": int((has_target & ~has_history).sum()),
        }
        return cls(train, targets, rows[has_target & has_history], left_out)

    @classmethod
    def of(cls, train: Any, test: Any, users: Any = None) -> Cases:
        """Find them, and refuse to go on without."""
        cases = cls.find(train, test, users)
        if not cases.users.size:
            without_targets, without_history = (cases.left_out[name] for name in ("without_targets", "without_history"))
            raise InputError(
                f"no user can be evaluated: of {without_targets + without_history} users {without_targets} have no new "
                f"pair of positive value in test and {without_history} others have no pair in train; "
                "split so that users have lines on both sides, as split_last does, and give as train what is known: "
                "without the pairs that a confidence of 0 removed from a model's data, if test asks for those"
            )
        return cases


def measure(
    model: Recommender, cases: Cases, metrics: Sequence[Metric], batch_size: Any, popularity: csr_array | None = None
) -> Measured:
    """Ask a model for the lists of all cases, and measure them; popularity is counted in train, or in a matrix."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise InputError(f"batch_size is {batch_size!r}; give a whole number of users, from 1 on")
    together = [metric for metric in metrics if metric.name in OF_ALL_LISTS]
    exposure = Exposure(cases.train.shape[1], {metric.k for metric in together})
    each = [metric for metric in metrics if metric not in together]
    novel = any(metric.name in OF_EACH_LIST for metric in metrics)
    ranks = popularity_ranks(cases.train.matrix if popularity is None else popularity) if novel else np.empty(0)
    # Longer than the catalogue no list can be.
    longest = min(max(metric.k for metric in metrics), cases.train.shape[1])
    step = min(int(batch_size), max(1, _ENTRIES // max(longest, 1)))
    parts = [
        _measure_batch(model, cases, cases.users[start : start + step], longest, each, ranks, exposure)
        for start in range(0, cases.users.size, step)
    ]
    values: Measured = {str(metric): np.concatenate([part[str(metric)] for part in parts]) for metric in each}
    values |= {str(metric): OF_ALL_LISTS[metric.name](exposure.counts[metric.k]) for metric in together}
    return {str(metric): values[str(metric)] for metric in metrics}


def _measure_batch(
    model: Recommender,
    cases: Cases,
    users: Positions,
    longest: int,
    metrics: Sequence[Metric],
    ranks: Floats,
    exposure: Exposure,
) -> dict[str, Floats]:
    """Measure each of some users, and take their lists into the exposure."""
    targets, seen = cases.targets[users], cases.train.matrix[users]
    values: dict[str, Floats] = {}
    if longest:
        ids, _ = ask(model, users, longest, seen)
        exposure.add(ids)
        of_hits = [metric for metric in metrics if metric.name in METRICS]
        if of_hits:
            values |= score_distinct(ids, targets.indptr, targets.indices, of_hits)
        novelty = [metric for metric in metrics if metric.name in OF_EACH_LIST]
        values |= {str(metric): OF_EACH_LIST[metric.name](ids, ranks, metric.k) for metric in novelty}
    of_ranks = [metric for metric in metrics if metric.name in OF_RANKS]
    return values | {str(metric): OF_RANKS[metric.name](model, users, targets, seen) for metric in of_ranks}


def targets_of(train: Any, test: Any) -> csr_array:
    """Return the CSR matrix of the test pairs that count: new, and of positive value."""
    targets = new_pairs(test, train).matrix.copy()
    targets.data = (targets.data > 0).astype(np.float32)
    targets.eliminate_zeros()
    return targets


def _rows(users: Any, count: int) -> Positions:
    rows = check_positions("users", users, count)
    again = np.flatnonzero(np.bincount(rows, minlength=count) > 1)
    if again.size:
        raise InputError(f"users holds {again[0]} more than once; name each row once")
    return rows
