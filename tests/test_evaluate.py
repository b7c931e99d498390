"""Evaluation: who counts, what counts, and the tables it makes."""

import math

import numpy as np
import pandas as pd
import pytest
from fixed_lists import GOOD, TEST, TRAIN, Lists, as_interactions, noisy_models
from scipy.sparse import csr_array

from implicit_wmf import WMF
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import compare, evaluate, evaluate_users
from implicit_wmf.interactions import Interactions
from implicit_wmf.popularity import MostPopular
from implicit_wmf.threads import thread_limit


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_table_by_hand(train, held_out, batch_size):
    table = evaluate(Lists(GOOD), train, held_out, metrics=["recall@3", "mrr@2", "hit@1"], batch_size=batch_size)
    assert list(table.columns) == ["metric", "value", "standard_error", "low", "high", "users"]
    assert table["metric"].tolist() == ["recall@3", "mrr@2", "hit@1"]
    assert table["value"].tolist() == [1.0, 0.5, 0.0]
    assert table["standard_error"].tolist() == [0.0, 0.0, 0.0]
    assert table[["low", "high"]].to_numpy().tolist() == [[1, 1], [0.5, 0.5], [0, 0]]
    assert table["users"].tolist() == [2, 2, 2]
    assert table.attrs == {"without_targets": 3, "without_history": 1}


def test_a_user_without_anything_is_counted_once():
    train, test = as_interactions([[1, 0], [0, 0], [0, 0]]), as_interactions([[0, 1], [0, 0], [1, 0]])
    table = evaluate(Lists([[1], [0], [0]]), train, test, metrics="hit@1")
    assert table.attrs == {"without_targets": 1, "without_history": 1}


def test_standard_error_is_that_of_the_mean(train, held_out):
    lists = [[2, 3, 1], [2, 3, 4], *GOOD[2:]]
    table = evaluate(Lists(lists), train, held_out, metrics="recall@3")
    assert table["value"].tolist() == [0.25]
    assert table["standard_error"].item() == pytest.approx(math.sqrt(2 * 0.25**2 / 1) / math.sqrt(2))


def test_a_single_user_has_no_error_and_no_interval(train):
    one = np.zeros_like(TEST)
    one[0, 2] = 1
    table = evaluate(Lists(GOOD), train, as_interactions(one), metrics=["mrr@3"])
    assert table["value"].tolist() == [0.5]
    assert table[["standard_error", "low", "high"]].isna().all(axis=None)
    assert table["users"].tolist() == [1]


def test_asks_only_for_evaluated_users_in_batches(train, held_out):
    model = Lists(GOOD)
    evaluate(model, train, held_out, metrics=["hit@2"], batch_size=1)
    assert model.asked == [1, 1]


def test_compare_stacks_the_tables_of_the_same_users(train, held_out):
    models = {"good": Lists(GOOD), "popular": MostPopular().fit(train)}
    table = compare(models, train, held_out, metrics=iter(["recall@2", "coverage@3"]))
    assert table["model"].tolist() == ["good", "good", "popular", "popular"]
    extra = ["difference", "difference_low", "difference_high"]
    assert list(table.columns) == ["model", "metric", "value", "standard_error", "low", "high", "users", *extra]
    for name, model in models.items():
        alone = evaluate(model, train, held_out, metrics=["recall@2", "coverage@3"])
        part = table[table["model"] == name].drop(columns=["model", *extra]).reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone)
        assert table.attrs == alone.attrs


def test_metrics_of_all_lists_by_hand(train, held_out):
    # evaluated are users 0 and 1, whose lists are (1, 2, 4) and (2, 0); users with each item in train: 3, 3, 0, 0, 0
    names = ["coverage@1", "coverage@3", "gini@1", "popularity_rank@1", "popularity_rank@3"]
    table = evaluate(Lists(GOOD), train, held_out, metrics=names).set_index("metric")
    assert table.loc["coverage@1", "value"] == 2 / 5
    assert table.loc["coverage@3", "value"] == 4 / 5
    # exposure 0, 1, 1, 0, 0, ascending weights -4, -2, 0, 2, 4: 6 / (4 * 2)
    assert table.loc["gini@1", "value"] == 6 / 8
    # ranks 1.5, 1.5, 4, 4, 4
    assert table.loc["popularity_rank@1", "value"] == (1.5 + 4) / 2
    assert table.loc["popularity_rank@3", "value"] == ((1.5 + 4 + 4) / 3 + (4 + 1.5) / 2) / 2
    assert table["users"].tolist() == [2] * 5
    of_all = table.loc[["coverage@1", "coverage@3", "gini@1"], ["standard_error", "low", "high"]]
    assert of_all.isna().all(axis=None)
    assert table.loc["popularity_rank@1", ["standard_error", "low", "high"]].notna().all()


def test_an_empty_list_has_no_popularity_rank(train, held_out):
    lists = np.array(GOOD)
    lists[1] = -1
    table = evaluate(Lists(lists), train, held_out, metrics=["popularity_rank@3", "hit@3"])
    assert table["users"].tolist() == [1, 2]
    assert table["value"].tolist() == [(1.5 + 4 + 4) / 3, 0.5]


def test_users_to_evaluate(train, held_out):
    lists = [GOOD[0], [3, 2, 0], *GOOD[2:]]
    both = evaluate(Lists(lists), train, held_out, metrics="mrr@3")
    assert both["value"].tolist() == [(1 / 2 + 1 / 3) / 2]
    one = evaluate(Lists(lists), train, held_out, metrics="mrr@3", users=[3, 1, 2])
    assert (one["value"].tolist(), one["users"].tolist()) == ([1 / 3], [1])
    assert one.attrs == {"without_targets": 1, "without_history": 1}
    with pytest.raises(InputError, match="users holds 1 more than once; name each row once"):
        evaluate(Lists(lists), train, held_out, users=[1, 0, 1])
    with pytest.raises(InputError, match="users holds 6 at position 1; indices run from 0 to 5"):
        evaluate(Lists(lists), train, held_out, users=[1, 6])
    with pytest.raises(InputError, match="no user can be evaluated: of 2 users 1 have no new pair"):
        evaluate(Lists(lists), train, held_out, users=[2, 3])


def test_user_by_user():
    names = pd.Index(list("abcdef"), name="who")
    train, test = (Interactions.from_matrix(csr_array(dense), users=names) for dense in (TRAIN, TEST))
    lists = [GOOD[0], [3, 2, 0], *GOOD[2:]]
    frame = evaluate_users(Lists(lists), train, test, metrics=["mrr@3", "recall@2", "popularity_rank@1"], users=[1, 0])
    assert list(frame.columns) == ["user", "mrr@3", "recall@2", "popularity_rank@1"]
    assert frame["user"].tolist() == ["b", "a"]
    assert frame["mrr@3"].tolist() == [1 / 3, 1 / 2]
    assert frame["recall@2"].tolist() == [0, 1 / 2]
    assert frame["popularity_rank@1"].tolist() == [4, 1.5]
    assert frame.attrs == {"without_targets": 0, "without_history": 0}
    with pytest.raises(InputError, match=r"gini@2 is of all users' lists together; `evaluate` measures it"):
        evaluate_users(Lists(lists), train, test, metrics=["mrr@3", "gini@2"])


def test_differences_are_paired():
    train, test, (one, other) = noisy_models()
    models = {"one": one, "other": other, "again": one}
    table = compare(models, train, test, metrics=["ndcg@5", "gini@5"], confidence=0.9)
    first, second, third = (table[table["model"] == name].set_index("metric") for name in models)
    assert third["difference"].tolist() == [0, 0]
    assert first[["difference", "difference_low", "difference_high"]].isna().all(axis=None)
    np.testing.assert_allclose(second["difference"], second["value"] - first["value"], rtol=1e-12)
    assert np.isnan(second.loc["gini@5", "difference_low"])
    values = [evaluate_users(model, train, test, metrics="ndcg@5")["ndcg@5"].to_numpy() for model in (one, other)]
    gaps = values[1] - values[0]
    draws = np.random.default_rng(5).integers(0, gaps.size, (20_000, gaps.size))
    error = gaps.std() / np.sqrt(gaps.size)
    expected = np.quantile(gaps[draws].mean(axis=1), [0.05, 0.95])
    found = second.loc["ndcg@5", ["difference_low", "difference_high"]].astype(float)
    np.testing.assert_allclose(found, expected, atol=error / 4)
    width = second.loc["ndcg@5", "high"] - second.loc["ndcg@5", "low"]
    assert found.iloc[1] - found.iloc[0] < width / 2  # what pairing is for


def test_one_seed_one_table_whatever_batches_and_threads():
    train, test, (model, _) = noisy_models()
    metrics = ["recall@5", "capped_recall@5", "map@20", "popularity_rank@5", "coverage@5", "gini@20"]
    expected = evaluate(model, train, test, metrics=metrics, random_state=3)
    for batch_size, threads in ((1, 1), (7, 3), (10**6, 2)):
        with thread_limit(threads):
            found = evaluate(model, train, test, metrics=metrics, batch_size=batch_size, random_state=3)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    for seed in (4, None, np.random.default_rng(3)):
        other = evaluate(model, train, test, metrics=metrics, random_state=seed)
        assert (other["low"] != expected["low"]).any()
        pd.testing.assert_series_equal(other["value"], expected["value"])
    assert evaluate(model, train, test, bootstrap=0)[["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("weighting", ["raw", "linear"])
def test_removed_cells_can_be_asked_for_with_train_as_what_is_known(weighting):
    train, test, _ = noisy_models()
    dense, hidden = train.matrix.toarray(), test.matrix.toarray() > 0
    cells = np.where(hidden, 0.0, dense) if weighting == "raw" else dense + hidden
    stored = (dense > 0) | hidden
    data = csr_array((cells[stored], np.nonzero(stored)), shape=dense.shape)
    confidence = csr_array((np.where(hidden, 0.0, 2.0)[stored], np.nonzero(stored)), shape=dense.shape)
    model = WMF(4, weighting=weighting, iterations=2, random_state=0)
    model.fit(data, **({} if weighting == "raw" else {"confidence": confidence}))
    with pytest.raises(InputError, match="no user can be evaluated"):
        evaluate(model, model.interactions, test)
    fewer = test.matrix.copy()
    fewer.data[:] = np.arange(fewer.nnz) % 2  # half of what was hidden is asked for, though all is stored in train
    with pytest.raises(InputError, match="no user can be evaluated"):
        evaluate(model, model.interactions, Interactions.from_matrix(fewer))
    other = Interactions.from_matrix(~(dense > 0) & ~hidden)
    with pytest.raises(InputError, match="is stored in train .* give as train what is known, without those pairs"):
        evaluate(model, model.interactions, other, metrics="hit@20")
    table = evaluate(model, train, test, metrics=["recall@20", "auc"])
    ids, _ = model.recommend(np.arange(80), N=20)
    found = np.take_along_axis(hidden, np.maximum(ids, 0), axis=1) & (ids >= 0)
    some = hidden.any(axis=1) & (dense > 0).any(axis=1)
    assert table["value"][0] == pytest.approx((found.sum(axis=1) / np.maximum(hidden.sum(axis=1), 1))[some].mean())


class Counting(Lists):
    """Notes the lengths that it is asked for."""

    def recommend(self, users, N=10, filter_already_liked_items=True):
        self.length = N
        return super().recommend(users, N, filter_already_liked_items)


def test_lists_longer_than_the_catalogue_are_not_asked_for(train, held_out):
    lists = np.pad(np.array(GOOD), ((0, 0), (0, 2)), constant_values=-1)
    model = Counting(lists)
    names = ["recall", "capped_recall", "precision", "ndcg", "map", "mrr", "hit", "popularity_rank", "coverage", "gini"]
    table = evaluate(model, train, held_out, metrics=[f"{name}@2000000000" for name in names])
    assert model.length == 5
    short = evaluate(model, train, held_out, metrics=[f"{name}@5" for name in names])
    expected = short["value"].to_numpy().copy()
    expected[2] *= 5 / 2e9  # precision divides by the cut-off
    np.testing.assert_allclose(table["value"], expected, rtol=1e-12)


def test_long_lists_are_asked_for_a_few_users_at_a_time(monkeypatch):
    train, test, (model, _) = noisy_models()
    metrics = ["ndcg@20", "gini@7", "popularity_rank@3", "map@1"]
    expected = evaluate(model, train, test, metrics=metrics)
    model.asked.clear()
    monkeypatch.setattr("implicit_wmf.evaluation.measuring._ENTRIES", 65)
    pd.testing.assert_frame_equal(evaluate(model, train, test, metrics=metrics), expected, check_exact=True)
    assert max(model.asked) == 3
