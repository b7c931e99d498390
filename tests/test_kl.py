"""KLMF with two factors: against literal updates, scikit-learn and hand-computed values."""

import numpy as np
import pytest
from conftest import COMPILED, to_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from kl_counts import awkward, divergence
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_matrix, csr_array
from sklearn.decomposition import NMF

from implicit_wmf import InputError, Interactions, NotFittedError
from implicit_wmf.factorizers import KLMF
from implicit_wmf.factorizers.kl_config import KLMFConfig
from implicit_wmf.factorizers.multiplicative import Divergence, TwoFactors, iterate
from implicit_wmf.objectives import KLDivergence

ITERATIONS = 200 if COMPILED else 15


def literal_update(A, W, H):
    """Lee and Seung's Theorem 2 for W, dense, 0 / 0 = 0."""
    P = W @ H.T
    ratio = np.divide(A, P, out=np.zeros_like(P), where=P > 0)
    return W * (ratio @ H) / H.sum(axis=0)


# the updates


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize("factors", [1, 4, 17])
def test_each_update_is_the_literal_one(factors, dtype, tolerance):
    counts = awkward()
    A = counts.toarray()
    form = TwoFactors(counts, KLMFConfig(factors, dtype=dtype, random_state=1))
    W, H = reached = form.start()
    for _ in range(4):
        reached = form.step(reached)
        W = literal_update(A, W, H)
        H = literal_update(A.T, H, W)
        assert_allclose(reached[0], W, rtol=tolerance, atol=1e-12)
        assert_allclose(reached[1], H, rtol=tolerance, atol=1e-12)
    assert reached[0].dtype == dtype
    assert not reached[0][5].any()
    assert not reached[1][7].any()


def test_the_same_factors_as_scikit_learn():
    counts = awkward()
    start, model = (KLMF(4, iterations=count, random_state=0).fit(counts) for count in (0, 5))
    theirs = NMF(4, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=5, tol=0)
    W = theirs.fit_transform(counts.toarray(), W=start.user_factors.copy(), H=start.item_factors.T.copy())
    # Their empty rows and columns end at 1e-7 of what they were, not at 0.
    assert_allclose(model.user_factors, W, rtol=1e-5, atol=1e-6)
    assert_allclose(model.item_factors, theirs.components_.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factors", [1, 4, 17])
def test_no_half_update_raises_the_divergence(factors):
    counts = awkward(60, 50)
    form = TwoFactors(counts, KLMFConfig(factors, random_state=0))
    measure = Divergence(counts, 1)
    reached = form.start()
    losses = [measure(*reached)]
    for _ in range(ITERATIONS):
        after = form.step(reached)
        losses += [measure(after[0], reached[1]), measure(*after)]
        reached = after
    assert np.all(np.diff(losses) <= 1e-10 * np.array(losses[:-1]))
    assert losses[-1] < losses[2] if factors > 1 else losses[-1] <= losses[2] * (1 + 1e-10)


@settings(max_examples=50 if COMPILED else 10, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda items: st.lists(
            st.lists(st.sampled_from([0.0, 1.0, 3.0, 1e-30, 1e-3, 1e12]), min_size=items, max_size=items),
            min_size=1,
            max_size=6,
        )
    ),
    st.integers(1, 3),
)
def test_any_counts_give_finite_factors_and_a_divergence_that_falls(rows, factors):
    A = np.array(rows)
    model = KLMF(factors, iterations=10, random_state=0).fit(A)
    for array in (model.user_factors, model.item_factors):
        assert np.isfinite(array).all()
        assert (array >= 0).all()
    losses = np.array([record.loss for record in model.history])
    assert np.all(np.diff(losses) <= 1e-10 * losses[:-1] + 1e-12 * A.sum())


def test_the_start_is_uniform_and_has_the_mean_of_the_counts():
    counts = awkward()
    model = KLMF(3, iterations=0, random_state=7).fit(counts)
    generator = np.random.default_rng(7)
    users, items = 1 - generator.random((23, 3)), 1 - generator.random((19, 3))
    assert_allclose(model.user_factors / users, np.full((23, 3), model.user_factors[0, 0] / users[0, 0]))
    assert_allclose(model.item_factors / items, np.full((19, 3), model.user_factors[0, 0] / users[0, 0]))
    assert_allclose((model.user_factors @ model.item_factors.T).mean(), counts.toarray().mean())
    assert model.history == []


def test_what_an_iteration_reached_stays_as_it_is_during_the_next():
    counts, config = awkward(), KLMFConfig(3, iterations=4, random_state=0)
    form = TwoFactors(counts, config)
    reached = form.start()
    copies = [array.copy() for array in reached]
    for _, after in iterate(form, reached, counts, config, track_loss=False):
        assert_array_equal(reached[0], copies[0])
        assert_array_equal(reached[1], copies[1])
        reached, copies = after, [array.copy() for array in after]


# zeros


def test_nothing_but_zeros():
    model = KLMF(2, iterations=3, random_state=0).fit(to_sparse(np.array([[0.0, np.nan], [np.nan, 0.0]])))
    assert not model.user_factors.any()
    assert not model.item_factors.any()
    assert model.loss() == 0


def test_a_factor_without_weight_becomes_zero_on_both_sides():
    form = TwoFactors(csr_array([[2.0, 1.0], [0.0, 3.0]]), KLMFConfig(2))
    users, items = form.step((np.ones((2, 2)), np.array([[1.0, 0.0], [2.0, 0.0]])))
    assert not users[:, 1].any()
    assert not items[:, 1].any()
    assert_allclose(users[:, 0], [1.0, 1.0])
    assert_allclose(items[:, 0], [1.0, 2.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_of_zero_and_below_the_precision_s_range(dtype):
    counts = csr_array([[2.0, 1.0], [4.0, 3.0]])
    form = TwoFactors(counts, KLMFConfig(1, dtype=dtype))
    stuck = form.step((np.array([[0.0], [1.0]], dtype), np.ones((2, 1), dtype)))
    assert_allclose(stuck[0], [[0.0], [3.5]])
    assert_allclose(stuck[1], [[8 / 7], [6 / 7]], rtol=1e-6)
    tiny = np.finfo(dtype).tiny * 4  # its product with itself is 0
    reached = (np.array([[tiny], [1.0]], dtype), np.array([[tiny], [1.0]], dtype))
    for _ in range(20):
        reached = form.step(reached)
        assert np.isfinite(reached[0]).all()
        assert np.isfinite(reached[1]).all()
    assert_allclose(reached[0] @ reached[1].T, [[1.8, 1.2], [4.2, 2.8]], rtol=1e-5)


def test_a_prediction_of_zero_makes_the_loss_infinite():
    counts = csr_array([[2.0, 1.0], [4.0, 3.0]])
    measure = Divergence(counts, 1)
    assert measure(np.array([[0.0], [1.0]]), np.ones((2, 1))) == np.inf
    assert measure(np.array([[1e-200], [1.0]]), np.array([[1e-110], [1.0]])) < np.inf


@pytest.mark.parametrize(("dtype", "small", "too_small"), [("float32", 1e-37, 1e-40), ("float64", 1e-300, 1e-310)])
def test_counts_that_the_precision_can_and_cannot_hold(dtype, small, too_small):
    counts = np.array([[2.0, 1.0], [4.0, 3.0]])
    model = KLMF(2, iterations=5, dtype=dtype, random_state=0)
    assert model.fit(small * counts).loss() < small
    assert model.fit(too_small * counts).loss() == np.inf
    assert not model.user_factors.any()


# the objective


@pytest.mark.parametrize("factors", [1, 4, 17])
def test_loss_is_the_objective(factors):
    counts = awkward()
    model = KLMF(factors, iterations=3, random_state=0).fit(counts)
    expected = divergence(counts.toarray(), model.user_factors @ model.item_factors.T + 1e-300)
    assert_allclose(model.loss(), expected, rtol=1e-12)
    assert_allclose(model.loss(), KLDivergence(counts, C=model.item_factors.T).value(model.user_factors), rtol=1e-12)
    assert model.history[-1].loss == model.loss()
    short = KLMF(factors, iterations=3, random_state=0, dtype="float32").fit(counts)
    wide = [array.astype(float) for array in (short.user_factors, short.item_factors)]
    assert_allclose(short.loss(), KLDivergence(counts, C=wide[1].T).value(wide[0]), rtol=1e-12)


def test_loss_of_other_data():
    counts = awkward()
    model = KLMF(2, iterations=3, random_state=0).fit(counts)
    assert model.loss(counts) == model.loss()
    other = np.full(counts.shape, 2.0)
    other[5], other[:, 7] = 0, 0
    assert_allclose(model.loss(other), divergence(other, model.user_factors @ model.item_factors.T), rtol=1e-12)
    with pytest.raises(InputError, match="data is 2 users x 3 items; the model was fitted on 23 users x 19 items"):
        model.loss(np.ones((2, 3)))
    with pytest.raises(InputError, match="data is -1 at row 0, column 0; it must be at least 0"):
        model.loss(-other / 2)


def test_tolerance_stops_early():
    counts = awkward()
    losses = np.array([r.loss for r in KLMF(4, iterations=100, tolerance=1e-3, random_state=0).fit(counts).history])
    falls = 1 - losses[1:] / losses[:-1]
    assert 2 < losses.size < 100
    assert np.all(falls[:-1] > 1e-3)
    assert falls[-1] <= 1e-3
    with pytest.raises(InputError, match="tolerance is 0.001, which needs track_loss=True"):
        KLMF(4, tolerance=1e-3).fit(counts, track_loss=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("factors", 0), ("iterations", -1), ("tolerance", -0.1), ("dtype", "int32"), ("num_threads", 0)],
)
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"^{name} must be .*, got "):
        KLMF(**{name: value})


@pytest.mark.parametrize(
    ("data", "known", "message"),
    [
        ([[1.0, 0.0], [0.0, -2.0]], {}, "data is -2 at row 1, column 1; it must be at least 0"),
        ([[1.0, np.nan]], {}, "matrix: nan at row 0, column 1; give finite numbers"),
        ([[1.0, 2.0]], {"B": np.ones((3, 2))}, r"B has shape \(3, 2\); \(3, 1\) is needed"),
        ([[1.0, 2.0]], {"C": np.ones((3, 1))}, r"C has shape \(3, 1\); \(3, 2\) is needed"),
        ([[1.0, 2.0]], {"C": [[1.0, -1.0]]}, "C is -1 at row 0, column 1"),
        ([[1.0, 2.0]], {"B": [[np.nan]]}, "B is nan at row 0, column 0"),
        ([[1.0, 2.0]], {"B": csr_array([[1.0]])}, r"B is a sparse csr_array; give a dense array: B.toarray\(\)"),
        ([[1.0, 2.0]], {"C": coo_matrix([[1.0, 1.0]])}, r"C is a sparse coo_matrix; give a dense array: C.toarray\(\)"),
        ([[1.0, 2.0]], {"C": [[0.0, 0.0]]}, "C is 0 everywhere, so every prediction is 0"),
        ([[1e300, 2.0]], {}, r"data: the counts, up to 1e\+300, add up to more than float32 can hold"),
    ],
)
def test_bad_data_is_refused_and_leaves_the_model_as_it_was(data, known, message):
    model = KLMF(2, iterations=2, dtype="float32", random_state=0).fit([[1.0, 2.0]])
    before = model.user_factors
    with pytest.raises(InputError, match=message):
        model.fit(data, **known)
    assert model.user_factors is before


def test_counts_too_large_for_float64_are_refused():
    with pytest.raises(InputError, match="add up to more than float64 can hold; scale them down$"):
        KLMF(1).fit([[1.5e308, 1.5e308]])


def test_updates_that_overflow_are_refused():
    form = TwoFactors(csr_array([[1e38, 0.0], [0.0, 1.0]]), KLMFConfig(1, dtype="float32", num_threads=1))
    factors = np.full((2, 1), 1e25, np.float32), np.full((2, 1), 1e-18, np.float32)
    message = "factors of the user at position 0 overflow float32: scale the counts"
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(InputError, match=message):
        form.step(factors)


def test_unfitted_model_and_missing_x():
    for use in (lambda m: m.X, lambda m: m.B, lambda m: m.C):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(KLMF())
    with pytest.raises(InputError, match="fitted without B and C, so it has no X"):
        _ = KLMF(1, iterations=1).fit([[1.0]]).X


def test_recommends_by_predictions():
    data = Interactions.from_matrix(awkward(), users=[f"u{k}" for k in range(23)])
    model = KLMF(4, iterations=10, random_state=0).fit(data)
    ids, scores = model.recommend(3, N=5)
    predictions = model.user_factors[3] @ model.item_factors.T
    predictions[data.matrix[[3]].indices] = -np.inf
    assert_array_equal(ids, np.argsort(-predictions, kind="stable")[:5])
    assert_allclose(scores, predictions[ids])
    assert model.recommend_frame("u3", N=5)["item"].tolist() == ids.tolist()
