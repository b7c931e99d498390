"""Folding in: factors of users and items that were not in training, solved against the fitted other side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from ._cells import check_not_negative
from ._ids import locate, same_ids, spell
from .confidence import SIDES, StoredCells, stored_cells
from .config import WMFConfig
from .errors import InputError
from .factor_model import FactorModel, check_data_shape
from .interactions import Interactions, as_interactions
from .new_rows import FittedSide
from .pinning import pinned

Array = NDArray[Any]


class Folding(FactorModel[WMFConfig]):
    """Factors of users and items that were not in training."""

    @pinned
    def fold_in_users(self, user_items: Any, *, confidence: Any = None) -> Array:
        """Solve factors of users who were not in training, or whose items have changed; the model stays as it is.

        Each row gets what a sweep of training would give it against the fitted items' factors: the exact minimum of the
        objective over w_i, with the fitted hyper-parameters and background. A user's own background factor a_i is
        relative to the mean over the fitted users; where `user_background` is an array, new users have that mean, 1.

        Parameters
        ----------
        user_items : (k, items) scipy sparse matrix or array, dense 2-D array, or Interactions
            A row for each user: counts, or preferences with `confidence`, as for `fit`. Columns are the fitted items;
            those of Interactions with raw ids are found by their ids.
        confidence : (k, items) matrix of the same kinds, optional
            As for `fit`; needed where the model was fitted with confidences.

        Returns
        -------
        (k, d) array of the factors' dtype

        Raises
        ------
        InputError
            For another number of items, unknown items, and whatever `fit` refuses in data; names the place.

        Examples
        --------
        >>> import numpy as np
        >>> from implicit_wmf import WMF
        >>> counts = np.array([[5, 3, 0], [4, 0, 0], [0, 0, 2]])
        >>> model = WMF(factors=2, iterations=5, random_state=0).fit(counts)
        >>> vectors = model.fold_in_users([[0, 1, 0]])
        >>> int(np.argmax(vectors @ model.item_factors.T))
        0
        """
        return self._fold_in("user", user_items, confidence)

    @pinned
    def fold_in_items(self, user_items: Any, *, confidence: Any = None) -> Array:
        """Solve factors of items that were not in training, or whose users have changed; the model stays as it is.

        As `fold_in_users`, with the sides exchanged.

        Parameters
        ----------
        user_items : (users, k) matrix of the same kinds
            A column for each item. Rows are the fitted users.
        confidence : (users, k) matrix of the same kinds, optional
            As in `fold_in_users`.

        Returns
        -------
        (k, d) array of the factors' dtype

        Raises
        ------
        InputError
            As in `fold_in_users`.
        """
        return self._fold_in("item", user_items, confidence)

    def transform(self, user_items: Any) -> Array:
        """Solve factors of users, under the name that scikit-learn's pipelines call.

        Parameters
        ----------
        user_items : as in `fold_in_users`

        Returns
        -------
        As in `fold_in_users`.
        """
        return self.fold_in_users(user_items)

    def _fold_in(self, side: str, data: Any, confidence: Any) -> Array:
        state = self._state()
        matrix, weights = self._known_columns(side, data, confidence)
        stored = stored_cells(matrix, weights, state.config)
        return self._solve_new(side, stored if side == "user" else stored.transposed())

    def _known_columns(self, side: str, data: Any, confidence: Any) -> tuple[csr_array, csr_array | None]:
        """Check counts and confidences, whose other side is to be the fitted one."""
        state = self._state()
        if confidence is None and state.confidence is not None:
            raise InputError(
                f"confidence: the model was fitted with confidences; fold_in_{side}s needs those of the new {side}s too"
            )
        new = as_interactions(data, "user_items")
        weights = None if confidence is None else as_confidence(confidence, new)
        axis = 1 if side == "user" else 0
        other = SIDES[axis] + "s"
        given, known = getattr(new, other), getattr(state.interactions, other)
        if same_ids(given, known):
            if len(given) != len(known):
                raise InputError(f"user_items has {len(given)} {other}; the model was fitted on {len(known)}")
            return new.matrix, weights
        positions = locate(known, given, "user_items")
        unknown = np.flatnonzero(positions < 0)
        if unknown.size:
            raise InputError(
                f"user_items: {unknown.size} {other} are not in the model: {spell(given.take(unknown))}; leave them "
                f"out, or take them in with partial_fit"
            )
        return (
            _move(new.matrix, axis, positions, len(known)),
            None if weights is None else _move(weights, axis, positions, len(known)),
        )

    def _solve_new(self, side: str, rows: StoredCells) -> Array:
        try:
            return self._fitted_side(side).fold_in(rows)
        except InputError as error:
            turned = "" if side == "user" else ", its columns as rows"
            raise InputError(f"user_items{turned}: {error}") from error

    def _fitted_side(self, side: str) -> FittedSide:
        """Prepare a side of the model; it is kept for the next call."""
        state = self._state()
        fitted: FittedSide = state.derive(("fold in", side), lambda: FittedSide.of(side, state))
        return fitted

    def _vectors_of(self, user_items: csr_array) -> Array:
        state = self._state()
        if user_items.shape[0] == 0:
            return np.empty((0, state.item_factors.shape[1]), state.item_factors.dtype)
        if state.confidence is not None:
            raise InputError(
                "user_items: the model was fitted with confidences, which are needed for new users too: "
                "fold_in_users(user_items, confidence=...) gives their factors, to be multiplied with item_factors"
            )
        return self._solve_new("user", stored_cells(user_items, None, state.config))


def _move(matrix: csr_array, axis: int, positions: NDArray[np.int64], size: int) -> csr_array:
    """Put rows (axis 0) or columns (axis 1) at these positions of a larger side."""
    cells = matrix.tocoo()
    places, shape = list(cells.coords), list(cells.shape)
    places[axis], shape[axis] = positions[places[axis]], size
    return csr_array(coo_array((cells.data, tuple(places)), shape=tuple(shape)))


def as_confidence(confidence: Any, data: Interactions) -> csr_array:
    """Convert confidences that belong to the data; zeros of a dense array are stored."""
    if isinstance(confidence, Interactions):
        for name in ("users", "items"):
            if not same_ids(getattr(confidence, name), getattr(data, name)):
                raise InputError(f"confidence: its {name} are not those of data, in the same order")
    matrix = as_interactions(confidence, "confidence", keep_zeros=True).matrix
    check_data_shape("confidence", matrix.shape, data.shape, "data is")
    check_not_negative(matrix, "confidence")
    return matrix
