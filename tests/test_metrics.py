"""Metrics against hand-computed tables, a literal reference, scikit-learn and ir-measures."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import METRICS, parse_metric, score_lists
from implicit_wmf.evaluation import hits as hits_module
from implicit_wmf.evaluation import metrics as metrics_module
from implicit_wmf.evaluation.metrics import by_rank, parse_metrics
from implicit_wmf.evaluation.split_parts import stored_pairs
from implicit_wmf.threads import thread_limit

NAMES = ["recall", "capped_recall", "ndcg", "precision", "hit", "mrr", "map"]


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
        "capped_recall": hits / best,
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
        ("capped_recall@5", [2 / 3, 1, 0, 1]),  # min(5, 3) = 3; of the fourth user's 6, only 5 can be listed
        ("capped_recall@2", [1 / 2, 1, 0, 1]),  # min(2, 3) = 2
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


def random_lists(users=60, items=30, length=20, seed=3):
    """Lists of every length, none among them, and one to many targets, some of them outside the lists."""
    rng = np.random.default_rng(seed)
    lists = np.full((users, length), -1)
    for row in lists:
        size = rng.integers(0, length + 1)
        row[:size] = rng.permutation(items)[:size]
    targets = [set(rng.choice(items, rng.integers(1, 25), replace=False).tolist()) for _ in range(users)]
    return lists, targets


@pytest.mark.parametrize("k", [1, 3, 10, 20])
def test_equals_ir_measures(k):
    theirs = pytest.importorskip("ir_measures", reason="pip install 'implicit_wmf[test]' adds ir-measures")
    lists, targets = random_lists()
    qrels = {str(user): dict.fromkeys(map(str, target), 1) for user, target in enumerate(targets)}
    run = {
        str(user): {str(item): float(-rank) for rank, item in enumerate(row) if item >= 0}
        for user, row in enumerate(lists)
    }
    names = {"recall": "R", "ndcg": "nDCG", "precision": "P", "hit": "Success", "mrr": "RR", "map": "AP"}
    parsed = {name: theirs.parse_measure(f"{text}@{k}") for name, text in names.items()}
    expected = {name: np.zeros(len(lists)) for name in names}  # trec_eval says nothing of users without a list
    for found in theirs.iter_calc(list(parsed.values()), qrels, run):
        name = next(name for name, measure in parsed.items() if measure == found.measure)
        expected[name][int(found.query_id)] = found.value
    relevant = np.array([len(target) for target in targets])
    best = np.minimum(relevant, k)
    expected["map"] *= relevant / best  # theirs is divided by all relevant items, as their recall is
    expected["capped_recall"] = expected["recall"] * relevant / best
    values = score_lists(lists, *to_csr(targets), [f"{name}@{k}" for name in expected])
    for name, column in expected.items():
        assert 0 < column.mean() < 1
        np.testing.assert_allclose(values[f"{name}@{k}"], column, rtol=0, atol=1e-9)


def test_blocks_and_threads_change_no_bit(monkeypatch):
    lists, targets = random_lists(users=300)
    names = [f"{name}@{k}" for name in NAMES for k in (3, 17)]
    whole = score_lists(lists, *to_csr(targets), names)
    monkeypatch.setattr(hits_module, "_BLOCK", 7)
    for threads in (1, 3):
        with thread_limit(threads):
            blocks = score_lists(lists, *to_csr(targets), names)
        for name in names:
            np.testing.assert_array_equal(blocks[name], whole[name])


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


def test_rows_need_not_be_sorted():
    found = stored_pairs(np.array([0, 0, 1, 1]), np.array([1, 2, 1, 4]), np.array([0, 2, 4]), np.array([5, 1, 4, 2]))
    assert found.tolist() == [True, False, False, True]


def test_large_rows_and_columns_do_not_overflow_narrow_indices():
    rows = np.array([69_999, 69_999, 1], dtype=np.int32)
    columns = np.array([99_999, 99_998, 99_999], dtype=np.int32)
    indptr = np.zeros(70_001, dtype=np.int32)
    indptr[-1] = 1
    assert stored_pairs(rows, columns, indptr, np.array([99_999], dtype=np.int32)).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("text", "name", "k", "shown"),
    [
        ("recall@10", "recall", 10, "recall@10"),
        ("map@007", "map", 7, "map@7"),
        ("coverage@3", "coverage", 3, "coverage@3"),
        ("auc", "auc", 0, "auc"),
    ],
)
def test_parse(text, name, k, shown):
    metric = parse_metric(text)
    assert (metric.name, metric.k, str(metric)) == (name, k, shown)


@pytest.mark.parametrize(
    "text", ["recall", "gini", "recall@", "@5", "recall@-1", "recall@1.5", "recall @5", "Recall@5", 5]
)
def test_parse_refuses_what_is_no_name_at_k(text):
    with pytest.raises(InputError, match=r"is not of the form name@k.*known are recall@k, capped_recall@k, ndcg@k"):
        parse_metric(text)


def test_parse_names_the_known_metrics():
    with pytest.raises(InputError, match=r"'dcg' in 'dcg@5' is not known; known are recall@k, .*gini@k, auc$"):
        parse_metric("dcg@5")
    with pytest.raises(InputError, match=r"'roc' in 'roc' is not known"):
        parse_metric("roc")
    with pytest.raises(InputError, match="k in 'ndcg@0' must be at least 1"):
        parse_metric("ndcg@0")
    with pytest.raises(InputError, match="must be at least 1, and below 2"):
        parse_metric(f"ndcg@{2**31}")
    with pytest.raises(InputError, match="'auc@5' has a cut-off, but auc looks at the whole catalogue; name it 'auc'"):
        parse_metric("auc@5")


@pytest.mark.parametrize("metric", ["auc", "coverage@2", "gini@2", "popularity_rank@2"])
def test_lists_and_targets_alone_do_not_give_every_metric(metric):
    assert [str(parsed) for parsed in parse_metrics(["hit@1", metric], of_hits=False)] == ["hit@1", metric]
    with pytest.raises(InputError, match=f"'{metric}' needs more than a list and its targets.*; known are recall@k"):
        score_lists(np.array([[1, 2]]), *to_csr([{1}]), ["hit@1", metric])


def test_refuses_no_metrics_one_twice_and_short_lists():
    ids, targets = np.array([[1, 2]]), to_csr([{1}])
    with pytest.raises(InputError, match="no metric was named"):
        score_lists(ids, *targets, [])
    with pytest.raises(InputError, match="'ndcg@2' is named 2 times"):
        score_lists(ids, *targets, ["ndcg@2", "hit@1", "ndcg@2"])
    with pytest.raises(InputError, match=r"recall@3 needs lists of 3 ids, but ids has shape \(1, 2\)"):
        score_lists(ids, *targets, ["hit@1", "recall@3"])


LISTS = {"ids": [[3, 1], [0, 2]], "indptr": [0, 2, 3], "indices": [1, 5, 2]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": [[3, 1], [0, 2], [0, 1]]}, "indptr has 3 places for lists of 3 users; 4 are needed"),
        ({"ids": [[3.0, 1.0], [0.0, 2.0]]}, r"ids must be whole numbers \(positions, not raw ids\), got float64"),
        ({"ids": [3, 1]}, r"ids must be a 2-D array of positions, got one of shape \(2,\)"),
        ({"ids": [[3, 1], [2, 2]]}, "ids: item 2 is in list 1 a second time, at rank 2; list each item once"),
        ({"indptr": [0, 10**9, 3]}, "indptr falls from 1000000000 to 3 after position 1"),
        ({"indptr": [0, 2, 10**9]}, "indptr runs from 0 to 1000000000; it must run from 0 to 3, the indices"),
        ({"indptr": [1, 2, 3]}, "indptr runs from 1 to 3; it must run from 0 to 3"),
        ({"indptr": [-5, 2, 3]}, "indptr holds -5 at position 0; 0 is the least"),
        ({"indptr": [0.0, 2.0, 3.0]}, "indptr must be whole numbers"),
        ({"indices": [1, 5, -1]}, "indices holds -1 at position 2; 0 is the least"),
        ({"indices": [1.5, 5, 2]}, "indices must be whole numbers"),
        ({"indices": [5, 5, 2]}, "indices: row 0 names item 5 more than once; name it once"),
        ({"indices": [[1, 5, 2]]}, r"indices must be a 1-D array of positions, got one of shape \(1, 3\)"),
    ],
)
def test_refuses_lists_and_targets_that_compiled_loops_cannot_read(change, message):
    arrays = {name: np.array(array) for name, array in (LISTS | change).items()}
    with pytest.raises(InputError, match=message):
        score_lists(**arrays, metrics="recall@2")
    if "a second time" not in message:
        with pytest.raises(InputError, match=message):
            hits_module.hit_matrix(**arrays)


def test_refuses_lists_of_several_lengths():
    with pytest.raises(InputError, match="ids must be a 2-D array of positions"):
        score_lists([[3, 1], [0]], [0, 2, 3], [1, 5, 2], "hit@1")


def test_lists_of_nobody_and_targets_of_nobody():
    assert score_lists(np.empty((0, 3), int), [0], [], "hit@2")["hit@2"].size == 0
    assert np.isnan(score_lists([[1, -1], [-1, -1]], [0, 0, 0], [], "hit@2")["hit@2"]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("hits", "relevant", "k", "message"),
    [
        (np.ones((4, 3), bool), [3] * 4, 50, "k is 50; give a whole number from 1 to 3, the ranks that hits has"),
        (np.ones((4, 3), bool), [3] * 4, 0, "k is 0; give"),
        (np.ones((4, 3), bool), [3] * 4, 1.5, "k is 1.5; give"),
        (np.ones((4, 3), bool), [3] * 3, 2, "relevant has 3 numbers for hits of 4 users; give one for each"),
        (np.ones((4, 3), bool), [3, 3, 3, -1], 2, "relevant holds -1 at position 3; 0 is the least"),
        (np.ones((4, 3), bool), [3.0] * 4, 2, "relevant must be whole numbers"),
        (np.ones((4, 3), bool), [3, 2, 3, 3], 2, "hits: user 1 has 3 hits, but 2 relevant items"),
        (np.ones((4, 3)), [3] * 4, 2, r"hits must be booleans \(users, N\), as of `hit_matrix`, got float64"),
        (np.ones(4, bool), [3] * 4, 1, "hits must be booleans"),
    ],
)
def test_single_metrics_refuse_what_they_cannot_read(name, hits, relevant, k, message):
    with pytest.raises(InputError, match=message):
        METRICS[name](hits, np.array(relevant), k)


def test_single_metrics_are_those_of_lists():
    lists, targets = random_lists()
    indptr, indices = to_csr(targets)
    hits = hits_module.hit_matrix(lists, indptr, indices)
    for name in NAMES:
        expected = score_lists(lists, indptr, indices, f"{name}@7")[f"{name}@7"]
        np.testing.assert_array_equal(METRICS[name](hits, np.diff(indptr), 7), expected)


def test_metrics_are_functions_of_hits_that_say_what_they_take():
    hits, relevant = np.array([[True, False, True], [False, False, False]]), np.array([4, 1])
    assert METRICS["recall"](hits=hits, relevant=relevant, k=2).tolist() == [1 / 4, 0]
    for name, metric in METRICS.items():
        assert list(inspect.signature(metric).parameters) == ["hits", "relevant", "k"]
        assert getattr(metrics_module, metric.__name__) is metric
        summary, sections = metric.__doc__.split("\n\n", 1)
        assert "\n" not in summary
        assert sections.count("Parameters\n----------\nhits\n    Booleans (users, N)") == 1, name


def test_tallies_by_hand():
    hits, relevant = np.array([[False, True, True, False], [False] * 4, [True] * 4]), np.array([3, 1, 9])
    two, many = hits_module.tallies(hits, relevant, [2, 100])
    gains = [1 / math.log2(1 + rank) for rank in range(1, 10)]
    assert (two.k, two.relevant.tolist(), two.hits is hits) == (2, [3, 1, 9], True)
    assert (two.found.tolist(), many.found.tolist()) == ([1, 0, 2], [2, 0, 4])
    assert two.gain.tolist() == pytest.approx([gains[1], 0, gains[0] + gains[1]])
    assert many.gain.tolist() == pytest.approx([gains[1] + gains[2], 0, sum(gains[:4])])
    assert two.ideal.tolist() == pytest.approx([gains[0] + gains[1], 1, gains[0] + gains[1]])
    assert many.ideal.tolist() == pytest.approx([sum(gains[:3]), 1, sum(gains)])
    assert two.precisions.tolist() == [1 / 2, 0, 2]
    assert many.precisions.tolist() == pytest.approx([1 / 2 + 2 / 3, 0, 4])
    assert two.first.tolist() == many.first.tolist() == [2, math.inf, 1]
    assert two.best.tolist() == [2, 1, 2]
    assert many.best.tolist() == [3, 1, 9]


def test_a_metric_is_known_everywhere_once_it_is_defined(monkeypatch):
    for table in ("METRICS", "_DEFINITIONS"):
        monkeypatch.setattr(metrics_module, table, dict(getattr(metrics_module, table)))

    @metrics_module._metric("last_rank")
    def last_rank(tally):
        return (tally.hits * np.arange(1, tally.hits.shape[1] + 1))[:, : tally.k].max(axis=1)

    lists, targets = np.array([[7, 3, 5], [3, 4, 9], [1, 2, 3]]), to_csr([{3, 4}, {9}, set()])
    np.testing.assert_array_equal(score_lists(lists, *targets, "last_rank@2")["last_rank@2"], [2, 0, np.nan])
    assert parse_metric("last_rank@3").k == 3
    assert last_rank(np.array([[True, False, True]]), np.array([2]), 3).tolist() == [3]


@pytest.mark.parametrize("cells", [1, 7, 40, 1 << 20])
def test_one_item_at_each_rank(monkeypatch, cells):
    monkeypatch.setattr(metrics_module, "_CELLS", cells)
    expected = {
        "ndcg": lambda rank: 1 / math.log2(1 + rank),
        "mrr": lambda rank: 1 / rank,
        "map": lambda rank: 1 / rank,
        "recall": lambda rank: 1.0,
        "precision": lambda rank: 1 / 20,
    }
    for name, formula in expected.items():
        values = by_rank(parse_metric(f"{name}@20"), 12)
        np.testing.assert_allclose(values, [formula(rank) for rank in range(1, 13)], rtol=1e-12)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("users", [0, 1, 1023, 1024, 1025, 7000])
def test_blocks_cover_every_user_once(users, times):
    met = []
    hits_module.run_in_blocks(lambda start, stop: met.append((start, stop)), users, times)
    length = times * 1024
    assert sorted(met) == [(start, min(start + length, users)) for start in range(0, users, length)]
    once = []
    hits_module.run_in_blocks(lambda start, stop: once.append((start, stop)), users)
    assert len(once) == -(-users // 1024)


def test_the_longest_cut_off_and_the_first_metric_that_is_named_twice():
    assert parse_metric("ndcg@2147483647").k == 2**31 - 1
    with pytest.raises(InputError, match="must be at least 1, and below 2"):
        parse_metric("ndcg@2147483648")
    with pytest.raises(InputError, match="'mrr@5' is named 2 times"):
        parse_metrics(["ndcg@10", "mrr@5", "map@3", "mrr@5", "map@3", "map@3"])


def test_metrics_can_be_told_apart_and_not_changed():
    metric = parse_metric("ndcg@10")
    assert metric == parse_metric("ndcg@10") != parse_metric("ndcg@11")
    with pytest.raises(AttributeError):
        metric.k = 3
