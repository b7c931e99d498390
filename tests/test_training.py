"""The alternating loop against the literal dense objective."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import reference
from conftest import COMPILED, awkward_counts, to_sparse
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from systems import SIGNALS, needs_posix
from threadpoolctl import threadpool_info

from implicit_wmf import WMF, InputError, WMFConfig
from implicit_wmf.confidence import weigh
from implicit_wmf.training import (
    EpochRecord,
    compute_loss,
    epochs,
    gram_matrix,
    half_sweep,
    initial_factors,
)

FACTORS = [1, 3, 16, 65] if COMPILED else [1, 3]
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
BACKGROUNDS = [(None, None), ("user", "item"), ("uniform", "popularity")]


def small(**settings):
    """Rows of up to 80 cells compiled; up to 12 interpreted, where loops are slow."""
    shape = (30, 80) if COMPILED else (9, 12)
    return awkward_counts(*shape, **settings)


def fit_pieces(dense, **settings):
    config = WMFConfig(**{"iterations": 3, "random_state": 0, "regularization": 0.1, **settings})
    problem = weigh(to_sparse(dense), config)
    *_, (record, (users, items, *_)) = epochs(problem, initial_factors(dense.shape, config))
    return config, problem, record, users, items


def literal(dense, config):
    C, P = reference.confidence_and_preference(
        dense,
        config.weighting,
        alpha=config.alpha,
        log_epsilon=config.log_epsilon,
        unobserved_weight=config.unobserved_weight,
        user_background=config.user_background,
        item_background=config.item_background,
    )
    return C, P, *reference.penalties(C, config.regularization, config.regularization_exponent)


def assert_stationary(C, P, solved, fixed, penalty, dtype):
    gradient, terms = reference.row_gradient(C, P, solved, fixed, penalty)
    scale = terms.max(axis=1, keepdims=True)
    assert np.all(np.abs(gradient) <= TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
@pytest.mark.parametrize("backgrounds", BACKGROUNDS)
def test_gradient_is_zero_after_either_half_sweep(weighting, factors, dtype, backgrounds):
    dense = small()
    settings = dict(
        zip(("user_background", "item_background"), backgrounds, strict=True),
        weighting=weighting, factors=factors, dtype=dtype, alpha=2.5, log_epsilon=0.5,
        unobserved_weight=0.6, regularization_exponent=0.5,
    )  # fmt: skip
    config, problem, _, users, items = fit_pieces(dense, **settings)
    C, P, user_penalty, item_penalty = literal(dense, config)
    assert_stationary(C.T, P.T, items, users, item_penalty, dtype)
    half_sweep(problem.users, (items, items), (users, users), config)
    assert_stationary(C, P, users, items, user_penalty, dtype)
    assert not users[3].any()  # the empty row


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("settings", [{}, {"weighting": "raw"}, {"unobserved_weight": 0}, {"regularization": 0}])
def test_rows_equal_the_solution_of_their_normal_equations(factors, settings):
    dense = small(seed=1)
    config, problem, _, users, items = fit_pieces(dense, factors=factors, dtype="float64", **settings)
    if config.regularization == 0:
        items = np.random.default_rng(3).standard_normal(items.shape)  # of full rank, as the reference needs
    half_sweep(problem.users, (items, items), (users, users), config)
    C, P, user_penalty, _ = literal(dense, config)
    np.testing.assert_allclose(users, reference.solve_rows(C, P, items, user_penalty), rtol=1e-7, atol=1e-9)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("raw", [False, True])
def test_rows_on_either_side_of_the_crossover_between_dual_and_primal(dtype, raw):
    factors = 17
    dense = np.full((8, 60), np.nan)
    for row, count in enumerate([1, 15, 16, 17, 18, 19, 40, 60]):
        dense[row, :count] = np.arange(count) % 3 if raw else 1 + np.arange(count) % 3
    # raw: values 0 (removed cell), 1 (exactly the background) and 2, so weights below, at and above 0
    settings = {"weighting": "raw"} if raw else {}
    config, problem, _, users, items = fit_pieces(dense, factors=factors, dtype=dtype, **settings)
    half_sweep(problem.users, (items, items), (users, users), config)
    C, P, user_penalty, _ = literal(dense, config)
    assert_stationary(C, P, users, items, user_penalty, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cells_whose_confidence_is_the_background_are_not_lost(dtype):
    dense = np.full((3, 9), np.nan)
    dense[0, :3] = 1.0  # all weights 0
    dense[1, :4] = [1.0, 2.0, 1.0, 3.0]
    dense[2] = 2.0
    config, problem, _, users, items = fit_pieces(dense, factors=6, dtype=dtype, weighting="raw")
    half_sweep(problem.users, (items, items), (users, users), config)
    C, P, user_penalty, _ = literal(dense, config)
    assert_stationary(C, P, users, items, user_penalty, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
@pytest.mark.parametrize("backgrounds", BACKGROUNDS)
def test_loss_equals_the_literal_double_sum(weighting, dtype, backgrounds):
    dense = awkward_counts(9, 12)
    user_background, item_background = backgrounds
    config, _, record, users, items = fit_pieces(
        dense, weighting=weighting, factors=5, dtype=dtype, regularization_exponent=1.0, unobserved_weight=0.3,
        user_background=user_background, item_background=item_background,
    )  # fmt: skip
    C, P, user_penalty, item_penalty = literal(dense, config)
    expected = reference.loss(C, P, users, items, user_penalty, item_penalty)
    assert record.loss == pytest.approx(expected, rel=1e-6)
    stored = ~np.isnan(dense)
    squares = C * (P - users.astype(float) @ items.astype(float).T) ** 2
    assert record.stored == pytest.approx(squares[stored].sum(), rel=1e-6)
    assert record.background == pytest.approx(squares[~stored].sum(), rel=1e-5)


@pytest.fixture(params=["exact", "cg", "auto"])
def solver(request, by_steps):
    """Each solver; "cg" and "auto" take steps for every row."""
    return request.param


@pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_never_rises(weighting, dtype, solver):
    config = WMFConfig(
        factors=17 if COMPILED else 8,
        weighting=weighting,
        iterations=12,
        dtype=dtype,
        random_state=1,
        unobserved_weight=0.3,
        solver=solver,
    )
    dense = small()
    problem = weigh(to_sparse(dense), config)
    losses = [record.loss for record, _ in epochs(problem, initial_factors(dense.shape, config))]
    allowed = 1e-6 if dtype == "float32" else 1e-12
    assert all(after <= before * (1 + allowed) for before, after in zip(losses, losses[1:], strict=False))
    assert losses[-1] < losses[0]


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("settings", [{}, {"alpha": 40.0}, {"alpha": 1e4}, {"weighting": "ials", "alpha": 0.1}])
def test_loss_of_a_close_fit_is_not_lost_in_rounding(settings):
    generator = np.random.default_rng(2)
    dense = np.full((40, 50), np.nan)
    stored = generator.random(dense.shape) < 0.1
    dense[stored] = generator.lognormal(size=stored.sum())
    config, _, record, users, items = fit_pieces(
        dense, factors=48, regularization=1e-4, iterations=12, unobserved_weight=0.1, **settings
    )
    C, P, user_penalty, item_penalty = literal(dense, config)
    assert record.loss == pytest.approx(reference.loss(C, P, users, items, user_penalty, item_penalty), rel=1e-6)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("regularization", [0.0, 1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize("factors", [16, 65])
def test_loss_never_rises_with_little_regularization(regularization, factors):
    dense = awkward_counts(50, 60)
    config = WMFConfig(factors=factors, iterations=10, random_state=0, regularization=regularization)
    problem = weigh(to_sparse(dense), config)
    losses = [record.loss for record, _ in epochs(problem, initial_factors(dense.shape, config))]
    scale = (reference.confidence_and_preference(dense, "linear")[0]).sum()  # of the objective at factors of 0
    assert all(after <= before + 1e-6 * scale for before, after in zip(losses, losses[1:], strict=False))
    assert min(losses) >= 0


@pytest.mark.skipif(not COMPILED, reason="the interpreted kernels warn of the division")
@pytest.mark.parametrize(
    "settings",
    [
        {"unobserved_weight": 0, "regularization": 1e-50},
        {"unobserved_weight": 1e-50, "regularization": 0},
        {"init_scale": 1e-30, "regularization": 0},
        {"factors": 12, "regularization": 1e-50},
        {"init_scale": 1e10},
    ],
)
def test_extreme_settings_fit_or_are_refused(settings, solver):
    counts = csr_array(np.arange(36.0).reshape(6, 6) % 4)
    model = WMF(**{"factors": 3, "iterations": 2, "random_state": 0, "solver": solver, **settings})
    try:
        model.fit(counts)
    except InputError as error:
        assert "no finite solution" in str(error)
    else:
        assert np.isfinite(model.item_factors).all()
        start = initial_factors(counts.shape, model.config)
        assert model.loss() < compute_loss(weigh(counts, model.config), *start, None).total


def test_penalty_that_overflows_is_refused():
    with pytest.raises(InputError, match=r"penalty of a row .* overflows: lower regularization_exponent \(now 400\)"):
        WMF(2, regularization_exponent=400).fit(csr_array(np.eye(9)))


def test_starting_factors_that_overflow_are_refused():
    with pytest.raises(InputError, match=r"init_scale is 1e\+40, which float32 cannot hold"):
        WMF(2, init_scale=1e40).fit(csr_array(np.eye(9)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conjugate_gradients_run_to_convergence_are_exact(dtype, by_steps):
    dense = small()
    exact = fit_pieces(dense, factors=6, dtype=dtype, solver="exact", iterations=1)
    by_cg = fit_pieces(dense, factors=6, dtype=dtype, solver="cg", cg_steps=40, iterations=1)
    assert exact[2].user_steps == 0
    assert by_cg[2].user_steps > 3
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(exact[3] @ exact[4].T, by_cg[3] @ by_cg[4].T, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(dtype, solver):
    counts = to_sparse(awkward_counts(300 if COMPILED else 20, 200 if COMPILED else 10))
    fits = [
        WMF(17, iterations=2, random_state=3, dtype=dtype, solver=solver, num_threads=threads).fit(counts)
        for threads in (1, 2, 5, 2)
    ]
    for other in fits[1:]:
        assert_array_equal(fits[0].user_factors, other.user_factors)
        assert_array_equal(fits[0].item_factors, other.item_factors)
        assert fits[0].history[-1].loss == other.history[-1].loss


def test_gram_matrix_has_the_same_bits_for_any_number_of_threads_and_is_right():
    generator = np.random.default_rng(0)
    factors = generator.standard_normal((5000, 7), dtype=np.float32)
    scale = generator.random(5000)
    grams = [gram_matrix(factors, scale, threads) for threads in (1, 2, 5)]
    assert_array_equal(grams[0], grams[1])
    assert_array_equal(grams[0], grams[2])
    np.testing.assert_allclose(grams[0], (factors.T * scale) @ factors.astype(float), rtol=1e-10)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1)])
@pytest.mark.parametrize("factors", [1, 4])
def test_one_user_or_one_item(shape, factors):
    dense = np.ones(shape)
    config, _, record, users, items = fit_pieces(dense, factors=factors, dtype="float64")
    C, P, user_penalty, item_penalty = literal(dense, config)
    assert_stationary(C.T, P.T, items, users, item_penalty, "float64")
    assert record.loss == pytest.approx(reference.loss(C, P, users, items, user_penalty, item_penalty), rel=1e-9)


def test_nothing_but_known_negatives_gives_zero_factors():
    model = WMF(3, iterations=2, random_state=0).fit(csr_array(-np.ones((4, 5))))
    assert not model.user_factors.any()
    assert model.history[-1].loss == 0


def test_initial_factors_follow_the_seed_and_the_scale():
    config = WMFConfig(factors=16, init_scale=0.5, random_state=7, dtype="float64")
    users, items = initial_factors((3000, 2000), config)
    assert users.std() == pytest.approx(0.5 / 4, rel=0.02)
    assert abs(items.mean()) < 0.005
    assert_array_equal(users, initial_factors((3000, 2000), config)[0])
    assert not np.array_equal(users, initial_factors((3000, 2000), WMFConfig(factors=16, random_state=8))[0])


def test_no_epochs_leave_the_starting_factors():
    model = WMF(4, iterations=0, random_state=0).fit(csr_array(np.eye(5)))
    assert_array_equal(model.item_factors, initial_factors((5, 5), model.config)[1])
    assert model.history == []


def test_loss_is_left_out_when_not_asked_for():
    record = WMF(2, iterations=1).fit(csr_array(np.eye(5)), track_loss=False).history[0]
    assert isinstance(record, EpochRecord)
    assert np.isnan([record.loss, record.stored, record.background, record.regularization]).all()
    assert record.seconds > 0


def test_confidence_that_overflows_is_refused_with_its_place():
    counts = csr_array(np.diag([1.0, 1e30]))
    with pytest.raises(InputError, match=r"value 1e\+30 \(row 1, column 1\) overflows float32.*alpha"):
        WMF(2, alpha=1e20).fit(counts)


@pytest.mark.skipif(not COMPILED, reason="the interpreted kernels warn of the overflow")
def test_factors_that_overflow_are_refused_and_the_model_stays():
    counts = csr_array(np.ones((6, 6)))
    model = WMF(2, random_state=0, iterations=2).fit(counts)
    before = model.user_factors.copy()
    model.set_params(init_scale=1e38)
    with pytest.raises(InputError, match=r"(no finite solution in|factors overflow) float32: .*dtype='float64'"):
        model.fit(counts)
    assert_array_equal(model.user_factors, before)


def test_background_that_vanishes_is_refused():
    with pytest.raises(InputError, match="'item' is 0 everywhere"):
        WMF(2, item_background="item").fit(csr_array(np.ones((3, 3))))


def test_loss_of_given_factors_needs_no_fit():
    dense = awkward_counts(6, 8)
    config = WMFConfig(factors=2, dtype="float64", weighting="ials")
    users, items = initial_factors(dense.shape, config)
    C, P, user_penalty, item_penalty = literal(dense, config)
    loss = compute_loss(weigh(to_sparse(dense), config), users, items, None)
    assert loss.total == pytest.approx(reference.loss(C, P, users, items, user_penalty, item_penalty), rel=1e-12)


@pytest.mark.parametrize("weighting", ["linear", "raw"])
def test_the_background_has_no_loss_where_nothing_else_is_predicted(weighting):
    dense = np.ones((12, 12))
    dense[0, 0] = np.nan
    config = WMFConfig(factors=3, weighting=weighting, dtype="float64")
    problem = weigh(to_sparse(dense), config)
    for seed in range(20):  # the difference of two equal sums, rounded to either side
        users, items = np.random.default_rng(seed).standard_normal((2, 12, 3))
        users[0] = 0
        loss = compute_loss(problem, users, items, None)
        assert 0 <= loss.background < 1e-9 * loss.stored


def _medium_counts():
    generator = np.random.default_rng(0)
    return csr_array((generator.random((3000, 800)) < 0.05).astype(np.float32))


@SIGNALS
@pytest.mark.skipif(not COMPILED, reason="needs epochs of a tenth of a second")
def test_interrupt_leaves_the_last_whole_epoch():
    counts = _medium_counts()
    WMF(32, iterations=1).fit(counts)  # compile
    model = WMF(32, iterations=10_000, random_state=0, num_threads=2)
    begun = threading.Event()

    def interrupt():
        assert begun.wait(600)
        time.sleep(0.25)  # to come in the midst of a later epoch
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(counts, callback=lambda record, model: begun.set())
    done = len(model.history)
    assert done >= 1
    again = WMF(32, iterations=done, random_state=0, num_threads=1).fit(counts)
    assert_array_equal(model.user_factors, again.user_factors)
    assert_array_equal(model.item_factors, again.item_factors)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("implicit_wmf")]


@needs_posix("forks no process")
@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_fits_from_two_threads_and_from_a_forked_child_are_the_same():
    counts = _medium_counts()
    blas = threadpool_info()
    expected = WMF(16, iterations=2, random_state=0).fit(counts)
    models = [WMF(16, iterations=2, random_state=0, num_threads=2) for _ in range(2)]
    callers = [threading.Thread(target=model.fit, args=(counts,)) for model in models]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for model in models:
        assert_array_equal(model.item_factors, expected.item_factors)
    assert threadpool_info() == blas
    child = multiprocessing.get_context("fork").Process(target=_fit_and_compare, args=(counts, expected.item_factors))
    child.start()
    child.join(timeout=120)
    assert child.exitcode == 0


def _fit_and_compare(counts, expected):
    model = WMF(16, iterations=2, random_state=0, num_threads=2).fit(counts)
    assert_array_equal(model.item_factors, expected)
