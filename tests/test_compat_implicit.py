"""The interface of implicit: against the real one where it is installed, and against literal numpy."""

import copy
import inspect
import io
import os
import pickle
import threading
import warnings

import numpy as np
import pytest
import reference
from conftest import awkward_counts, to_sparse
from scipy.sparse import csr_array, csr_matrix, random_array

from implicit_wmf import InputError, ranking
from implicit_wmf.compat import implicit as compat
from implicit_wmf.compat.implicit import AlternatingLeastSquares, ModelFitError, ParameterWarning, calculate_loss

LOWEST = np.finfo(np.float32).min
SETTINGS = [(1.0, 0.01, False), (1.0, 1.0, True), (40.0, 0.1, False), (0.4, 0.05, True)]  # alpha, lambda, negatives


@pytest.fixture
def peer():
    """The real one, without its warning of BLAS threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        als = pytest.importorskip("implicit.als", reason="pip install 'implicit_wmf[bench]' adds implicit")

    def make(**settings):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return als.AlternatingLeastSquares(use_gpu=False, num_threads=1, **settings)

    return make


@pytest.fixture
def evaluation(peer):
    return pytest.importorskip("implicit.evaluation")


def confidences(negatives=True, empty=True, users=30, items=40, seed=0):
    """Fractions below and above 1, some negative, an item that all have, and, if asked for, an empty row and column."""
    generator = np.random.default_rng(seed)
    dense = generator.choice([0, 0.3, 1, 2, 5.5], (users, items), p=[0.7, 0.1, 0.1, 0.05, 0.05])
    if negatives:
        dense *= generator.choice([1, 1, 1, -1], dense.shape)
    dense[:, 2] = 1.5
    if empty:  # all scores there are the same
        dense[3], dense[:, 5] = 0, 0
    return csr_matrix(dense.astype(np.float32))


def starts(users=30, items=40, factors=6):
    generator = np.random.default_rng(5)
    return generator.random((users, factors), np.float32) * 0.3, generator.random((items, factors), np.float32) * 0.3


def fitted(make=AlternatingLeastSquares, data=None, factors=6, **settings):
    data = confidences() if data is None else data
    model = make(factors=factors, **{"use_cg": False, "iterations": 3, "alpha": 2.0, **settings})
    dtype = settings.get("dtype", np.float32)
    model.user_factors, model.item_factors = (start.astype(dtype) for start in starts(*data.shape, factors))
    model.fit(data, show_progress=False)
    return model


def twins(peer, **settings):
    """The real model, and ours with the same factors."""
    theirs, ours = fitted(peer, **settings), fitted(**settings)
    ours.user_factors, ours.item_factors = theirs.user_factors, theirs.item_factors
    return theirs, ours


def dense_problem(data, alpha):
    counts = data.toarray().astype(float) * alpha
    counts[counts == 0] = np.nan
    return reference.confidence_and_preference(counts, "raw")


def brute_force(scores, allowed, N):
    """Ids of the best allowed columns of each row, ties to the smaller, and their scores."""
    ids, best = np.full((len(scores), N), -1), np.full((len(scores), N), float(LOWEST))
    for row in range(len(scores)):
        order = [j for j in np.argsort(-scores[row], kind="stable") if allowed[row, j]][:N]
        ids[row, : len(order)], best[row, : len(order)] = order, scores[row, order]
    return ids, best


def assert_same_answer(one, other):
    for ours, theirs in zip(one, other, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4, atol=1e-5)


# fit


def test_constructor_has_the_same_arguments(peer):
    import implicit.als

    ours = inspect.signature(AlternatingLeastSquares).parameters
    theirs = inspect.signature(implicit.als.AlternatingLeastSquares).parameters
    assert list(ours) == list(theirs)
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()} | {"use_gpu": False}


@pytest.mark.parametrize(
    "method",
    ["fit", "recommend", "similar_items", "similar_users", "explain", "recalculate_user", "recalculate_item",
     "partial_fit_users", "partial_fit_items", "rank_items", "save", "load"],
)  # fmt: skip
def test_methods_have_the_same_arguments(peer, method):
    def arguments(model):
        return [(p.name, p.default) for p in inspect.signature(getattr(model, method)).parameters.values()]

    assert arguments(AlternatingLeastSquares()) == arguments(peer())


@pytest.mark.parametrize(("alpha", "regularization", "negatives"), SETTINGS)
def test_exact_iterations_are_those_of_literal_least_squares(alpha, regularization, negatives):
    data = confidences(negatives)
    C, P = dense_problem(data, alpha)
    W, H = starts()
    for _ in range(3):
        W = reference.solve_rows(C, P, H, np.full(30, regularization))
        H = reference.solve_rows(C.T, P.T, W, np.full(40, regularization))
    model = fitted(data=data, alpha=alpha, regularization=regularization)
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, W @ H.T, atol=3e-3)
    expected = reference.loss(C, P, W, H, np.full(30, regularization), np.full(40, regularization))
    got = reference.loss(
        C, P, model.user_factors, model.item_factors, np.full(30, regularization), np.full(40, regularization)
    )
    assert got == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("alpha", "regularization", "negatives"), SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_objective_as_implicit_after_the_same_iterations(peer, alpha, regularization, negatives, dtype):
    from implicit.cpu import _als

    data = confidences(negatives)
    settings = {"data": data, "alpha": alpha, "regularization": regularization, "iterations": 5, "dtype": dtype}
    theirs, ours = fitted(peer, **settings), fitted(**settings)
    weighted = (alpha * data).astype(np.float32)
    losses = [
        _als.calculate_loss(weighted, np.array(m.user_factors), np.array(m.item_factors), regularization)
        for m in (theirs, ours)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert calculate_loss(weighted, ours.user_factors, ours.item_factors, regularization) == pytest.approx(
        losses[0], rel=1e-4
    )
    assert ours.user_factors.dtype == theirs.user_factors.dtype
    np.testing.assert_allclose(
        ours.user_factors @ ours.item_factors.T, theirs.user_factors @ theirs.item_factors.T, atol=3e-3
    )


def test_loss_is_the_objective_over_all_confidence():
    data, (X, Y) = confidences(negatives=True), starts()
    C, P = dense_problem(data, 1.0)
    objective = reference.loss(C, P, X, Y, np.full(30, 0.1), np.full(40, 0.1))
    expected = (objective - data.data[data.data < 0].sum(dtype=float)) / C.sum()
    assert calculate_loss(data, X, Y, 0.1) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match=r"X \(30, 6\) and Y \(39, 6\) are not factors for Cui \(30, 40\)"):
        calculate_loss(data, X, Y[1:], 0.1)


def test_same_seed_gives_the_start_of_implicit(peer):
    theirs, ours = (make(factors=5, random_state=7, iterations=0) for make in (peer, AlternatingLeastSquares))
    for model in (theirs, ours):
        model.fit(confidences(), show_progress=False)
    np.testing.assert_array_equal(ours.user_factors, theirs.user_factors)
    np.testing.assert_array_equal(ours.item_factors, theirs.item_factors)


@pytest.mark.parametrize("seed", [None, 3, np.random.default_rng(1), np.random.RandomState(1)])
def test_kinds_of_seeds(seed):
    model = AlternatingLeastSquares(factors=5, random_state=seed, iterations=0)
    model.fit(confidences(), show_progress=False)
    assert model.user_factors.shape == (30, 5)
    assert 0 <= model.user_factors.min() < model.user_factors.max() < 0.01


def test_second_fit_goes_on_where_the_first_ended():
    once, twice = fitted(iterations=4), fitted(iterations=2)
    twice.fit(confidences(), show_progress=False)
    np.testing.assert_allclose(
        twice.user_factors @ twice.item_factors.T, once.user_factors @ once.item_factors.T, atol=1e-4
    )
    fresh = AlternatingLeastSquares(factors=6, use_cg=False, iterations=2, random_state=0)
    fresh.fit(confidences(), show_progress=False)
    first = fresh.user_factors @ fresh.item_factors.T
    fresh.user_factors = fresh.item_factors = None
    fresh.fit(confidences(), show_progress=False)
    np.testing.assert_array_equal(fresh.user_factors @ fresh.item_factors.T, first)


def test_same_bits_for_any_number_of_threads():
    models = [fitted(num_threads=threads, use_cg=True) for threads in (1, 3)]
    np.testing.assert_array_equal(models[0].user_factors, models[1].user_factors)
    lists = [model.recommend(range(30), confidences()) for model in models]
    np.testing.assert_array_equal(lists[0], lists[1])


def test_callback_sees_every_iteration_and_its_factors():
    calls, losses = [], []
    model = AlternatingLeastSquares(factors=4, iterations=3, calculate_training_loss=True, random_state=0, alpha=3.0)

    def callback(iteration, seconds, loss):
        calls.append((iteration, seconds >= 0, loss))
        losses.append(calculate_loss(3.0 * confidences(), model.user_factors, model.item_factors, 0.01))

    model.fit(confidences(), show_progress=False, callback=callback)
    assert [call[:2] for call in calls] == [(0, True), (1, True), (2, True)]
    np.testing.assert_allclose([call[2] for call in calls], losses, rtol=1e-5)
    model.calculate_training_loss, model.fit_callback = False, lambda *arguments: calls.append(arguments)
    model.fit(confidences(), show_progress=False)
    assert calls[-1][0] == 2
    assert calls[-1][2] is None


def test_error_of_a_callback_comes_as_it_is_and_keeps_the_iteration():
    def stop(iteration, seconds, loss):
        raise InputError("enough")

    model = AlternatingLeastSquares(factors=4)
    with pytest.raises(InputError, match="^enough$") as caught:
        model.fit(confidences(), show_progress=False, callback=stop)
    assert not isinstance(caught.value, ModelFitError)
    assert model.item_factors.shape == (40, 4)


def test_progress_only_where_asked_for(capsys):
    fitted()
    assert capsys.readouterr().err == ""
    AlternatingLeastSquares(factors=2, iterations=2).fit(confidences())
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [csr_array, csr_matrix])
def test_both_kinds_of_csr_are_taken_silently(kind):
    model = fitted(data=kind(confidences()))
    np.testing.assert_array_equal(model.user_factors, fitted().user_factors)
    model.recommend(0, kind(confidences()[[0]]))


def test_other_formats_are_converted_with_a_warning():
    with pytest.warns(ParameterWarning, match="user_items is converted from coo to CSR"):
        model = fitted(data=confidences().tocoo())
    np.testing.assert_array_equal(model.user_factors, fitted().user_factors)


def test_data_and_factors_that_are_not_finite():
    model = fitted()
    before = model.user_factors
    missing, huge = confidences(), confidences()
    missing.data[3], huge.data[3] = np.nan, 3e38  # times alpha, beyond float32
    for data in (missing, huge):
        with pytest.raises(ModelFitError):
            model.fit(data, show_progress=False)
        np.testing.assert_array_equal(model.user_factors, before)
    with pytest.raises(ModelFitError, match="item_factors hold a number that is not finite"):
        model.item_factors = np.full((40, 6), np.inf)


def test_overflow_after_some_iterations_gives_the_former_factors_back(monkeypatch):
    model = fitted()
    before = model.user_factors.copy(), model.item_factors.copy()

    def overflow(problem, start, config, track_loss):
        yield next(epochs(problem, start, config, track_loss=track_loss))
        raise InputError("the factors overflow")

    epochs = compat.epochs
    monkeypatch.setattr(compat, "epochs", overflow)
    seen = []
    with pytest.raises(ModelFitError, match="the factors overflow"):
        model.fit(confidences(), show_progress=False, callback=lambda *_: seen.append(model.user_factors))
    assert not np.array_equal(seen[0], before[0])
    np.testing.assert_array_equal(model.user_factors, before[0])
    np.testing.assert_array_equal(model.item_factors, before[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_gpu": True}, "use_gpu=True: this implementation runs on the CPU"),
        ({"factors": 0}, "factors must be"),
        ({"regularization": -1}, "regularization must be"),
        ({"alpha": np.nan}, "alpha must be a finite number, got nan"),
        ({"dtype": np.float16}, "dtype must be"),
        ({"num_threads": -2}, "num_threads must be"),
    ],
)
def test_constructor_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        AlternatingLeastSquares(**settings)


def test_fit_refuses_what_it_cannot_use():
    model = fitted()
    with pytest.raises(InputError, match=r"user_factors have shape \(30, 6\), but .* need \(29, 6\); set"):
        model.fit(confidences()[:29], show_progress=False)
    with pytest.raises(InputError, match="user_items must be a CSR matrix, got ndarray"):
        model.fit(confidences().toarray())
    with pytest.raises(
        InputError, match=r"user_factors must be an array of shape \(users, factors\), got shape \(3,\)"
    ):
        model.user_factors = np.ones(3)
    with pytest.raises(InputError, match="random_state: 'x' is no seed"):
        AlternatingLeastSquares(random_state="x").fit(confidences(), show_progress=False)


# recommend

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


# exact rows


@pytest.mark.parametrize("alpha", [1.0, 5.0])
def test_recalculated_rows(peer, alpha):
    data = confidences()
    theirs, ours = twins(peer, alpha=alpha, regularization=0.3)
    users, columns = [4, 0, 3], csr_matrix(data.T)
    np.testing.assert_allclose(
        ours.recalculate_user(users, data[users]), theirs.recalculate_user(users, data[users]), atol=2e-4
    )
    np.testing.assert_allclose(ours.recalculate_user(0, data[9]), theirs.recalculate_user(0, data[9]), atol=2e-4)
    np.testing.assert_allclose(ours.recalculate_item(1, columns[2]), theirs.recalculate_item(1, columns[2]), atol=2e-4)
    assert ours.recalculate_item([5, 6], columns[5:7]).shape == (2, 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_recalculated_rows_solve_their_equations(dtype):
    data, model = confidences(), fitted(alpha=3.0, regularization=0.2, dtype=dtype)
    C, P = dense_problem(data, 3.0)
    tolerance = 2e-4 if dtype == np.float32 else 1e-9
    users = reference.solve_rows(C, P, model.item_factors, np.full(30, 0.2))
    np.testing.assert_allclose(model.recalculate_user(range(30), data), users, atol=tolerance)
    items = reference.solve_rows(C.T, P.T, model.user_factors, np.full(40, 0.2))
    np.testing.assert_allclose(model.recalculate_item(range(40), csr_matrix(data.T)), items, atol=tolerance)
    model.regularization = 2.0  # is not forgotten by what is kept for the next call
    users = reference.solve_rows(C, P, model.item_factors, np.full(30, 2.0))
    np.testing.assert_allclose(model.recalculate_user(range(30), data), users, atol=tolerance)


def test_partial_fit_grows_the_model_as_implicit_does(peer):
    data = confidences()
    theirs, ours = twins(peer)
    for model in (theirs, ours):
        model.partial_fit_users([1, 33], data[[7, 8]])
        columns = csr_matrix(data.T)[[9, 11]]
        model.partial_fit_items(np.array([41, 0]), columns)
    assert ours.user_factors.shape == (34, 6)
    assert ours.item_factors.shape == (42, 6)
    np.testing.assert_allclose(ours.user_factors, theirs.user_factors, atol=2e-4)
    np.testing.assert_allclose(ours.item_factors, theirs.item_factors, atol=2e-4)
    assert_same_answer(
        ours.recommend(33, None, filter_already_liked_items=False, N=5),
        theirs.recommend(33, None, filter_already_liked_items=False, N=5),
    )


def test_partial_fit_changes_the_given_rows_alone():
    data, model = confidences(), fitted()
    before = model.user_factors
    model.partial_fit_users([31, 2], data[[7, 8]])
    expected = np.vstack([before, np.zeros((2, 6), np.float32)])
    expected[[31, 2]] = model.recalculate_user([31, 2], data[[7, 8]])
    np.testing.assert_array_equal(model.user_factors, expected)
    with pytest.raises(InputError, match="item_users has 1 rows; give one for each id, of which there are 2"):
        model.partial_fit_items([1, 2], csr_matrix((1, 30)))
    with pytest.raises(IndexError, match="userids holds -1"):
        model.partial_fit_users([-1], data[0])
    with pytest.raises(InputError, match="item_users must be a CSR matrix, got NoneType"):
        model.recalculate_item(0, None)


# explain


def test_explain_as_implicit(peer):
    data = confidences()
    theirs, ours = twins(peer, regularization=0.5)
    for user, item in [(0, 3), (7, 2), (3, 1)]:
        total, contributions, weights = theirs.explain(user, data, item, N=4)
        got_total, got, got_weights = ours.explain(user, data, item, N=4)
        assert got_total == pytest.approx(total, rel=1e-4, abs=1e-6)
        assert [i for i, _ in got] == [i for i, _ in contributions]
        np.testing.assert_allclose([s for _, s in got], [s for _, s in contributions], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(np.triu(got_weights[0]), np.triu(weights[0]), atol=1e-3)
        assert ours.explain(user, data, item, user_weights=weights)[0] == pytest.approx(total, rel=1e-4, abs=1e-6)


def test_contributions_add_up_to_the_score_of_the_recalculated_user():
    data, model = confidences(), fitted(dtype=np.float64)
    for user in range(30):
        vector = model.recalculate_user(user, data[user])
        for item in (0, 17):
            total, contributions, weights = model.explain(user, data, item, N=40)
            assert total == pytest.approx(vector @ model.item_factors[item], rel=1e-6, abs=1e-9)
            assert sum(score for _, score in contributions) == pytest.approx(total, abs=1e-9)
            assert {i for i, _ in contributions} == set(np.flatnonzero(data[[user]].toarray()[0] > 0))
            assert model.explain(user, data, item, weights, N=2)[:2] == (total, contributions[:2])
    with pytest.raises(IndexError, match="userid holds 30"):
        model.explain(30, data, 0)
    with pytest.raises(IndexError, match="itemid holds 40"):
        model.explain(0, data, 40)
    with pytest.raises(InputError, match="user_items must be a CSR matrix, got ndarray"):
        model.explain(0, data.toarray(), 0)


# files


def test_saved_models_are_read_back_and_by_implicit(peer, tmp_path):
    ours = fitted(random_state=4, alpha=2.5, dtype=np.float64, use_cg=True)
    ours.save(tmp_path / "ours")
    assert os.listdir(tmp_path) == ["ours.npz"]
    theirs = peer().load(str(tmp_path / "ours"))
    peer(factors=3).save(str(tmp_path / "unfitted"))
    theirs.save(str(tmp_path / "theirs"))
    for model in (theirs, AlternatingLeastSquares.load(tmp_path / "ours.npz"), AlternatingLeastSquares.load(
        str(tmp_path / "theirs")
    )):  # fmt: skip
        for name in ("factors", "regularization", "alpha", "use_cg", "iterations", "random_state", "dtype"):
            assert getattr(model, name) == getattr(ours, name)
        np.testing.assert_array_equal(model.user_factors, ours.user_factors)
        np.testing.assert_array_equal(model.item_factors, ours.item_factors)
    assert AlternatingLeastSquares.load(str(tmp_path / "unfitted")).user_factors is None


def test_save_to_an_open_file_and_over_an_older_model(tmp_path):
    model, file = fitted(), io.BytesIO()
    model.save(file)
    file.seek(0)
    np.testing.assert_array_equal(AlternatingLeastSquares.load(file).item_factors, model.item_factors)
    fitted(factors=3).save(tmp_path / "model.npz")
    model.save(str(tmp_path / "model"))
    assert AlternatingLeastSquares.load(str(tmp_path / "model")).factors == 6
    assert os.listdir(tmp_path) == ["model.npz"]


def test_interrupted_save_leaves_the_older_model(tmp_path, monkeypatch):
    fitted(factors=3).save(tmp_path / "model")

    def fail(file, **arrays):
        file.write(b"PK half of a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted().save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model.npz"]
    assert AlternatingLeastSquares.load(tmp_path / "model").factors == 3


def test_load_refuses(tmp_path):
    with pytest.raises(FileNotFoundError):
        AlternatingLeastSquares.load(tmp_path / "none")
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "other", a=1)
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.ones(3))
    np.savez(tmp_path / "pickle", dtype=np.array([{}], object))
    fitted().save(tmp_path / "model")
    parts = dict(np.load(tmp_path / "model.npz"))
    np.savez(tmp_path / "flat", **parts | {"user_factors": np.ones(3)})
    np.savez(tmp_path / "negative", **parts | {"regularization": -1.0})
    whole = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "other", "array", "pickle", "flat", "negative", "half"):
        with pytest.raises(InputError, match="is not a saved AlternatingLeastSquares, or damaged"):
            AlternatingLeastSquares.load(tmp_path / name)


# evaluation


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_train_test_split_as_implicit(evaluation, share):
    data = confidences()
    expected = evaluation.train_test_split(data, share, random_state=5)
    for ours, theirs in zip(compat.train_test_split(data, share, random_state=5), expected, strict=True):
        assert type(ours) is type(theirs)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.toarray(), theirs.toarray())


def test_train_test_split_keeps_positive_cells_to_test():
    data = confidences()
    train, test = compat.train_test_split(data, 0.5, random_state=1)
    assert test.data.min() > 0
    assert train.nnz + test.nnz < data.nnz
    assert (train.multiply(test)).nnz == 0
    assert ((train + test) != data)[data > 0].sum() == 0


@pytest.mark.parametrize("settings", [{}, {"K": 3}, {"K": 2, "train_only_size": 0.5}])
def test_leave_k_out(settings):
    data, K = csr_matrix(np.tri(12, 14, -1)), settings.get("K", 1)  # a user with each number of cells
    train, test = compat.leave_k_out_split(data, **settings, random_state=1)
    np.testing.assert_array_equal((train + test).toarray(), data.toarray())
    assert train.nnz + test.nnz == data.nnz
    counts, held = np.diff(data.indptr), np.diff(test.indptr)
    assert set(held[counts > K + 1]) == ({0, K} if "train_only_size" in settings else {K})
    assert not held[counts <= K + 1].any()
    again = compat.leave_k_out_split(data, **settings, random_state=1)[1]
    np.testing.assert_array_equal(again.toarray(), test.toarray())
    other = compat.leave_k_out_split(data, **settings, random_state=2)[1]
    assert (other != test).nnz > 0


@pytest.mark.parametrize("seed", range(3))
def test_leave_k_out_chooses_the_users_that_implicit_does(evaluation, seed):
    data = confidences(empty=False)  # implicit takes positions among the users that have cells for their ids
    ours, theirs = (
        module.leave_k_out_split(data, 2, train_only_size=0.4, random_state=seed)[1] for module in (compat, evaluation)
    )
    np.testing.assert_array_equal(np.diff(ours.indptr), np.diff(theirs.indptr))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"K": 0}, "K must be at least 1, got 0"), ({"train_only_size": 1.0}, "train_only_size must be at least 0 and")],
)
def test_leave_k_out_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        compat.leave_k_out_split(confidences(), **settings)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("K", [1, 3, 10])
def test_metrics_as_implicit(peer, evaluation, seed, K):
    train, test = evaluation.train_test_split(confidences(empty=False, seed=seed), 0.7, random_state=seed)
    theirs, ours = twins(peer, data=train)
    arguments = {"K": K, "show_progress": False}
    expected = evaluation.ranking_metrics_at_k(theirs, train, test, **arguments)
    for model in (theirs, ours):
        got = compat.ranking_metrics_at_k(model, train, test, **arguments)
        assert got == pytest.approx(expected, rel=1e-9)
    for name in ("precision_at_k", "mean_average_precision_at_k", "ndcg_at_k", "AUC_at_k"):
        values = [getattr(module, name)(ours, train, test, **arguments) for module in (compat, evaluation)]
        assert values[0] == pytest.approx(values[1], rel=1e-9)


class Lists:
    """Always the same lists."""

    def __init__(self, ids):
        self.ids = np.array(ids)

    def recommend(self, users, rows, N):
        assert rows.shape[0] == len(users)
        return self.ids[users][:, :N], None


def test_metrics_by_hand():
    model = Lists([[0, 1, 2], [9, 9, 9], [3, -1, -1]])
    test = csr_matrix(([1, 1, 1], ([0, 0, 2], [1, 4, 3])), shape=(3, 5))
    got = compat.ranking_metrics_at_k(model, csr_matrix((3, 5)), test, K=3, show_progress=False)
    first = compat.precision_at_k(model, csr_matrix((3, 5)), test, K=1, show_progress=False)
    assert first == pytest.approx(1 / (1 + 1))
    discount = 1 / np.log2([2, 3, 4])
    assert got["precision"] == pytest.approx((1 + 1) / (2 + 1))
    assert got["map"] == pytest.approx(np.mean([(1 / 2) / 2, 1]))
    assert got["ndcg"] == pytest.approx(np.mean([discount[1] / discount[:2].sum(), 1]))
    # user 0: item 1 comes before 2; of item 3, not in the list, (1 hit + 2 liked) / 2 are taken to come before it
    assert got["auc"] == pytest.approx(np.mean([(1 + (1 + 2) / 2 * 1) / (2 * 3), (1 * 2 + (1 + 1) / 2 * 2) / 4]))


def test_metrics_refuse_nothing_to_test_on():
    with pytest.raises(InputError, match="test_user_items stores no cell"):
        compat.ndcg_at_k(fitted(), confidences(), csr_matrix((30, 40)), show_progress=False)
    with pytest.raises(InputError, match=r"test_user_items has shape \(30, 39\), train_user_items \(30, 40\)"):
        compat.ndcg_at_k(fitted(), confidences(), csr_matrix((30, 39)), show_progress=False)


def test_a_larger_fit_lowers_the_loss_by_both_solvers():
    data = csr_matrix(random_array((400, 300), density=0.05, rng=np.random.default_rng(0), dtype=np.float32))
    losses = {}
    for use_cg in (True, False):
        model = AlternatingLeastSquares(factors=8, use_cg=use_cg, alpha=10.0, random_state=0)
        model.calculate_training_loss = True
        model.fit(
            data, show_progress=False, callback=lambda i, s, loss, kept=use_cg: losses.setdefault(kept, []).append(loss)
        )
        assert (np.diff(losses[use_cg]) < 0).all()
    assert losses[True][-1] == pytest.approx(losses[False][-1], rel=1e-2)


def test_awkward_counts_are_fitted():
    data = csr_matrix(to_sparse(awkward_counts()))  # stored zeros among them: cells that are left out
    model = AlternatingLeastSquares(factors=5, use_cg=False, iterations=2, random_state=0, regularization=0.1)
    model.fit(data, show_progress=False)
    C, P = reference.confidence_and_preference(awkward_counts(), "raw")
    generator = np.random.default_rng(0)
    W, H = (generator.random((count, 5), dtype=np.float32) * 0.01 for count in (30, 80))
    for _ in range(2):
        W = reference.solve_rows(C, P, H, np.full(30, 0.1))
        H = reference.solve_rows(C.T, P.T, W, np.full(80, 0.1))
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, W @ H.T, atol=5e-3)
