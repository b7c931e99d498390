"""Ranking metrics per user, all read from one matrix of hits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

MetricFunction = Callable[[NDArray[np.bool_], NDArray[np.integer], int], NDArray[np.float64]]


def recall(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Share of a user's relevant items that are among the first k: hits / number of relevant items.

    The set-based recall of Manning, Raghavan and Schuetze 2008, "Introduction to Information Retrieval", section 8.3,
    at a cut-off. A user with more than k relevant items cannot reach 1; other programs divide by min(k, relevant).

    Parameters
    ----------
    hits
        Booleans (users, N), N >= k, from `hit_matrix`: whether the item at each rank is relevant.
    relevant
        Integers (users,): how many relevant items each user has.
    k
        How many ranks count.

    Returns
    -------
    numpy.ndarray
        float64 (users,); NaN for a user without relevant items, for whom no metric of this module is defined.
    """
    return _where_defined(hits[:, :k].sum(axis=1) / np.maximum(relevant, 1), relevant)


def precision(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Share of the first k ranks that are hits: hits / k, also where the list is shorter than k.

    Manning, Raghavan and Schuetze 2008, section 8.4 ("precision at k"). Parameters and result as in `recall`.
    """
    return _where_defined(hits[:, :k].sum(axis=1) / k, relevant)


def hit(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """1 where at least one of the first k ranks is a hit, else 0.

    The hit rate of Deshpande and Karypis 2004, "Item-based top-N recommendation algorithms", section 6.2, there with
    one relevant item a user. Parameters and result as in `recall`.
    """
    return _where_defined(hits[:, :k].any(axis=1).astype(np.float64), relevant)


def mrr(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """1 / rank of the first hit, 0 without a hit in the first k; its mean is the mean reciprocal rank.

    Voorhees 1999, "The TREC-8 question answering track report". Parameters and result as in `recall`.
    """
    return _where_defined((hits[:, :k] / np.arange(1, k + 1)).max(axis=1), relevant)


def average_precision(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Sum over the hits of the precision at their rank, divided by min(k, relevant); its mean is map@k.

    Manning, Raghavan and Schuetze 2008, equation 8.8, cut at k. Dividing by min(k, relevant) and not by all relevant
    items lets a perfect list reach 1 whatever k is, as in ndcg. Parameters and result as in `recall`.
    """
    first = hits[:, :k]
    precision_at_rank = np.cumsum(first, axis=1) / np.arange(1, k + 1)
    return _where_defined((first * precision_at_rank).sum(axis=1) / np.clip(relevant, 1, k), relevant)


def ndcg(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Sum over the hits of 1 / log2(1 + rank), divided by the same sum of a perfect list.

    Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques", with binary relevance and the
    discount 1 / log2(1 + rank); the perfect list has hits in its first min(k, relevant) ranks. Parameters and result
    as in `recall`.
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.clip(relevant, 1, k) - 1]
    return _where_defined((hits[:, :k] * discount).sum(axis=1) / ideal, relevant)


METRICS: dict[str, MetricFunction] = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "hit": hit,
    "mrr": mrr,
    "map": average_precision,
}


@dataclass(frozen=True)
class Metric:
    """One metric at one cut-off, such as ``ndcg@10``."""

    name: str
    k: int
    function: MetricFunction

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"


def parse_metric(text: str) -> Metric:
    """Read a metric's name.

    Parameters
    ----------
    text
        ``name@k``: a key of `METRICS`, and how many ranks count.

    Raises
    ------
    InputError
        If the name is not known, or k is not a whole number from 1 on.

    Examples
    --------
    >>> metric = parse_metric("ndcg@10")
    >>> metric.name, metric.k
    ('ndcg', 10)
    """
    known = ", ".join(f"{name}@k" for name in METRICS)
    match = re.fullmatch(r"([a-z_]+)@([0-9]+)", text) if isinstance(text, str) else None
    if match is None:
        raise InputError(f"metrics: {text!r} is not of the form name@k, for example 'ndcg@10'; known are {known}")
    name, k = match[1], int(match[2])
    if name not in METRICS:
        raise InputError(f"metrics: {name!r} in {text!r} is not known; known are {known}")
    if k < 1:
        raise InputError(f"metrics: k in {text!r} must be at least 1")
    return Metric(name, k, METRICS[name])


def parse_metrics(metrics: str | Iterable[str]) -> list[Metric]:
    """Read one metric's name or several, as `parse_metric` does, and refuse none at all or one twice."""
    parsed = [parse_metric(text) for text in ([metrics] if isinstance(metrics, str) else metrics)]
    if not parsed:
        raise InputError("metrics: no metric was named; give at least one, for example ('recall@10', 'ndcg@10')")
    names = [str(metric) for metric in parsed]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"metrics: {twice[0]!r} is named {names.count(twice[0])} times; name it once")
    return parsed


def score_lists(
    ids: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer], metrics: str | Iterable[str]
) -> dict[str, NDArray[np.float64]]:
    """Compute metrics for each user from recommended lists.

    Parameters
    ----------
    ids
        Integers (users, N): each user's recommended items, best first, each at most once; -1 never hits.
    indptr, indices
        The relevant items of the same users in CSR form: user u's are ``indices[indptr[u]:indptr[u + 1]]``, each once.
    metrics
        Names such as ``"recall@10"``; see `METRICS` for the known ones.

    Returns
    -------
    dict of str to numpy.ndarray
        For each metric float64 (users,); NaN for users without relevant items.

    Raises
    ------
    InputError
        If a name is not known, or a cut-off is larger than N.

    Examples
    --------
    >>> import numpy as np
    >>> values = score_lists(np.array([[7, 3, 5]]), np.array([0, 2]), np.array([3, 4]), ["recall@3", "mrr@3"])
    >>> {name: float(value[0]) for name, value in values.items()}
    {'recall@3': 0.5, 'mrr@3': 0.5}
    """
    parsed = parse_metrics(metrics)
    longest = max(parsed, key=lambda metric: metric.k)
    if longest.k > ids.shape[1]:
        raise InputError(f"metrics: {longest} needs lists of {longest.k} ids, but ids has shape {ids.shape}")
    hits = hit_matrix(ids, indptr, indices)
    relevant = np.diff(indptr)
    return {str(metric): metric.function(hits, relevant, metric.k) for metric in parsed}


def hit_matrix(
    ids: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell for each recommended id (users, N) whether it is among the same user's targets, given in CSR form."""
    rows = np.repeat(np.arange(ids.shape[0]), ids.shape[1])
    return stored_pairs(rows, ids.ravel(), indptr, indices).reshape(ids.shape)


def stored_pairs(
    rows: NDArray[np.integer], columns: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell for each pair (row, column) whether a CSR matrix stores it; negative columns are never stored."""
    width = 1 + max(int(columns.max(initial=0)), int(indices.max(initial=0)))
    stored_rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    # A bisection of sorted keys takes a tenth of the time of numpy.isin, which sorts both sides together.
    stored = np.sort(stored_rows * width + indices)
    wanted = rows.astype(np.int64) * width + columns
    if not stored.size:
        return np.zeros(wanted.shape, dtype=bool)
    found = stored.take(np.searchsorted(stored, wanted), mode="clip") == wanted
    # The key of a negative column would name the last columns of the row before.
    return np.asarray(found & (columns >= 0))


def _where_defined(values: Any, relevant: NDArray[np.integer]) -> NDArray[np.float64]:
    """Put NaN where a user has no relevant items."""
    return np.where(relevant > 0, values, np.nan)
