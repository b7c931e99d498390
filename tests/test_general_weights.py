"""Preferences and confidences given as they are, backgrounds, and penalties of each side: the literal objective."""

import numpy as np
import pandas as pd
import pytest
import reference
from conftest import COMPILED, to_sparse
from numpy.testing import assert_array_equal
from scipy import sparse

from implicit_wmf import WMF, InputError, Interactions, WMFConfig, row_plan
from implicit_wmf.confidence import weigh
from implicit_wmf.training import compute_loss, epochs, half_sweep, initial_factors

USERS, ITEMS = (30, 80) if COMPILED else (9, 12)
FACTORS = [1, 4, 17, 65] if COMPILED else [1, 4]
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
SCHEMES = {
    "none": {},
    "schemes": {"user_background": "user", "item_background": "item"},
    "popularity": {"item_background": "popularity", "popularity_exponent": 0.8},
    "arrays": {
        "user_background": np.linspace(0, 3, USERS),
        "item_background": np.random.default_rng(5).random(ITEMS).tolist(),
    },
    "uniform": {"user_background": "uniform", "item_background": np.ones(ITEMS)},
}


def general_data(kind, seed=0):
    """Preferences of either sign and confidences of another pattern: above, at, and below the background, and 0."""
    generator = np.random.default_rng(seed)
    P, C = np.full((2, USERS, ITEMS), np.nan)
    share = np.linspace(0.02, 0.9, USERS)[:, None]
    stored = generator.random(P.shape) < share
    P[stored] = generator.standard_normal(stored.sum())
    weighed = generator.random(P.shape) < share[::-1]
    C[weighed] = generator.choice([0, 1e-3, 0.1, 0.5, 1.0, 3.0, 40.0], weighed.sum())
    if kind == "dense":
        P = np.nan_to_num(P)
        C = generator.choice([0, 1e-3, 0.5, 1.0, 3.0], P.shape)
        C[2] = 0.5 + generator.random(ITEMS)
        C[:, 1] = 1e-3
    if kind == "below":
        C[weighed] = 0.3 * generator.random(weighed.sum())
    P[3], C[3] = (0, 0) if kind == "dense" else (np.nan, np.nan)
    return P, C


def literal(P, C, config):
    names = ("unobserved_weight", "user_background", "item_background", "popularity_exponent")
    full = reference.general_confidence_and_preference(P, C, **{name: getattr(config, name) for name in names})
    users, items = config.regularizations
    exponent = config.regularization_exponent
    return (
        *full,
        reference.penalties(full[0], users, exponent)[0],
        reference.penalties(full[0], items, exponent)[1],
    )


def fit_pieces(P, C, **settings):
    config = WMFConfig(
        **{"iterations": 2, "random_state": 0, "regularization": 0.1, "unobserved_weight": 0.5} | settings
    )
    problem = weigh(to_sparse(P), config, to_sparse(C))
    *_, (record, (users, items, *_)) = epochs(problem, initial_factors(P.shape, config))
    return config, problem, record, users, items


def assert_stationary(C, P, solved, fixed, penalty, dtype):
    gradient, terms = reference.row_gradient(C, P, solved, fixed, penalty)
    assert np.all(np.abs(gradient) <= TOLERANCE[dtype] * terms.max(axis=1, keepdims=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("kind", ["sparse", "dense", "below"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradient_is_zero_after_either_half_sweep(scheme, kind, factors, dtype):
    P, C = general_data(kind)
    settings = SCHEMES[scheme] | {"user_regularization": 0.3, "item_regularization": 0.02}
    config, problem, _, users, items = fit_pieces(
        P, C, factors=factors, dtype=dtype, regularization_exponent=0.5, **settings
    )
    full_C, full_P, user_penalty, item_penalty = literal(P, C, config)
    assert_stationary(full_C.T, full_P.T, items, users, item_penalty, dtype)
    half_sweep(problem.users, (items, items), (users, users), config)
    assert_stationary(full_C, full_P, users, items, user_penalty, dtype)
    assert not users[3].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["sparse", "dense", "below"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_loss_equals_the_literal_double_sum(scheme, kind, dtype):
    P, C = general_data(kind)
    config, problem, record, users, items = fit_pieces(P, C, factors=4, dtype=dtype, **SCHEMES[scheme])
    full_C, full_P, user_penalty, item_penalty = literal(P, C, config)
    expected = reference.loss(full_C, full_P, users, items, user_penalty, item_penalty)
    assert record.loss == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-12)
    assert compute_loss(problem, users, items, 2).total == record.loss


@pytest.mark.parametrize("solver", ["cg", "auto"])
@pytest.mark.parametrize("kind", ["sparse", "dense", "below"])
def test_steps_lead_to_the_same_rows(solver, kind, by_steps, monkeypatch):
    monkeypatch.setattr(row_plan, "TOLERANCE", 1e-20)
    P, C = general_data(kind)
    settings = {"factors": 5, "dtype": "float64", "regularization": 0.5}
    config, problem, _, users, items = fit_pieces(P, C, solver=solver, cg_steps=60, **settings)
    half_sweep(problem.users, (items, items), (users, users), config)
    full_C, full_P, user_penalty, _ = literal(P, C, config)
    np.testing.assert_allclose(users, reference.solve_rows(full_C, full_P, items, user_penalty), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_and_sparse_forms_of_the_same_data_give_the_same_bits(dtype):
    P, C = general_data("dense")
    model = WMF(4, dtype=dtype, iterations=3, random_state=0, unobserved_weight=0.5)
    full = to_sparse(C)  # zeros stored
    forms = [(P, C), (sparse.csr_array(P), full), (to_sparse(P), full), (P, full), (sparse.coo_array(P), C.tolist()),
             (Interactions.from_matrix(P), Interactions.from_matrix(full))]  # fmt: skip
    first = model.fit(P, confidence=C).user_factors
    for preference, confidence in forms:
        assert_array_equal(model.fit(preference, confidence=confidence).user_factors, first)
        assert model.loss() == model.loss(preference, confidence=confidence)


def test_counts_and_what_they_stand_for_are_the_same_problem():
    generator = np.random.default_rng(1)
    counts = sparse.random_array(
        (40, 30), density=0.2, rng=generator, data_sampler=lambda size: 1.0 + np.arange(size) % 5
    )
    counts = counts.tocsr()
    confidence = counts.copy()
    confidence.data = 1 + 2.5 * counts.data
    preference = (counts > 0).astype(float)
    settings = {"factors": 6, "dtype": "float64", "iterations": 4, "random_state": 0}
    by_counts = WMF(alpha=2.5, **settings).fit(counts)
    given = WMF(alpha=99.0, weighting="log", **settings).fit(preference, confidence=confidence)  # both without effect
    np.testing.assert_allclose(given.user_factors, by_counts.user_factors, rtol=1e-9, atol=1e-12)
    assert given.loss() == pytest.approx(by_counts.loss(), rel=1e-12)


def test_confidences_below_the_background_of_whole_rows_keep_their_digits():
    # the background is a million times the confidences: subtracted from it, they would have a digit left in float32
    generator = np.random.default_rng(2)
    P, C = generator.standard_normal((20, 30)), 1e-6 * (0.5 + generator.random((20, 30)))
    config, problem, _, users, items = fit_pieces(P, C, factors=4, dtype="float32", regularization=1e-7)
    half_sweep(problem.users, (items, items), (users, users), config)
    assert_stationary(*literal(P, C, config)[:2], users, items, np.full(20, 1e-7), "float32")


@pytest.mark.parametrize("solver", ["exact", "cg"])
@pytest.mark.parametrize("regularization", [1e-1, 1e-3, 1e-5])
def test_rows_with_most_cells_removed_keep_their_digits(regularization, solver, by_steps):
    generator = np.random.default_rng(11)
    P = (generator.random((60, 100)) < 0.3).astype(float)
    C = np.where(generator.random(P.shape) < 0.95, 0.0, np.nan)
    C[:, 0] = np.nan
    settings = {"factors": 8, "regularization": regularization, "cg_steps": 100}
    config, problem, _, users, items = fit_pieces(P, C, solver=solver, dtype="float32", **settings)
    half_sweep(problem.users, (items, items), (users, users), config)
    full_C, full_P, user_penalty, _ = literal(P, C, config)
    assert_stationary(full_C, full_P, users, items, user_penalty, "float32")


@pytest.mark.parametrize("scale", [1.0, 1e-10, 1e-16])
def test_the_objective_scales_with_dense_confidences(scale):
    P, C = general_data("dense")
    config, _, record, users, items = fit_pieces(
        P, scale * C, factors=4, dtype="float64", regularization=1e-3, regularization_exponent=1.0, iterations=3
    )
    expected = reference.loss(*literal(P, scale * C, config)[:2], users, items, *literal(P, scale * C, config)[2:])
    assert record.loss == pytest.approx(expected, rel=1e-12)
    assert record.background == 0
    unscaled = fit_pieces(
        P, C, factors=4, dtype="float64", regularization=1e-3, regularization_exponent=1.0, iterations=3
    )[2]
    assert record.loss / scale == pytest.approx(unscaled.loss, rel=1e-9)


def test_arrays_of_backgrounds_belong_to_the_model_once_fitted():
    array = np.ones(3)
    model = WMF(2, user_background=array, random_state=0, iterations=2).fit(ONES - np.eye(3, 4))
    before = model.loss()
    array[0] = 1000
    assert model.loss() == before


def test_the_size_of_a_background_does_not_matter():
    fits = [WMF(2, item_background=size * np.arange(4), random_state=0).fit(np.eye(3, 4)) for size in (1, 2.0**1020)]
    assert_array_equal(fits[0].user_factors, fits[1].user_factors)


def test_a_labelled_background_is_refused():
    with pytest.raises(InputError, match="item_background must be in the order of the data's rows.*to_numpy"):
        WMF(2, item_background=pd.Series([1, 2], index=["b", "a"]))
    WMF(2, item_background=pd.Series([1, 2]))


@pytest.mark.skipif(not COMPILED, reason="the interpreted kernels warn of the division")
def test_a_row_without_solution_names_the_penalty_of_its_side():
    model = WMF(2, regularization=5, user_regularization=0, user_background=[0, 1, 1])
    with pytest.raises(InputError, match=r"user at position 0 .* regularization \(now 0 for users\)"):
        model.fit(np.eye(3, 4))


def test_one_side_may_have_its_own_penalty():
    counts = sparse.csr_array(np.eye(5))
    same = WMF(2, regularization=0.3, random_state=0).fit(counts)
    own = WMF(2, regularization=7, user_regularization=0.3, item_regularization=0.3, random_state=0).fit(counts)
    assert_array_equal(own.user_factors, same.user_factors)
    only_items = WMF(2, regularization=0.3, item_regularization=5.0, random_state=0).fit(counts)
    assert np.abs(only_items.item_factors).sum() < np.abs(same.item_factors).sum()


def test_removed_cells_are_neither_learned_from_nor_taken_for_liked():
    P = np.array([[1.0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1]])
    C = np.ones(P.shape)
    C[0, 1] = 0
    settings = {"user_background": "user", "item_background": "popularity", "random_state": 0, "iterations": 3}
    hidden, other = P.copy(), P.copy()
    other[0, 1] = -5
    only_removed = sparse.csr_array(([0.0], ([0], [1])), shape=P.shape)
    for confidence in (C, only_removed):
        fits = [WMF(2, **settings).fit(data, confidence=confidence) for data in (hidden, other)]
        assert_array_equal(fits[0].item_factors, fits[1].item_factors)
    raw = WMF(2, weighting="raw", **settings).fit(to_sparse(np.where(C == 0, 0, np.where(P == 0, np.nan, P))))
    assert sorted(raw.recommend(0, N=4)[0]) == [-1, 1, 2, 3]
    assert_array_equal(fits[0].item_factors, fits[1].item_factors)
    ids, _ = fits[0].recommend([0, 1], N=4)
    assert sorted(ids[0]) == [-1, 1, 2, 3]  # item 1 was removed, so it is there again
    assert sorted(ids[1]) == [-1, -1, 1, 3]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bits_do_not_depend_on_the_number_of_threads(threads):
    P, C = (to_sparse(part) for part in general_data("sparse"))
    fits = [
        WMF(4, num_threads=n, random_state=0, iterations=3, item_background="popularity").fit(P, confidence=C)
        for n in (1, threads)
    ]
    assert_array_equal(fits[0].item_factors, fits[1].item_factors)


ONES = np.ones((3, 4))


@pytest.mark.parametrize(
    ("confidence", "message"),
    [
        (-ONES, r"confidence is -1 at row 0, column 0; it must be at least 0"),
        (sparse.csr_array(-np.eye(3, 4)), r"confidence is -1 at row 0, column 0"),
        (np.where(np.eye(3, 4), np.nan, 1), r"confidence: matrix: nan at row 0, column 0"),
        (ONES.T, r"confidence is 4 users x 3 items; data is 3 users x 4 items"),
        ("words", "confidence: matrix: dtype"),
        (1e39 * ONES, r"confidence 1e\+39 with preference 1 \(row 0, column 0\) overflows float32"),
    ],
)
def test_confidences_that_make_no_sense_are_refused(confidence, message):
    model = WMF(2, random_state=0, iterations=1).fit(ONES)
    before = model.user_factors
    with pytest.raises(InputError, match=message):
        model.fit(ONES, confidence=confidence)
    assert model.user_factors is before


def test_ids_of_confidences_have_to_be_those_of_the_data_where_both_have_some():
    named, other = (Interactions.from_matrix(ONES, users=ids) for ids in (["a", "b", "c"], ["a", "c", "b"]))
    for data, confidence in ((named, ONES), (ONES, named), (named, named)):
        WMF(2, iterations=1).fit(data, confidence=confidence)
    with pytest.raises(InputError, match="confidence: its users are not those of data, in the same order"):
        WMF(2, iterations=1).fit(named, confidence=other)


def test_confidence_alone_has_no_loss():
    model = WMF(2, random_state=0, iterations=1).fit(ONES)
    with pytest.raises(InputError, match="confidence: give the data that it belongs to"):
        model.loss(confidence=ONES)


@pytest.mark.parametrize("name", ["user_background", "item_background"])
def test_a_background_of_another_length_is_refused_with_both_shapes(name):
    with pytest.raises(InputError, match=rf"{name} has shape \(7,\); the data needs \([34],\)"):
        WMF(2, **{name: np.ones(7)}).fit(ONES)
