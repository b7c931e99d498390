"""Recommenders without a model, as the floor that any model has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFittedError
from ..interactions import Interactions
from ..ranking import check_indices, list_length, select_candidates

_BLOCK_USERS = 16_384


class MostPopular:
    """Recommend to everyone the items that most users have.

    An item's popularity is the number of users with a positive value for it. Items that nobody has come last.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.interactions import Interactions
    >>> data = Interactions.from_triples(np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 2]))
    >>> ids, scores = MostPopular().fit(data).recommend(1, N=2)
    >>> ids.tolist(), scores.tolist()
    ([2, -1], [1.0, nan])
    """

    def fit(self, data: Interactions | Any) -> MostPopular:
        """Count the users of each item.

        Parameters
        ----------
        data
            Interactions, or whatever `Interactions.from_matrix` takes, users x items. Not changed.

        Returns
        -------
        MostPopular
            This object, with `popularity`: float64 (items,), the number of users who have each item.
        """
        interactions = data if isinstance(data, Interactions) else Interactions.from_matrix(data)
        self._matrix = interactions.matrix
        taken = self._matrix.indices[self._matrix.data > 0]
        self.popularity = np.bincount(taken, minlength=self._matrix.shape[1]).astype(np.float64)
        return self

    def recommend(
        self,
        users: int | NDArray[np.integer],
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: NDArray[np.integer] | None = None,
        items: NDArray[np.integer] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return each user's N most popular items.

        Parameters
        ----------
        users
            Row index, or integers (users,) of row indices.
        N
            Length of the lists.
        filter_already_liked_items
            Leave out the items that the fitted data store for the user, whatever their value.
        filter_items
            Item indices (any number,) to leave out for everyone.
        items
            Item indices (any number,) to choose from; None for all.

        Returns
        -------
        ids, scores : numpy.ndarray
            int64 and float64 (users, N), or (N,) for a bare index: item indices, best first, and their popularity.
            Ties go to the smaller index; a list that runs short ends in id -1 and score NaN.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If an index is not a whole number within the fitted data, or N is not one from 1 on.
        """
        if not hasattr(self, "popularity"):
            raise NotFittedError("MostPopular has no data to count yet; call fit(data) first")
        N = list_length(N)
        rows = check_indices("users", users, self._matrix.shape[0])
        order = self._candidates(filter_items, items)
        ids = np.empty((rows.size, N), dtype=np.int64)
        for start in range(0, rows.size, _BLOCK_USERS):
            block = rows[start : start + _BLOCK_USERS]
            if filter_already_liked_items:
                places = self._unseen_places(block, order, N)
            else:
                places = np.broadcast_to(np.arange(N), (block.size, N))
            ids[start : start + block.size] = _take_or(order, places, -1)
        scores = _take_or(self.popularity, np.where(ids < 0, self.popularity.size, ids), np.nan)
        return (ids[0], scores[0]) if np.ndim(users) == 0 else (ids, scores)

    def _candidates(self, filter_items: Any, items: Any) -> NDArray[np.int64]:
        """Order the items that may be recommended, the most popular first."""
        candidates = select_candidates(self.popularity.size, items, filter_items)
        return np.asarray(candidates[np.argsort(-self.popularity[candidates], kind="stable")], dtype=np.int64)

    def _unseen_places(self, rows: NDArray[np.int64], order: NDArray[np.int64], N: int) -> NDArray[np.int64]:
        """Find for each user the places in `order` of the first N items that the user has not seen.

        Let s_0 < s_1 < ... be the places of the seen items. s_j - j unseen ones lie before s_j, so the t-th unseen item
        stands at place t + #{j : s_j - j <= t}: a histogram of s_j - j below N, added up.
        """
        place = np.full(self.popularity.size, -1, dtype=np.int64)
        place[order] = np.arange(order.size)
        seen = self._matrix[rows]
        row = np.repeat(np.arange(rows.size, dtype=np.int64), np.diff(seen.indptr))
        seen_place = place[seen.indices]
        candidate = seen_place >= 0
        width = max(order.size, 1)
        row, seen_place = np.divmod(np.sort(row[candidate] * width + seen_place[candidate]), width)
        unseen_before = seen_place - (np.arange(row.size) - np.searchsorted(row, row))
        early = unseen_before < N
        passed = np.bincount(row[early] * N + unseen_before[early], minlength=rows.size * N).reshape(rows.size, N)
        return np.arange(N) + np.cumsum(passed, axis=1)


def _take_or(values: NDArray[Any], places: NDArray[np.int64], missing: float) -> NDArray[Any]:
    """Take values at places, and `missing` where a place lies past the end."""
    padded = np.append(values, np.asarray(missing, dtype=values.dtype))
    return padded[np.minimum(places, values.size)]
