"""What quality is measured on: training counts, and a way to measure factors fitted to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from implicit_wmf import Interactions, ranking
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import (
    draw_negatives,
    evaluate,
    evaluate_sampled,
    leave_one_out,
    split_by_time,
    split_random,
)
from implicit_wmf.tables import read_events

from ..data import data_file, load, ncf_files

NCF = "ml-1m-ncf"
RETAIL = "online_retail"
SAMPLED_METRICS = ("hit@10", "ndcg@10")
CATALOGUE_METRICS = ("recall@20", "ndcg@20")
TEST_FRACTION = 0.2
SPLIT_SEED = 0
NEGATIVES = 99  # as in the published test part
SCORED_PAIRS = 1 << 13  # whose factors are gathered at a time: few, so that they stay in the cache


@dataclass(frozen=True)
class Source:
    """Where the interactions come from; columns are needed only for a split in time."""

    data: str
    user: str | None = None
    item: str | None = None
    value: str | None = None
    timestamp: str | None = None

    def settings(self) -> dict[str, str | None]:
        """Keyword arguments of this class, for a job's JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Problem:
    """Counts (users, items) to fit, and `measure`, which makes a table as `evaluate` does of a model."""

    counts: scipy.sparse.csr_array
    metrics: tuple[str, ...]
    protocol: str
    measure: Callable[..., pd.DataFrame]


class Lists:
    """Any contestant's factors as a model, so that one code scores and ranks for all of them."""

    def __init__(self, users: np.ndarray, items: np.ndarray, counts: scipy.sparse.csr_array) -> None:
        for side, factors in (("user", users), ("item", items)):
            if not np.isfinite(factors).all():
                raise InputError(f"the {side} factors are not all finite; the fit has diverged")
        self._users, self._items, self._counts = users, items, counts

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Inner products of pairs of positions that broadcast together."""
        rows, columns = np.broadcast_arrays(users, items)
        scores = np.empty(rows.shape)
        flat, row, column = scores.reshape(-1), rows.reshape(-1), columns.reshape(-1)
        for begin in range(0, flat.size, SCORED_PAIRS):
            span = slice(begin, begin + SCORED_PAIRS)
            flat[span] = np.einsum("tk,tk->t", self._users[row[span]], self._items[column[span]], dtype=np.float64)
        return scores

    def recommend(
        self, users: np.ndarray, N: int = 10, filter_already_liked_items: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank the whole catalogue, ties by position; ids and scores (users, N), short lists ending in -1 and NaN.

        By the package's exact top-N, for all contestants: a sort of dense scores took 34 s per 1,024 users of Last.fm
        360K's size.
        """
        vectors = np.ascontiguousarray(self._users[users], dtype=self._items.dtype)
        seen = self._counts[users] if filter_already_liked_items else None
        if seen is not None:
            seen.sort_indices()
        return ranking.recommend(vectors, self._catalogue, seen, N=N)

    @cached_property
    def _catalogue(self) -> ranking.Catalogue:
        items = np.ascontiguousarray(self._items)
        return ranking.Catalogue(items, np.arange(len(items), dtype=np.int32))


def load_problem(source: Source, cache: Path) -> Problem:
    """Read and split; InputError for what is absent or cannot be split."""
    if source.data == NCF:
        return _sampled()
    train, test, protocol = _parts(source, cache)

    def measure(model: Any, **options: Any) -> pd.DataFrame:
        return evaluate(model, train, test, metrics=CATALOGUE_METRICS, batch_size=1024, **options)

    return Problem(_positive(train), CATALOGUE_METRICS, protocol, measure)


def _sampled() -> Problem:
    train_file, test_file = ncf_files()
    train, test = pd.read_parquet(train_file, columns=["user", "item"]), pd.read_parquet(test_file)
    users, positives, negatives = test["user"].to_numpy(), test["item"].to_numpy(), np.stack(test["negatives"])
    shape = 1 + max(train["user"].max(), users.max()), 1 + max(train["item"].max(), positives.max(), negatives.max())
    counts = scipy.sparse.csr_array((np.ones(len(train), np.float32), (train["user"], train["item"])), shape=shape)
    counts.sum_duplicates()
    counts.data[:] = 1.0

    def measure(model: Any, **options: Any) -> pd.DataFrame:
        return evaluate_sampled(model, users, positives, negatives, metrics=SAMPLED_METRICS, **options)

    protocol = (
        "MovieLens 1M in the split of He et al. 2017: each user's last item is ranked among 99 negatives, those of the "
        "published files. Ties count against a model."
    )
    return Problem(counts, SAMPLED_METRICS, protocol, measure)


def _parts(source: Source, cache: Path) -> tuple[Interactions, Interactions, str]:
    ranked = "Every item of the catalogue that the user does not have in train is ranked, by `evaluate`."
    if source.data == RETAIL:
        # a line an invoice: quantities go to the thousands
        events = load_online_retail().drop_duplicates(["customer", "product", "invoice"])
        train, test = split_by_time(
            events, user="customer", item="product", timestamp="day", test_fraction=TEST_FRACTION
        )
        return train, test, f"Counts are invoices; tested on the last {TEST_FRACTION:.0%} of the lines. {ranked}"
    if source.timestamp is not None:
        columns = {"user": source.user, "item": source.item, "value": source.value, "timestamp": source.timestamp}
        events = read_events(source.data, **columns)
        train, test = split_by_time(events, **columns, test_fraction=TEST_FRACTION)
        return train, test, f"Tested on the last {TEST_FRACTION:.0%} of the lines by {source.timestamp!r}. {ranked}"
    counts = load(str(data_file(cache, source.data)))
    train, test = split_random(counts, test_fraction=TEST_FRACTION, within_users=True, random_state=SPLIT_SEED)
    return train, test, f"Tested on {TEST_FRACTION:.0%} of each user's pairs, drawn with seed {SPLIT_SEED}. {ranked}"


def validation_problem(problem: Problem) -> Problem:
    """Carve a validation part out of the training counts: what is chosen by it has not seen the test part.

    It is made as the test part is: with sampled negatives a pair of each user, elsewhere a tenth of each user's pairs.
    The published split has no times, so the pair is any of the user's, not the last.
    """
    seed = SPLIT_SEED + 1
    if problem.metrics == SAMPLED_METRICS:
        train, test = leave_one_out(problem.counts, pick="random", random_state=seed)
        cases = draw_negatives(train, test, NEGATIVES, random_state=seed)

        def measure(model: Any, **options: Any) -> pd.DataFrame:
            return evaluate_sampled(model, *cases, metrics=SAMPLED_METRICS, **options)

        part = f"one pair of each user's training pairs, drawn with seed {seed}, among {NEGATIVES} drawn negatives"
    else:
        train, test = split_random(problem.counts, test_fraction=0.1, within_users=True, random_state=seed)

        def measure(model: Any, **options: Any) -> pd.DataFrame:
            return evaluate(model, train, test, metrics=CATALOGUE_METRICS, batch_size=1024, **options)

        part = f"a tenth of each user's training pairs, drawn with seed {seed}"
    return Problem(_positive(train), problem.metrics, part, measure)


def _positive(train: Interactions) -> scipy.sparse.csr_array:
    """Keep counts above zero: what is negative means nothing to some libraries."""
    counts = scipy.sparse.csr_array(train.matrix, dtype=np.float32, copy=True)
    counts.data[counts.data < 0] = 0
    counts.eliminate_zeros()
    return counts
