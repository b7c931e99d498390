"""Metrics of recommenders on held-out interactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError, NotFittedError
from .catalogue import OF_ALL_LISTS
from .lists import Recommender, WrongModelError, check_fitted_on, check_model
from .measuring import Cases, Measured, measure
from .metrics import Metric, parse_metrics
from .summary import check_draws, summarise


def evaluate(
    model: Recommender,
    train: Any,
    test: Any,
    *,
    metrics: str | Iterable[str] = ("recall@10", "ndcg@10"),
    batch_size: int = 4096,
    users: Any = None,
    confidence: float = 0.95,
    bootstrap: int = 1000,
    random_state: Any = 0,
) -> pd.DataFrame:
    """Measure how well a fitted model finds the new items that users take after training.

    Every item of the catalogue that the user does not have in train is ranked, none are sampled. A user's targets are
    the test pairs with a positive value that train does not store. Evaluated are the users with a target and at least
    one stored pair in train.

    Parameters
    ----------
    model : object with recommend(users, N, filter_already_liked_items)
        Fitted on train; its `recommend` is called with row indices of train. Where it has `interactions`, as the
        library's models do, their users and items are compared with those of train.
    train, test : Interactions, or matrices of shape (users, items)
        Of one shape, with the same ids where both have any, such as `split_by_time` returns. Train is what is known of
        the users and not to be recommended. That is what the model was fitted on, but for cells that were removed from
        it, by a confidence of 0, or by a stored 0 under raw weighting: the model may recommend those, and to ask it for
        them, give train without them, and them as test.
    metrics : str or sequence of str
        Any of

        * of each user's list, defined in `implicit_wmf.evaluation.METRICS`: ``recall@k`` (divided by all relevant
          items), ``capped_recall@k`` (divided by k or the relevant items, whichever are fewer), ``precision@k``,
          ``ndcg@k``, ``map@k``, ``mrr@k``, ``hit@k``;
        * ``auc``: the share of pairs of a target and another candidate in the right order, in the whole catalogue;
        * ``popularity_rank@k``: mean rank by popularity in train of what is recommended, 1 = the most popular item;
        * of the lists of all evaluated users together: ``coverage@k``, the share of the catalogue that appears, and
          ``gini@k``, how unevenly, from 0 (all items equally often) to 1.
    batch_size : int
        How many users the model is asked for at once, at most: fewer where lists are very long. Changes no figure.
    users : (any,) array of int, optional
        Rows to evaluate, each once; by default all.
    confidence : float
        Of the intervals, between 0 and 1.
    bootstrap : int
        How many times users are drawn anew for the intervals; 0 leaves them out.
    random_state : int, numpy.random.Generator or None
        Seed of the draws, or a NumPy Generator; None for another one each time.

    Returns
    -------
    pandas.DataFrame
        One row a metric: ``metric``; ``value``, the mean over the evaluated users; ``standard_error`` of that mean
        (sample standard deviation / square root of users; NaN for a single user); ``low`` and ``high``, its bootstrap
        percentile interval over users, drawn with replacement (Efron and Tibshirani 1993, "An introduction to the
        bootstrap", section 13.3); ``users``, how many were averaged: fewer than all where an empty list has no
        popularity rank, or all candidates are targets. Metrics of all lists together have NaN for error and interval.
        ``frame.attrs`` counts who was left out: ``without_targets``, and ``without_history``, those who have targets
        but no stored pair in train. With the evaluated users they make up all rows.

    Raises
    ------
    InputError
        If train and test differ in shape or ids from each other or from what the model was fitted on, the model has no
        `recommend`, no user can be evaluated, a metric is not known, another argument
        cannot be used, or the model returns lists that are not what it was asked for: another shape, ids outside the
        catalogue, pairs that train stores, an item twice, an id after the end of a list, an id with a NaN score.
    NotFittedError
        If the model tells that it has not been fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import Interactions, MostPopular
    >>> train = Interactions.from_triples(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), shape=(3, 3))
    >>> test = Interactions.from_triples(np.array([0, 2]), np.array([1, 1]), shape=(3, 3))
    >>> table = evaluate(MostPopular().fit(train), train, test, metrics=["hit@1", "mrr@2", "coverage@1"])
    >>> table["value"].round(3).tolist(), table.attrs
    ([0.5, 0.75, 0.667], {'without_targets': 1, 'without_history': 0})
    """
    parsed = parse_metrics(metrics, of_hits=False)
    draws = check_draws(confidence, bootstrap, random_state)
    cases = Cases.of(train, test, users)
    return summarise(_measure(model, cases, parsed, batch_size), cases.left_out, users=cases.users.size, **draws)


def evaluate_users(
    model: Recommender,
    train: Any,
    test: Any,
    *,
    metrics: str | Iterable[str] = ("recall@10", "ndcg@10"),
    batch_size: int = 4096,
    users: Any = None,
) -> pd.DataFrame:
    """Measure what `evaluate` averages, user by user.

    Parameters
    ----------
    model, train, test, metrics, batch_size, users : as in `evaluate`, but for metrics of all lists together

    Returns
    -------
    pandas.DataFrame
        One row an evaluated user, in the order of the rows or of `users`: ``user``, the raw id, and a float64 column a
        metric, NaN where it is not defined. ``frame.attrs`` counts who was left out, as in `evaluate`.

    Raises
    ------
    InputError
        As in `evaluate`, and for ``coverage@k`` and ``gini@k``, which no single user has.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import Interactions, MostPopular
    >>> train = Interactions.from_triples(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), users=["ann", "bob", "cy"])
    >>> test = Interactions.from_triples(np.array([0, 2]), np.array([1, 1]), shape=(3, 3), users=["ann", "bob", "cy"])
    >>> evaluate_users(MostPopular().fit(train), train, test, metrics="mrr@2").to_dict("list")
    {'user': ['ann', 'cy'], 'mrr@2': [1.0, 0.5]}
    """
    parsed = parse_metrics(metrics, of_hits=False)
    for metric in parsed:
        if metric.name in OF_ALL_LISTS:
            raise InputError(f"metrics: {metric} is of all users' lists together; `evaluate` measures it")
    cases = Cases.of(train, test, users)
    measured = _measure(model, cases, parsed, batch_size)
    frame = pd.DataFrame({"user": cases.train.users.take(cases.users), **measured})
    frame.attrs = dict(cases.left_out)
    return frame


def compare(
    models: Mapping[str, Recommender],
    train: Any,
    test: Any,
    *,
    metrics: str | Iterable[str] = ("recall@10", "ndcg@10"),
    batch_size: int = 4096,
    users: Any = None,
    confidence: float = 0.95,
    bootstrap: int = 1000,
    random_state: Any = 0,
) -> pd.DataFrame:
    """Evaluate several fitted models on the same users.

    Parameters
    ----------
    models : dict of str to object
        Fitted models by the name to show. The others are compared with the first.
    train, test, metrics, batch_size, users, confidence, bootstrap, random_state : as in `evaluate`

    Returns
    -------
    pandas.DataFrame
        The rows of `evaluate` for each model in turn, under a leading column ``model``, with the same ``attrs``, and
        three more columns: ``difference``, the model's value less the first model's, over the users that both have a
        value for; ``difference_low`` and ``difference_high``, its bootstrap interval, users drawn in pairs. An interval
        without 0 tells the two apart, which intervals of their own may fail to do. NaN for the first model.

    Raises
    ------
    InputError
        As in `evaluate`, and if there are no models; what a model returned wrongly is reported under its name.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import Interactions, MostPopular
    >>> train = Interactions.from_triples(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), shape=(3, 3))
    >>> test = Interactions.from_triples(np.array([0, 2]), np.array([1, 1]), shape=(3, 3))
    >>> models = {"popular": MostPopular().fit(train), "popular again": MostPopular().fit(train)}
    >>> table = compare(models, train, test, metrics="mrr@2")
    >>> table["value"].tolist(), table["difference"].tolist()
    ([0.75, 0.75], [nan, 0.0])
    """
    if not isinstance(models, Mapping):
        raise InputError(f"models is of {type(models).__name__}; give the models by name, as {{'name': model}}")
    if not models:
        raise InputError("models is empty; give at least one, as {'name': model}")
    parsed = parse_metrics(metrics, of_hits=False)
    draws = check_draws(confidence, bootstrap, random_state)
    cases = Cases.of(train, test, users)
    first: Measured | None = None
    tables = []
    for name, model in models.items():
        try:
            measured = _measure(model, cases, parsed, batch_size)
        except NotFittedError as error:
            raise NotFittedError(f"model {name!r}: {error}") from error
        except WrongModelError as error:
            raise InputError(f"model {name!r}: {error}") from error
        table = summarise(measured, cases.left_out, users=cases.users.size, **draws)
        table.insert(0, "model", name)
        tables.append(table.join(_differences(measured, first, draws)))
        first = first or measured
    joined = pd.concat(tables, ignore_index=True)
    joined.attrs = dict(cases.left_out)
    return joined


def _measure(model: Recommender, cases: Cases, metrics: Sequence[Metric], batch_size: Any) -> Measured:
    """Measure a model that was fitted on these users and items."""
    check_model(model, "recommend")
    check_fitted_on(model, cases.train, "train", ("users", "items"))
    return measure(model, cases, metrics, batch_size)


def _differences(measured: Measured, first: Measured | None, draws: Mapping[str, Any]) -> pd.DataFrame:
    """Average the differences to the first model's values, user by user."""
    columns = {"value": "difference", "low": "difference_low", "high": "difference_high"}
    if first is None:
        return pd.DataFrame(np.nan, index=range(len(measured)), columns=list(columns.values()))
    gaps = summarise({name: value - first[name] for name, value in measured.items()}, **draws)
    return gaps[list(columns)].rename(columns=columns)
