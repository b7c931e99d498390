"""ObservedMF against the literal objective, written here densely from its definition."""

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, to_sparse
from damage import replace_array
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from implicit_wmf import InputError, Interactions, NotFittedError
from implicit_wmf.factorizers import ObservedMF, observed_training
from implicit_wmf.factorizers.observed_config import ObservedMFConfig
from implicit_wmf.factorizers.observed_training import Vectors, compute_loss, half_sweep, pose, start
from implicit_wmf.objectives import ObservedSquares

DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}  # of a sum of terms, relative to the largest of them


def awkward_ratings(users=26, items=40, seed=0):
    """Ratings in halves, NaN where there is none: rows of every length, full, of zeros, empty; an empty column."""
    generator = np.random.default_rng(seed)
    dense = np.full((users, items), np.nan)
    rated = generator.random(dense.shape) < np.linspace(0.03, 0.9, users)[:, None]
    dense[rated] = generator.integers(-2, 11, size=rated.sum()) / 2
    dense[-1] = generator.integers(1, 11, size=items) / 2
    dense[5, ~np.isnan(dense[5])] = 0
    dense[3] = np.nan
    dense[:, 4] = np.nan
    return dense


def literal_loss(R, mu, users, items, *, lam, bias_lam, nu):
    """The objective cell by cell and row by row."""
    total = 0.0
    for i, j in zip(*np.nonzero(~np.isnan(R)), strict=True):
        product = sum(float(p) * float(q) for p, q in zip(users.factors[i], items.factors[j], strict=True))
        total += 0.5 * (R[i, j] - mu - float(users.biases[i]) - float(items.biases[j]) - product) ** 2
    for vectors, counts in ((users, (~np.isnan(R)).sum(axis=1)), (items, (~np.isnan(R)).sum(axis=0))):
        for factors, bias, count in zip(*vectors, counts, strict=True):
            square = sum(float(f) ** 2 for f in factors)
            total += 0.5 * float(count) ** nu * (lam * square + bias_lam * float(bias) ** 2)
    return total


def literal_gradient(R, mu, solved, fixed, *, lam, bias_lam, nu, has_bias):
    """Derivatives by each row's factors and bias, (rows, d + 1), and the largest term of each row's sums."""
    gradient = np.zeros((len(R), solved.factors.shape[1] + 1))
    largest = np.ones(len(R))
    for i, row in enumerate(R):
        p, b = solved.factors[i].astype(float), float(solved.biases[i])
        rated = np.flatnonzero(~np.isnan(row))
        Q, c = fixed.factors[rated].astype(float), fixed.biases[rated].astype(float)
        scale = float(rated.size) ** nu
        residual = row[rated] - mu - b - c - Q @ p
        gradient[i, :-1] = -residual @ Q + scale * lam * p
        if has_bias:
            gradient[i, -1] = -residual.sum() + scale * bias_lam * b
        if rated.size:
            size = np.abs(row[rated]) + abs(mu) + abs(b) + np.abs(c) + np.abs(Q) @ np.abs(p)
            largest[i] += (size[:, None] * np.column_stack([np.abs(Q), np.ones(rated.size)])).sum(axis=0).max()
    return gradient, largest


def problem_of(R, **settings):
    config = ObservedMFConfig(**{"random_state": 0, "regularization": 0.3, "bias_regularization": 0.07} | settings)
    matrix = Interactions.from_matrix(to_sparse(R)).matrix
    mean = float(np.nanmean(R)) if config.mean else 0.0
    return config, mean, pose(matrix, mean, config), start(R.shape, config)


def literal(config):
    return {"lam": config.regularization, "bias_lam": config.bias_regularization, "nu": config.regularization_exponent}


def vectors_of(model):
    return Vectors(model.user_factors, model.user_biases), Vectors(model.item_factors, model.item_biases)


@pytest.fixture
def fitted():
    frame = pd.DataFrame(
        {
            "who": ["eva", "ann", "eva", "bob", "ann", "cy", "cy", "bob"],
            "what": ["tea", "tea", "jam", "jam", "rye", "tea", "rye", "oat"],
            "stars": [5, 1, 4, 1, 2, 3, 4, 5],
        }
    )
    data = Interactions.from_frame(frame, user="who", item="what", value="stars")
    return ObservedMF(3, regularization=0.1, iterations=4, random_state=0).fit(data)


# hyper-parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0), ("regularization", -1), ("regularization", 0),
        ("bias_regularization", -0.1), ("bias_regularization", None),
        ("regularization_exponent", np.nan), ("user_bias", 1), ("item_bias", "yes"), ("mean", None), ("iterations", -1),
        ("init_scale", 0), ("dtype", "float16"), ("num_threads", 0), ("random_state", -1),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"^{name} must be .*, got "):
        ObservedMF(**{name: value})


# the mathematics


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


# data


def test_all_forms_of_the_same_ratings_are_the_same():
    R = awkward_ratings()
    seen = ~np.isnan(R)
    filled = np.where(seen, R, 7.0)
    stored = to_sparse(R)
    forms = [
        (stored, None), (sparse.coo_matrix(stored), None), (Interactions.from_matrix(stored), None), (R, seen),
        (filled, stored), (filled.tolist(), np.nonzero(seen)), (sparse.csc_array(filled), seen), (stored, stored),
        (Interactions.from_matrix(filled), seen), (pd.DataFrame(R), seen), (np.asfortranarray(R), seen),
    ]  # fmt: skip
    model = ObservedMF(4, iterations=1, random_state=0)
    first = model.fit(stored).item_factors
    assert model.interactions.nnz == seen.sum()
    for ratings, observed in forms:
        assert_array_equal(model.fit(ratings, observed=observed).item_factors, first)
        assert model.loss(ratings, observed=observed) == model.loss()


def test_zeros_that_are_stored_are_ratings():
    with_zero = sparse.csr_array((np.array([2.0, 0.0, 4.0]), [0, 1, 1], [0, 2, 3]), shape=(2, 2))
    model = ObservedMF(1).fit(with_zero)
    assert model.rating_mean == 2
    assert ObservedMF(1).fit(sparse.csr_array(with_zero.toarray())).rating_mean == 3
    # a cell that is observed and not stored is a 0, as in the objective
    assert ObservedMF(1).fit(sparse.csr_array([[2.0, 0.0], [0.0, 4.0]]), observed=with_zero).rating_mean == 2


def test_whole_numbers_and_truths_are_ratings():
    whole = np.array([[5, 3], [1, 0]])
    expected = ObservedMF(1, random_state=0).fit(sparse.csr_array(whole.astype(float))).predict(0, 1)
    assert ObservedMF(1, random_state=0).fit(sparse.csr_array(whole)).predict(0, 1) == expected
    assert ObservedMF(1, random_state=0).fit(whole, observed=whole > 0).predict(0, 1) == expected
    assert ObservedMF(1).fit(sparse.csr_array(whole > 0)).rating_mean == 1


def test_raw_ids_are_kept(fitted):
    frame = fitted.recommend_frame(["cy"], N=4)
    assert set(frame["item"]) == {"jam", "oat"}
    data = fitted.interactions
    positions = data.user_indices(frame["user"]), data.item_indices(frame["item"])
    assert_allclose(frame["score"], fitted.predict(*positions), rtol=1e-5)
    observed = data.matrix.toarray() > 2
    assert fitted.fit(data, observed=observed).interactions.users.equals(data.users)


@pytest.mark.parametrize(
    ("ratings", "observed", "message"),
    [
        (np.ones((2, 3)), None, "observed: which cells of the ndarray are ratings. Give a boolean mask"),
        ("stars", None, "observed: which cells of the str"),
        (None, None, "observed: which cells of the NoneType"),
        (sparse.csr_array((2, 3)), None, "ratings: none are observed in 2 users x 3 items; give at least one"),
        (np.ones((2, 3)), np.zeros((2, 3), bool), "observed has no cell at all"),
        (np.ones((2, 3)), np.ones((3, 2), bool), r"observed has shape \(3, 2\); \(2, 3\) is needed"),
        (np.ones((2, 3)), np.ones((2, 3)), "observed must be sparse, a boolean array"),
        (np.ones((2, 3)), ([0, 2], [0, 0]), "observed rows: 2 at position 1 is out of range"),
        (np.array([[1.0, np.nan]]), np.array([[True, True]]), "ratings is nan at row 0, column 1; it must be finite"),
        (sparse.csr_array([[1.0, np.inf]]), None, "ratings: .*inf at row 0, column 1; give finite numbers"),
        (np.ones(3), np.ones(3, bool), r"ratings must be a matrix .* shape \(3,\)"),
        ([[1.0, 2.0], [3.0]], np.ones((2, 2), bool), "ratings is not a rectangular matrix"),
        (np.ma.masked_equal([[1.0, 0.0]], 0), np.ones((1, 2), bool), "ratings is a masked array"),
        (
            sparse.csr_array([[1.0, 1e300]]),
            None,
            "ratings: 1 at row 0, column 0, less the mean 5e.299, overflows float32; scale",
        ),
    ],
)
def test_bad_data_is_refused_and_the_model_stays(fitted, ratings, observed, message):
    before = fitted.user_factors.copy(), fitted.rating_mean
    with pytest.raises(InputError, match=message):
        fitted.fit(ratings, observed=observed)
    assert_array_equal(fitted.user_factors, before[0])
    assert fitted.rating_mean == before[1]


def test_numbers_that_a_precision_cannot_hold_are_refused():
    large = sparse.csr_array([[1e308, 1e308], [1e308, -1e308]])
    with pytest.raises(InputError, match="less the mean .*, overflows float64"):
        ObservedMF(1, dtype="float64").fit(large)
    with pytest.raises(
        InputError, match="penalty of the user with 2 ratings overflows float32: lower regularization_e"
    ):
        ObservedMF(1, regularization_exponent=200).fit(sparse.csr_array(np.ones((2, 2))))
    hopeless = ObservedMF(1, regularization=1e-44, bias_regularization=1e-44, init_scale=1e-30, num_threads=1)
    message = "factors of the .* at position 0 have no finite solution in float32: raise regularization .now 1e-44."
    with pytest.raises(InputError, match=message), np.errstate(all="ignore"):  # interpreted kernels warn
        hopeless.fit(sparse.csr_array([[1.0, 2.0]]))


def test_loss_of_other_data_must_fit(fitted):
    with pytest.raises(InputError, match="ratings is 2 users x 3 items; the model was fitted on 4 users x 4 items"):
        fitted.loss(sparse.csr_array(np.ones((2, 3))))
    with pytest.raises(InputError, match="observed: give the ratings that it belongs to"):
        fitted.loss(observed=np.ones((4, 4), bool))
    other = np.where(np.eye(4, dtype=bool), 3.0, np.nan)
    config = fitted.config
    expected = literal_loss(other, fitted.rating_mean, *vectors_of(fitted), **literal(config))
    assert fitted.loss(to_sparse(other)) == pytest.approx(expected, rel=1e-12)


# fits


def test_unfitted_model_says_so():
    for use in (lambda m: m.user_biases, lambda m: m.predict(0, 0), lambda m: m.rating_mean):
        with pytest.raises(NotFittedError, match="this ObservedMF has no factors yet: call fit first"):
            use(ObservedMF())


def test_history_and_no_iterations():
    ratings = to_sparse(awkward_ratings())
    model = ObservedMF(2, iterations=0, random_state=0).fit(ratings)
    assert model.history == []
    assert not model.user_biases.any()
    assert model.user_factors.any()
    table = pd.DataFrame(ObservedMF(2, iterations=3).fit(ratings, track_loss=False).history)
    assert list(table) == ["epoch", "loss", "seconds", "validation"]
    assert table.loss.isna().all()
    assert table.epoch.tolist() == [1, 2, 3]


def test_ctrl_c_keeps_the_last_whole_epoch(monkeypatch):
    ratings = to_sparse(awkward_ratings())
    expected = ObservedMF(3, iterations=2, random_state=0).fit(ratings)
    calls = itertools.count(1)

    def interrupted(*arguments):
        if next(calls) == 6:  # the items of the third epoch
            raise KeyboardInterrupt
        return half_sweep(*arguments)

    monkeypatch.setattr(observed_training, "half_sweep", interrupted)
    model = ObservedMF(3, iterations=9, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(ratings)
    assert_array_equal(model.user_factors, expected.user_factors)
    assert_array_equal(model.item_biases, expected.item_biases)
    assert len(model.history) == 2


# predictions


def literal_predictions(model):
    table = np.empty((len(model.user_factors), len(model.item_factors)))
    for i, j in np.ndindex(table.shape):
        product = sum(float(p) * float(q) for p, q in zip(model.user_factors[i], model.item_factors[j], strict=True))
        table[i, j] = model.rating_mean + float(model.user_biases[i]) + float(model.item_biases[j]) + product
    return table


def test_predictions_broadcast(fitted, monkeypatch):
    expected = literal_predictions(fitted)
    monkeypatch.setattr("implicit_wmf.factorizers.observed._CHUNK", 5)
    table = fitted.predict(np.arange(4)[:, None], range(4))
    assert table.dtype == np.float64
    assert_allclose(table, expected, rtol=1e-14)
    assert fitted.predict(2, np.int32(3)) == pytest.approx(expected[2, 3], rel=1e-14)
    assert isinstance(fitted.predict(2, 3), float)
    assert_allclose(fitted.predict([1, 1, 0], [3, 0, 2]), expected[[1, 1, 0], [3, 0, 2]], rtol=1e-14)
    assert_allclose(fitted.predict(1, np.array([3, 0], dtype=np.uint8)), expected[1, [3, 0]], rtol=1e-14)
    assert fitted.predict([], []).shape == (0,)
    assert fitted.predict(np.zeros((0, 1), int), [0, 1]).shape == (0, 2)


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (4, 0, "users holds 4 at position 0; indices run from 0 to 3"),
        ([0, 1], [0, -1], "items holds -1 at position 1; indices run from 0 to 3"),
        ([[0, 1], [2, 9]], 0, "users holds 9 at position 3"),
        ("eva", 0, "users must be whole numbers .positions, not raw ids."),
        (0.0, 0, "users must be whole numbers"),
        (True, 0, "users must be whole numbers"),
        ([0, 1, 2], [0, 1], r"users and items have shapes \(3,\) and \(2,\), which do not broadcast together"),
        ([[0], [1, 2]], 0, "users must be one index or an array of them"),
    ],
)
def test_bad_positions_are_refused(fitted, users, items, message):
    with pytest.raises(InputError, match=message):
        fitted.predict(users, items)


def test_rows_without_ratings_fall_back_to_the_other_side():
    R = awkward_ratings()
    model = ObservedMF(3, random_state=0).fit(to_sparse(R))
    assert_allclose(model.predict(3, np.arange(40)), model.rating_mean + model.item_biases, rtol=1e-6)
    assert_allclose(model.predict(np.arange(26), 4), model.rating_mean + model.user_biases, rtol=1e-6)
    assert model.predict(3, 4) == model.rating_mean


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("parts", [(True, True, True), (False, True, False)], ids=str)
def test_recommendations_are_the_highest_predictions(parts, dtype):
    R = awkward_ratings()
    model = ObservedMF(5, user_bias=parts[0], item_bias=parts[1], mean=parts[2], dtype=dtype, random_state=0)
    model.fit(to_sparse(R))
    predicted = literal_predictions(model)
    ids, scores = model.recommend(np.arange(26), N=12)
    assert scores.dtype == dtype
    for user in range(26):
        unseen = np.flatnonzero(np.isnan(R[user]))
        best = unseen[np.argsort(-predicted[user, unseen])][:12]
        length = best.size
        assert_allclose(scores[user, :length], predicted[user, best], rtol=2e-5, atol=1e-5)
        assert_allclose(predicted[user, ids[user, :length]], predicted[user, best], rtol=2e-5, atol=1e-5)
        assert not np.isin(ids[user, :length], np.flatnonzero(~np.isnan(R[user]))).any()
        assert (ids[user, length:] == -1).all()
        assert np.isnan(scores[user, length:]).all()


def test_ties_go_to_the_smaller_index(fitted):
    alike = sparse.csr_array(np.tile([[4.0], [1.0], [2.0]], 6))
    ids, _ = ObservedMF(2, random_state=0, iterations=5).fit(alike).recommend(0, 6, filter_already_liked_items=False)
    assert ids.tolist() == list(range(6))


# saved models


@pytest.mark.parametrize("mmap", [False, True])
def test_biases_and_mean_are_saved(fitted, tmp_path, mmap):
    fitted.save(tmp_path / "m")
    loaded = ObservedMF.load(tmp_path / "m", mmap=mmap)
    assert_array_equal(loaded.user_biases, fitted.user_biases)
    assert_array_equal(loaded.item_biases, fitted.item_biases)
    assert loaded.rating_mean == fitted.rating_mean
    pairs = np.arange(4)[:, None], np.arange(4)
    assert_array_equal(loaded.predict(*pairs), fitted.predict(*pairs))
    loaded.save(tmp_path / "again")
    assert_array_equal(ObservedMF.load(tmp_path / "again").item_biases, fitted.item_biases)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("user_biases", np.zeros(3, np.float32), r"user_biases is float32\(3,\), expected float32\(4,\)"),
        ("item_biases", np.zeros(4), r"item_biases is float64\(4,\), expected float32\(4,\)"),
        ("rating_mean", np.zeros((1, 1)), "rating_mean is"),
        ("item_biases", None, "it lacks item_biases"),
    ],
)
def test_damaged_models_are_refused(fitted, tmp_path, name, array, message):
    fitted.save(tmp_path / "m")
    replace_array(tmp_path / "m", f"extra_{name}", array)
    with pytest.raises(InputError, match=f"m is damaged: {message}"):
        ObservedMF.load(tmp_path / "m")


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
