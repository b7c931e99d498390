"""Evaluation: who counts, what counts, what is refused; AUC; and the popularity baseline."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from implicit_wmf import WMF
from implicit_wmf.errors import InputError, NotFittedError
from implicit_wmf.evaluation import compare, evaluate, ranks
from implicit_wmf.evaluation.evaluate import evaluate_users
from implicit_wmf.interactions import Interactions
from implicit_wmf.popularity import MostPopular
from implicit_wmf.target_ranks import rank_counts
from implicit_wmf.threads import thread_limit


class Lists:
    """A model that returns the lists it was made of, cut to N."""

    def __init__(self, ids, scores=None):
        self.ids = np.asarray(ids)
        self.scores = np.where(self.ids < 0, np.nan, 1.0) if scores is None else np.asarray(scores)
        self.asked: list[int] = []

    def recommend(self, users, N=10, filter_already_liked_items=True):
        assert filter_already_liked_items
        self.asked.append(len(users))
        return self.ids[users, :N], self.scores[users, :N]


# Rows: two ordinary users, one without targets, one without history, one whose only test pair is known from train,
# one whose only test pair has a negative value.
TRAIN = np.array(
    [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [3, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=float
)
TEST = np.array(
    [[5, 0, 1, 0, 2], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, -1, 0]], dtype=float
)
GOOD = [[1, 2, 4], [2, 0, -1], [2, 3, 4], [0, 1, 2], [1, 2, 3], [0, 2, 3]]


def as_interactions(dense) -> Interactions:
    return Interactions.from_matrix(csr_array(np.asarray(dense, dtype=float)))


@pytest.fixture
def train():
    return as_interactions(TRAIN)


@pytest.fixture
def held_out():
    return as_interactions(TEST)


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


def noisy_models(users=80, items=40, seed=0):
    """Train, test, and two models of which the second finds most of what the first finds."""
    rng = np.random.default_rng(seed)
    dense = rng.random((users, items)) < 0.3
    held_out = dense & (rng.random(dense.shape) < 0.4)
    train, test = as_interactions(dense & ~held_out), as_interactions(held_out)
    scores = held_out * 0.4 + rng.random(dense.shape)
    near = scores + 0.1 * rng.random(dense.shape)
    models = []
    for score in (scores, near):
        order = np.argsort(np.where(dense & ~held_out, np.inf, -score), axis=1, kind="stable")[:, :20]
        models.append(Lists(order))
    return train, test, models


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


class Scores:
    """A model that scores all items, and lists those above a threshold."""

    def __init__(self, scores, least=-np.inf):
        self.scores, self.least = np.asarray(scores, dtype=float), least
        self.liked = None

    def recommend(self, users, N=10, filter_already_liked_items=True):
        ids, found = np.full((len(users), N), -1), np.full((len(users), N), np.nan)
        for row, user in enumerate(users):
            score = self.scores[user]
            listed = [item for item in np.argsort(-score, kind="stable") if self.listed(user, item)][:N]
            ids[row, : len(listed)], found[row, : len(listed)] = listed, score[listed]
        return ids, found

    def listed(self, user, item):
        return self.scores[user, item] >= self.least and not self.liked[user, item]


def test_auc_by_hand():
    train = as_interactions([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]])
    test = as_interactions([[1, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 1]])
    model = Scores([[-1, -7, -5, -7, -9, -10], [-1, -7, -5, -7, -9, -10]])
    model.liked = train.matrix.toarray() > 0
    # the first user's targets are items 1 and 4 (0 is in train), the others 2, 3 and 5. Item 1 (-7) is below 2 (-5),
    # level with 3, above 5: 1.5 of 3; item 4 (-9) is above 5 only: 1 of 3. All candidates of the second are targets.
    table = evaluate(model, train, test, metrics=["auc", "hit@1"])
    assert table["value"].tolist() == [2.5 / 6, 0.5]
    assert table["users"].tolist() == [1, 2]
    # without the items below -8 in the lists, item 4 is level with 5, and both are below the rest: 1.5 + 0.5
    model.least = -8
    assert evaluate(model, train, test, metrics="auc")["value"].tolist() == [2.0 / 6]


class Ranked(Scores):
    """The same model, of factors, that also ranks targets."""

    def rank_counts(self, users, targets, seen=None):
        vectors = np.ascontiguousarray(self.scores[users])
        return rank_counts(vectors, np.eye(self.scores.shape[1]), targets, seen)


@pytest.mark.parametrize("batch_size", [1, 9, 4096])
@pytest.mark.parametrize("kind", [Scores, Ranked])
def test_auc_equals_scikit_learn(monkeypatch, kind, batch_size):
    monkeypatch.setattr(ranks, "_DENSE", 70)  # two users at a time
    rng = np.random.default_rng(1)
    dense = rng.random((23, 31)) < 0.4
    held_out = dense & (rng.random(dense.shape) < 0.4)
    liked = dense & ~held_out
    model = kind(rng.integers(0, 8, dense.shape))  # many ties
    model.liked = liked
    frame = evaluate_users(
        model, as_interactions(liked), as_interactions(held_out), metrics="auc", batch_size=batch_size
    )
    expected = [roc_auc_score(held_out[user][~liked[user]], model.scores[user][~liked[user]]) for user in frame["user"]]
    assert len(expected) > 20
    np.testing.assert_allclose(frame["auc"], expected, rtol=1e-12)


def test_auc_of_a_fitted_model_is_that_of_its_lists():
    class OnlyLists:
        def __init__(self, model):
            self.recommend = model.recommend

    train, test, _ = noisy_models()
    for model in (WMF(4, iterations=2, random_state=0).fit(train), MostPopular().fit(train)):
        frame = evaluate_users(model, train, test, metrics=["auc"])
        of_lists = evaluate_users(OnlyLists(model), train, test, metrics=["auc"])
        pd.testing.assert_frame_equal(frame, of_lists, check_exact=True)
        assert 0.3 < frame["auc"].mean() < 0.8


def test_auc_reports_what_a_model_returns_wrongly(train, held_out):
    model = Ranked(np.full((6, 5), np.nan))
    with pytest.raises(
        InputError, match="model 'bad': rank_counts: the user factors hold nan in row 0: the model's factors may have"
    ):
        compare({"bad": model}, train, held_out, metrics="auc")
    with pytest.raises(InputError, match=r"ids of shape \(2, 3\); asked for were \(2, 5\)"):
        evaluate(Lists(GOOD), train, held_out, metrics=["auc"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((1, 1, 5), r"1 unusable ids .* item 5 at rank 2 of user 1, is outside the catalogue of 5 items"),
        ((0, 2, -2), r"item -2 at rank 3 of user 0, is outside the catalogue"),
        ((0, 1, 0), r"item 0 at rank 2 of user 0, is stored in train"),
        ((0, 2, 1), r"item 1 at rank 3 of user 0, is in the same list a second time"),
        ((0, 0, -1), r"2 unusable ids .* item 2 at rank 2 of user 0, stands after an id -1"),
    ],
)
def test_refuses_lists_that_a_metric_cannot_rely_on(train, held_out, change, message):
    row, rank, item = change
    lists = np.array(GOOD)
    lists[row, rank] = item
    with pytest.raises(InputError, match=message):
        evaluate(Lists(lists), train, held_out, metrics=["recall@3"])
    with pytest.raises(InputError, match=f"model 'bad': .*{message}"):
        compare({"good": Lists(GOOD), "bad": Lists(lists)}, train, held_out, metrics=["recall@3"])


def test_a_short_list_may_hold_several_ends(train, held_out):
    lists = np.array(GOOD)
    lists[1] = -1
    assert evaluate(Lists(lists), train, held_out, metrics=["hit@3"])["value"].tolist() == [0.5]


def test_refuses_nan_scores_wrong_shapes_and_types(train, held_out):
    scores = np.ones((6, 3))
    scores[1, 0] = np.nan
    with pytest.raises(InputError, match="item 2 at rank 1 of user 1, has a NaN score"):
        evaluate(Lists(GOOD, scores), train, held_out, metrics=["hit@3"])
    with pytest.raises(InputError, match=r"ids of shape \(2, 3\); asked for were \(2, 4\)"):
        evaluate(Lists(GOOD), train, held_out, metrics=["hit@4"])
    with pytest.raises(InputError, match=r"scores of shape \(2, 2\); asked for were \(2, 3\)"):
        evaluate(Lists(GOOD, np.ones((6, 2))), train, held_out, metrics=["hit@3"])
    with pytest.raises(InputError, match="ids of dtype float64; they must be integer values"):
        evaluate(Lists(np.array(GOOD, dtype=float), np.ones((6, 3))), train, held_out, metrics=["hit@3"])
    with pytest.raises(InputError, match="scores of dtype object"):
        evaluate(Lists(GOOD, np.full((6, 3), None)), train, held_out, metrics=["hit@3"])

    class OnlyIds:
        def recommend(self, users, N=10, filter_already_liked_items=True):
            return np.zeros((len(users), N), dtype=int)

    with pytest.raises(InputError, match="recommend returned ndarray; it must return the two arrays"):
        evaluate(OnlyIds(), train, held_out)


def test_refuses_train_and_test_that_do_not_match(train, held_out):
    with pytest.raises(InputError, match=r"train has shape \(6, 5\) and test \(6, 4\)"):
        evaluate(Lists(GOOD), train, as_interactions(TEST[:, :4]))
    one, other = (Interactions.from_matrix(held_out.matrix, users=pd.Index(list(ids))) for ids in ("abcdef", "abcdfe"))
    with pytest.raises(InputError, match="train.users and test.users hold different ids"):
        evaluate(Lists(GOOD), one, other)


def test_matrices_are_taken_as_fit_takes_them(train, held_out):
    named = Interactions.from_matrix(TRAIN, users=list("abcdef"), items=list("vwxyz"))
    expected = evaluate(Lists(GOOD), train, held_out, metrics="mrr@3")
    for parts in ((TRAIN, TEST), (csr_array(TRAIN), held_out), (named, held_out), (named, TEST)):
        pd.testing.assert_frame_equal(evaluate(Lists(GOOD), *parts, metrics="mrr@3"), expected)
    assert evaluate_users(Lists(GOOD), named, TEST, metrics="mrr@3")["user"].tolist() == ["a", "b"]
    with pytest.raises(InputError, match=r"test: met a table \(DataFrame\)"):
        evaluate(Lists(GOOD), train, pd.DataFrame(TEST))
    with pytest.raises(InputError, match="train: "):
        evaluate(Lists(GOOD), "train", held_out)


def test_refuses_what_was_fitted_on_other_rows_or_columns(train, held_out):
    named = {"users": list("abcdef"), "items": list("vwxyz")}
    names = Interactions.from_matrix(TRAIN, **named)
    model = MostPopular().fit(names)
    evaluate(model, names, held_out)
    evaluate(model, train, held_out)  # without ids, by position
    for side in named:
        other = Interactions.from_matrix(TRAIN, **(named | {side: named[side][::-1]}))
        for measure in (evaluate, evaluate_users):
            with pytest.raises(InputError, match=f"train.{side} are other ids than those that the model was fitted on"):
                measure(model, other, held_out)
        with pytest.raises(InputError, match=f"model 'popular': train.{side} are other ids"):
            compare({"popular": model}, other, held_out)
    with pytest.raises(InputError, match="train has 6 users, but the model was fitted on 4; evaluate it on the users"):
        evaluate(MostPopular().fit(TRAIN[:4]), train, held_out)
    with pytest.raises(InputError, match="train has 5 items, but the model was fitted on 3"):
        evaluate(WMF(2, iterations=1).fit(TRAIN[:, :3]), train, held_out)
    with pytest.raises(NotFittedError, match="this MostPopular has no factors yet"):
        evaluate(MostPopular(), train, held_out)
    with pytest.raises(NotFittedError, match="model 'new': this MostPopular has no factors yet"):
        compare({"new": MostPopular()}, train, held_out)
    foreign = Lists(GOOD)
    foreign.interactions = "of another kind"
    evaluate(foreign, train, held_out, metrics="hit@1")


def test_refuses_what_is_no_model_or_no_metric(train, held_out):
    with pytest.raises(InputError, match="the model, of type object, has no recommend; give a fitted model"):
        evaluate(object(), train, held_out)
    with pytest.raises(
        InputError, match=r"the model is the class MostPopular; give .* such as MostPopular\(\).fit\(train\)"
    ):
        evaluate(MostPopular, train, held_out)
    with pytest.raises(InputError, match="model 'one': the model, of type object, has no recommend"):
        compare({"one": object()}, train, held_out)
    with pytest.raises(InputError, match=r"models is of list; give the models by name, as \{'name': model\}"):
        compare([Lists(GOOD)], train, held_out)
    for metrics in (5, None):
        with pytest.raises(InputError, match=f"metrics is {metrics}; give a name such as 'ndcg@10', or several"):
            evaluate(Lists(GOOD), train, held_out, metrics=metrics)


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


def test_refuses_to_average_over_nobody(train):
    with pytest.raises(InputError, match=r"no user can be evaluated: of 6 users 6 have no new pair"):
        evaluate(Lists(GOOD), train, train)


def test_refuses_options_that_cannot_be(train, held_out):
    with pytest.raises(InputError, match="batch_size is 0; give a whole number"):
        evaluate(Lists(GOOD), train, held_out, batch_size=0)
    with pytest.raises(InputError, match="'auc@3' has a cut-off"):
        evaluate(Lists(GOOD), train, held_out, metrics=["auc@3"])
    for confidence in (0, 1, True, "0.9", math.nan):
        with pytest.raises(InputError, match=f"confidence is {confidence!r}; give a number between 0 and 1"):
            evaluate(Lists(GOOD), train, held_out, confidence=confidence)
    for bootstrap in (-1, 2.0, True):
        with pytest.raises(InputError, match=f"bootstrap is {bootstrap!r}; give a whole number of resamples"):
            compare({"good": Lists(GOOD)}, train, held_out, bootstrap=bootstrap)
    for seed in (-1, 0.5, "1"):
        with pytest.raises(InputError, match=f"random_state is {seed!r}; give a whole number from 0 on"):
            evaluate(Lists(GOOD), train, held_out, random_state=seed)
    with pytest.raises(InputError, match="models is empty"):
        compare({}, train, held_out)


def slow_popular(dense, user, N, filter_liked, filter_items, items):
    """Rank every item by its users, the smaller index first, and drop what must not appear."""
    count = (dense > 0).sum(axis=0)
    allowed = set(range(dense.shape[1])) if items is None else set(items)
    allowed -= set(filter_items or ())
    if filter_liked:
        allowed -= set(np.flatnonzero(dense[user]))
    ranked = sorted(allowed, key=lambda item: (-count[item], item))[:N]
    short = N - len(ranked)
    return ranked + [-1] * short, [float(count[item]) for item in ranked] + [math.nan] * short


@settings(deadline=None)
@given(st.data())
def test_popular_equals_the_plain_ranking(data):
    users, items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    cells = st.lists(st.sampled_from([0, 0, 1, 2, -1]), min_size=users * items, max_size=users * items)
    dense = np.array(data.draw(cells), dtype=float).reshape(users, items)
    some_items = st.none() | st.lists(st.integers(0, items - 1), max_size=items)
    options = data.draw(st.tuples(st.integers(1, 10), st.booleans(), some_items, some_items))
    rows = data.draw(st.lists(st.integers(0, users - 1), max_size=7))
    ids, scores = MostPopular().fit(as_interactions(dense)).recommend(rows, *options)
    expected = [slow_popular(dense, row, *options) for row in rows]
    assert ids.shape == scores.shape == (len(rows), options[0])
    assert ids.tolist() == [ranked for ranked, _ in expected]
    np.testing.assert_array_equal(scores, np.array([values for _, values in expected]).reshape(scores.shape))


def test_popular_over_several_blocks(monkeypatch):
    for limit in ("_MOST_USERS", "_LEAST_USERS"):
        monkeypatch.setattr(f"implicit_wmf.ranking.{limit}", 7)
    dense = (np.random.default_rng(2).random((30, 12)) < 0.4).astype(float)
    dense[4] = 1
    ids, _ = MostPopular().fit(csr_array(dense)).recommend(np.arange(30)[::-1], N=5)
    assert ids.tolist() == [slow_popular(dense, user, 5, True, None, None)[0] for user in range(29, -1, -1)]
    assert ids[25].tolist() == [-1] * 5


@pytest.mark.parametrize("user", [1, np.int32(1), np.array(1)])
def test_popular_bare_index_gives_flat_arrays(train, user):
    ids, scores = MostPopular().fit(train).recommend(user, N=4)
    assert ids.tolist() == [0, 2, 3, 4]
    assert scores.tolist() == [3, 0, 0, 0]
    assert (ids.dtype, scores.dtype) == (np.int32, np.float64)


def test_popular_refuses_what_it_cannot_serve(train):
    with pytest.raises(NotFittedError, match="this MostPopular has no factors yet: call fit first"):
        MostPopular().recommend(0)
    model = MostPopular().fit(train)
    with pytest.raises(InputError, match="users holds 6 at position 1; indices run from 0 to 5"):
        model.recommend([0, 6])
    with pytest.raises(InputError, match="users holds -1 at position 0"):
        model.recommend(-1)
    with pytest.raises(InputError, match="users must be whole numbers .* got float64"):
        model.recommend([0.5])
    with pytest.raises(InputError, match=r"users must be one index .* got an array of shape \(1, 1\)"):
        model.recommend([[0]])
    with pytest.raises(InputError, match="filter_items holds 5 at position 0; indices run from 0 to 4"):
        model.recommend(0, filter_items=[5])
    with pytest.raises(InputError, match="items must be whole numbers .* got bool"):
        model.recommend(0, items=np.ones(5, dtype=bool))
    for length in (0, 2.5, True):
        with pytest.raises(InputError, match=f"N must be a whole number of at least 1, .* got {length}"):
            model.recommend(0, N=length)
