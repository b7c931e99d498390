"""ItemKNN, the neighbourhood recommender: a baseline that tuned factor models do not always beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from . import kernels
from ._asked import Eligible
from ._csr import keep_cells
from ._neighbourhoods import as_rows, find_neighbours, score_pairs, top_items
from .configured import Configured
from .errors import InputError, NotFittedError
from .interactions import Interactions, as_interactions
from .parameters import Config, number, one_of, or_none, parameter, whole
from .pinning import pinned
from .recommending import Recommending
from .scoring import check_pairs


@dataclass(frozen=True, eq=False)
class ItemKNNConfig(Config):
    """The hyper-parameters of ItemKNN."""

    neighbours: int = parameter(100, whole(1), "most similar items that an item's score is made from")
    similarity: str = parameter(
        "cosine", one_of("cosine", "jaccard", "conditional"), "similarity of two items: cosine, jaccard or conditional"
    )
    shrinkage: float = parameter(0.0, number(0), "added to what similarities are divided by, against chance")
    weighting: str | None = parameter(
        None, or_none(one_of("tfidf", "bm25")), "weights of the values that cosines are made from: tfidf or bm25"
    )
    popularity_exponent: float = parameter(0.5, number(0), "penalty of frequent items under conditional similarity")
    num_threads: int | None = parameter(None, or_none(whole(1)), "threads; all cores by default")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weighting is not None and self.similarity != "cosine":
            raise InputError(
                f"weighting is {self.weighting!r}, but {self.similarity!r} similarity only looks at who took what; "
                "leave it None, or use similarity='cosine'"
            )


@dataclass(frozen=True)
class _Fitted:
    interactions: Interactions
    profiles: csr_array  # (users, items): what each user's scores are made from
    similarity: csr_array
    config: ItemKNNConfig
    confidence: None = None


class ItemKNN(Configured[ItemKNNConfig], Recommending):
    """Recommend what is similar to the items that a user has.

    The score of item j for user u is the sum of the similarities s_ij times r_ui over those of the user's items i that
    are among the K most similar of item j (Sarwar et al. 2001, "Item-based collaborative filtering recommendation
    algorithms", section 3.2, without the division by the similarities, as in Ferrari Dacrema, Cremonesi and Jannach
    2019, "Are we really making much progress?"). Only values above 0 count, under "jaccard" and "conditional" as 1.

    Parameters
    ----------
    neighbours : int
        K: how many neighbours each item keeps, at most. An item is never its own; equal ones go by the smaller index.
    similarity : {"cosine", "jaccard", "conditional"}
        With x_i the column of item i, and U_i the users who have it:

        * "cosine": x_i . x_j / (abs(x_i) abs(x_j) + shrinkage);
        * "jaccard": abs(U_i & U_j) / (abs(U_i | U_j) + shrinkage);
        * "conditional": abs(U_i & U_j) / (abs(U_i) abs(U_j)^popularity_exponent + shrinkage), the share of those with i
          who also have j (Deshpande and Karypis 2004, "Item-based top-N recommendation algorithms", equation 2). As
          there, the sum goes over those of the user's items i that have j among *their* K most similar: an item's own
          would be the rarest ones, of whose users almost all have it.
    shrinkage : float
        Makes similarities that few users speak for smaller (Bell and Koren 2007, "Improved neighborhood-based
        collaborative filtering").
    weighting : {None, "tfidf", "bm25"}
        Of the values that cosines are made from, so that users with many items weigh less; users stand for the terms
        and items for the documents of text search, n_u is the number of items that user u has, of n in all:

        * "tfidf": sqrt(r_ui) log(n / n_u) (Manning, Raghavan and Schuetze 2008, section 6.2, with the root of the
          count);
        * "bm25": 2.2 r_ui / (r_ui + 1.2 (0.25 + 0.75 L_i / mean L)) log(1 + (n - n_u + 0.5) / (n_u + 0.5)), L_i the sum
          of item i's values (Robertson and Zaragoza 2009, "The probabilistic relevance framework", section 3.4, with a
          logarithm that stays above 0).
    popularity_exponent : float
        Of "conditional" similarity: 0 leaves frequent items near to everything.
    num_threads : int or None
        All cores by default; results do not depend on it.

    Attributes
    ----------
    item_similarity : (items, items) csr_array of float64
        s_ij: column j stores the neighbours of item j, or row i those of item i under "conditional".
    interactions : Interactions
        What was fitted.

    Raises
    ------
    InputError, NotFittedError
        As in :class:`implicit_wmf.WMF`.

    Notes
    -----
    `recommend` makes scores from `user_items` where they are given. Scores are float64, and items with a score of 0
    are in no list.

    There is nothing to save that a fit of a few seconds does not make again, so there is no `save`.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import ItemKNN
    >>> model = ItemKNN().fit(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]]))
    >>> ids, scores = model.recommend(0, N=2)
    >>> ids.tolist(), scores.round(2).tolist()
    ([2, -1], [1.0, nan])
    """

    _config_type = ItemKNNConfig

    _fitted: _Fitted | None = None

    def __init__(
        self,
        neighbours: int = 100,
        *,
        similarity: str = "cosine",
        shrinkage: float = 0.0,
        weighting: str | None = None,
        popularity_exponent: float = 0.5,
        num_threads: int | None = None,
    ) -> None:
        self._configure(locals())

    def fit(self, data: Any) -> ItemKNN:
        """Find each item's neighbours.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or array, or dense 2-D array
            Users x items. Not changed.

        Returns
        -------
        ItemKNN
            The model itself.

        Raises
        ------
        InputError
            If an item's values are so large or so small that their squares leave the range of float64.
        """
        interactions = as_interactions(data)
        profiles = _profiles(interactions.matrix, self.config)
        similarity = find_neighbours(profiles, **self.get_params())
        self._fitted = _Fitted(interactions, profiles, similarity, self.config)
        return self

    @property
    def item_similarity(self) -> csr_array:
        """Similarities s_ij, (items, items), stored for neighbours only."""
        return self._state().similarity

    @property
    def interactions(self) -> Interactions:
        """The fitted data."""
        interactions: Interactions = self._state().interactions
        return interactions

    def _rank(
        self, rows: NDArray[np.int64] | None, given: csr_array | None, choice: Eligible, length: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rank by what is `given` for users, or else by what they have in the fitted data."""
        state = self._state()
        profiles = state.profiles[rows] if given is None else _profiles(given, state.config)
        return top_items(profiles, state.similarity, _kernel_choice(profiles.shape, choice), length, self._threads())

    @pinned
    def score(self, users: int | ArrayLike, items: int | ArrayLike) -> Any:
        """Score pairs of users and items as `recommend` does; 0 where no neighbour of the item is the user's.

        Parameters
        ----------
        users, items : int or array of int
            As in :meth:`implicit_wmf.WMF.score`.

        Returns
        -------
        float64 array of their common shape, or float for two ints

        Raises
        ------
        InputError
            As in :meth:`implicit_wmf.WMF.score`.
        """
        state = self._state()
        rows, columns = check_pairs(users, items, state.interactions.shape)
        by_user = np.argsort(rows.reshape(-1), kind="stable")
        asked, starts = np.unique(rows.reshape(-1)[by_user], return_index=True)
        found = score_pairs(
            state.profiles[asked],
            state.similarity,
            np.append(starts, rows.size),
            columns.reshape(-1)[by_user],
            self._threads(),
        )
        out = np.empty(rows.shape)
        out.reshape(-1)[by_user] = found
        return out if out.ndim else float(out)

    def _state(self) -> Any:
        if self._fitted is None:
            raise NotFittedError("this ItemKNN has no neighbours yet: call fit first")
        return self._fitted


def _profiles(cells: csr_array, config: ItemKNNConfig) -> csr_array:
    """Return what scores are made from: the positive values, or 1 for each."""
    kept = keep_cells(cells, cells.data > 0).astype(np.float64)
    if config.similarity != "cosine":
        kept.data[:] = 1
    return kept


def _kernel_choice(shape: tuple[int, int], choice: Eligible) -> Any:
    """Lay out for the kernel what may be recommended to each user."""
    nothing = csr_array(shape)
    hidden, only = (as_rows(nothing if cells is None else cells) for cells in (choice.seen, choice.own))
    allowed = np.full(shape[1], choice.candidates is None)
    if choice.candidates is not None:
        allowed[choice.candidates] = True
    listed = choice.own is not None
    return kernels.neighbours.Choice(hidden.indptr, hidden.indices, only.indptr, only.indices, listed, allowed)
