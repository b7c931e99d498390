"""Splits and metrics with the names, arguments and results of ``implicit.evaluation``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_matrix, issparse

from .._bars import Bar
from .._cells import cells_of_sparse, check_numbers
from ..errors import InputError
from ..evaluation import metrics
from ..evaluation.hits import hit_matrix
from ..parameters import whole
from ._implicit_data import ModelFitError, checked

_BATCH = 4096  # users a call of recommend


def generator(random_state: Any) -> np.random.Generator:
    """Make a generator of None, a seed, a Generator or an old RandomState."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise InputError(f"random_state: {random_state!r} is no seed ({error}); give a whole number >= 0") from error


def train_test_split(
    ratings: Any, train_percentage: float = 0.8, random_state: Any = None
) -> tuple[csr_matrix, csr_matrix]:
    """Put each stored cell to train with this probability, else to test, where only positive ones are kept."""
    cells = _cells_of("ratings", ratings)
    train = generator(random_state).random(len(cells.data)) < train_percentage
    return _take(cells, train), _take(cells, ~train & (cells.data > 0))


def leave_k_out_split(
    ratings: Any, K: int = 1, train_only_size: float = 0.0, random_state: Any = None
) -> tuple[csr_matrix, csr_matrix]:
    """Put K random cells of each user who has more than K + 1 to test, `train_only_size` of all users left out.

    Unlike the original's, the cells depend on `random_state` alone.
    """
    if K < 1:
        raise InputError(f"K must be at least 1, got {K}")
    if not 0 <= train_only_size < 1:
        raise InputError(f"train_only_size must be at least 0 and below 1, got {train_only_size}")
    cells, random = _cells_of("ratings", ratings), generator(random_state)
    users, place, counts = np.unique(cells.row, return_inverse=True, return_counts=True)
    eligible = counts > K + 1
    if train_only_size > 0:
        eligible &= ~np.isin(users, random.choice(users, int(users.size * train_only_size), replace=False))
    order = np.lexsort((random.random(place.size), place))
    rank = np.empty(place.size, np.int64)
    rank[order] = np.arange(place.size) - np.repeat(np.cumsum(counts) - counts, counts)
    test = eligible[place] & (rank < K)
    return _take(cells, ~test), _take(cells, test)


def _cells_of(name: str, matrix: Any) -> coo_array:
    """Take the cells as they are stored, once they were looked at: scipy would follow any index."""
    if not issparse(matrix):
        raise InputError(f"{name} must be a sparse matrix, got {type(matrix).__name__}")
    try:
        rows, columns, values = cells_of_sparse(matrix)
        check_numbers(values, "matrix")
    except InputError as error:
        raise ModelFitError(f"{name}: {error}") from error
    return coo_array((values, (rows, columns)), shape=matrix.shape)


def _take(cells: Any, chosen: NDArray[np.bool_]) -> csr_matrix:
    return csr_matrix((cells.data[chosen], (cells.row[chosen], cells.col[chosen])), shape=cells.shape)


def ranking_metrics_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: Any,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> dict[str, float]:
    """Compute precision, map, ndcg and auc of the model's first K over the users with test cells.

    Precision is all hits divided by the sum of min(K, test items of the user). The model's own `num_threads` counts.
    """
    whole(1)("K", K)
    train, test = checked("train_user_items", train_user_items), checked("test_user_items", test_user_items)
    if test.shape[1] != train.shape[1] or test.shape[0] > train.shape[0]:
        raise InputError(f"test_user_items has shape {test.shape}, train_user_items {train.shape}; give the same")
    users = np.flatnonzero(np.diff(test.indptr))
    if not users.size:
        raise InputError("test_user_items stores no cell; there is no user to test on")
    hits = np.empty((users.size, K), bool)
    starts = range(0, users.size, _BATCH)
    for start in Bar(starts, disable=not show_progress):
        rows = users[start : start + _BATCH]
        ids, _ = model.recommend(rows, train[rows], N=K)
        likes = test[rows]
        hits[start : start + len(rows)] = hit_matrix(ids, likes.indptr, likes.indices)
    relevant = np.diff(test.indptr)[users]
    return {
        "precision": float(hits.sum() / np.minimum(relevant, K).sum()),
        "map": float(metrics.average_precision(hits, relevant, K).mean()),
        "ndcg": float(metrics.ndcg(hits, relevant, K).mean()),
        "auc": _auc(hits, relevant, test.shape[1]),
    }


def _auc(hits: NDArray[np.bool_], relevant: NDArray[Any], items: int) -> float:
    """Mean share of (test item, other item) pairs in the right order; beyond the list in no order, so half of them.

    Of the users who have another item; NaN if nobody has.
    """
    misses, others = ~hits, items - relevant
    ordered = (misses * np.cumsum(hits, axis=1)).sum(axis=1)
    ordered = ordered + (hits.sum(axis=1) + relevant) / 2 * (others - misses.sum(axis=1))
    defined = others > 0
    return float((ordered[defined] / (relevant * others)[defined]).mean()) if defined.any() else float("nan")


def precision_at_k(*args: Any, **options: Any) -> float:
    """Precision of `ranking_metrics_at_k`, whose arguments it takes."""
    return ranking_metrics_at_k(*args, **options)["precision"]


def mean_average_precision_at_k(*args: Any, **options: Any) -> float:
    """Mean average precision of `ranking_metrics_at_k`, whose arguments it takes."""
    return ranking_metrics_at_k(*args, **options)["map"]


def ndcg_at_k(*args: Any, **options: Any) -> float:
    """Ndcg of `ranking_metrics_at_k`, whose arguments it takes."""
    return ranking_metrics_at_k(*args, **options)["ndcg"]


def AUC_at_k(*args: Any, **options: Any) -> float:
    """Area under the curve of `ranking_metrics_at_k`, whose arguments it takes."""
    return ranking_metrics_at_k(*args, **options)["auc"]
