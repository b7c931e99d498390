"""ObservedMF, the estimator: what it takes, predicts and saves."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import to_sparse
from damage import replace_array
from numpy.testing import assert_allclose, assert_array_equal
from ratings import awkward_ratings, literal, literal_loss, vectors_of
from scipy import sparse

from implicit_wmf import InputError, Interactions, NotFittedError
from implicit_wmf.factorizers import ObservedMF, observed_training
from implicit_wmf.factorizers.observed_training import half_sweep


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
    monkeypatch.setattr("implicit_wmf.scoring._CHUNK", 5)
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
