"""What lists show of the catalogue: how many of its items, how evenly, and how popular they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._csr import positive_in_columns
from .hits import Floats


def popularity_ranks(matrix: Any) -> Floats:
    """Rank items by the number of users with a positive value: 1 for the most popular, ties share their mean."""
    users = positive_in_columns(matrix)
    _, place, count = np.unique(-users, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    return np.asarray(mean_rank[place])


def popularity_rank(ids: NDArray[np.integer], ranks: Floats, k: int) -> Floats:
    """Mean popularity rank of a user's first k items: the higher, the more novel the list.

    Novelty by popularity as in Vargas and Castells 2011, "Rank and relevance in novelty and diversity metrics for
    recommender systems", with the rank in train as the measure of popularity (1 = most users), as by Celma and Herrera
    2008, "A new approach to evaluating novel recommendations". From lists (users, N), in which -1 is no item, and
    `popularity_ranks`; NaN for an empty list.
    """
    first = ids[:, :k]
    listed = first >= 0
    count = listed.sum(axis=1)
    total = np.where(listed, ranks[first], 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def coverage(exposure: NDArray[np.integer]) -> float:
    """Share of all items that stand in anybody's list.

    Catalogue coverage of Ge, Delgado-Battenfeld and Jannach 2010, "Beyond accuracy: evaluating recommender systems by
    coverage and serendipity". It grows with the number of users. `exposure`, (items,), counts the lists of each item.
    """
    return float(np.count_nonzero(exposure) / exposure.size)


def gini(exposure: NDArray[np.integer]) -> float:
    """Gini index of how often items are recommended: 0 if all are equally often, 1 if it is always the same one.

    sum_j (2 j - n - 1) x_j / ((n - 1) sum_j x_j) over the n items of the catalogue in ascending order of exposure x_j,
    j from 1: Shani and Gunawardana 2011, "Evaluating recommendation systems", on item space coverage. NaN if nothing
    was recommended, and for a single item. Parameter as in `coverage`.
    """
    n, total = exposure.size, int(exposure.sum())
    if n < 2 or total == 0:
        return float("nan")
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float(weights @ np.sort(exposure) / ((n - 1) * total))


# By the names that `evaluate` takes: what each list has, and what all lists have together.
OF_EACH_LIST = {"popularity_rank": popularity_rank}
OF_ALL_LISTS = {"coverage": coverage, "gini": gini}


class Exposure:
    """Counts in how many lists each of so many items stands, among the first k for several k."""

    def __init__(self, items: int, cutoffs: Iterable[int]) -> None:
        self.counts = {k: np.zeros(items, dtype=np.int64) for k in cutoffs}

    def add(self, ids: NDArray[np.integer]) -> None:
        """Take in lists (users, N)."""
        for k, counts in self.counts.items():
            shown = ids[:, :k]
            counts += np.bincount(shown[shown >= 0], minlength=counts.size)
