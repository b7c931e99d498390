"""ObservedMF, the mathematics: against literal sums."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import COMPILED, to_sparse
from numpy.testing import assert_allclose
from ratings import awkward_ratings, literal, literal_gradient, literal_loss, problem_of
from scipy import sparse

from implicit_wmf import Interactions
from implicit_wmf.factorizers import ObservedMF
from implicit_wmf.factorizers.observed_training import compute_loss, half_sweep
from implicit_wmf.objectives import ObservedSquares

DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}  # of a sum of terms, relative to the largest of them


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("parts", list(itertools.product([False, True], repeat=3)), ids=str)
@pytest.mark.parametrize("factors", [1, 6, 17])
def test_gradient_is_zero_after_each_half_sweep(factors, parts, exponent, dtype):
    user_bias, item_bias, mean = parts
    R = awkward_ratings()
    config, mu, problem, (users, items) = problem_of(
        R, factors=factors, regularization_exponent=exponent, user_bias=user_bias, item_bias=item_bias, mean=mean,
        dtype=dtype, init_scale=1.0,
    )  # fmt: skip
    for _ in range(2):
        users = half_sweep(problem.users, items, config)
        gradient, largest = literal_gradient(R, mu, users, items, **literal(config), has_bias=user_bias)
        assert np.all(np.abs(gradient) <= TOLERANCE[dtype] * largest[:, None])
        items = half_sweep(problem.items, users, config)
        gradient, largest = literal_gradient(R.T, mu, items, users, **literal(config), has_bias=item_bias)
        assert np.all(np.abs(gradient) <= TOLERANCE[dtype] * largest[:, None])
    assert users.factors.dtype == users.biases.dtype == items.biases.dtype == dtype
    assert users.biases.any() == user_bias
    assert items.biases.any() == item_bias
    assert not users.factors[3].any()
    assert not items.factors[4].any()
    assert users.biases[3] == items.biases[4] == 0


def test_rows_solve_their_normal_equations():
    R = awkward_ratings()
    config, mu, problem, (_, items) = problem_of(R, factors=5, dtype="float64", regularization_exponent=1.0)
    users = half_sweep(problem.users, items, config)
    for i in np.flatnonzero(~np.isnan(R).all(axis=1)):
        rated = np.flatnonzero(~np.isnan(R[i]))
        Z = np.column_stack([items.factors[rated], np.ones(rated.size)])
        penalty = rated.size * np.diag([config.regularization] * 5 + [config.bias_regularization])
        expected = np.linalg.solve(Z.T @ Z + penalty, Z.T @ (R[i, rated] - mu))
        assert_allclose([*users.factors[i], users.biases[i]], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_biases_need_no_penalty(dtype):
    R = awkward_ratings()
    config, mu, problem, (users, items) = problem_of(R, factors=6, bias_regularization=0, dtype=dtype, num_threads=1)
    with np.errstate(divide="ignore"):  # interpreted kernels warn
        users = half_sweep(problem.users, items, config)
    gradient, largest = literal_gradient(R, mu, users, items, **literal(config), has_bias=True)
    assert np.all(np.abs(gradient) <= 10 * TOLERANCE[dtype] * largest[:, None])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("parts", [(True, True, True), (True, False, False), (False, False, True)], ids=str)
@pytest.mark.parametrize("exponent", [0.0, 0.7])
def test_loss_is_the_literal_sum_and_never_rises(exponent, parts, dtype):
    R = awkward_ratings()
    names = ("user_bias", "item_bias", "mean")
    config, mu, problem, (users, items) = problem_of(
        R, factors=7, dtype=dtype, regularization_exponent=exponent, **dict(zip(names, parts, strict=True))
    )
    slack = 1 + (1e-6 if dtype == "float32" else 1e-13)
    last = np.inf
    for _ in range(12):
        users = half_sweep(problem.users, items, config)
        between = compute_loss(problem, users, items, 1)
        items = half_sweep(problem.items, users, config)
        loss = compute_loss(problem, users, items, 1)
        assert loss <= between * slack <= last * slack**2
        last = loss
    assert last == pytest.approx(literal_loss(R, mu, users, items, **literal(config)), rel=1e-12)


def test_loss_is_that_of_the_objective_of_the_residuals():
    R = awkward_ratings()
    model = ObservedMF(4, regularization=0.4, bias_regularization=0.25, regularization_exponent=0, dtype="float64",
                       iterations=3, random_state=0).fit(R, observed=~np.isnan(R))  # fmt: skip
    b, c = model.user_biases, model.item_biases
    residual = R - model.rating_mean - b[:, None] - c
    objective = ObservedSquares(residual, ~np.isnan(R), regularization=0.4)
    expected = objective.value(model.user_factors, model.item_factors) + 0.125 * (b @ b + c @ c)
    assert model.loss() == pytest.approx(expected, rel=1e-12)
    assert model.history[-1].loss == model.loss()
    _, by_items = objective.gradient(model.user_factors, model.item_factors)
    assert np.abs(by_items).max() < 1e-10


def test_with_negligible_factors_it_is_ridge_regression_on_who_and_what():
    R = awkward_ratings()
    model = ObservedMF(2, regularization=1e9, bias_regularization=0.8, regularization_exponent=0.0, dtype="float64",
                       iterations=300, random_state=0).fit(to_sparse(R))  # fmt: skip
    rows, columns = np.nonzero(~np.isnan(R))
    X = np.zeros((rows.size, sum(R.shape)))
    X[np.arange(rows.size), rows] = 1
    X[np.arange(rows.size), len(R) + columns] = 1
    expected = np.linalg.solve(X.T @ X + 0.8 * np.eye(X.shape[1]), X.T @ (R[rows, columns] - np.nanmean(R)))
    assert_allclose(np.concatenate([model.user_biases, model.item_biases]), expected, atol=1e-8)


def test_a_planted_matrix_is_recovered_from_a_part_of_its_cells():
    generator = np.random.default_rng(3)
    P, Q = generator.normal(size=(60, 2)), generator.normal(size=(50, 2))
    truth = 3 + generator.normal(size=(60, 1)) + generator.normal(size=50) + P @ Q.T
    observed = generator.random(truth.shape) < 0.5
    model = ObservedMF(2, regularization=1e-6, bias_regularization=1e-6, dtype="float64", iterations=100,
                       random_state=0).fit(truth, observed=observed)  # fmt: skip
    predicted = model.predict(np.arange(60)[:, None], np.arange(50))
    assert np.abs(predicted - truth)[~observed].max() < 1e-3


def test_one_rating():
    model = ObservedMF(3, regularization=0.5, random_state=0).fit(sparse.csr_array([[4.0]]))
    assert model.predict(0, 0) == 4
    assert model.rating_mean == 4
    assert not model.user_factors.any()


@pytest.mark.skipif(not (DATA / "ml-100k" / "u.data").is_file(), reason=f"no MovieLens 100K at {DATA}")
@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_defaults_do_well_on_movielens():
    table = np.loadtxt(DATA / "ml-100k" / "u.data", dtype=int)
    users, items, stars = table[:, 0] - 1, table[:, 1] - 1, table[:, 2].astype(float)
    test = np.random.default_rng(0).permutation(stars.size) < stars.size // 5
    train = Interactions.from_triples(users[~test], items[~test], stars[~test], shape=(943, 1682))
    model = ObservedMF(random_state=0).fit(train)
    assert len(model.history) == 15
    predicted = np.clip(model.predict(users[test], items[test]), 1, 5)
    assert np.sqrt(np.mean((predicted - stars[test]) ** 2)) < 0.92
