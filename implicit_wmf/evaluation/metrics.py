"""Ranking metrics per user: their names, their definitions, and what is read from recommended lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .._csr import rows_of_cells
from ..errors import InputError
from ..threads import run_blocks
from .list_checks import check_distinct, check_hits, check_rows, whole_numbers

MetricFunction = Callable[[NDArray[np.bool_], NDArray[np.integer], int], NDArray[np.float64]]

_BLOCK = 1024  # users; a block of them takes less than a millisecond
_CELLS = 1 << 20  # of `by_rank` at a time


def recall(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Share of a user's relevant items that are among the first k: hits / number of relevant items.

    The set-based recall of Manning, Raghavan and Schuetze 2008, "Introduction to Information Retrieval", section 8.3,
    at a cut-off. A user with more than k relevant items cannot reach 1; `capped_recall` is the other definition in use.

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

    Raises
    ------
    InputError
        If hits are no table of booleans, `relevant` does not fit it, or k is not from 1 to N.
    """
    return _one_measure("recall", hits, relevant, k)


def capped_recall(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Hits among the first k / min(k, number of relevant items), so that a perfect list reaches 1 whatever k is.

    Called Recall@R by Liang, Krishnan, Hoffman and Jebara 2018, "Variational autoencoders for collaborative filtering",
    and by the papers that compare with it. Parameters and result as in `recall`.
    """
    return _one_measure("capped_recall", hits, relevant, k)


def precision(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Share of the first k ranks that are hits: hits / k, also where the list is shorter than k.

    Manning, Raghavan and Schuetze 2008, section 8.4 ("precision at k"). Parameters and result as in `recall`.
    """
    return _one_measure("precision", hits, relevant, k)


def hit(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """1 where at least one of the first k ranks is a hit, else 0.

    The hit rate of Deshpande and Karypis 2004, "Item-based top-N recommendation algorithms", section 6.2, there with
    one relevant item a user. Parameters and result as in `recall`.
    """
    return _one_measure("hit", hits, relevant, k)


def mrr(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """1 / rank of the first hit, 0 without a hit in the first k; its mean is the mean reciprocal rank.

    Voorhees 1999, "The TREC-8 question answering track report". Parameters and result as in `recall`.
    """
    return _one_measure("mrr", hits, relevant, k)


def average_precision(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Sum over the hits of the precision at their rank, divided by min(k, relevant); its mean is map@k.

    Manning, Raghavan and Schuetze 2008, equation 8.8, cut at k. Dividing by min(k, relevant) and not by all relevant
    items, as trec_eval does, lets a perfect list reach 1 whatever k is, as in ndcg. Parameters and result as in
    `recall`.
    """
    return _one_measure("map", hits, relevant, k)


def ndcg(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Sum over the hits of 1 / log2(1 + rank), divided by the same sum of a perfect list.

    Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques", with binary relevance and the
    discount 1 / log2(1 + rank); the perfect list has hits in its first min(k, relevant) ranks. Parameters and result
    as in `recall`.
    """
    return _one_measure("ndcg", hits, relevant, k)


METRICS: dict[str, MetricFunction] = {
    "recall": recall,
    "capped_recall": capped_recall,
    "ndcg": ndcg,
    "precision": precision,
    "hit": hit,
    "mrr": mrr,
    "map": average_precision,
}

# What takes more than hits, measured by `evaluate`: defined in the modules `ranks` and `catalogue`.
RANK_METRICS = ("auc",)
CATALOGUE_METRICS = ("popularity_rank", "coverage", "gini")


@dataclass(frozen=True)
class Metric:
    """One metric at one cut-off, such as ``ndcg@10``; k is 0 for ``auc``, which has none."""

    name: str
    k: int

    def __str__(self) -> str:
        return f"{self.name}@{self.k}" if self.k else self.name


def parse_metric(text: str) -> Metric:
    """Read a metric's name.

    Parameters
    ----------
    text
        ``name@k``: a key of `METRICS`, or one of popularity_rank, coverage and gini, and how many ranks count; or
        ``auc``, which has no cut-off.

    Raises
    ------
    InputError
        If the name is not known, or k is not a whole number from 1 to 2**31 - 1.

    Examples
    --------
    >>> metric = parse_metric("ndcg@10")
    >>> metric.name, metric.k
    ('ndcg', 10)
    """
    at_k = (*METRICS, *CATALOGUE_METRICS)
    known = ", ".join([*(f"{name}@k" for name in at_k), *RANK_METRICS])
    match = re.fullmatch(r"([a-z_]+)(@([0-9]+))?", text) if isinstance(text, str) else None
    if match is None or (match[2] is None and match[1] in at_k):
        raise InputError(f"metrics: {text!r} is not of the form name@k, for example 'ndcg@10'; known are {known}")
    name = match[1]
    if name in RANK_METRICS and match[2]:
        raise InputError(f"metrics: {text!r} has a cut-off, but {name} looks at the whole catalogue; name it {name!r}")
    if name not in at_k and name not in RANK_METRICS:
        raise InputError(f"metrics: {name!r} in {text!r} is not known; known are {known}")
    k = int(match[3] or 0)
    if not 1 <= k < 2**31 and name in at_k:
        raise InputError(f"metrics: k in {text!r} must be at least 1, and below 2**31")
    return Metric(name, k)


def parse_metrics(metrics: str | Iterable[str], *, of_hits: bool = True) -> list[Metric]:
    """Read one metric's name or several, as `parse_metric` does.

    Refuses none at all, one twice and, with `of_hits`, what `score_lists` cannot read from lists and targets alone.
    """
    if not isinstance(metrics, str | Iterable):
        raise InputError(f"metrics is {metrics!r}; give a name such as 'ndcg@10', or several")
    parsed = [parse_metric(text) for text in ([metrics] if isinstance(metrics, str) else metrics)]
    if not parsed:
        raise InputError("metrics: no metric was named; give at least one, for example ('recall@10', 'ndcg@10')")
    names = [str(metric) for metric in parsed]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"metrics: {twice[0]!r} is named {names.count(twice[0])} times; name it once")
    other = [str(metric) for metric in parsed if metric.name not in METRICS]
    if of_hits and other:
        raise InputError(
            f"metrics: {other[0]!r} needs more than a list and its targets, which are all there is here; known are "
            f"{', '.join(f'{name}@k' for name in METRICS)}"
        )
    return parsed


def score_lists(
    ids: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer], metrics: str | Iterable[str]
) -> dict[str, NDArray[np.float64]]:
    """Compute metrics for each user from recommended lists.

    Parameters
    ----------
    ids
        Integers (users, N): each user's recommended items, best first, each at most once; -1 is no item.
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
        If a name is not known or not one of `METRICS`, a cut-off is larger than N, or the arrays are not what is said
        above: of other shapes, not whole numbers, an `indptr` that does not fit, an item twice; names the place.

    Examples
    --------
    >>> import numpy as np
    >>> values = score_lists(np.array([[7, 3, 5]]), np.array([0, 2]), np.array([3, 4]), ["recall@3", "mrr@3"])
    >>> {name: float(value[0]) for name, value in values.items()}
    {'recall@3': 0.5, 'mrr@3': 0.5}
    """
    parsed, lists = parse_metrics(metrics), whole_numbers("ids", ids, 2)
    longest = max(parsed, key=lambda metric: metric.k)
    if longest.k > lists.shape[1]:
        raise InputError(f"metrics: {longest} needs lists of {longest.k} ids, but ids has shape {lists.shape}")
    check_distinct(lists)
    return score_distinct(lists, indptr, indices, parsed)


def score_distinct(
    ids: NDArray[np.int64], indptr: NDArray[np.integer], indices: NDArray[np.integer], metrics: Sequence[Metric]
) -> dict[str, NDArray[np.float64]]:
    """Compute metrics as `score_lists` does, from lists that hold no item twice and have ended where they are short."""
    cutoffs = sorted({metric.k for metric in metrics})
    hits = hit_matrix(ids[:, : cutoffs[-1]], indptr, indices)
    measured = _measures(hits, np.diff(indptr), cutoffs)
    return {str(metric): measured[metric.name][cutoffs.index(metric.k)] for metric in metrics}


def hit_matrix(
    ids: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell for each recommended id (users, N) whether it is among the same user's targets, given in CSR form."""
    asked = _integers(whole_numbers("ids", ids, 2))
    starts, cells = map(_integers, check_rows(indptr, indices, len(asked)))
    hits = np.empty(asked.shape, dtype=bool)
    run_in_blocks(lambda start, stop: kernels.metrics.find_hits(start, stop, asked, starts, cells, hits), len(asked))
    return hits


def by_rank(metric: Metric, ranks: int) -> NDArray[np.float64]:
    """Return a metric of a single relevant item at each of the first so many ranks, of which k is not fewer."""
    parts = []
    length = max(1, _CELLS // ranks)
    for start in range(0, ranks, length):
        hits = np.eye(min(length, ranks - start), ranks, start, dtype=bool)
        parts.append(_measures(hits, np.ones(len(hits), np.int64), [metric.k])[metric.name][0])
    return np.concatenate(parts)


def run_in_blocks(task: Callable[[int, int], None], users: int) -> None:
    """Call ``task(start, stop)`` for blocks of users, on several threads."""

    def block(number: int) -> None:
        task(number * _BLOCK, min((number + 1) * _BLOCK, users))

    run_blocks(block, -(-users // _BLOCK))


def stored_pairs(
    rows: NDArray[np.integer], columns: NDArray[np.integer], indptr: NDArray[np.integer], indices: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell for each pair (row, column) whether a CSR matrix stores it; negative columns are never stored."""
    width = 1 + max(int(columns.max(initial=0)), int(indices.max(initial=0)))
    stored_rows = rows_of_cells(indptr)
    # A bisection of sorted keys takes a tenth of the time of numpy.isin, which sorts both sides together.
    stored = stored_rows * width + indices
    if (stored[1:] < stored[:-1]).any():  # never of Interactions, whose rows are sorted
        stored.sort()
    wanted = rows.astype(np.int64) * width + columns
    if not stored.size:
        return np.zeros(wanted.shape, dtype=bool)
    found = stored.take(np.searchsorted(stored, wanted), mode="clip") == wanted
    # The key of a negative column would name the last columns of the row before.
    return np.asarray(found & (columns >= 0))


def _one_measure(name: str, hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    values: NDArray[np.float64] = _measures(*check_hits(hits, relevant, k), [int(k)])[name][0]
    return values


def _measures(
    hits: NDArray[np.bool_], relevant: NDArray[Any], cutoffs: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Compute all measures of lists at ascending cut-offs, each (cutoffs, users); ranks beyond the list are no hits."""
    # no more discounts than lists and perfect lists have ranks: a cut-off may be any number
    ranks = min(cutoffs[-1], max(hits.shape[1], int(relevant.max(initial=0))))
    discounts = 1.0 / np.log2(np.arange(2, ranks + 2))
    ideals, counts, ends = np.cumsum(discounts), _integers(relevant), np.array(cutoffs, dtype=np.int64)
    flags = kernels.jit.read_only(np.ascontiguousarray(hits))
    out = np.empty((len(kernels.metrics.MEASURES), len(cutoffs), len(hits)))
    run_in_blocks(
        lambda start, stop: kernels.metrics.measure_hits(start, stop, flags, counts, ends, discounts, ideals, out),
        len(hits),
    )
    return dict(zip(kernels.metrics.MEASURES, out, strict=True))


def _integers(array: NDArray[Any]) -> NDArray[np.int64]:
    """Convert to the one type that the kernels are compiled for."""
    whole: NDArray[np.int64] = kernels.jit.read_only(np.ascontiguousarray(array, dtype=np.int64))
    return whole
