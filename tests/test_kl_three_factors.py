"""KLMF with two of three factors given: against literal updates."""

import numpy as np
import pytest
from conftest import COMPILED
from damage import replace_array
from kl_counts import awkward
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from implicit_wmf import InputError
from implicit_wmf.factorizers import KLMF
from implicit_wmf.objectives import KLDivergence


def given_factors(names):
    generator = np.random.default_rng(5)
    B, C = generator.random((3, 23)) * (generator.random((3, 23)) < 0.7), generator.random((4, 19))
    B[:, 0] += 0.1
    B[1] += 0.01
    return {name: matrix for name, matrix in (("B", B), ("C", C)) if name in names}


@pytest.mark.parametrize("names", ["BC", "B", "C"])
def test_each_update_of_x_is_the_literal_one(names):
    counts, known = awkward(), given_factors(names)
    A = counts.toarray()
    B, C = known.get("B", np.eye(23)), known.get("C", np.eye(19))
    X = KLMF(iterations=0, random_state=1).fit(counts, **known).X
    assert X.shape == (len(B), len(C))
    assert_allclose((B.T @ X @ C).mean(), A.mean())
    for iterations in (1, 2, 3):
        ratio = A / (B.T @ X @ C + 1e-300)
        X = X * (B @ ratio @ C.T) / np.outer(B.sum(axis=1), C.sum(axis=1))
        model = KLMF(iterations=iterations, random_state=1).fit(counts, **known)
        assert_allclose(model.X, X, rtol=1e-10, atol=1e-14)
        assert_allclose(model.user_factors @ model.item_factors.T, B.T @ X @ C, rtol=1e-10, atol=1e-14)
    assert_allclose(model.loss(), KLDivergence(counts, known.get("B"), known.get("C")).value(X), rtol=1e-12)
    for array in (model.user_factors, model.item_factors):
        assert array.flags.c_contiguous


@pytest.mark.parametrize("names", ["BC", "B", "C"])
def test_no_update_of_x_raises_the_divergence(names):
    model = KLMF(iterations=200, random_state=1).fit(awkward(), **given_factors(names))
    losses = np.array([record.loss for record in model.history])
    assert losses.size == 200
    assert np.all(np.diff(losses) <= 1e-10 * losses[:-1])


def test_x_converges_to_a_minimum():
    counts, known = awkward(), given_factors("BC")
    model = KLMF(iterations=1000, random_state=1).fit(counts, **known, track_loss=False)
    (gradient,) = KLDivergence(counts, **known).gradient(model.X)
    scale = np.outer(known["B"].sum(axis=1), known["C"].sum(axis=1))
    assert np.all(gradient >= -1e-4 * scale)  # Karush, Kuhn and Tucker: where X is 0 the gradient may be positive
    assert np.abs(model.X * gradient).max() < 1e-3


def test_given_factors_that_predict_zero_are_not_nan():
    B = np.array([[1.0, 0.0], [0.0, 0.0]])
    model = KLMF(iterations=5, random_state=0).fit([[2.0, 4.0], [1.0, 0.0]], B=B)
    assert_allclose(model.X, [[2.0, 4.0], [0.0, 0.0]])
    assert model.loss() == np.inf  # the second user has counts, and no B to predict them with
    assert model.history[-1].loss == np.inf


def test_the_three_factor_form_in_float32():
    counts, known = awkward(), given_factors("BC")
    wide, short = (KLMF(iterations=5, dtype=dtype, random_state=1).fit(counts, **known) for dtype in ("f8", "f4"))
    assert_array_equal(wide.X, short.X)
    assert short.user_factors.dtype == np.float32
    assert_array_equal(short.user_factors, wide.user_factors.astype(np.float32))


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_threads_and_blas_do_not_change_a_bit_of_the_three_factor_form():
    generator = np.random.default_rng(0)
    counts = generator.poisson(1.5, (401, 300)).astype(float)  # more cells than one block has
    known = {"B": generator.random((700, 401)), "C": generator.random((61, 300))}  # BLAS adds such B'X in other ways
    fits = []
    for number in (1, 2, 5):
        with threadpool_limits(number, user_api="blas"):
            model = KLMF(iterations=3, num_threads=number, random_state=0).fit(counts, **known)
            fits.append((model.X, model.user_factors, [record.loss for record in model.history], model.loss()))
    for other in fits[1:]:
        assert_array_equal(other[0], fits[0][0])
        assert_array_equal(other[1], fits[0][1])
        assert other[2:] == fits[0][2:]


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("names", ["BC", "B", "C"])
def test_the_three_factor_form_is_saved(names, mmap, tmp_path):
    known = given_factors(names)
    model = KLMF(iterations=3, random_state=0).fit(awkward(), **known)
    model.save(tmp_path / "m")
    loaded = KLMF.load(tmp_path / "m", mmap=mmap)
    assert_array_equal(loaded.X, model.X)
    for name in "BC":
        if name in names:
            assert_array_equal(getattr(loaded, name), known[name])
        else:
            assert getattr(loaded, name) is None
    assert loaded.loss() == model.loss()


@pytest.mark.parametrize(
    ("names", "name", "array", "message"),
    [
        ("BC", "X", None, "it lacks X"),
        ("BC", "X", np.ones((3, 5)), r"X is float64\(3, 5\), expected float64\(None, 4\)"),
        ("BC", "X", np.ones((2, 4)), r"B is float64\(3, 23\), expected float64\(2, 23\)"),
        ("BC", "X", np.ones((3, 4), np.float32), r"X is float32\(3, 4\), expected float64"),
        ("BC", "B", np.float64(1), r"B is float64\(\), expected float64\(3, 23\)"),
        ("BC", "C", np.ones((4, 18)), r"C is float64\(4, 18\), expected float64\(4, 19\)"),
        ("B", "X", np.ones((2, 19)), r"X is float64\(2, 19\), expected float64\(3, 19\)"),
        ("B", "B", None, "it has X, but neither B nor C"),
        ("C", "X", np.ones((22, 4)), r"X is float64\(22, 4\), expected float64\(23, 4\)"),
        ("C", "C", np.ones((4, 19), int), r"C is int64\(4, 19\), expected float64\(4, 19\)"),
    ],
)
def test_damaged_models_are_refused(names, name, array, message, tmp_path):
    KLMF(iterations=1, random_state=0).fit(awkward(), **given_factors(names)).save(tmp_path / "m")
    replace_array(tmp_path / "m", f"extra_{name}", array)
    with pytest.raises(InputError, match=f"m is damaged: {message}"):
        KLMF.load(tmp_path / "m")
