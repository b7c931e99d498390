"""Ranking metrics per user: their definitions, their names, and what is read from recommended lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .catalogue import OF_ALL_LISTS, OF_EACH_LIST
from .hits import Floats, Tally, hit_matrix, run_in_blocks, tallies
from .list_checks import check_distinct, check_hits, whole_numbers
from .ranks import OF_RANKS

_CELLS = 1 << 20  # of `by_rank` at a time


class MetricFunction(Protocol):
    """A metric of lists, as a function of their hits."""

    def __call__(self, hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> Floats:
        """Return the metric of each user.

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


Definition = Callable[[Tally], NDArray[Any]]

METRICS: dict[str, MetricFunction] = {}
_DEFINITIONS: dict[str, Definition] = {}


def _metric(name: str) -> Callable[[Definition], MetricFunction]:
    """Give a definition over the `Tally` of lists its name, and make a `MetricFunction` of it."""

    def register(define: Definition) -> MetricFunction:
        def metric(hits: NDArray[np.bool_], relevant: NDArray[np.integer], k: int) -> Floats:
            return _values(*check_hits(hits, relevant, k), [Metric(name, int(k))])[0]

        _, _, sections = (getdoc(MetricFunction.__call__) or "").partition("\n\n")
        metric.__name__, metric.__qualname__ = define.__name__, define.__qualname__
        metric.__doc__ = f"{getdoc(define)}\n\n{sections}"
        METRICS[name], _DEFINITIONS[name] = metric, define
        return metric

    return register


def _values(hits: NDArray[np.bool_], relevant: NDArray[np.integer], metrics: Sequence[Metric]) -> list[Floats]:
    """Compute each of some metrics, (users,), from hits (users, N)."""
    values, cutoffs = list(np.empty((len(metrics), len(hits)))), sorted({metric.k for metric in metrics})

    def measure(start: int, stop: int) -> None:
        at = {tally.k: tally for tally in tallies(hits[start:stop], relevant[start:stop], cutoffs)}
        for metric, row in zip(metrics, values, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):  # of users without relevant items
                found = _DEFINITIONS[metric.name](at[metric.k])
            row[start:stop] = np.where(relevant[start:stop] > 0, found, np.nan)

    # of more users at once the arrays leave the caches and are paged in anew: 8 % slower; of fewer NumPy's calls count
    run_in_blocks(measure, len(hits), 8)
    return values


@_metric("recall")
def recall(tally: Tally) -> NDArray[Any]:
    """Share of a user's relevant items that are among the first k: hits / number of relevant items.

    The set-based recall of Manning, Raghavan and Schuetze 2008, "Introduction to Information Retrieval", section 8.3,
    at a cut-off. A user with more than k relevant items cannot reach 1; `capped_recall` is the other definition in use.
    """
    return tally.found / tally.relevant


@_metric("capped_recall")
def capped_recall(tally: Tally) -> NDArray[Any]:
    """Hits among the first k / min(k, number of relevant items), so that a perfect list reaches 1 whatever k is.

    Called Recall@R by Liang, Krishnan, Hoffman and Jebara 2018, "Variational autoencoders for collaborative filtering",
    and by the papers that compare with it.
    """
    return tally.found / tally.best


@_metric("ndcg")
def ndcg(tally: Tally) -> NDArray[Any]:
    """Sum over the hits of 1 / log2(1 + rank), divided by the same sum of a perfect list.

    Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques", with binary relevance and the
    discount 1 / log2(1 + rank); the perfect list has hits in its first min(k, relevant) ranks.
    """
    return tally.gain / tally.ideal


@_metric("precision")
def precision(tally: Tally) -> NDArray[Any]:
    """Share of the first k ranks that are hits: hits / k, also where the list is shorter than k.

    Manning, Raghavan and Schuetze 2008, section 8.4 ("precision at k").
    """
    return tally.found / tally.k


@_metric("hit")
def hit(tally: Tally) -> NDArray[Any]:
    """1 where at least one of the first k ranks is a hit, else 0.

    The hit rate of Deshpande and Karypis 2004, "Item-based top-N recommendation algorithms", section 6.2, there with
    one relevant item a user.
    """
    return tally.found > 0


@_metric("mrr")
def mrr(tally: Tally) -> NDArray[Any]:
    """1 / rank of the first hit, 0 without a hit in the first k; its mean is the mean reciprocal rank.

    Voorhees 1999, "The TREC-8 question answering track report".
    """
    return 1 / tally.first


@_metric("map")
def average_precision(tally: Tally) -> NDArray[Any]:
    """Sum over the hits of the precision at their rank, divided by min(k, relevant); its mean is map@k.

    Manning, Raghavan and Schuetze 2008, equation 8.8, cut at k. Dividing by min(k, relevant) and not by all relevant
    items, as trec_eval does, lets a perfect list reach 1 whatever k is, as in ndcg.
    """
    return tally.precisions / tally.best


@dataclass(frozen=True)
class Metric:
    """One metric at one cut-off, such as ``ndcg@10``.

    Parameters
    ----------
    name : str
        As `parse_metric` knows it.
    k : int
        How many ranks count; 0 for ``auc``, which has no cut-off.
    """

    name: str
    k: int

    def __str__(self) -> str:
        return f"{self.name}@{self.k}" if self.k else self.name


def parse_metric(text: str) -> Metric:
    """Read a metric's name.

    Parameters
    ----------
    text : str
        ``name@k``: a key of `METRICS`, or one of popularity_rank, coverage and gini, and how many ranks count; or
        ``auc``, which has no cut-off.

    Returns
    -------
    Metric
        Its name and cut-off.

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
    at_k = (*METRICS, *OF_EACH_LIST, *OF_ALL_LISTS)
    known = ", ".join([*(f"{name}@k" for name in at_k), *OF_RANKS])
    match = re.fullmatch(r"([a-z_]+)(@([0-9]+))?", text) if isinstance(text, str) else None
    if match is None or (match[2] is None and match[1] in at_k):
        raise InputError(f"metrics: {text!r} is not of the form name@k, for example 'ndcg@10'; known are {known}")
    name = match[1]
    if name in OF_RANKS and match[2]:
        raise InputError(f"metrics: {text!r} has a cut-off, but {name} looks at the whole catalogue; name it {name!r}")
    if name not in at_k and name not in OF_RANKS:
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
    ids : (users, N) array of int
        Each user's recommended items, best first, each at most once; -1 is no item.
    indptr, indices : (users + 1,) and (any,) arrays of int
        The relevant items of the same users in CSR form: user u's are ``indices[indptr[u]:indptr[u + 1]]``, each once.
    metrics : str or sequence of str
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
    hits = hit_matrix(ids[:, : max(metric.k for metric in metrics)], indptr, indices)
    return dict(zip(map(str, metrics), _values(hits, np.diff(indptr), metrics), strict=True))


def by_rank(metric: Metric, ranks: int) -> NDArray[np.float64]:
    """Return a metric of a single relevant item at each of the first so many ranks, of which k is not fewer."""
    parts = []
    length = max(1, _CELLS // ranks)
    for start in range(0, ranks, length):
        hits = np.eye(min(length, ranks - start), ranks, start, dtype=bool)
        parts.append(_values(hits, np.ones(len(hits), np.int64), [metric])[0])
    return np.concatenate(parts)
