"""What callers of ObservedMF give, checked: observed ratings, and pairs of positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from ..errors import InputError
from ..interactions import Interactions, as_interactions, refuse_store
from ..objectives.cells import values_at
from ..objectives.inputs import real_matrix
from ..objectives.squares import observed_cells

Positions = NDArray[np.int64]


def as_ratings(ratings: Any, observed: Any) -> Interactions:
    """Take the observed ratings, with their raw ids if they have some, as interactions with a stored cell each.

    Raises
    ------
    InputError
        If nothing is observed, a dense array comes without `observed`, an observed rating is not a finite number,
        shapes do not fit, or a store is given.
    """
    refuse_store(ratings, "ratings")
    if observed is not None:
        return _select(ratings, observed)
    if isinstance(ratings, Interactions):
        data = ratings
    elif issparse(ratings):
        data = as_interactions(ratings, "ratings")
    else:
        raise InputError(
            f"observed: which cells of the {type(ratings).__name__} are ratings? Give a boolean mask, a sparse pattern "
            f"or a tuple (rows, columns), or give ratings as Interactions or a sparse matrix"
        )
    if data.nnz == 0:
        raise InputError(
            f"ratings: none are observed in {data.shape[0]} users x {data.shape[1]} items; give at least one"
        )
    return data


def _select(ratings: Any, observed: Any) -> Interactions:
    """Take the cells of `observed` only."""
    users = items = None
    if isinstance(ratings, Interactions):
        users, items, ratings = ratings.users, ratings.items, ratings.matrix
    matrix = ratings if issparse(ratings) else real_matrix("ratings", ratings)
    cells = observed_cells(observed, matrix.shape)
    values = values_at("ratings", matrix, cells)
    return Interactions.from_triples(cells.rows, cells.columns, values, shape=cells.shape, users=users, items=items)
