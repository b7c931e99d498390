"""Strong generalization: users whom the model has never seen are folded in and evaluated on what was kept back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import pandas as pd
from scipy.sparse import csr_array

from .._ids import same_ids
from ..errors import InputError
from ..interactions import Interactions, as_interactions
from .catalogue import OF_EACH_LIST
from .lists import check_fitted_on, check_model
from .measuring import Cases, measure
from .metrics import parse_metrics
from .summary import check_draws, summarise


class FoldingRecommender(Protocol):
    """What can be evaluated on new users: the library's models that fold in, and anything with the same `recommend`."""

    def recommend(self, *, user_items: Any, N: int = 10, filter_already_liked_items: bool = True) -> tuple[Any, Any]:
        """Return ids and scores (users, N) for the rows of `user_items`, as `evaluate` asks for rows of train."""


def evaluate_folded(
    model: FoldingRecommender,
    fold_in: Any,
    targets: Any,
    *,
    train: Any = None,
    metrics: str | Iterable[str] = ("capped_recall@20", "ndcg@100"),
    batch_size: int = 4096,
    confidence: float = 0.95,
    bootstrap: int = 1000,
    random_state: Any = 0,
) -> pd.DataFrame:
    """Measure how well a model serves users who were not in training, from a part of what they have.

    The strong generalization of Marlin 2004, "Collaborative filtering: a machine learning perspective", as Liang et al.
    2018, "Variational autoencoders for collaborative filtering", use it: the model is fitted without these
    users, gets the fold-in part of their items, and ranks all other items of the catalogue. Their recall@k divides by
    min(k, relevant items), which is ``capped_recall@k`` here.

    Parameters
    ----------
    model : object with recommend(user_items=..., N=..., filter_already_liked_items=...)
        Fitted on other users; its ``recommend(user_items=rows, N=..., filter_already_liked_items=True)`` is called with
        rows of `fold_in`, a csr_array.
    fold_in, targets : Interactions, or matrices of shape (users, items)
        Of one shape, with the same ids where both have any, such as `split_users` returns beside train; the items are
        those that the model was fitted on, which is checked where it has `interactions`. A user's targets are the pairs
        of `targets` with a positive value that `fold_in` does not store.
    train : Interactions, or matrix of shape (other users, items), optional
        What ``popularity_rank@k`` counts the users of an item in; by default the model's `interactions`.
    metrics, batch_size, confidence, bootstrap, random_state : as in `evaluate`
        By default two of the three that Liang et al. report.

    Returns
    -------
    pandas.DataFrame
        As `evaluate` returns. ``frame.attrs`` counts who was left out: ``without_targets``, the users in training among
        them, and ``without_history``, those who have targets but nothing to be folded in from.

    Raises
    ------
    InputError
        As in `evaluate`; if the model's `recommend` takes no `user_items`; if ``popularity_rank@k`` has nothing to
        count in; and from the model, where it cannot fold in.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import Interactions, MostPopular
    >>> train = Interactions.from_triples(np.array([0, 0, 1]), np.array([0, 1, 1]), shape=(3, 3))
    >>> fold_in = Interactions.from_triples(np.array([2]), np.array([0]), shape=(3, 3))
    >>> targets = Interactions.from_triples(np.array([2]), np.array([1]), shape=(3, 3))
    >>> table = evaluate_folded(MostPopular().fit(train), fold_in, targets, metrics="hit@1")
    >>> table["value"].tolist(), table.attrs
    ([1.0], {'without_targets': 2, 'without_history': 0})
    """
    parsed = parse_metrics(metrics, of_hits=False)
    draws = check_draws(confidence, bootstrap, random_state)
    fold_in = as_interactions(fold_in, "fold_in")
    check_model(model, "recommend")
    check_fitted_on(model, fold_in, "fold_in", ("items",))
    popularity = _counted_in(model, fold_in, train) if any(one.name in OF_EACH_LIST for one in parsed) else None
    cases = Cases.of(fold_in, as_interactions(targets, "targets"))
    measured = measure(_FoldedIn(model, fold_in), cases, parsed, batch_size, popularity)
    return summarise(measured, cases.left_out, users=cases.users.size, **draws)


def _counted_in(model: FoldingRecommender, fold_in: Interactions, train: Any) -> csr_array:
    """Return what popularity is counted in: train, by default what the model tells that it was fitted on."""
    counted = getattr(model, "interactions", None) if train is None else as_interactions(train, "train")
    if not isinstance(counted, Interactions):
        raise InputError(
            f"metrics: popularity_rank counts users in training, which {type(model).__name__} does not tell; give train"
        )
    if counted.shape[1] != fold_in.shape[1] or not same_ids(counted.items, fold_in.items):
        raise InputError("train and fold_in have different items; build both with the same items, as split_users does")
    matrix: csr_array = counted.matrix
    return matrix


class _FoldedIn:
    """Lets a model answer for rows of `fold_in` as if they had been in training."""

    def __init__(self, model: FoldingRecommender, fold_in: Interactions) -> None:
        self._model = model
        self._rows = fold_in.matrix

    def recommend(self, users: Any, N: int = 10, filter_already_liked_items: bool = True) -> tuple[Any, Any]:
        rows = self._rows[users]
        try:
            return self._model.recommend(user_items=rows, N=N, filter_already_liked_items=filter_already_liked_items)
        except TypeError as error:
            if "user_items" not in str(error):
                raise
            raise InputError(
                f"model: recommend of {type(self._model).__name__} takes no user_items, so that it cannot serve new "
                f"users ({error})"
            ) from error
