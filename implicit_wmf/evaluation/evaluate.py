"""Rank metrics of recommenders on held-out interactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError
from ..interactions import Interactions
from .metrics import hit_matrix, parse_metrics, score_lists
from .split import new_pairs


class Recommender(Protocol):
    """What can be evaluated: the library's models, and anything with the same `recommend`."""

    def recommend(self, users: Any, N: int = 10, filter_already_liked_items: bool = True) -> tuple[Any, Any]:
        """Return ids and scores (users, N) for 1-D row indices, best first; lists that run short end in -1 and NaN."""


def evaluate(
    model: Recommender,
    train: Interactions,
    test: Interactions,
    *,
    metrics: str | Iterable[str] = ("recall@10", "ndcg@10"),
    batch_size: int = 4096,
) -> pd.DataFrame:
    """Measure how well a fitted model finds the new items that users take after training.

    Every item of the catalogue that the user does not have in train is ranked, none are sampled. A user's targets are
    the test pairs with a positive value that train does not store. Evaluated are the users with a target and at least
    one stored pair in train.

    Parameters
    ----------
    model
        Fitted on train; its `recommend` is called with row indices of train.
    train, test
        Interactions of one shape with the same ids, such as `split_by_time` returns.
    metrics
        Names such as ``"recall@10"``; `implicit_wmf.evaluation.METRICS` lists and defines them.
    batch_size
        How many users the model is asked for at once.

    Returns
    -------
    pandas.DataFrame
        One row a metric: ``metric``; ``value``, the mean over the evaluated users; ``standard_error`` of that mean
        (sample standard deviation / square root of users; NaN for a single user); ``users``, how many were evaluated.
        ``frame.attrs`` counts who was left out: ``without_targets``, and ``without_history``, those who have
        targets but no stored pair in train. With the evaluated users they make up all rows.

    Raises
    ------
    InputError
        If train and test differ in shape or ids, no user can be evaluated, a metric is not known, or the model returns
        lists that are not what it was asked for: another shape, ids outside the catalogue, pairs that train stores, an
        item twice, an id after the end of a list, an id with a NaN score.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import MostPopular
    >>> train = Interactions.from_triples(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), shape=(3, 3))
    >>> test = Interactions.from_triples(np.array([0, 2]), np.array([1, 1]), shape=(3, 3))
    >>> table = evaluate(MostPopular().fit(train), train, test, metrics=["hit@1", "mrr@2"])
    >>> table["value"].tolist(), table.attrs
    ([0.5, 0.75], {'without_targets': 1, 'without_history': 0})
    """
    parsed = parse_metrics(metrics)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise InputError(f"batch_size is {batch_size!r}; give a whole number of users, from 1 on")
    targets = _targets(train, test)
    users, left_out = _evaluated_users(train, targets)
    names = [str(metric) for metric in parsed]
    longest = max(metric.k for metric in parsed)
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for start in range(0, users.size, batch_size):
        batch = users[start : start + batch_size]
        ids = _ask(model, batch, longest, train)
        wanted = targets[batch]
        for name, scores in score_lists(ids, wanted.indptr, wanted.indices, names).items():
            values[name].append(scores)
    table = pd.DataFrame([_summary(name, np.concatenate(values[name])) for name in names])
    table.attrs = left_out
    return table


def compare(
    models: Mapping[str, Recommender],
    train: Interactions,
    test: Interactions,
    *,
    metrics: str | Iterable[str] = ("recall@10", "ndcg@10"),
    batch_size: int = 4096,
) -> pd.DataFrame:
    """Evaluate several fitted models on the same users.

    Parameters
    ----------
    models
        Fitted models by the name to show.
    train, test, metrics, batch_size
        As in `evaluate`.

    Returns
    -------
    pandas.DataFrame
        The rows of `evaluate` for each model in turn, under a leading column ``model``, with the same ``attrs``.

    Raises
    ------
    InputError
        As in `evaluate`, and if there are no models; what a model returned wrongly is reported under its name.
    """
    if not models:
        raise InputError("models is empty; give at least one, as {'name': model}")
    names = [str(metric) for metric in parse_metrics(metrics)]
    tables = []
    for name, model in models.items():
        try:
            table = evaluate(model, train, test, metrics=names, batch_size=batch_size)
        except _BadLists as error:
            raise InputError(f"model {name!r}: {error}") from error
        table.insert(0, "model", name)
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True)
    joined.attrs = dict(tables[0].attrs)
    return joined


class _BadLists(InputError):
    """A model's `recommend` returned what it must not."""


def _targets(train: Interactions, test: Interactions) -> Any:
    """Return the CSR matrix of the test pairs that count: new, and of positive value."""
    targets = new_pairs(test, train).matrix.copy()
    targets.data = (targets.data > 0).astype(np.float32)
    targets.eliminate_zeros()
    return targets


def _evaluated_users(train: Interactions, targets: Any) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Choose the users with targets and history, and count the others."""
    has_target = np.diff(targets.indptr) > 0
    has_history = np.diff(train.matrix.indptr) > 0
    left_out = {
        "without_targets": int((~has_target).sum()),
        "without_history": int((has_target & ~has_history).sum()),
    }
    users = np.flatnonzero(has_target & has_history)
    if not users.size:
        raise InputError(
            f"no user can be evaluated: of {has_target.size} users {left_out['without_targets']} have no new pair of "
            f"positive value in test and {left_out['without_history']} others have no pair in train; "
            "split so that users have lines on both sides, as split_last does"
        )
    return users, left_out


def _ask(model: Recommender, users: NDArray[np.int64], N: int, train: Interactions) -> NDArray[np.int64]:
    """Return the model's lists for users, after checking all that a metric relies on."""
    answer = model.recommend(users, N=N, filter_already_liked_items=True)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise _BadLists(f"recommend returned {type(answer).__name__}; it must return the two arrays (ids, scores)")
    ids, scores = (np.asarray(part) for part in answer)
    for name, part, kind in (("ids", ids, np.integer), ("scores", scores, np.number)):
        if part.shape != (users.size, N):
            raise _BadLists(f"recommend returned {name} of shape {part.shape}; asked for were {(users.size, N)}")
        if not np.issubdtype(part.dtype, kind):
            raise _BadLists(f"recommend returned {name} of dtype {part.dtype}; they must be {kind.__name__} values")
    ids = ids.astype(np.int64)
    history = train.matrix[users]
    faults = {
        f"is outside the catalogue of {train.shape[1]} items": (ids < -1) | (ids >= train.shape[1]),
        "has a NaN score: the model's factors may have diverged": np.isnan(scores) & (ids >= 0),
        "stands after an id -1, which marks the end of a list": np.logical_or.accumulate(ids < 0, axis=1) & (ids >= 0),
        "is in the same list a second time": _repeated(ids),
        "is stored in train; was the model fitted on this train?": hit_matrix(ids, history.indptr, history.indices),
    }
    for fault, where in faults.items():
        if where.any():
            row, rank = np.argwhere(where)[0]
            raise _BadLists(
                f"recommend returned {int(where.sum())} unusable ids for a batch of {users.size} users; the first, "
                f"item {ids[row, rank]} at rank {rank + 1} of user {users[row]}, {fault}"
            )
    return ids


def _repeated(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each id whether it stands earlier in the same list."""
    by_id = np.argsort(ids, axis=1, kind="stable")
    in_order = np.take_along_axis(ids, by_id, axis=1)
    same = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)
    repeated = np.zeros(ids.shape, dtype=bool)
    np.put_along_axis(repeated, by_id[:, 1:], same, axis=1)
    return repeated


def _summary(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """Make one row of the result out of one metric's values per user."""
    count = values.size
    error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return {"metric": name, "value": float(values.mean()), "standard_error": error, "users": count}
