"""Evaluation: who counts, what counts, what is refused; and the popularity baseline."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from implicit_wmf.errors import InputError, NotFittedError
from implicit_wmf.evaluation import compare, evaluate
from implicit_wmf.interactions import Interactions
from implicit_wmf.popularity import MostPopular


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
    assert list(table.columns) == ["metric", "value", "standard_error", "users"]
    assert table["metric"].tolist() == ["recall@3", "mrr@2", "hit@1"]
    assert table["value"].tolist() == [1.0, 0.5, 0.0]
    assert table["standard_error"].tolist() == [0.0, 0.0, 0.0]
    assert table["users"].tolist() == [2, 2, 2]
    assert table.attrs == {"without_targets": 3, "without_history": 1}


def test_standard_error_is_that_of_the_mean(train, held_out):
    lists = [[2, 3, 1], [2, 3, 4], *GOOD[2:]]
    table = evaluate(Lists(lists), train, held_out, metrics="recall@3")
    assert table["value"].tolist() == [0.25]
    assert table["standard_error"].item() == pytest.approx(math.sqrt(2 * 0.25**2 / 1) / math.sqrt(2))


def test_a_single_user_has_no_standard_error(train):
    one = np.zeros_like(TEST)
    one[0, 2] = 1
    table = evaluate(Lists(GOOD), train, as_interactions(one), metrics=["mrr@3"])
    assert table["value"].tolist() == [0.5]
    assert math.isnan(table["standard_error"].item())
    assert table["users"].tolist() == [1]


def test_asks_only_for_evaluated_users_in_batches(train, held_out):
    model = Lists(GOOD)
    evaluate(model, train, held_out, metrics=["hit@2"], batch_size=1)
    assert model.asked == [1, 1]


def test_compare_stacks_the_tables_of_the_same_users(train, held_out):
    models = {"good": Lists(GOOD), "popular": MostPopular().fit(train)}
    table = compare(models, train, held_out, metrics=iter(["recall@2", "ndcg@3"]))
    assert list(table.columns) == ["model", "metric", "value", "standard_error", "users"]
    assert table["model"].tolist() == ["good", "good", "popular", "popular"]
    for name, model in models.items():
        alone = evaluate(model, train, held_out, metrics=["recall@2", "ndcg@3"])
        part = table[table["model"] == name].drop(columns="model").reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone)
        assert table.attrs == alone.attrs


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
    renamed = Interactions.from_matrix(held_out.matrix, users=pd.Index(list("abcdef")))
    with pytest.raises(InputError, match="train.users and test.users hold different ids"):
        evaluate(Lists(GOOD), train, renamed)


def test_refuses_to_average_over_nobody(train):
    with pytest.raises(InputError, match=r"no user can be evaluated: of 6 users 6 have no new pair"):
        evaluate(Lists(GOOD), train, train)


def test_refuses_options_that_cannot_be(train, held_out):
    with pytest.raises(InputError, match="batch_size is 0; give a whole number"):
        evaluate(Lists(GOOD), train, held_out, batch_size=0)
    with pytest.raises(InputError, match="'auc' in 'auc@3' is not known"):
        evaluate(Lists(GOOD), train, held_out, metrics=["auc@3"])
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
