"""Fits and files of the interface of implicit: against the real one where it is installed, and literal numpy."""

import inspect
import io
import os

import numpy as np
import pytest
import reference
from conftest import awkward_counts, to_sparse
from implicit_twins import SETTINGS, confidences, dense_problem, fitted, starts
from scipy.sparse import csr_array, csr_matrix, random_array

from implicit_wmf import InputError
from implicit_wmf.compat import implicit as compat
from implicit_wmf.compat.implicit import AlternatingLeastSquares, ModelFitError, ParameterWarning, calculate_loss


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

    def overflow(problem, start, track_loss):
        yield next(epochs(problem, start, track_loss=track_loss))
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
