"""Scores of pairs of users and items, and the ranks that they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import target_ranks
from ._asked import check_cells, check_positions
from ._ids import refuse_masked
from .errors import InputError
from .pinning import pinned
from .recommending import Recommending

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]

# Pairs whose factors are gathered at a time.
_CHUNK = 1 << 16


class Scoring(Recommending):
    """Scores and ranks of pairs, for every estimator that recommends."""

    @pinned
    def score(self, users: int | ArrayLike, items: int | ArrayLike) -> Any:
        """Score pairs of users and items as `recommend` does: w_i . h_j, with whatever else an estimator adds.

        Parameters
        ----------
        users, items : int or array of int
            Positions, not raw ids (`interactions.user_indices` and `item_indices` look those up), broadcast together:
            ``score(users[:, None], items)`` is a table of all pairs.

        Returns
        -------
        float64 array of their common shape, or float for two ints
            Summed in float64, so that `recommend`'s float32 scores differ in their last digits.

        Raises
        ------
        InputError
            For positions out of range, and shapes that do not broadcast; names the argument and the place.

        Examples
        --------
        >>> import numpy as np
        >>> from implicit_wmf import MostPopular
        >>> model = MostPopular().fit(np.array([[1, 0, 1], [0, 0, 1]]))
        >>> model.score([0, 1], [2, 0]).tolist()
        [2.0, 1.0]
        """

        def score(row: Positions, column: Positions) -> Floats:
            vectors, item_vectors = self._scoring_factors(row)
            return np.asarray(np.einsum("tk,tk->t", vectors, item_vectors[column], dtype=np.float64))

        return score_in_chunks(users, items, self._state().interactions.shape, score)

    @pinned
    def rank_counts(self, users: ArrayLike, targets: Any, seen: Any = None) -> tuple[Positions, Positions]:
        """Count how many candidates score higher than each target, and how many others score the same.

        With ties in either order, a target's rank among all items but those of `seen` is 1 + higher at best and
        1 + higher + equal at worst.

        Parameters
        ----------
        users : (k,) array of int
            Positions.
        targets : (k, items) sparse matrix
            The items to rank for each of them: its stored cells, whatever their values.
        seen : (k, items) sparse matrix, optional
            Stored cells are no candidates; no target may be among them.

        Returns
        -------
        higher, equal : int64 arrays, (targets.nnz,)
            In the order of the cells, row by row and by item; `equal` does not count the target itself.

        Raises
        ------
        InputError
            For positions out of range, matrices of another shape, targets that are seen, and scores that are not
            numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from scipy.sparse import csr_array
        >>> from implicit_wmf import MostPopular
        >>> model = MostPopular().fit(np.array([[1, 0, 1], [0, 0, 1]]))
        >>> higher, equal = model.rank_counts([1], csr_array([[1, 0, 0]]), csr_array([[0, 0, 1]]))
        >>> higher.tolist(), equal.tolist()
        ([0], [0])
        """
        fitted = self._state().interactions.shape
        rows = check_positions("users", users, fitted[0])
        shape = (rows.size, fitted[1])
        wanted = check_cells("targets", targets, shape)
        known = None if seen is None else check_cells("seen", seen, shape)
        return target_ranks.rank_counts(*self._scoring_factors(rows), wanted, known, self._threads())


def score_in_chunks(
    users: ArrayLike, items: ArrayLike, shape: tuple[int, int], score: Callable[[Positions, Positions], Floats]
) -> Any:
    """Score pairs of positions below `shape`, broadcast together, by a function of two 1-D arrays of them."""
    rows, columns = check_pairs(users, items, shape)
    out = np.empty(rows.shape)
    flat, row, column = out.reshape(-1), rows.reshape(-1), columns.reshape(-1)
    for begin in range(0, flat.size, _CHUNK):
        span = slice(begin, begin + _CHUNK)
        flat[span] = score(row[span], column[span])
    return out if out.ndim else float(out)


def check_pairs(users: ArrayLike, items: ArrayLike, shape: tuple[int, int]) -> tuple[Positions, Positions]:
    """Convert positions of users and items, scalars or arrays of any shape, and broadcast them together.

    Raises
    ------
    InputError
        If there is anything but whole numbers below the side of `shape` in them, or the shapes do not fit.
    """
    rows, columns = _positions("users", users, shape[0]), _positions("items", items, shape[1])
    try:
        rows, columns = np.broadcast_arrays(rows, columns)
    except ValueError as error:
        raise InputError(
            f"users and items have shapes {rows.shape} and {columns.shape}, which do not broadcast together"
        ) from error
    return rows, columns


def _positions(name: str, given: ArrayLike, count: int) -> Positions:
    refuse_masked(given, name)
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"{name} must be one index or an array of them ({error})") from error
    return check_positions(name, array.reshape(-1), count).reshape(array.shape)
