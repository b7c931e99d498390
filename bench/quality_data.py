"""What quality is measured on: training counts, and a way to measure factors fitted to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from implicit_wmf import Interactions
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import evaluate, split_by_time
from implicit_wmf.evaluation.sampled import evaluate_sampled
from implicit_wmf.evaluation.split_pairs import split_random
from implicit_wmf.tables import read_events

from .data import data_file, data_folder, load

NCF = "ml-1m-ncf"
RETAIL = "online_retail"
SAMPLED_METRICS = ("hit@10", "ndcg@10")
CATALOGUE_METRICS = ("recall@20", "ndcg@20")
TEST_FRACTION = 0.2
SPLIT_SEED = 0


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
        self._users, self._items, self._counts = users, items, counts

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Inner products of pairs of positions that broadcast together."""
        if users.shape[-1:] == (1,):
            return np.asarray((self._items[items] @ self._users[users[..., 0]][..., None])[..., 0])
        return np.asarray((self._users[users] * self._items[items]).sum(axis=-1))

    def recommend(
        self, users: np.ndarray, N: int = 10, filter_already_liked_items: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank the whole catalogue, ties by position; ids and scores (users, N), short lists ending in -1 and NaN."""
        scores = self._users[users] @ self._items.T
        if filter_already_liked_items:
            rows = self._counts[users]
            scores[np.repeat(np.arange(len(users)), np.diff(rows.indptr)), rows.indices] = -np.inf
        ids = np.full((len(users), N), -1, dtype=np.int64)
        best = np.full((len(users), N), np.nan, dtype=scores.dtype)
        width = min(N, scores.shape[1])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :width]
        found = np.take_along_axis(scores, order, axis=1)
        known = np.isfinite(found)
        ids[:, :width][known], best[:, :width][known] = order[known], found[known]
        return ids, best


def load_problem(source: Source, cache: Path) -> Problem:
    """Read and split; InputError for what is absent or cannot be split."""
    if source.data == NCF:
        return _sampled()
    train, test, protocol = _parts(source, cache)

    def measure(model: Any, **options: Any) -> pd.DataFrame:
        return evaluate(model, train, test, metrics=CATALOGUE_METRICS, batch_size=1024, **options)

    return Problem(_positive(train), CATALOGUE_METRICS, protocol, measure)


def _sampled() -> Problem:
    folder = data_folder() / NCF
    for name in ("train.parquet", "test.parquet"):
        if not (folder / name).is_file():
            raise InputError(f"there is no {folder / name}; set IMPLICIT_WMF_DATA to a folder that holds {NCF}/{name}")
    train = pd.read_parquet(folder / "train.parquet", columns=["user", "item"])
    test = pd.read_parquet(folder / "test.parquet")
    users, positives, negatives = test["user"].to_numpy(), test["item"].to_numpy(), np.stack(test["negatives"])
    shape = 1 + max(train["user"].max(), users.max()), 1 + max(train["item"].max(), positives.max(), negatives.max())
    counts = scipy.sparse.csr_array((np.ones(len(train), np.float32), (train["user"], train["item"])), shape=shape)
    counts.sum_duplicates()
    counts.data[:] = 1.0

    def measure(model: Any, **options: Any) -> pd.DataFrame:
        return evaluate_sampled(model, users, positives, negatives, metrics=SAMPLED_METRICS, **options)

    protocol = (
        "MovieLens 1M in the split of He et al. 2017: each user's last item is ranked among 99 negatives, those of the "
        "published files. Ties count against a model, except for most-popular (see `evaluate_sampled`)."
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
    """Carve a validation part out of the training counts: what is chosen by it has not seen the test part."""
    train, test = split_random(problem.counts, test_fraction=0.1, within_users=True, random_state=SPLIT_SEED + 1)

    def measure(model: Any, **options: Any) -> pd.DataFrame:
        return evaluate(model, train, test, metrics=CATALOGUE_METRICS, batch_size=1024, **options)

    return Problem(_positive(train), CATALOGUE_METRICS, "validation", measure)


def _positive(train: Interactions) -> scipy.sparse.csr_array:
    """Keep counts above zero: what is negative means nothing to some libraries."""
    counts = scipy.sparse.csr_array(train.matrix, dtype=np.float32, copy=True)
    counts.data[counts.data < 0] = 0
    counts.eliminate_zeros()
    return counts
