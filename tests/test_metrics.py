"""Metrics against hand-computed tables, scikit-learn and a literal reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import METRICS, parse_metric, score_lists
from implicit_wmf.evaluation.metrics import stored_pairs

NAMES = ["recall", "ndcg", "precision", "hit", "mrr", "map"]


def to_csr(targets: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.append(0, np.cumsum([len(target) for target in targets])).astype(np.int64)
    indices = np.array([item for target in targets for item in sorted(target)], dtype=np.int64)
    return indptr, indices


def slow_metric(name: str, ranked: list[int], target: set[int], k: int) -> float:
    """The definition, rank by rank."""
    if not target:
        return math.nan
    hits = 0
    gain = precision_sum = first = 0.0
    for rank, item in enumerate(ranked[:k], start=1):
        if item in target:
            hits += 1
            gain += 1 / math.log2(1 + rank)
            precision_sum += hits / rank
            first = first or 1 / rank
    best = min(k, len(target))
    return {
        "recall": hits / len(target),
        "ndcg": gain / sum(1 / math.log2(1 + rank) for rank in range(1, best + 1)),
        "precision": hits / k,
        "hit": float(hits > 0),
        "mrr": first,
        "map": precision_sum / best,
    }[name]


HAND_LISTS = np.array([[3, 1, 4, 0, 2], [5, -1, -1, -1, -1], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]])
HAND_TARGETS = [{0, 1, 9}, {5}, {9}, {0, 1, 2, 3, 4, 5}, set()]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("recall@5", [2 / 3, 1, 0, 5 / 6]),
        ("recall@3", [1 / 3, 1, 0, 1 / 2]),
        ("precision@5", [2 / 5, 1 / 5, 0, 1]),
        ("precision@3", [1 / 3, 1 / 3, 0, 1]),
        ("hit@5", [1, 1, 0, 1]),
        ("hit@1", [0, 1, 0, 1]),
        ("mrr@5", [1 / 2, 1, 0, 1]),
        ("mrr@1", [0, 1, 0, 1]),
        ("map@5", [(1 / 2 + 2 / 4) / 3, 1, 0, 1]),
        ("map@2", [(1 / 2) / 2, 1, 0, 1]),
        ("ndcg@5", [(0.6309297536 + 0.4306765581) / (1 + 0.6309297536 + 0.5), 1, 0, 1]),
        ("ndcg@2", [0.6309297536 / (1 + 0.6309297536), 1, 0, 1]),
    ],
)
def test_hand_computed(metric, expected):
    values = score_lists(HAND_LISTS, *to_csr(HAND_TARGETS), [metric])[metric]
    np.testing.assert_allclose(values[:4], expected, rtol=1e-9)
    assert np.isnan(values[4])


@settings(deadline=None)
@given(st.data())
def test_equals_the_literal_definition(data):
    items = data.draw(st.integers(1, 9))
    length = data.draw(st.integers(1, 12))
    users = data.draw(st.integers(0, 5))
    ranked, targets = [], []
    for _ in range(users):
        order = data.draw(st.permutations(range(items)))[: data.draw(st.integers(0, length))]
        ranked.append(order + [-1] * (length - len(order)))
        targets.append(data.draw(st.sets(st.integers(0, items - 1))))
    k = data.draw(st.integers(1, length))
    names = [f"{name}@{k}" for name in NAMES]
    values = score_lists(np.array(ranked, dtype=np.int64).reshape(users, length), *to_csr(targets), names)
    for name in NAMES:
        expected = [slow_metric(name, *lists, k) for lists in zip(ranked, targets, strict=True)]
        np.testing.assert_allclose(values[f"{name}@{k}"], expected, rtol=1e-12)


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.random((40, 25))
    truth = rng.random((40, 25)) < 0.2
    truth[:, 3] = True
    ids = np.argsort(-scores, axis=1)
    values = score_lists(ids, *to_csr([set(np.flatnonzero(row)) for row in truth]), ["ndcg@7", "ndcg@25", "map@25"])
    assert values["ndcg@7"].mean() == pytest.approx(ndcg_score(truth, scores, k=7), rel=1e-12)
    assert values["ndcg@25"].mean() == pytest.approx(ndcg_score(truth, scores), rel=1e-12)
    precisions = [average_precision_score(*rows) for rows in zip(truth, scores, strict=True)]
    np.testing.assert_allclose(values["map@25"], precisions, rtol=1e-12)


def test_every_metric_is_one_for_a_perfect_list_and_zero_without_hits():
    indptr, indices = to_csr([{2, 4, 6}, {2, 4, 6}])
    values = score_lists(np.array([[4, 2, 6], [1, 3, 5]]), indptr, indices, [f"{name}@3" for name in METRICS])
    for metric in values.values():
        np.testing.assert_allclose(metric, [1, 0], rtol=1e-12)


def test_order_of_targets_and_integer_types_do_not_matter():
    ids = np.array([[3, 1], [0, 2]], dtype=np.int32)
    sorted_values = score_lists(ids, np.array([0, 2, 3]), np.array([1, 5, 2]), "ndcg@2")
    values = score_lists(ids, np.array([0, 2, 3], dtype=np.int32), np.array([5, 1, 2], dtype=np.int32), "ndcg@2")
    np.testing.assert_array_equal(values["ndcg@2"], sorted_values["ndcg@2"])


def test_negative_column_is_not_the_last_column_of_the_row_before():
    found = stored_pairs(np.array([1, 0]), np.array([-1, 2]), np.array([0, 1, 2]), np.array([2, 0]))
    assert found.tolist() == [False, True]


def test_large_rows_and_columns_do_not_overflow_narrow_indices():
    rows = np.array([69_999, 69_999, 1], dtype=np.int32)
    columns = np.array([99_999, 99_998, 99_999], dtype=np.int32)
    indptr = np.zeros(70_001, dtype=np.int32)
    indptr[-1] = 1
    assert stored_pairs(rows, columns, indptr, np.array([99_999], dtype=np.int32)).tolist() == [True, False, False]


@pytest.mark.parametrize(("text", "name", "k"), [("recall@10", "recall", 10), ("map@007", "map", 7)])
def test_parse(text, name, k):
    metric = parse_metric(text)
    assert (metric.name, metric.k, str(metric)) == (name, k, f"{name}@{k}")


@pytest.mark.parametrize("text", ["recall", "recall@", "@5", "recall@-1", "recall@1.5", "recall @5", "Recall@5", 5])
def test_parse_refuses_what_is_no_name_at_k(text):
    with pytest.raises(InputError, match=r"is not of the form name@k.*known are recall@k, ndcg@k"):
        parse_metric(text)


def test_parse_names_the_known_metrics():
    with pytest.raises(InputError, match=r"'auc' in 'auc@5' is not known; known are recall@k, .*map@k"):
        parse_metric("auc@5")
    with pytest.raises(InputError, match="k in 'ndcg@0' must be at least 1"):
        parse_metric("ndcg@0")


def test_refuses_no_metrics_one_twice_and_short_lists():
    ids, targets = np.array([[1, 2]]), to_csr([{1}])
    with pytest.raises(InputError, match="no metric was named"):
        score_lists(ids, *targets, [])
    with pytest.raises(InputError, match="'ndcg@2' is named 2 times"):
        score_lists(ids, *targets, ["ndcg@2", "hit@1", "ndcg@2"])
    with pytest.raises(InputError, match=r"recall@3 needs lists of 3 ids, but ids has shape \(1, 2\)"):
        score_lists(ids, *targets, ["hit@1", "recall@3"])
