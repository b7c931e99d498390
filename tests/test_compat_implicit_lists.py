"""Lists of the interface of implicit: against the real one where it is installed, and against literal numpy."""

import copy
import pickle
import threading

import numpy as np
import pytest
from implicit_twins import (
    LOWEST,
    assert_same_answer,
    brute_force,
    confidences,
    fitted,
    starts,
    twins,
)
from scipy.sparse import csr_matrix

from implicit_wmf import InputError, ranking
from implicit_wmf.compat.implicit import AlternatingLeastSquares

QUESTIONS = [
    {},
    {"N": 18},
    {"filter_already_liked_items": False},
    {"filter_items": [2, 7, 30]},
    {"filter_items": []},
    {"items": [7, 2, 39, 20, 1], "filter_already_liked_items": False},
    {"items": np.array([7, 2, 39, 20, 1]), "filter_already_liked_items": False, "N": 2},
    {"recalculate_user": True},
    {"recalculate_user": True, "filter_already_liked_items": False},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
@pytest.mark.parametrize("users", [0, np.int64(4), [0, 6, 1], np.arange(9, 20)], ids=str)
def test_recommend_answers_as_implicit(peer, users, question):
    data = confidences(empty=False)
    rows = data[np.atleast_1d(users)]
    theirs, ours = twins(peer, data=data)
    assert_same_answer(ours.recommend(users, rows, **question), theirs.recommend(users, rows, **question))


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_recommend_is_brute_force(question):
    data, model = confidences(), fitted()
    users = np.array([0, 3, 29, 0])
    allowed = np.ones((4, 40), bool)
    if question.get("filter_already_liked_items", True):
        allowed &= data[users].toarray() == 0
    allowed[:, question.get("filter_items", [])] = False
    if "items" in question:
        allowed &= np.isin(np.arange(40), question["items"])
    N = min(question.get("N", 10), len(question.get("items", range(40))))
    vectors = model.user_factors[users]
    if question.get("recalculate_user"):
        vectors = model.recalculate_user(users, data[users])
    expected = brute_force(vectors @ model.item_factors.T, allowed, N)
    ids, scores = model.recommend(users, data[users], **question)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-4, atol=1e-5)
    first = model.recommend(0, data[0], **question)
    np.testing.assert_array_equal(first[0], ids[0])
    np.testing.assert_allclose(first[1], scores[0], rtol=1e-5)


def test_short_lists_never_hold_what_was_filtered_out():
    data, model = confidences(), fitted()
    ids, scores = model.recommend([0, 1], data[:2], N=45)
    for user in range(2):
        unseen = np.flatnonzero(data[[user]].toarray()[0] == 0)
        assert sorted(ids[user, : unseen.size]) == unseen.tolist()
        assert (ids[user, unseen.size :] == -1).all()
        assert (scores[user, unseen.size :] == LOWEST).all()
    liked = data[[0]].indices
    ids, scores = model.recommend(0, data[0], N=50, items=liked)
    assert ids.tolist() == [-1] * liked.size
    ids, scores = model.similar_items(0, N=45, filter_items=[1])
    assert sorted(ids[:39]) == [0, *range(2, 40)]
    assert ids[39:].tolist() == [-1] * 6
    assert (scores[39:] == LOWEST).all()


def test_new_factors_give_new_lists():
    data, model = confidences(), fitted()
    for _ in range(2):
        model.item_factors = np.roll(model.item_factors, 1, axis=0)
        expected, _ = brute_force(model.user_factors @ model.item_factors.T, np.ones((30, 40), bool), 5)
        ids, _ = model.recommend(np.arange(30), data, N=5, filter_already_liked_items=False)
        np.testing.assert_array_equal(ids, expected)
        assert model.similar_items(0, N=1)[0] == [0]
    with pytest.raises(ValueError, match="read-only"):
        model.item_factors[0] = 0


def test_factors_that_were_given_may_change_without_effect():
    model, (users, items) = AlternatingLeastSquares(factors=6), starts()
    model.user_factors, model.item_factors = users, items
    before = model.recommend(0, None, filter_already_liked_items=False)
    items[:] = 0
    np.testing.assert_array_equal(model.recommend(0, None, filter_already_liked_items=False), before)


def test_what_is_made_while_the_factors_change_is_not_kept_for_the_new_ones(monkeypatch):
    model, data, started, changed = fitted(), confidences(), threading.Event(), threading.Event()
    catalogue = ranking.Catalogue

    def slow(*arguments):
        started.set()
        assert changed.wait(10)
        return catalogue(*arguments)

    monkeypatch.setattr(ranking, "Catalogue", slow)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(model.recommend(0, data[0], filter_already_liked_items=False))
    )
    thread.start()
    assert started.wait(10)
    model.item_factors = model.item_factors[::-1]
    changed.set()
    thread.join()
    ids, _ = model.recommend(0, data[0], filter_already_liked_items=False)
    expected, _ = brute_force(model.user_factors[:1] @ model.item_factors.T, np.ones((1, 40), bool), 10)
    np.testing.assert_array_equal(ids, expected[0])
    assert answers[0][0].tolist() == (39 - ids).tolist()


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deep", "pickle"],
)
def test_copies_are_read_only_and_without_what_was_made(copied):
    model, data = fitted(), confidences()
    questions = [lambda m: m.recommend(0, data[0]), lambda m: m.similar_items(1), lambda m: m.explain(0, data, 2)[:2]]
    before = [question(model) for question in questions]
    size = len(pickle.dumps(fitted()))
    assert len(pickle.dumps(model)) == size
    again = copied(model)
    for question, expected in zip(questions, before, strict=True):
        np.testing.assert_equal(question(again), expected)
    for factors in (again.user_factors, again.item_factors):
        with pytest.raises(ValueError, match="read-only"):
            factors[0] = 0
    again.item_factors = np.zeros((40, 6))
    np.testing.assert_equal([question(model) for question in questions], before)
    assert copied(AlternatingLeastSquares()).item_factors is None


def test_ids_named_twice_are_listed_once():
    model, data = fitted(), confidences()
    ids, _ = model.recommend(0, data[0], filter_already_liked_items=False, items=[9, 9, 4])
    assert sorted(ids) == [4, 9]


def test_narrow_matrices_lack_the_last_items():
    data, model = confidences(), fitted()
    narrow = csr_matrix(data[:4, :30])
    wide = csr_matrix((narrow.data, narrow.indices, narrow.indptr), shape=(4, 40))
    for question in ({}, {"recalculate_user": True}):
        np.testing.assert_array_equal(
            model.recommend(range(4), narrow, **question), model.recommend(range(4), wide, **question)
        )
    with pytest.raises(InputError, match="user_items has 41 columns; the model knows 40"):
        model.recommend(0, csr_matrix((1, 41)))


def test_no_users_get_no_lists():
    ids, scores = fitted().recommend([], csr_matrix((0, 40)), N=3)
    assert ids.shape == scores.shape == (0, 3)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (IndexError, "userid holds 30 at position 0; indices run from 0 to 29", {"userid": 30}),
        (IndexError, "userid holds -1", {"userid": -1}),
        (IndexError, "items holds 40 at position 1", {"items": [1, 40]}),
        (IndexError, "filter_items holds 99", {"filter_items": [99]}),
        (ValueError, "items is empty", {"items": []}),
        (ValueError, "items and filter_items are both given", {"items": [1], "filter_items": [2]}),
        (ValueError, "user_items has 1 rows; give one for each id, of which there are 2", {"userid": [0, 1]}),
        (ValueError, "user_items must be a CSR matrix, got coo_matrix", {"user_items": confidences()[0].tocoo()}),
        (ValueError, "N must be a whole number of at least 1", {"N": 0}),
    ],
)
def test_recommend_refuses(error, message, arguments):
    with pytest.raises(InputError, match=message) as caught:
        fitted().recommend(**{"userid": 0, "user_items": confidences()[0], **arguments})
    assert isinstance(caught.value, error)


def test_questions_before_fit_and_to_unequal_factors():
    model = AlternatingLeastSquares(factors=6)
    with pytest.raises(InputError, match="there are no item_factors yet: call fit, or set them"):
        model.recommend(0, confidences()[0])
    model.user_factors, model.item_factors = np.ones((30, 5)), np.ones((40, 6))
    with pytest.raises(InputError, match="factors of users have length 5, of items 6"):
        model.recommend(0, confidences()[0])


def test_rank_items_is_deprecated(peer):
    theirs, ours = twins(peer)
    row = confidences()[0]
    with pytest.warns(DeprecationWarning):
        expected = theirs.rank_items(0, row, [4, 8, 1])
    with pytest.warns(DeprecationWarning, match="rank_items is deprecated"):
        got = ours.rank_items(0, row, [4, 8, 1])
    assert_same_answer(got, expected)


# similar rows


@pytest.mark.parametrize("ids", [1, [1, 0, 17]], ids=str)
@pytest.mark.parametrize(
    "question", [{}, {"N": 3}, {"items": [9, 3, 1, 12], "N": 3}, {"filter_items": [9, 3, 1]}], ids=str
)
def test_similar_rows_as_implicit(peer, ids, question):
    theirs, ours = twins(peer)
    assert_same_answer(ours.similar_items(ids, **question), theirs.similar_items(ids, **question))
    question = {name.replace("items", "users"): value for name, value in question.items()}
    assert_same_answer(ours.similar_users(ids, **question), theirs.similar_users(ids, **question))


@pytest.mark.parametrize("ids", [1, [1, 0, 17]], ids=str)
def test_similar_items_of_other_users(peer, ids):
    theirs, ours = twins(peer)
    rows = csr_matrix(confidences().T)[np.atleast_1d(ids) + 1]
    question = {"N": 7, "recalculate_item": True, "item_users": rows}
    assert_same_answer(ours.similar_items(ids, **question), theirs.similar_items(ids, **question))


def test_similarity_is_the_cosine():
    model = fitted()
    factors = model.item_factors.astype(float)
    norms = np.linalg.norm(factors, axis=1)
    assert norms[5] == 0  # nobody has it
    cosines = factors @ factors.T / np.outer(norms, norms).clip(1e-300)
    ids, scores = model.similar_items(np.arange(40), N=40)
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, ids, 1), atol=1e-5)
    assert (np.diff(scores) <= 0).all()
    assert (np.sort(ids) == np.arange(40)).all()
    with pytest.raises(IndexError, match="users holds 30"):
        model.similar_users(0, users=[30])


@pytest.mark.parametrize("scale", [1e20, 1e-25])
def test_cosines_do_not_depend_on_the_scale(scale):
    model = fitted()
    expected = model.similar_items(np.arange(40), N=5)
    model.item_factors = model.item_factors.astype(np.float64) * scale
    for ours, former in zip(model.similar_items(np.arange(40), N=5), expected, strict=True):
        np.testing.assert_allclose(ours, former, rtol=1e-5, atol=1e-6)
