"""Every public method times arguments that it cannot use, and unusual ones that it can."""

import warnings

import numpy as np
import pytest
from bad_input_calls import EVALUATIONS, ITEMS, USERS, calls_of, counts, fit, make
from bad_inputs import Accepted
from estimators import ESTIMATORS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from implicit_wmf import WMF, InputError, Interactions, ItemKNN, evaluation
from implicit_wmf.factorizers import KLMF, SymmetricMF

CALLS = [(estimator, call) for estimator in ESTIMATORS for call in calls_of(estimator)]


@pytest.fixture(scope="module")
def models():
    """A fitted model of each class; no test changes them."""
    return {estimator: fit(estimator) for estimator in ESTIMATORS}


def everything(model):
    """All that a fitted model is, to the last bit."""
    state = model._state()
    arrays = (
        [state.profiles, state.similarity] if isinstance(model, ItemKNN) else [state.user_factors, state.item_factors]
    )
    dense = [array.toarray() if sparse.issparse(array) else array for array in arrays]
    cells = state.interactions.matrix
    parts = [*dense, cells.data, cells.indices, cells.indptr, *getattr(state, "extra", {}).values()]
    return [part.tobytes() for part in parts], repr(getattr(state, "history", None)), repr(model.get_params())


def refusal(call, model, value):
    """What is wrong with how a value is refused; None if nothing is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of casts that are refused a moment later
            call.call(model, value)
    except InputError as error:
        named = any(name in str(error) for name in call.argument.split("|"))
        return None if named else f"does not name {call.argument}: {error}"
    except Exception as error:  # what else it is, is what the table is about
        return f"{type(error).__name__}: {error}"
    return "is taken"


def refusals(call, model):
    """How values were not refused, by name."""
    found = {name: refusal(call, model, value) for name, value in call.refused().items()}
    return {name: wrong for name, wrong in found.items() if wrong is not None}


@pytest.mark.parametrize(
    ("estimator", "call"), CALLS, ids=[f"{one.__name__}.{call.name}-{call.argument}" for one, call in CALLS]
)
def test_what_cannot_be_used_is_refused_by_name_and_changes_nothing(estimator, call, models):
    model = models[estimator]
    before = everything(model)
    assert call.refused()
    assert refusals(call, model) == {}
    assert everything(model) == before


@pytest.mark.parametrize("call", EVALUATIONS, ids=lambda call: f"{call.name}-{call.argument}")
def test_evaluation_refuses_what_it_cannot_use(call):
    train, _ = evaluation.split_random(counts(), random_state=0)
    model = make(WMF).fit(train)
    before = everything(model)
    assert refusals(call, model) == {}
    assert everything(model) == before


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_method_says_that_there_is_no_model_yet(estimator):
    fitting = {"fit", "partial_fit"}
    for call in calls_of(estimator):
        if call.name not in fitting:
            with pytest.raises(InputError):  # of which NotFittedError is one; the value may be seen first
                call.call(make(estimator), 0)


FORMS = Accepted.matrices(counts())


@pytest.mark.parametrize("form", FORMS)
def test_matrices_of_every_form_are_taken_for_what_they_are(form):
    expected = sparse.csr_array(counts())
    data = Interactions.from_matrix(FORMS[form])
    assert_array_equal(data.matrix.toarray(), expected.toarray())
    assert data.nnz == expected.nnz


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("estimator", [WMF, KLMF, ItemKNN])
def test_models_are_fitted_to_matrices_of_every_form(form, estimator, models):
    found = make(estimator).fit(FORMS[form])
    expected = models[estimator]
    for ours, theirs in zip(found.recommend(np.arange(USERS)), expected.recommend(np.arange(USERS)), strict=True):
        assert_array_equal(ours, theirs)


QUESTIONS = {
    "fold_in_users": lambda model, form: model.fold_in_users(form),
    "recommend": lambda model, form: model.recommend(user_items=form, N=3)[1],
    "loss": lambda model, form: np.array(model.loss(form)),
    "filter_items": lambda model, form: model.recommend(np.arange(USERS), filter_items=sparse.csr_array(form))[0],
    "seen": lambda model, form: model.rank_counts(np.arange(USERS), sparse.csr_array((USERS, ITEMS)), form)[0],
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_take_matrices_of_every_form(question, models):
    ask = QUESTIONS[question]
    expected = ask(models[WMF], counts())
    for form, value in FORMS.items():
        if question != "filter_items" or sparse.issparse(value):
            assert_array_equal(ask(models[WMF], value), expected, err_msg=form)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_positions_of_every_form_are_taken_for_what_they_are(estimator, models):
    model, asked = models[estimator], [2, 0, 2, 5]
    ask = {
        "recommend": lambda given: model.recommend(given, N=4),
        "items": lambda given: model.recommend([1, 2], N=4, items=given),
        "filter_items": lambda given: model.recommend([1, 2], N=4, filter_items=given),
        "score": lambda given: (model.score(given, 1), model.score(1, given)),
    }
    if estimator is not ItemKNN:
        ask["similar_items"] = lambda given: model.similar_items(given, N=4, candidates=given)
        ask["similar_users"] = lambda given: model.similar_users(given, N=4, filter_users=given)
    for name, question in ask.items():
        expected = question(asked)
        for form, value in Accepted.positions(asked).items():
            for ours, theirs in zip(question(value), expected, strict=True):
                assert_array_equal(ours, theirs, err_msg=f"{name}: {form}")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_lists_may_be_longer_than_the_catalogue(estimator, models):
    items = models[estimator].interactions.shape[1]
    ids, scores = models[estimator].recommend([0, 5], N=items + 4, filter_already_liked_items=False)
    assert ids.shape == scores.shape == (2, items + 4)
    assert (ids[:, items:] == -1).all()
    assert np.isnan(scores[:, items:]).all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in ids)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(5, 20), (30, 4), (1, 1), (14, 14)])
def test_a_model_is_fitted_again_to_data_of_another_shape(estimator, shape):
    side = max(shape)
    shape = (side, side) if estimator is SymmetricMF else shape
    data = sparse.csr_array(np.random.default_rng(1).integers(1, 4, shape).astype(float))
    model, everyone = fit(estimator), np.arange(shape[0])
    model.recommend(np.arange(USERS), N=3)
    if estimator is not ItemKNN:
        model.similar_items(0)
    if estimator is WMF:
        model.explain(0, 0)
        model.fold_in_users(counts())
    again, fresh = model.fit(data), make(estimator).fit(data)
    assert again.interactions.shape == shape
    assert everything(again)[0] == everything(fresh)[0]
    assert len(getattr(again, "history", ())) == len(getattr(fresh, "history", ()))
    questions = [lambda one: one.recommend(everyone, N=3, filter_already_liked_items=False)]
    if estimator is not ItemKNN:
        questions.append(lambda one: one.similar_items(np.arange(shape[1]), N=3))
    if estimator is WMF:
        questions += [lambda one: one.explain(0, 0), lambda one: [one.fold_in_users(data), one.fold_in_items(data)]]
    for question in questions:
        for ours, theirs in zip(question(again), question(fresh), strict=True):
            assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match=f"users holds {shape[0]} at position 0"):
        again.recommend([shape[0]])


OUTSIDE = st.integers(-2, 14) | st.sampled_from([2**31, 2**63, -(2**63), 1.0, None, "1", np.nan])
POSITIONS = st.none() | st.lists(st.integers(-1, ITEMS), max_size=6)


@settings(deadline=None, max_examples=150)
@given(
    users=st.lists(st.integers(0, USERS - 1), max_size=5) | st.lists(OUTSIDE, max_size=4),
    N=st.integers(-1, ITEMS + 3),
    items=POSITIONS,
    filter_items=POSITIONS,
    liked=st.booleans(),
)
def test_any_question_is_answered_as_the_scores_say_or_refused(users, N, items, filter_items, liked):
    model = MODEL
    lists = {"users": (users, USERS), "items": (items, ITEMS), "filter_items": (filter_items, ITEMS)}
    whole = all(
        type(one) is int and 0 <= one < count
        for given_, count in lists.values()
        for one in ([] if given_ is None else given_)
    )
    if not whole or N < 1:
        with pytest.raises(InputError, match="^(users|items|filter_items|N) "):
            model.recommend(users, N, liked, filter_items, items)
        return
    ids, scores = model.recommend(users, N, liked, filter_items, items)
    assert ids.shape == scores.shape == (len(users), N)
    for user, found, of_found in zip(users, ids, scores, strict=True):
        allowed = set(range(ITEMS) if items is None else items) - set(filter_items or ())
        allowed -= set(np.flatnonzero(counts()[user])) if liked else set()
        exact = model.item_factors.astype(float) @ model.user_factors[user]
        best = sorted(allowed, key=lambda item: (-exact[item], item))[:N]
        length = len(best)
        assert sorted(np.round(exact[found[:length]], 5)) == sorted(np.round(exact[best], 5))
        assert set(found[:length]) <= allowed
        assert (found[length:] == -1).all()
        np.testing.assert_allclose(of_found[:length], exact[found[:length]], rtol=1e-4, atol=1e-6)


MODEL = fit(WMF)
