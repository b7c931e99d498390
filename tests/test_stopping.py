"""Which epoch's factors a fit keeps, and when it ends: patience, a time budget, Ctrl-C."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from conftest import COMPILED
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from watched_fits import HELD_OUT, TRAIN, USERS, Copies, assert_factors, script, small

from implicit_wmf import WMF, Interactions, validation
from implicit_wmf.factorizers import KLMF, ObservedMF
from implicit_wmf.factorizers.records import IterationRecord
from implicit_wmf.validation import HeldOut, Watch, copy_into


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 3, 8, 8),
        ([0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 3, 4, 1),
        ([0.1, 0.2, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1], 3, 8, 5),
        ([0.1, 0.3, 0.1, 0.3, 0.2, 0.9, 0.9, 0.9], 3, 5, 2),  # as good is not better
        ([0.1, 0.3, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9], 1, 3, 2),
        ([0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.6], None, 8, 8),
        ([0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], None, 8, 1),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 2, 3, 1),
    ],
)
def test_patience_and_the_best_factors_bit_for_bit(values, patience, epochs, best, monkeypatch):
    script(monkeypatch, values)
    copies = Copies()
    model = small().fit(TRAIN, validation=HELD_OUT, patience=patience, callback=copies)
    assert [record.epoch for record in model.history] == list(range(1, epochs + 1))
    assert [record.validation for record in model.history] == [{"ndcg@10": value} for value in values[:epochs]]
    assert model.best_epoch == best
    assert_factors(model, copies.factors[best - 1])
    shorter = small(iterations=best).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))
    assert model.config.iterations == 8
    others = copies.factors[: best - 1] + copies.factors[best:]
    assert not any(np.array_equal(model.user_factors, users) for users, _ in others)


@pytest.mark.parametrize(
    "estimator",
    [KLMF(3, iterations=8, random_state=0), ObservedMF(3, iterations=8, random_state=0), small(dtype="float32")],
)
def test_every_estimator_restores_its_best_epoch(estimator, monkeypatch):
    script(monkeypatch, [0.1, 0.5, 0.4, 0.3, 0.2])
    copies = Copies()
    estimator.fit(TRAIN, validation=HELD_OUT, callback=copies)
    assert len(estimator.history) == 5
    assert_factors(estimator, copies.factors[1])
    again = type(estimator).from_config(replace(estimator.config, iterations=2)).fit(TRAIN)
    assert_factors(estimator, (again.user_factors, again.item_factors))
    ids, _ = estimator.recommend(np.arange(USERS), N=5)
    assert_array_equal(ids, again.recommend(np.arange(USERS), N=5)[0])


def test_the_three_factor_form_restores_all_of_its_best_epoch(monkeypatch):
    script(monkeypatch, [0.1, 0.5, 0.4])
    B = np.random.default_rng(0).random((4, USERS)) + 0.1
    model = KLMF(iterations=8, random_state=0).fit(TRAIN, B=B, validation=HELD_OUT, patience=1)
    again = KLMF(iterations=2, random_state=0).fit(TRAIN, B=B)
    assert_array_equal(model.X, again.X)
    assert_factors(model, (again.user_factors, again.item_factors))


def test_biases_are_restored_too(monkeypatch):
    script(monkeypatch, [0.5, 0.4])
    model = ObservedMF(2, iterations=8, random_state=0).fit(TRAIN, validation=HELD_OUT, patience=1)
    again = ObservedMF(2, iterations=1, random_state=0).fit(TRAIN)
    assert_array_equal(model.user_biases, again.user_biases)
    assert_array_equal(model.item_biases, again.item_biases)


def test_validation_every_few_epochs_and_after_the_last(monkeypatch):
    script(monkeypatch, [0.1, 0.2, 0.3])
    copies = Copies()
    model = small(iterations=8).fit(TRAIN, validation=HELD_OUT, validate_every=3, callback=copies)
    assert copies.records == model.history
    measured = {record.epoch: record.validation for record in model.history if record.validation}
    assert measured == {3: {"ndcg@10": 0.1}, 6: {"ndcg@10": 0.2}, 8: {"ndcg@10": 0.3}}
    assert model.best_epoch == 8


def test_patience_counts_validations_not_epochs(monkeypatch):
    script(monkeypatch, [0.3, 0.2, 0.1])
    model = small(iterations=20).fit(TRAIN, validation=HELD_OUT, validate_every=2, patience=2)
    assert len(model.history) == 6
    assert model.best_epoch == 2
    shorter = small(iterations=2).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))


@pytest.mark.parametrize(("last_value", "best"), [(0.9, 5), (0.1, 3)])
def test_an_epoch_that_a_callback_made_the_last_is_measured(last_value, best, monkeypatch):
    script(monkeypatch, [0.5, last_value])
    copies = Copies(stop_after=5)
    model = small().fit(TRAIN, validation=HELD_OUT, validate_every=3, callback=copies)
    assert [bool(record.validation) for record in model.history] == [False, False, True, False, True]
    assert model.best_epoch == best
    assert_factors(model, copies.factors[best - 1])


def test_an_iteration_that_changed_too_little_is_measured():
    model = KLMF(3, iterations=200, tolerance=1e-2, random_state=0)
    model.fit(TRAIN, validation=HELD_OUT, validate_every=150, patience=None)
    assert 1 < len(model.history) < 150
    assert [bool(record.validation) for record in model.history] == [False] * (len(model.history) - 1) + [True]
    assert model.best_epoch == len(model.history)


def test_without_validation_the_last_epoch_stays():
    model = small(iterations=4).fit(TRAIN)
    assert model.best_epoch == 4
    assert [record.validation for record in model.history] == [{}] * 4
    nothing = small(iterations=0).fit(TRAIN, validation=HELD_OUT)
    assert (nothing.best_epoch, nothing.history, len(nothing.history_frame())) == (0, [], 0)
    assert_factors(nothing, (small(iterations=0).fit(TRAIN).user_factors, nothing.item_factors))


def test_no_more_than_one_copy_of_the_factors_is_held():
    users, items = np.zeros((3000, 64)), np.zeros((1000, 64))
    size = users.nbytes + items.nbytes
    watch = Watch(Interactions.from_matrix(TRAIN), validation=HELD_OUT, patience=None)
    history = []
    tracemalloc.start()
    for epoch in range(1, 8):
        users += 1
        items += 2
        history.append(IterationRecord(epoch, 1.0, 1.0, {"ndcg@10": epoch / 10 if epoch < 7 else 0.0}))
        watch.keep(history, (users, items))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    best_users, best_items = watch.best(history, (users, items))
    assert (best_users == 6).all()
    assert (best_items == 12).all()
    assert size <= peak < 1.2 * size


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_a_fit_with_validation_needs_one_copy_more(monkeypatch):
    script(monkeypatch, [0.1, 0.2, 0.3, 0.2])
    counts, later = (csr_array(matrix, copy=True) for matrix in (TRAIN, HELD_OUT))
    for matrix in (counts, later):
        matrix.resize(4000, 800)
    data, held_out = Interactions.from_matrix(counts), Interactions.from_matrix(later)
    size = (4000 + 800) * 64 * 4

    def peak(**given):
        model = WMF(64, iterations=4, random_state=0, num_threads=1)  # each thread has scratch memory of its own
        tracemalloc.start()
        model.fit(data, **given)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak()  # what is made once
    without = peak()
    assert peak(validation=held_out) - without < 1.2 * size


def test_a_copy_goes_into_the_earlier_one():
    first = copy_into(None, (np.arange(6.0).reshape(2, 3), (np.ones(2, np.float32),)))
    second = copy_into(first, (np.zeros((2, 3)), (np.full(2, 7, np.float32),)))
    assert second[0] is first[0]
    assert second[1][0] is first[1][0]
    assert second[1][0].tolist() == [7, 7]


@pytest.mark.parametrize(("budget", "epochs"), [(0.001, 1), (10, 1), (10.5, 2), (25, 3), (70, 7), (71, 8), (1e9, 8)])
def test_no_epoch_begins_after_the_time_budget(budget, epochs, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(validation, "perf_counter", lambda: now[0])

    def ten_seconds(record, model):
        now[0] += 10

    model = small().fit(TRAIN, time_budget=budget, callback=ten_seconds)
    assert len(model.history) == epochs
    shorter = small(iterations=epochs).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))


def test_ctrl_c_keeps_the_last_whole_epoch():
    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.fit(TRAIN, callback=Copies(stop_after=5, error=KeyboardInterrupt()))
    shorter = small(iterations=5).fit(TRAIN)
    assert len(model.history) == 5
    assert_factors(model, (shorter.user_factors, shorter.item_factors))


def test_ctrl_c_keeps_the_best_epoch_of_a_validated_fit(monkeypatch):
    script(monkeypatch, [0.1, 0.5, 0.4, 0.3])
    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.fit(TRAIN, validation=HELD_OUT, patience=None, callback=Copies(stop_after=4, error=KeyboardInterrupt()))
    assert (len(model.history), model.best_epoch) == (4, 2)
    shorter = small(iterations=2).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))


@pytest.mark.parametrize(("interrupted", "best"), [(1, 1), (2, 1), (3, 2), (6, 4)])
def test_ctrl_c_within_a_validation(interrupted, best, monkeypatch):
    values = iter([0.1, 0.5, 0.2, 0.7, 0.6, 0.9])

    def measure(self, model):
        if model.history[-1].epoch == interrupted:
            raise KeyboardInterrupt
        return {"ndcg@10": next(values)}

    monkeypatch.setattr(HeldOut, "measure", measure)
    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.fit(TRAIN, validation=HELD_OUT, patience=None)
    assert len(model.history) == interrupted
    assert model.best_epoch == best
    shorter = small(iterations=best).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))


def test_ctrl_c_within_the_copy_of_better_factors(monkeypatch):
    script(monkeypatch, [0.1, 0.5, 0.4, 0.8])
    copied = []

    def torn(spare, reached):
        copied.append(reached)
        if len(copied) == 11:  # what epochs 1 and 2 reached and its four arrays; epoch 4 is better still
            spare[0][...] = reached[0]
            raise KeyboardInterrupt
        return copy_into(spare, reached)

    monkeypatch.setattr(validation, "copy_into", torn)
    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.fit(TRAIN, validation=HELD_OUT)
    assert (len(model.history), model.best_epoch) == (4, 4)
    shorter = small(iterations=4).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))
