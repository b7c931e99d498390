"""Similar items and similar users: neighbours among one side's factors, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from . import ranking
from ._asked import check_positions, list_length, select_candidates
from .parameters import one_of, truth
from .pinning import pinned
from .ranking import Catalogue
from .recommending import Recommending, lists_frame

Array = NDArray[Any]

METRICS = ("cosine", "dot")
_ROWS = 1 << 14  # normalised at a time, in float64


class Similar(Recommending):
    """Neighbours among items and among users."""

    @pinned
    def similar_items(
        self,
        items: int | ArrayLike,
        N: int = 10,
        *,
        metric: str = "cosine",
        filter_items: ArrayLike | None = None,
        candidates: ArrayLike | None = None,
        include_self: bool = True,
    ) -> tuple[Array, Array]:
        """Find the N items whose factors are most like each item's, exactly.

        Parameters
        ----------
        items : int or (k,) array of int
            Positions, not raw ids.
        N : int
            Length of the lists.
        metric : {"cosine", "dot"}
            h_j . h_k / (|h_j| |h_k|), or h_j . h_k, which grows with |h_k| and so prefers popular items. An item whose
            factors are all 0 (nobody has it) has cosine 0 with every item, itself included. An estimator's biases have
            no part in either.
        filter_items : (any,) array of int, optional
            Items that are to appear in no list.
        candidates : (any,) array of int, optional
            The only items to choose from.
        include_self : bool
            Whether the item itself is among the candidates. By default it is, as in other libraries: by cosine it comes
            first, with 1, unless another has the same direction and a smaller index.

        Returns
        -------
        ids : (k, N) int32 array, or (N,) for one item
            Best first, ties to the smaller index. Lists that run short end in -1.
        scores : array of the same shape and of the factors' dtype
            The cosines (to within rounding of that dtype) or inner products; NaN where the list has ended.

        Raises
        ------
        InputError
            For positions out of range, N below 1, and another metric; names the argument and the value.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> from implicit_wmf import WMF
        >>> counts = csr_array([[5, 3, 0], [4, 2, 0], [0, 0, 2]])
        >>> model = WMF(factors=2, iterations=5, random_state=0).fit(counts)
        >>> model.similar_items(0, N=2)[0].tolist()
        [0, 1]
        """
        return self._similar("item", items, N, metric, filter_items, candidates, include_self)

    @pinned
    def similar_users(
        self,
        users: int | ArrayLike,
        N: int = 10,
        *,
        metric: str = "cosine",
        filter_users: ArrayLike | None = None,
        candidates: ArrayLike | None = None,
        include_self: bool = True,
    ) -> tuple[Array, Array]:
        """Find the N users whose factors are most like each user's, exactly.

        Parameters
        ----------
        users : int or (k,) array of int
            Positions, not raw ids.
        N, metric : as in `similar_items`
        filter_users : (any,) array of int, optional
            Users that are to appear in no list.
        candidates, include_self : as in `similar_items`, of users

        Returns
        -------
        ids, scores : arrays
            As in `similar_items`.

        Raises
        ------
        InputError
            As in `similar_items`.
        """
        return self._similar("user", users, N, metric, filter_users, candidates, include_self)

    @pinned
    def similar_items_frame(
        self, item_ids: Any = None, N: int = 10, *, metric: str = "cosine", include_self: bool = True
    ) -> pd.DataFrame:
        """Find similar items by raw ids.

        Parameters
        ----------
        item_ids : sequence of raw ids, or one id; optional
            By default every item.
        N, metric, include_self : as in `similar_items`

        Returns
        -------
        pandas.DataFrame
            Columns item, similar (raw ids), rank (from 1) and score; lists that run short have fewer rows.

        Raises
        ------
        InputError
            If an item is unknown; names the first ones.
        """
        known = self._state().interactions.items
        rows = np.arange(len(known)) if item_ids is None else self._state().interactions.item_indices(item_ids)
        lists = self.similar_items(rows, N, metric=metric, include_self=include_self)
        return lists_frame(known.take(rows), known, lists, ("item", "similar"))

    @pinned
    def similar_users_frame(
        self, user_ids: Any = None, N: int = 10, *, metric: str = "cosine", include_self: bool = True
    ) -> pd.DataFrame:
        """Find similar users by raw ids.

        Parameters
        ----------
        user_ids, N, metric, include_self : as in `similar_items_frame`, of users

        Returns
        -------
        pandas.DataFrame
            As there, with a column user in place of item.

        Raises
        ------
        InputError
            If a user is unknown; names the first ones.
        """
        known = self._state().interactions.users
        rows = np.arange(len(known)) if user_ids is None else self._state().interactions.user_indices(user_ids)
        lists = self.similar_users(rows, N, metric=metric, include_self=include_self)
        return lists_frame(known.take(rows), known, lists, ("user", "similar"))

    def _similar(
        self, side: str, asked: Any, N: Any, metric: Any, denied: Any, candidates: Any, include_self: bool
    ) -> tuple[Array, Array]:
        factors = self._factors_of(side)
        length = list_length(N)
        truth("include_self", include_self)
        rows = check_positions(f"{side}s", asked, len(factors))
        chosen = select_candidates(len(factors), candidates, denied, ("candidates", f"filter_{side}s"))
        catalogue = self._neighbours_of(side, metric)
        vectors = np.ascontiguousarray(catalogue.factors[rows])
        ids, scores = ranking.recommend(
            vectors,
            catalogue if chosen.size == len(factors) else catalogue.subset(chosen),
            None if include_self else _own_cells(rows, len(factors)),
            N=length,
            num_threads=self._threads(),
        )
        return (ids[0], scores[0]) if np.ndim(asked) == 0 else (ids, scores)

    def _factors_of(self, side: str) -> Array:
        state = self._state()
        return state.item_factors if side == "item" else state.user_factors

    def _neighbours_of(self, side: str, metric: Any) -> Catalogue:
        """Prepare a whole side; it is kept for the next question."""
        one_of(*METRICS)("metric", metric)

        def make() -> Catalogue:
            factors = self._factors_of(side)
            rows = normalised(factors) if metric == "cosine" else factors
            return Catalogue(rows, np.arange(len(rows), dtype=np.int32))

        neighbours: Catalogue = self._state().derive((side, metric), make)
        return neighbours


def normalised(factors: Array) -> Array:
    """Divide rows by their norms, taken in float64, and keep their dtype; rows of zeros stay."""
    out = np.empty_like(factors, subok=False)
    for begin in range(0, len(factors), _ROWS):
        rows = factors[begin : begin + _ROWS].astype(np.float64)
        largest = np.abs(rows).max(axis=1)
        rows /= np.where(largest > 0, largest, 1)[:, None]  # squares of float64 factors may overflow, or vanish
        norms = np.sqrt(np.einsum("jk,jk->j", rows, rows))
        rows /= np.where(norms > 0, norms, 1)[:, None]
        out[begin : begin + _ROWS] = rows
    return out


def _own_cells(rows: NDArray[np.int64], count: int) -> csr_array:
    """One cell for each list: what it was asked for."""
    return csr_array((np.ones(rows.size), rows, np.arange(rows.size + 1)), shape=(rows.size, count))
