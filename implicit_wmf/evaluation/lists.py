"""Recommended lists as a model returns them, with all checked that a metric relies on."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._ids import same_ids
from ..errors import InputError, NotFittedError
from ..interactions import Interactions
from .hits import hit_matrix
from .list_checks import Positions, repeated


class Recommender(Protocol):
    """What can be evaluated: the library's models, and anything with the same `recommend`.

    ``auc`` is measured faster of a model that also has the library's `rank_counts`.
    """

    def recommend(self, users: Any, N: int = 10, filter_already_liked_items: bool = True) -> tuple[Any, Any]:
        """Recommend items to users.

        Parameters
        ----------
        users : (users,) int64 array
            Rows of train.
        N : int
            How many items to list.
        filter_already_liked_items : bool
            Leave out what the user has in train: always True here.

        Returns
        -------
        ids, scores : (users, N) arrays of integers and of numbers
            Best first; lists that run short end in -1 and NaN.
        """


_SEEN = (
    "is stored in train (in fold_in, where users are folded in); was the model fitted on this train? Pairs that a "
    "confidence of 0 removed from its data, or a stored 0 under raw weighting, it may recommend: give as train what is "
    "known, without those pairs"
)


class WrongModelError(InputError):
    """A model is not what can be evaluated here, or returned what it must not."""


def check_model(model: Any, method: str) -> None:
    """Refuse what cannot be asked: a class, or an object without the method."""
    if isinstance(model, type):
        raise WrongModelError(
            f"the model is the class {model.__name__}; give a fitted model, such as {model.__name__}().fit(train)"
        )
    if not callable(getattr(model, method, None)):
        raise WrongModelError(
            f"the model, of type {type(model).__name__}, has no {method}; give a fitted model, or anything that has it"
        )


def check_fitted_on(model: Any, data: Interactions, name: str, sides: tuple[str, ...]) -> None:
    """Compare users or items with those of the model, where it tells what it was fitted on as the library's do."""
    try:
        fitted = model.interactions
    except NotFittedError:
        raise
    except AttributeError:
        return
    if not isinstance(fitted, Interactions):
        return
    for side in sides:
        ours, known = getattr(data, side), getattr(fitted, side)
        if len(ours) != len(known):
            raise WrongModelError(
                f"{name} has {len(ours)} {side}, but the model was fitted on {len(known)}; evaluate it on the "
                f"{side} of its training, in their order"
            )
        if not same_ids(ours, known):
            raise WrongModelError(
                f"{name}.{side} are other ids than those that the model was fitted on, or in another order; build both "
                f"with the same {side}, as the splits do"
            )


def ask(model: Recommender, users: Positions, N: int, seen: csr_array) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the model's lists for users, ids and scores, after checking them; `seen` are the users' rows of train."""
    answer = model.recommend(users, N=N, filter_already_liked_items=True)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise WrongModelError(
            f"recommend returned {type(answer).__name__}; it must return the two arrays (ids, scores)"
        )
    ids, scores = (np.asarray(part) for part in answer)
    for name, part, kind in (("ids", ids, np.integer), ("scores", scores, np.number)):
        if part.shape != (users.size, N):
            raise WrongModelError(f"recommend returned {name} of shape {part.shape}; asked for were {(users.size, N)}")
        if not np.issubdtype(part.dtype, kind):
            raise WrongModelError(
                f"recommend returned {name} of dtype {part.dtype}; they must be {kind.__name__} values"
            )
    ids = ids.astype(np.int64)
    faults = {
        f"is outside the catalogue of {seen.shape[1]} items": (ids < -1) | (ids >= seen.shape[1]),
        "has a NaN score: the model's factors may have diverged": np.isnan(scores) & (ids >= 0),
        "stands after an id -1, which marks the end of a list": np.logical_or.accumulate(ids < 0, axis=1) & (ids >= 0),
        "is in the same list a second time": repeated(ids),
        _SEEN: hit_matrix(ids, seen.indptr, seen.indices),
    }
    for fault, where in faults.items():
        _refuse(fault, where, ids, users)
    return ids, scores


def _refuse(fault: str, where: NDArray[np.bool_], ids: NDArray[np.int64], users: Positions) -> None:
    if where.any():
        row, rank = np.argwhere(where)[0]
        raise WrongModelError(
            f"recommend returned {int(where.sum())} unusable ids for a batch of {users.size} users; the first, "
            f"item {ids[row, rank]} at rank {rank + 1} of user {users[row]}, {fault}"
        )
