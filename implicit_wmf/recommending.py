"""Recommendations from fitted factors: lists, tables and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from . import ranking
from ._asked import Eligible, check_users, choose, list_length
from ._csr import drop_cells, keep_cells
from ._ids import locate, wanted_ids
from .errors import InputError
from .parameters import truth
from .persistence import SavedModel
from .pinning import pinned
from .ranking import Catalogue

Array = NDArray[Any]


class Recommending:
    """The part of an estimator that recommends; the rest provides the fitted state."""

    config: Any

    def _state(self) -> SavedModel:
        raise NotImplementedError

    def _scoring_factors(self, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        """Vectors of these users and of all items whose inner products are the scores."""
        state = self._state()
        return np.ascontiguousarray(state.user_factors[rows]), state.item_factors

    def _liked(self, rows: NDArray[np.int64]) -> csr_array:
        """Cells of these users in the fitted data, without those that were removed from the objective."""
        state = self._state()
        seen = state.interactions.matrix[rows]
        if state.confidence is None:
            return self._without_zeros(seen)
        removed = state.confidence[rows]
        return drop_cells(seen, keep_cells(removed, removed.data == 0))

    def _without_zeros(self, cells: csr_array) -> csr_array:
        """Leave out stored zeros where they remove their cells from the objective."""
        removes = getattr(self._state().config, "zeros_remove", False)
        return keep_cells(cells, cells.data != 0) if removes else cells

    def _vectors_of(self, user_items: csr_array) -> Array:
        """Vectors of users who were not in training, from what they have."""
        raise InputError(
            f"user_items: {type(self).__name__} cannot fold in users who were not in training; name users by position"
        )

    @pinned
    def recommend(
        self,
        users: int | ArrayLike | None = None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        items: Any = None,
        *,
        user_items: Any = None,
    ) -> tuple[Array, Array]:
        """Recommend the N items of highest score to each user, exactly.

        Parameters
        ----------
        users : int or (k,) array of int
            Row indices (positions, not raw ids). Left out, the rows of `user_items` are users who were not in training.
        N : int
            Length of the lists.
        filter_already_liked_items : bool
            Leave out what the user has, known negatives included: in the fitted data, or in `user_items`. Cells that a
            confidence of 0 took out of the data may be recommended.
        filter_items : (any,) array of int, or (k, items) sparse matrix; optional
            Items that are not to be recommended: to anyone, or the stored cells of each user's row.
        items : (any,) array of int, or (k, items) sparse matrix; optional
            The only items to choose from: for everyone, or the stored cells of each user's row.
        user_items : (k, items) sparse matrix, optional
            What each of the users has now, a row each. Without `users`, all that is known of them.

        Returns
        -------
        ids : (k, N) int32 array, or (N,) for one user
            Best first, ties to the smaller index. Lists that run short end in -1.
        scores : array of the same shape, of the factors' dtype
            The prediction w_i . h_j, or what else the estimator scores by; NaN where the list has ended.

        Raises
        ------
        InputError
            For positions out of range and matrices of another shape; names the place.
        """
        length = list_length(N)
        truth("filter_already_liked_items", filter_already_liked_items)
        shape = self._state().interactions.shape
        rows, given = check_users(users, user_items, shape)
        seen = None
        if filter_already_liked_items:
            seen = self._liked(rows) if given is None else self._without_zeros(given)
        count = rows.size if given is None else given.shape[0]
        choice = choose((count, shape[1]), seen, items, filter_items)
        ids, scores = self._rank(None if users is None else rows, given, choice, length)
        return (ids[0], scores[0]) if users is not None and np.ndim(users) == 0 else (ids, scores)

    def _rank(
        self, rows: NDArray[np.int64] | None, given: csr_array | None, choice: Eligible, length: int
    ) -> tuple[Array, Array]:
        """Rank for users at these positions, or for new ones (None) who have what is `given`."""
        if rows is None:
            vectors, items = self._vectors_of(given), self._state().item_factors
        else:
            vectors, items = self._scoring_factors(rows)
        catalogue = self._catalogue_of(items, choice.candidates)
        return ranking.recommend(
            vectors, catalogue, choice.seen, N=length, allowed=choice.own, num_threads=self._threads()
        )

    def _threads(self) -> int | None:
        return getattr(self.config, "num_threads", None)

    def _catalogue_of(self, vectors: Array, candidates: NDArray[np.int32] | None) -> Catalogue:
        """Prepare the items to choose from; all of them are kept for the next question."""
        everything = np.arange(len(vectors), dtype=np.int32)
        whole: Catalogue = self._state().derive("catalogue", lambda: Catalogue(vectors, everything))
        return whole if candidates is None else whole.subset(candidates)

    @pinned
    def recommend_frame(
        self,
        user_ids: Any = None,
        N: int = 10,
        *,
        filter_already_liked_items: bool = True,
        unknown: str = "error",
    ) -> pd.DataFrame:
        """Recommend by raw ids.

        Parameters
        ----------
        user_ids : sequence of raw ids, or one id; optional
            By default every user.
        N : int
            Length of the lists.
        filter_already_liked_items : bool
            As in `recommend`.
        unknown : {"error", "popular"}
            What users who were not in the data get: a refusal that names them, or the items that most users have, with
            that number as their score.

        Returns
        -------
        pandas.DataFrame
            Columns user, item (raw ids), rank (from 1) and score; lists that run short have fewer rows.

        Raises
        ------
        InputError
            If a user is unknown; names the first ones.
        """
        if not isinstance(unknown, str) or unknown not in ("error", "popular"):
            raise InputError(f"unknown must be 'error' or 'popular', got {unknown!r}")
        data = self._state().interactions
        length = min(list_length(N), data.shape[1])
        if user_ids is None:
            lists = self.recommend(np.arange(data.shape[0]), length, filter_already_liked_items)
            return lists_frame(data.users, data.items, lists)
        if unknown == "error":
            rows = data.user_indices(user_ids)
            lists = self.recommend(rows, length, filter_already_liked_items)
            return lists_frame(data.users.take(rows), data.items, lists)
        asked = wanted_ids(user_ids, "users")
        rows = locate(data.users, asked, "users")
        popular, counts = ranking.most_popular(data.matrix, length)
        ids, scores = np.tile(popular, (rows.size, 1)), np.tile(counts, (rows.size, 1))
        known = rows >= 0
        ids[known], scores[known] = self.recommend(rows[known], length, filter_already_liked_items)
        return lists_frame(asked, data.items, (ids, scores))


def lists_frame(
    asked: pd.Index, listed: pd.Index, lists: tuple[Array, Array], names: tuple[str, str] = ("user", "item")
) -> pd.DataFrame:
    """Make a table of lists of positions: the id each is for, the ids at its positions, rank (from 1) and score."""
    ids, scores = lists
    found = ids >= 0
    rows, ranks = np.nonzero(found)
    columns = (asked.take(rows), listed.take(ids[found]), ranks + 1, scores[found])
    return pd.DataFrame(dict(zip((*names, "rank", "score"), columns, strict=True)))
