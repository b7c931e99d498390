"""The protocol with sampled negatives: each held-out positive is ranked among a few items, not the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._ids import refuse_masked
from ..errors import InputError
from .list_checks import Positions, repeated, whole_numbers
from .metrics import Metric, by_rank, parse_metrics
from .summary import summarise

TIES = ("pessimistic", "average", "optimistic")

# Pairs that the model is asked for at a time.
_PAIRS = 1 << 20


class Scorer(Protocol):
    """What can be evaluated on candidates: the library's models, and anything with the same `score`."""

    def score(self, users: Any, items: Any) -> Any:
        """Return the scores of pairs of positions, which broadcast together: (k, 1) users and (k, n) items."""


def evaluate_sampled(
    model: Scorer | Callable[[Positions, Positions], Any],
    users: ArrayLike,
    positives: ArrayLike,
    negatives: Any,
    *,
    metrics: str | Iterable[str] = ("hit@10", "ndcg@10"),
    ties: str = "pessimistic",
    confidence: float = 0.95,
    bootstrap: int = 1000,
    random_state: Any = 0,
) -> pd.DataFrame:
    """Rank each user's held-out item among negatives that were given or drawn.

    The leave-one-out protocol of He et al. 2017, "Neural collaborative filtering", section 4.1, with 99 negatives. Its
    values are comparable only where the same negatives are used, and may order models in another way than the full
    catalogue does (Krichene and Rendle 2020, "On sampled metrics for item recommendation"): prefer `evaluate` where
    nothing published is to be compared with.

    The rank of a positive is 1 + the negatives that score higher + those of equal score that `ties` puts before it. An
    item counts once, however often it stands among the negatives, and never against itself: where the positive is
    listed as a negative too, as for 156 users of the published MovieLens 1M split, that entry is passed over.

    Parameters
    ----------
    model : object with score(users, items), or function
        Its ``score(users, items)`` is asked for positions, int64 (k, 1) and (k, n) that broadcast, and returns numbers
        (k, n); or a function of the same two arguments.
    users : (cases,) array of int
        The row of each case. A user may have several cases, each with its own positive: values are
        means over cases, but cases of one user are alike, so that errors and intervals are made from users.
    positives : (cases,) array of int
        The held-out item, or -1 for a user without, who is left out and counted.
    negatives : (cases, n) array of int, or sequence of sequences
        Rows that are shorter padded with -1; or a sequence of one sequence for each case.
    metrics : str or sequence of str
        Names such as ``"hit@10"``, as in `evaluate`.
    ties : {"pessimistic", "average", "optimistic"}
        Where a positive stands among negatives of equal score. "pessimistic": after all of them, so that a model that
        scores everything alike finds nothing. "optimistic": before all of them, by which such a model would be perfect;
        the published figures of most-popular on MovieLens 1M, HR@10 .4538 and NDCG@10 .2545, are made so. "average":
        the mean of the metric over all orders of the equal ones (McSherry and Najork 2008, "Computing information
        retrieval performance measures efficiently in the presence of tied scores").
    confidence, bootstrap, random_state : as in `evaluate`

    Returns
    -------
    pandas.DataFrame
        As `evaluate` returns: one row a metric; ``value``, the mean over all cases; ``standard_error`` of this mean,
        and its interval, over users, each with all of its cases (where users have one each, those of `evaluate`);
        ``users``, how many there are. ``frame.attrs`` has ``cases``, how many were averaged, and ``without_targets``,
        how many others had no positive.

    Raises
    ------
    InputError
        If the arrays do not fit each other, a case has no negatives, no case has a positive, a metric or a tie rule is
        not known, or scores are of another shape, not numbers, or NaN; names the place.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import MostPopular
    >>> model = MostPopular().fit(np.array([[1, 0, 1, 0], [0, 0, 1, 1]]))
    >>> table = evaluate_sampled(model, [0, 1], [3, 0], [[1], [1]], metrics="hit@1", bootstrap=0)
    >>> table["value"].tolist(), table["users"].tolist()
    ([1.0], [2])
    """
    parsed = parse_metrics(metrics)
    if not isinstance(ties, str) or ties not in TIES:
        raise InputError(f"ties is {ties!r}; choose one of {', '.join(map(repr, TIES))}")
    rows, wanted, table = _check_cases(users, positives, negatives)
    cases = np.flatnonzero(wanted >= 0)
    _check_negatives(rows, wanted, table, cases)
    first, last = _rank_bounds(model, rows[cases], wanted[cases], table[cases])
    first, last = {"pessimistic": (last, last), "average": (first, last), "optimistic": (first, first)}[ties]
    values = _values_at(first, last, parsed)
    counts = {"cases": int(cases.size), "without_targets": int(rows.size - cases.size)}
    draws = {"confidence": confidence, "bootstrap": bootstrap, "random_state": random_state}
    return summarise(values, counts, clusters=rows[cases], **draws)


def _rank_bounds(
    model: Any, users: Positions, positives: Positions, negatives: Positions
) -> tuple[Positions, Positions]:
    """Ranks, from 0, of each positive before and after all negatives of equal score."""
    first, last = np.empty(users.size, np.int64), np.empty(users.size, np.int64)
    step = max(1, _PAIRS // (negatives.shape[1] + 1))
    for start in range(0, users.size, step):
        part = slice(start, start + step)
        others = negatives[part]
        scores = _ask(model, users[part], np.column_stack([positives[part], others]))
        counts = _counting(positives[part], others)
        first[part] = ((scores[:, 1:] > scores[:, :1]) & counts).sum(axis=1)
        last[part] = ((scores[:, 1:] >= scores[:, :1]) & counts).sum(axis=1)
    return first, last


def _ask(model: Any, users: Positions, candidates: Positions) -> NDArray[Any]:
    """Return the model's scores, after checking all that a rank relies on; padding is scored as the positive is."""
    score = getattr(model, "score", model)
    if isinstance(model, type):
        raise InputError(
            f"the model is the class {model.__name__}; give a fitted model, such as {model.__name__}().fit(train)"
        )
    if not callable(score):
        raise InputError(f"model: {type(model).__name__} has no score(users, items) and cannot be called itself")
    real = candidates >= 0
    scores = np.asarray(score(users[:, None], np.where(real, candidates, candidates[:, :1])))
    if scores.shape != candidates.shape:
        raise InputError(f"model: score returned an array of shape {scores.shape}; asked for was {candidates.shape}")
    if scores.dtype.kind not in "iufb":
        raise InputError(f"model: score returned values of dtype {scores.dtype}; they must be real numbers")
    missing = np.argwhere(np.isnan(scores) & real)
    if missing.size:
        row, column = missing[0]
        raise InputError(
            f"model: {len(missing)} scores are NaN, the first of user {users[row]} and item {candidates[row, column]}; "
            "the model's factors may have diverged"
        )
    return scores


def _counting(positives: Positions, negatives: Positions) -> NDArray[np.bool_]:
    """Tell which entries stand for an item that is neither padding, nor the positive, nor listed before."""
    return np.asarray((negatives >= 0) & (negatives != positives[:, None]) & ~repeated(negatives))


def _values_at(first: Positions, last: Positions, metrics: Sequence[Metric]) -> dict[str, NDArray[np.float64]]:
    """Return metrics of a single relevant item, averaged over its possible ranks `first` to `last`, from 0."""
    values = {}
    for metric in metrics:
        # beyond the cut-off nothing is found
        of_rank = np.append(by_rank(metric, min(metric.k, int(last.max()) + 1)), 0.0)
        sums, end = np.append(0.0, np.cumsum(of_rank[:-1])), of_rank.size - 1
        mean = (sums[np.minimum(last + 1, end)] - sums[np.minimum(first, end)]) / (last + 1 - first)
        values[str(metric)] = np.where(first == last, of_rank[np.minimum(first, end)], mean)
    return values


def _check_cases(users: Any, positives: Any, negatives: Any) -> tuple[Positions, Positions, Positions]:
    """Convert the three arrays, and check that they fit."""
    rows, wanted = whole_numbers("users", users, 1, 0), whole_numbers("positives", positives, 1, -1)
    table = whole_numbers("negatives", _padded(negatives), 2, -1)
    for name, array in (("positives", wanted), ("negatives", table)):
        if len(array) != rows.size:
            raise InputError(f"{name} has {len(array)} rows for {rows.size} users; give one for each")
    return rows, wanted, table


def _check_negatives(rows: Positions, wanted: Positions, table: Positions, cases: Positions) -> None:
    """Refuse cases in which there is nothing to rank."""
    if not cases.size:
        raise InputError(f"no user can be evaluated: positives holds no item for any of {rows.size} users, only -1")
    alone = ~((table >= 0) & (table != wanted[:, None])).any(axis=1)
    alone = cases[alone[cases]]
    if alone.size:
        raise InputError(
            f"negatives: {alone.size} users have none but their own positive, the first at position {alone[0]} "
            f"(user {rows[alone[0]]}); give each at least one, or set the positive to -1 to leave the user out"
        )


def _padded(negatives: Any) -> Any:
    """Make a table of rows of several lengths, such as a column of lists; what is a table already stays."""
    refuse_masked(negatives, "negatives")
    try:
        array = np.asarray(negatives)
    except ValueError:  # rows of several lengths
        array = np.empty(0, dtype=object)
    if array.dtype != object or array.ndim != 1:
        return array
    rows = [np.asarray(row) for row in negatives]
    for position, row in enumerate(rows):
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
            raise InputError(
                f"negatives: row {position} is {negatives[position]!r:.80}; give a sequence of item positions"
            )
    table = np.full((len(rows), max((row.size for row in rows), default=0)), -1, np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: row.size] = row
    return table
