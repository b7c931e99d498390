"""What evaluation takes and what it refuses: lists, models, data and options."""

import math

import numpy as np
import pandas as pd
import pytest
from fixed_lists import GOOD, TEST, TRAIN, Lists, as_interactions
from scipy.sparse import csr_array

from implicit_wmf import WMF
from implicit_wmf.errors import InputError, NotFittedError
from implicit_wmf.evaluation import compare, evaluate, evaluate_users
from implicit_wmf.interactions import Interactions
from implicit_wmf.popularity import MostPopular


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
