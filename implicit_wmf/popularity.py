"""MostPopular, the recommender that knows no users: the floor that any model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._csr import positive_in_columns
from .factor_model import FactorModel
from .interactions import as_interactions
from .parameters import Config
from .persistence import SavedModel


@dataclass(frozen=True, eq=False)
class MostPopularConfig(Config):
    """The hyper-parameters of MostPopular: none."""


class MostPopular(FactorModel[MostPopularConfig]):
    """Recommend to everyone the items that most users have.

    An item's popularity is the number of users with a positive value for it. Items that nobody has come last. It is a
    model of one factor, 1 for each user and the popularity for each item, so that it answers whatever other models do.

    Attributes
    ----------
    popularity : (items,) float64 array
        The number of users who have each item.
    user_factors, item_factors : (users, 1) and (items, 1) float64 arrays
        Ones, and the popularity.
    history : list
        Empty: there are no epochs.
    interactions : Interactions
        What was counted; `recommend` leaves out what each user has in it.

    Raises
    ------
    InputError, NotFittedError
        As in :class:`implicit_wmf.WMF`.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf import Interactions, MostPopular
    >>> data = Interactions.from_triples(np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 2]))
    >>> ids, scores = MostPopular().fit(data).recommend(1, N=2)
    >>> ids.tolist(), scores.tolist()
    ([2, -1], [1.0, nan])
    """

    _config_type = MostPopularConfig
    _record_type = object  # of a history that is always empty

    def __init__(self) -> None:
        self._configure({})

    def fit(self, data: Any) -> MostPopular:
        """Count the users of each item.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or array, or dense 2-D array
            Users x items; values are looked at for their sign only. Not changed.

        Returns
        -------
        MostPopular
            The model itself.
        """
        interactions = as_interactions(data)
        users, items = interactions.shape
        counts = positive_in_columns(interactions.matrix).astype(np.float64)
        self._fitted = SavedModel(self.config, np.ones((users, 1)), counts.reshape(-1, 1), interactions, [])
        return self

    @property
    def popularity(self) -> NDArray[np.float64]:
        """The number of users who have each item, (items,)."""
        return self._state().item_factors[:, 0]

    def _vectors_of(self, user_items: csr_array) -> NDArray[np.float64]:
        """Give new users the one factor that everyone has."""
        return np.ones((user_items.shape[0], 1))
