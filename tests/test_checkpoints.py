"""Fits that go on from a checkpoint end with the bits of fits that were not interrupted."""

import os
import signal
import threading

import numpy as np
import pytest
from checkpoints import EPOCHS, VALIDATED, Crash, assert_same, ending, fit, leave, names
from conftest import COMPILED
from numpy.testing import assert_array_equal
from watched_fits import HELD_OUT, TRAIN, script, small

from implicit_wmf import WMF, InputError, row_plan, training
from implicit_wmf._signals import Terminated
from implicit_wmf.checkpoints import checkpoint_epochs, remove_checkpoint
from implicit_wmf.confidence import weigh
from implicit_wmf.training import epochs, initial_factors
from implicit_wmf.validation import HeldOut, copy_into

LEARNING = {"solver": "auto", "factors": 12, "alpha": 10.0}
SOLVERS = [{"solver": "exact"}, {"solver": "cg", "cg_steps": 2}, LEARNING, {"dtype": "float32"}]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait for the disk some hundred times."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def steps(by_steps, monkeypatch):
    """Let small data be solved by steps, as many as were learned to be needed."""
    monkeypatch.setattr(row_plan, "_WORTHWHILE", 0)


@pytest.mark.parametrize("settings", SOLVERS, ids=lambda one: "-".join(map(str, one.values())))
def test_going_on_after_each_epoch_changes_no_bit(settings, steps, tmp_path):
    expected = fit(**settings)
    assert (expected.history[-1].user_steps > 0) == (settings.get("solver") != "exact")
    for epoch in range(1, EPOCHS):
        leave(tmp_path / "c", epoch, **settings)
        assert checkpoint_epochs(tmp_path / "c") == (epoch, EPOCHS)
    assert_same(fit(tmp_path / "c", resume=True, **settings), expected)
    assert names(tmp_path) == ["c"]


def test_what_plans_learned_is_needed_to_go_on(steps):
    """Else the test above would say nothing of it."""
    config = small(iterations=3, **LEARNING).config
    problem = weigh(TRAIN.astype(np.float64), config)
    running = epochs(problem, initial_factors(TRAIN.shape, config))
    first = copy_into(None, next(running)[1])
    *_, (_, expected) = running
    *_, (_, again) = epochs(problem, copy_into(None, first), done=1)
    assert_array_equal(again.user_factors, expected.user_factors)
    *_, (_, forgetful) = epochs(problem, first[:2], done=1)
    assert (forgetful.user_factors != expected.user_factors).any()


@pytest.mark.parametrize("threads", [1, 3])
def test_another_number_of_threads_changes_nothing(threads, tmp_path):
    leave(tmp_path / "c", 3, num_threads=2)
    assert_same(fit(tmp_path / "c", resume=True, num_threads=threads), fit())


@pytest.mark.parametrize("given", [{}, {"patience": 2}, {"validate_every": 2}, {"validate_every": 3, "patience": 1}])
@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_a_validated_fit_goes_on(given, epoch, tmp_path):
    expected = fit(**VALIDATED | given)
    assert len(expected.history) >= epoch
    leave(tmp_path / "c", epoch, **VALIDATED | given)
    assert_same(fit(tmp_path / "c", resume=True, **VALIDATED | given), expected)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_the_best_epoch_is_kept_in_the_checkpoint(epoch, tmp_path, monkeypatch):
    values = [0.1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    script(monkeypatch, values[:epoch])
    leave(tmp_path / "c", epoch, **VALIDATED)
    assert ("best_user_factors.npy" in names(tmp_path / "c")) == (epoch > 2)
    script(monkeypatch, values[epoch:])
    model = fit(tmp_path / "c", resume=True, **VALIDATED)
    assert (model.best_epoch, len(model.history)) == (2, EPOCHS)
    assert_array_equal(model.user_factors, fit(iterations=2).user_factors)


def test_a_better_epoch_after_going_on_wins(tmp_path, monkeypatch):
    script(monkeypatch, [0.5, 0.1])
    leave(tmp_path / "c", 2, **VALIDATED)
    script(monkeypatch, [0.2, 0.9, 0.1, 0.1, 0.1])
    model = fit(tmp_path / "c", resume=True, **VALIDATED)
    assert model.best_epoch == 4
    assert_array_equal(model.user_factors, fit(iterations=4).user_factors)


def test_patience_that_was_used_up_ends_the_fit_at_once(tmp_path, monkeypatch):
    script(monkeypatch, [0.1, 0.5, 0.4, 0.3])
    ended = fit(tmp_path / "c", **VALIDATED | {"patience": 2})
    script(monkeypatch, [])
    again = fit(tmp_path / "c", resume=True, callback=ending(5), **VALIDATED | {"patience": 2})
    assert_same(again, ended)
    assert (len(again.history), again.best_epoch) == (4, 2)
    script(monkeypatch, [0.9, 0.1, 0.1])
    assert fit(tmp_path / "c", resume=True, **VALIDATED).best_epoch == 5  # with more patience it goes on


def test_more_iterations_continue_a_finished_fit(tmp_path):
    """Also where the last epoch was measured because it was the last, which the longer fit would not do."""
    options = VALIDATED | {"validate_every": 3}
    shorter = fit(tmp_path / "c", iterations=5, **options)
    assert [bool(record.validation) for record in shorter.history] == [False, False, True, False, True]
    assert_same(fit(tmp_path / "c", iterations=5, resume=True, **options), shorter)
    assert_same(fit(tmp_path / "c", resume=True, **options), fit(**options))


def test_a_checkpoint_at_what_is_asked_returns_at_once(tmp_path, monkeypatch):
    leave(tmp_path / "c", 4)
    monkeypatch.setattr(training, "half_sweep", lambda *_: pytest.fail("worked in vain"))
    model = fit(tmp_path / "c", resume=True, iterations=4, callback=lambda *_: pytest.fail("no epoch"))
    monkeypatch.undo()
    assert_same(model, fit(iterations=4))
    with pytest.raises(InputError, match="holds 4 epochs, more than the iterations asked for, 3"):
        fit(tmp_path / "c", resume=True, iterations=3)


def test_another_fit_at_the_same_place_is_not_overwritten(tmp_path):
    def meanwhile(record, model):
        if record.epoch == 2:
            remove_checkpoint(tmp_path / "c")
            fit(tmp_path / "c", iterations=5)

    with pytest.raises(InputError, match="holds epoch 5 where this fit left epoch 2: another fit writes there"):
        fit(tmp_path / "c", callback=meanwhile)
    assert_same(fit(tmp_path / "c", resume=True), fit())


def test_a_time_budget_counts_anew(tmp_path):
    for _ in range(3):
        fit(tmp_path / "c", resume=True, time_budget=1e-9, **VALIDATED | {"validate_every": 5})
    assert checkpoint_epochs(tmp_path / "c") == (3, EPOCHS)
    options = VALIDATED | {"validate_every": 5}
    assert_same(fit(tmp_path / "c", resume=True, **options), fit(**options))


def test_without_a_checkpoint_to_resume_the_fit_starts_afresh(tmp_path):
    assert_same(fit(tmp_path / "deep" / "c", resume=True), fit())
    assert checkpoint_epochs(tmp_path / "deep" / "c") == (EPOCHS, EPOCHS)


@pytest.mark.parametrize(("every", "last", "written"), [(1, 3, 3), (2, 3, 2), (2, 4, 4), (4, 3, None), (100, 6, None)])
def test_checkpoints_are_written_after_every_so_many_epochs(every, last, written, tmp_path):
    leave(tmp_path / "c", last, every=every)
    assert checkpoint_epochs(tmp_path / "c") == (written and (written, EPOCHS))
    assert_same(fit(tmp_path / "c", resume=True, every=every), fit())
    assert checkpoint_epochs(tmp_path / "c") == (EPOCHS, EPOCHS)


def test_an_end_between_two_checkpoints_gets_one(tmp_path):
    fit(tmp_path / "c", every=4, callback=lambda record, _: record.epoch == 2)
    assert checkpoint_epochs(tmp_path / "c") == (2, EPOCHS)


def test_the_callback_is_called_for_the_epochs_that_follow(tmp_path):
    leave(tmp_path / "c", 3)
    seen = []
    fit(tmp_path / "c", resume=True, callback=lambda record, model: seen.append((record.epoch, len(model.history))))
    assert seen == [(epoch, epoch) for epoch in (4, 5, 6, 7)]


def test_losses_that_are_not_tracked_are_still_not_numbers(tmp_path):
    leave(tmp_path / "c", 2, track_loss=False)
    model = fit(tmp_path / "c", resume=True)
    assert np.isnan([record.loss for record in model.history]).tolist() == [True] * 2 + [False] * 5
    assert_array_equal(model.user_factors, fit().user_factors)


def test_confidences_go_on(tmp_path):
    confidence = TRAIN.copy()
    confidence.data = np.arange(1.0, confidence.nnz + 1)
    leave(tmp_path / "c", 2, confidence=confidence)
    assert_same(fit(tmp_path / "c", resume=True, confidence=confidence), fit(confidence=confidence))


def test_a_generator_is_not_drawn_from_again(tmp_path):
    model = small(iterations=EPOCHS, random_state=np.random.default_rng(5))
    leave(tmp_path / "c", 2, model=model)
    state = model.config.random_state.bit_generator.state
    again = fit(tmp_path / "c", model, resume=True)
    assert model.config.random_state.bit_generator.state == state
    assert_same(again, fit(random_state=np.random.default_rng(5)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, Terminated, SystemExit])
def test_an_interruption_leaves_a_checkpoint_of_the_last_whole_epoch(error, tmp_path):
    leave(tmp_path / "c", 5, error, every=4)
    assert checkpoint_epochs(tmp_path / "c") == (5, EPOCHS)
    assert_same(fit(tmp_path / "c", resume=True), fit())


@pytest.mark.parametrize("solver", ["auto", "cg"])
@pytest.mark.parametrize("half", [4, 5, 6])
def test_an_interrupted_epoch_leaves_no_trace(half, solver, steps, tmp_path, monkeypatch):
    """It has changed what the plans learned, and half of the spare factors."""
    sweep, calls = training.half_sweep, []

    def interrupt(*arguments):
        calls.append(sweep(*arguments))
        if len(calls) == half:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "half_sweep", interrupt)
    model = small(iterations=EPOCHS, solver=solver)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "c", model, every=10)
    done = (half - 1) // 2
    assert checkpoint_epochs(tmp_path / "c") == (done, EPOCHS)
    monkeypatch.setattr(training, "half_sweep", sweep)
    assert_same(model, fit(iterations=done, solver=solver))
    assert_same(fit(tmp_path / "c", resume=True, solver=solver), fit(solver=solver))


@pytest.mark.parametrize("epoch", [1, 2, 4])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_validation_is_done_when_the_fit_goes_on(when, epoch, tmp_path, monkeypatch):
    measure = HeldOut.measure

    def interrupt(self, model):
        values = {} if when == "before" else measure(self, model)
        if model.history[-1].epoch == epoch:
            raise KeyboardInterrupt
        return values or measure(self, model)

    expected = fit(**VALIDATED)
    monkeypatch.setattr(HeldOut, "measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "c", **VALIDATED)
    monkeypatch.undo()
    assert checkpoint_epochs(tmp_path / "c") == (epoch, EPOCHS)
    assert_same(fit(tmp_path / "c", resume=True, **VALIDATED), expected)


def handler():
    return signal.getsignal(signal.SIGTERM)


def test_sigterm_ends_a_fit_with_a_checkpoint(tmp_path):
    model = small(iterations=EPOCHS)
    with pytest.raises(SystemExit) as ended:
        fit(tmp_path / "c", model, every=10, callback=lambda record, _: record.epoch == 3 and os.kill(os.getpid(), 15))
    assert ended.value.code == 143
    assert handler() is signal.SIG_DFL
    assert checkpoint_epochs(tmp_path / "c") == (3, EPOCHS)
    assert_same(model, fit(iterations=3))
    assert_same(fit(tmp_path / "c", resume=True), fit())


def test_sigterm_is_left_to_others(tmp_path, monkeypatch):
    seen = []

    def look(record, model):
        seen.append(handler())

    def mine(*_):
        pytest.fail("nobody sent it")

    fit(callback=look, iterations=1)
    thread = threading.Thread(target=lambda: fit(tmp_path / "c", callback=look, iterations=1))
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL] * 2
    former = signal.signal(signal.SIGTERM, mine)
    try:
        fit(tmp_path / "d", callback=look, iterations=1)
        assert seen[-1] is handler() is mine
    finally:
        signal.signal(signal.SIGTERM, former)
    with pytest.raises(Crash):
        fit(tmp_path / "e", callback=ending(1))
    assert handler() is signal.SIG_DFL
    fit(tmp_path / "f", callback=lambda *_: signal.signal(signal.SIGTERM, signal.SIG_IGN) and None, iterations=1)
    assert handler() is signal.SIG_IGN  # set by somebody else meanwhile
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_larger_data_with_rows_of_every_kind_go_on(counts, tmp_path):
    settings = {"factors": 20, "iterations": 4, "random_state": 1, "alpha": 40.0, "weighting": "ials"}
    expected = WMF(**settings).fit(counts)
    with pytest.raises(Crash):
        WMF(**settings).fit(counts, checkpoint=tmp_path / "c", callback=ending(2))
    assert_same(WMF(**settings).fit(counts, checkpoint=tmp_path / "c", resume=True), expected)


def test_fold_in_validations_go_on(tmp_path):
    given = {"validation": (TRAIN[20:], HELD_OUT[20:]), "metric": "ndcg@5", "patience": None}
    leave(tmp_path / "c", 3, **given)
    assert_same(fit(tmp_path / "c", resume=True, **given), fit(**given))
