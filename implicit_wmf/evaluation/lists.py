"""Recommended lists as a model returns them, with all checked that a metric relies on."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..errors import InputError
from .metrics import hit_matrix

Positions = NDArray[np.int64]


class Recommender(Protocol):
    """What can be evaluated: the library's models, and anything with the same `recommend`.

    ``auc`` is measured faster of a model that also has the library's `rank_counts`.
    """

    def recommend(self, users: Any, N: int = 10, filter_already_liked_items: bool = True) -> tuple[Any, Any]:
        """Return ids and scores (users, N) for 1-D row indices, best first; lists that run short end in -1 and NaN."""


class BadListsError(InputError):
    """A model returned what it must not."""


def ask(model: Recommender, users: Positions, N: int, seen: csr_array) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the model's lists for users, ids and scores, after checking them; `seen` are the users' rows of train."""
    answer = model.recommend(users, N=N, filter_already_liked_items=True)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise BadListsError(f"recommend returned {type(answer).__name__}; it must return the two arrays (ids, scores)")
    ids, scores = (np.asarray(part) for part in answer)
    for name, part, kind in (("ids", ids, np.integer), ("scores", scores, np.number)):
        if part.shape != (users.size, N):
            raise BadListsError(f"recommend returned {name} of shape {part.shape}; asked for were {(users.size, N)}")
        if not np.issubdtype(part.dtype, kind):
            raise BadListsError(f"recommend returned {name} of dtype {part.dtype}; they must be {kind.__name__} values")
    ids = ids.astype(np.int64)
    faults = {
        f"is outside the catalogue of {seen.shape[1]} items": (ids < -1) | (ids >= seen.shape[1]),
        "has a NaN score: the model's factors may have diverged": np.isnan(scores) & (ids >= 0),
        "stands after an id -1, which marks the end of a list": np.logical_or.accumulate(ids < 0, axis=1) & (ids >= 0),
        "is in the same list a second time": _repeated(ids),
        "is stored in train; was the model fitted on this train?": hit_matrix(ids, seen.indptr, seen.indices),
    }
    for fault, where in faults.items():
        _refuse(fault, where, ids, users)
    return ids, scores


def _refuse(fault: str, where: NDArray[np.bool_], ids: NDArray[np.int64], users: Positions) -> None:
    if where.any():
        row, rank = np.argwhere(where)[0]
        raise BadListsError(
            f"recommend returned {int(where.sum())} unusable ids for a batch of {users.size} users; the first, "
            f"item {ids[row, rank]} at rank {rank + 1} of user {users[row]}, {fault}"
        )


def _repeated(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each id whether it stands earlier in the same list."""
    repeated = np.zeros(ids.shape, dtype=bool)
    if not _equal_neighbours(np.sort(ids, axis=1)).any():  # a fifth of the time of argsort
        return repeated
    by_id = np.argsort(ids, axis=1, kind="stable")
    np.put_along_axis(repeated, by_id[:, 1:], _equal_neighbours(np.take_along_axis(ids, by_id, axis=1)), axis=1)
    return repeated


def _equal_neighbours(in_order: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0))
