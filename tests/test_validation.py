import inspect
import json
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, to_sparse
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, Interactions, NotFittedError, validation
from implicit_wmf.evaluation import evaluate
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF
from implicit_wmf.factorizers.records import IterationRecord
from implicit_wmf.validation import HeldOut, Watch, copy_into

USERS, ITEMS = 40, 25


def tastes(seed=0):
    """Users of two tastes, their counts divided into train and held out, with all that can be odd about a user."""
    generator = np.random.default_rng(seed)
    likes = np.where((np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2, 0.5, 0.15)
    counts = np.where(generator.random((USERS, ITEMS)) < likes, generator.integers(1, 5, (USERS, ITEMS)), 0.0)
    later = generator.random(counts.shape) < 0.3
    train, held_out = np.where(later, np.nan, counts), np.where(later, counts, np.nan)
    train[train == 0], held_out[held_out == 0] = np.nan, np.nan
    train[0], held_out[0, 3] = np.nan, 2  # targets without history
    held_out[1] = np.nan  # history without targets
    train[2, 5], held_out[2] = 1, np.nan
    held_out[2, 5] = 3  # the only one is known
    train[3, 6], held_out[3, 7], train[3, 7] = 2, -1, np.nan  # a known negative is no target
    return to_sparse(train), to_sparse(held_out)


TRAIN, HELD_OUT = tastes()


def small(**settings):
    return WMF(**({"factors": 3, "iterations": 8, "random_state": 0, "dtype": "float64"} | settings))


def literal_metrics(scores, train, held_out, k):
    """ndcg@k and recall@k in plain Python, averaged over users with history and new positive targets."""
    known, positive = train.toarray() != 0, held_out.toarray() > 0
    ndcg, recall = [], []
    for user, row in enumerate(scores):
        targets = {int(item) for item in np.flatnonzero(positive[user] & ~known[user])}
        if not targets or not known[user].any():
            continue
        ranked = [item for item in sorted(range(len(row)), key=lambda item: -row[item]) if not known[user, item]]
        gains = [1 / math.log2(rank + 2) for rank, item in enumerate(ranked[:k]) if item in targets]
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(targets))))
        ndcg.append(sum(gains) / ideal)
        recall.append(len(gains) / len(targets))
    return {f"ndcg@{k}": sum(ndcg) / len(ndcg), f"recall@{k}": sum(recall) / len(recall)}


class Copies:
    """A callback that keeps what it was shown."""

    def __init__(self, stop_after=None, error=None):
        self.records, self.factors, self.stop_after, self.error = [], [], stop_after, error

    def __call__(self, record, model):
        self.records.append(record)
        self.factors.append((model.user_factors.copy(), model.item_factors.copy()))
        if record.epoch == self.stop_after:
            if self.error is not None:
                raise self.error
            return True
        return None


def script(monkeypatch, values):
    """Let the validations come to these values, one after another."""
    coming = iter(values)
    monkeypatch.setattr(HeldOut, "measure", lambda self, model: {"ndcg@10": next(coming)})


def assert_factors(model, expected):
    assert_array_equal(model.user_factors, expected[0])
    assert_array_equal(model.item_factors, expected[1])


# what is measured


@pytest.mark.parametrize("estimator", [small(), KLMF(3, iterations=8, random_state=0)])
def test_every_epoch_has_the_metrics_of_a_literal_ranking(estimator):
    copies = Copies()
    estimator.fit(TRAIN, validation=HELD_OUT, metric=["ndcg@5", "recall@5"], patience=None, callback=copies)
    assert len(estimator.history) == 8
    assert estimator.history == copies.records
    for record, (users, items) in zip(estimator.history, copies.factors, strict=True):
        expected = literal_metrics(users @ items.T, TRAIN, HELD_OUT, 5)
        assert record.validation == pytest.approx(expected, rel=1e-12)
        assert list(record.validation) == ["ndcg@5", "recall@5"]


def test_biases_count_in_the_ranking_of_ratings():
    scores = []

    def predict(record, model):
        scores.append(model.predict(np.arange(USERS)[:, None], np.arange(ITEMS)))

    model = ObservedMF(3, iterations=4, dtype="float64", random_state=0)
    model.fit(TRAIN, validation=HELD_OUT, metric="ndcg@5", patience=None, callback=predict)
    for record, table in zip(model.history, scores, strict=True):
        expected = literal_metrics(table, TRAIN, HELD_OUT, 5)["ndcg@5"]
        assert record.validation["ndcg@5"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_it_is_what_evaluate_says_of_the_fitted_model_whatever_the_batch(batch, monkeypatch):
    monkeypatch.setattr(validation, "_BATCH", batch)
    names = [f"user {user}" for user in range(USERS)], [f"item {item}" for item in range(ITEMS)]
    train, held_out = (Interactions.from_matrix(m, users=names[0], items=names[1]) for m in (TRAIN, HELD_OUT))
    metrics = ["map@30", "hit@3", "ndcg@1"]  # a list may be longer than the catalogue
    model = small().fit(train, validation=held_out, metric=metrics)
    table = evaluate(model, train, held_out, metrics=metrics)
    best = model.history[model.best_epoch - 1].validation
    assert best == pytest.approx(dict(zip(table.metric, table.value, strict=True)), rel=1e-12)
    assert list(model.interactions.users) == names[0]


def test_users_outside_training_are_folded_in():
    fitted, fold_in, targets = TRAIN[:30], TRAIN[30:], HELD_OUT[30:]
    copies = Copies()
    model = small(iterations=3, regularization=0.1, alpha=2.0)
    model.fit(fitted, validation=(fold_in, targets), metric=["ndcg@5", "recall@5"], patience=None, callback=copies)
    for record, (_, items) in zip(model.history, copies.factors, strict=True):
        vectors = np.zeros((fold_in.shape[0], 3))
        for user, row in enumerate(fold_in.toarray()):
            confidence = 1 + 2.0 * row
            A = items.T @ (confidence[:, None] * items) + 0.1 * np.eye(3)
            vectors[user] = np.linalg.solve(A, items.T @ (confidence * (row > 0)))
        expected = literal_metrics(vectors @ items.T, fold_in, targets, 5)
        assert record.validation == pytest.approx(expected, rel=1e-12)


def test_validation_changes_no_bit_for_any_number_of_threads():
    expected = small().fit(TRAIN)
    for threads in (1, 2, 3):
        model = small(num_threads=threads).fit(TRAIN, validation=HELD_OUT, patience=None, callback=lambda *_: None)
        assert [record.loss for record in model.history] == [record.loss for record in expected.history]
        copies = Copies()
        small(num_threads=threads).fit(TRAIN, validation=HELD_OUT, patience=None, callback=copies)
        assert_array_equal(copies.factors[-1][0], expected.user_factors)
        assert_array_equal(copies.factors[-1][1], expected.item_factors)


# cells that the fit removes from the objective


def removed_cells(seed=0):
    """Counts, a third of whose cells are hidden, and what is hidden."""
    generator = np.random.default_rng(seed)
    counts = np.where(generator.random((USERS, ITEMS)) < 0.3, generator.integers(1, 5, (USERS, ITEMS)), 0.0)
    hidden = (counts > 0) & (generator.random(counts.shape) < 0.3)
    return counts, hidden


def assert_validation_is_evaluate_without(model, counts, hidden, held_out):
    known, found = (Interactions.from_matrix(csr_array(part)) for part in (counts * ~hidden, held_out))
    table = evaluate(model, known, found, metrics=["ndcg@5", "recall@5"])
    best = model.history[model.best_epoch - 1].validation
    assert best == pytest.approx(dict(zip(table.metric, table.value, strict=True)), rel=1e-12)
    scores = model.user_factors @ model.item_factors.T
    assert best == pytest.approx(literal_metrics(scores, known.matrix, found.matrix, 5), rel=1e-12)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_confidence_of_0_hides_what_the_validation_asks_for(sparse):
    counts, hidden = removed_cells()
    confidence = np.where(hidden, 0.0, 1 + counts)
    if sparse:  # the cells of the data alone
        rows, columns = np.nonzero(counts)
        confidence = csr_array((confidence[rows, columns], (rows, columns)), shape=counts.shape)
    held_out = np.where(hidden, 1.0, 0.0)
    held_out[np.flatnonzero(~hidden.any(axis=1))[:1]] = 1  # not hidden, so known
    model = small().fit(
        csr_array(counts > 0, dtype=float), confidence=confidence, validation=held_out, metric=["ndcg@5", "recall@5"]
    )
    assert_validation_is_evaluate_without(model, counts, hidden, held_out)


def test_stored_zeros_of_raw_counts_may_be_asked_for_and_others_not():
    counts, hidden = removed_cells()
    rows, columns = np.nonzero(counts)
    data = csr_array((np.where(hidden, 0.0, counts)[rows, columns], (rows, columns)), shape=counts.shape)
    held_out = np.where(hidden, 1.0, 0.0)
    given = {"validation": held_out, "metric": ["ndcg@5", "recall@5"]}
    model = small(weighting="raw").fit(data, **given)
    assert_validation_is_evaluate_without(model, counts, hidden, held_out)
    for estimator in (small(), KLMF(2), ObservedMF(2)):  # where a stored 0 is data
        with pytest.raises(InputError, match="no user can be measured"):
            estimator.fit(data, **given)


def test_stored_zeros_of_users_outside_raw_data_may_be_asked_for():
    counts, hidden = removed_cells()
    rows, columns = np.nonzero(counts)
    data = csr_array((np.where(hidden, 0.0, counts)[rows, columns], (rows, columns)), shape=counts.shape)
    held_out = np.where(hidden, 1.0, 0.0)
    model = small(weighting="raw", regularization=0.1)
    model.fit(csr_array(counts), validation=[data, csr_array(held_out)], metric="ndcg@5", patience=None)
    vectors = model.fold_in_users(data)  # for which the cells are removed
    expected = literal_metrics(vectors @ model.item_factors.T, csr_array(counts * ~hidden), csr_array(held_out), 5)
    best = model.history[model.best_epoch - 1].validation
    assert best["ndcg@5"] == pytest.approx(expected["ndcg@5"], rel=1e-12)


def test_a_list_of_two_matrices_is_a_pair_and_one_of_two_rows_a_matrix():
    expected = small().fit(TRAIN[:30], validation=(TRAIN[30:], HELD_OUT[30:])).history[-1].validation
    for pair in (
        [TRAIN[30:], HELD_OUT[30:]],
        [Interactions.from_matrix(TRAIN[30:]), HELD_OUT[30:].toarray()],
    ):
        assert small().fit(TRAIN[:30], validation=pair).history[-1].validation == expected
    model = small(factors=1).fit([[1, 0, 1], [0, 1, 0]], validation=[[0, 1, 0], [0, 0, 1]], metric="hit@3")
    assert model.history[-1].validation == {"hit@3": 1.0}


# which epoch is kept, and when the fit ends


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
        model = WMF(64, iterations=4, random_state=0)
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


# the callback


@pytest.mark.parametrize("value", [True, np.True_, 1, "stop"])
def test_a_true_value_ends_the_fit_after_that_epoch(value):
    model = small().fit(TRAIN, callback=lambda record, _: value if record.epoch == 3 else None)
    assert len(model.history) == 3
    shorter = small(iterations=3).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))
    assert_array_equal(model.recommend(np.arange(5))[0], shorter.recommend(np.arange(5))[0])
    assert model.loss() == pytest.approx(model.history[-1].loss)


@pytest.mark.parametrize("value", [None, False, np.False_, 0])
def test_any_other_value_goes_on(value):
    assert len(small().fit(TRAIN, callback=lambda record, model: value).history) == 8


def test_the_callback_sees_a_fitted_model_of_its_own(tmp_path):
    model = small(iterations=4)
    shown, histories = [], []

    def look(record, view):
        with pytest.raises(NotFittedError):
            model.recommend(0)
        assert type(view) is WMF
        assert view is not model
        assert view.history[-1] is record
        assert view.get_params() == model.get_params()
        with pytest.raises(ValueError, match="read-only"):
            view.item_factors[0, 0] = 1
        view.set_params(factors=99)
        view.save(tmp_path / f"epoch {record.epoch}")
        shown.append(view.recommend(np.arange(USERS), N=3)[0])
        histories.append(view.history)

    model.fit(TRAIN, validation=HELD_OUT, metric="hit@2", patience=None, callback=look)
    assert model.config.factors == 3
    for epoch in range(1, 5):
        shorter = small(iterations=epoch).fit(TRAIN)
        assert_array_equal(shown[epoch - 1], shorter.recommend(np.arange(USERS), N=3)[0])
        loaded = WMF.load(tmp_path / f"epoch {epoch}")
        assert_factors(loaded, (shorter.user_factors, shorter.item_factors))
        assert loaded.history == histories[epoch - 1] == model.history[:epoch]


@pytest.mark.parametrize("fitted", [False, True])
def test_an_exception_leaves_the_model_as_it_was(fitted):
    model = small(iterations=2)
    if fitted:
        model.fit(TRAIN)
        before = model.user_factors.copy(), model.item_factors.copy()
    with pytest.raises(ZeroDivisionError, match="by zero"):
        model.fit(HELD_OUT, callback=Copies(stop_after=2, error=ZeroDivisionError("by zero")))
    if fitted:
        assert_factors(model, before)
        assert model.interactions.nnz == TRAIN.nnz
    else:
        with pytest.raises(NotFittedError):
            _ = model.history
    assert len(model.fit(TRAIN).history) == 2


def test_starts_of_the_symmetric_model_can_be_watched():
    symmetric = csr_array(np.random.default_rng(0).random((12, 12)))
    copies = Copies(stop_after=2)
    model = SymmetricMF(2, starts=5, random_state=0).fit(symmetric, callback=copies)
    assert len(model.start_losses) == 2
    assert [record.epoch for record in copies.records] == [1, 2]
    assert copies.records[-1].loss == model.start_losses.min()
    assert_array_equal(copies.factors[-1][0], model.G)
    assert "validation" not in model.history_frame()
    assert model.best_epoch == len(model.history)


# the time budget


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


# interruptions


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
        if len(copied) == 7:  # users, items and both of epochs 1 and 2; epoch 4 is better still
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


# the history


def test_saved_models_keep_the_validation(tmp_path):
    model = small().fit(TRAIN, validation=HELD_OUT, metric=["recall@3", "ndcg@10"], validate_every=3, track_loss=False)
    model.save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m")
    assert [record.validation for record in loaded.history] == [record.validation for record in model.history]
    assert loaded.best_epoch == model.best_epoch
    pd.testing.assert_frame_equal(loaded.history_frame(), model.history_frame())
    written = json.loads((tmp_path / "m" / "model.json").read_text())["history"]
    assert ["validation" in record for record in written] == [bool(record.validation) for record in model.history]


def test_the_history_makes_a_table(monkeypatch):
    script(monkeypatch, [0.25, 0.5])
    table = small(iterations=4).fit(TRAIN, validation=HELD_OUT, validate_every=2).history_frame()
    assert list(table)[:2] == ["epoch", "loss"]
    assert list(table)[-2:] == ["item_steps", "ndcg@10"]
    assert_array_equal(table["ndcg@10"], [np.nan, 0.25, np.nan, 0.5])
    assert table.epoch.tolist() == [1, 2, 3, 4]


def test_records_can_be_told_apart_and_hashed():
    record = small(iterations=1).fit(TRAIN).history[0]
    measured = replace(record, validation={"ndcg@10": 0.5})
    assert record != measured
    assert len({record, measured}) == 2


def test_the_bar_shows_the_metric_and_the_best_epoch(monkeypatch, capsys):
    script(monkeypatch, [0.25, 0.125])
    model = small().fit(TRAIN, validation=HELD_OUT, patience=1, progress=True)
    shown = capsys.readouterr().err
    assert f"loss={model.history[-1].loss:.6g}, ndcg@10=0.1250, best epoch=1" in shown
    assert "2/8" in shown


# refusals


def other_ids(**given):
    return Interactions.from_matrix(HELD_OUT, **given)


REFUSALS = [
    ({"validation": HELD_OUT[:, :20]}, r"validation has shape \(40, 20\), the data \(40, 25\); build both"),
    ({"validation": HELD_OUT[:7]}, r"validation has shape \(7, 25\), the data \(40, 25\)"),
    ({"validation": TRAIN}, "no user can be measured: of 40 users 40 have no new pair of positive value in it, and 0"),
    ({"validation": csr_array((USERS, ITEMS))}, "no user can be measured: of 40 users 40 have no new pair"),
    ({"validation": -abs(HELD_OUT)}, "no user can be measured: of 40 users 40 have no new pair of positive value"),
    (
        {"validation": csr_array(([1.0], ([0], [3])), shape=HELD_OUT.shape)},
        "of 40 users 39 have no new pair of positive value in it, and 1 others have no pair in the data",
    ),
    ({"validation": "held out"}, "validation: "),
    ({"validation": np.full((USERS, ITEMS), np.nan)}, "validation: .*nan"),
    ({"validation": other_ids(users=range(100, 140))}, "validation.users are other ids than those of the data"),
    ({"validation": other_ids(items=[f"i{i}" for i in range(ITEMS)])}, "validation.items are other ids"),
    ({"validation": ()}, r"validation is a tuple of 0; give interactions, or a pair \(fold_in, targets\)"),
    ({"validation": (TRAIN, HELD_OUT, TRAIN)}, "validation is a tuple of 3; give interactions, or a pair"),
    ({"validation": (TRAIN[:, :20], HELD_OUT)}, r"validation\[0\] has 20 items; the data have 25"),
    ({"validation": (TRAIN, HELD_OUT[:7])}, r"validation\[1\] has shape \(7, 25\), validation\[0\] \(40, 25\)"),
    ({"validation": (TRAIN, "targets")}, r"validation\[1\]: "),
    ({"validation": (TRAIN, TRAIN)}, "no user can be measured"),
    ({"validation": HELD_OUT, "metric": "ndgc@10"}, "metric: 'ndgc' in 'ndgc@10' is not known; known are"),
    ({"validation": HELD_OUT, "metric": "ndcg"}, "metric: 'ndcg' is not of the form name@k"),
    ({"validation": HELD_OUT, "metric": "ndcg@0"}, "metric: k in 'ndcg@0' must be at least 1"),
    ({"validation": HELD_OUT, "metric": ("ndcg@5", "gini@5")}, "metric: 'gini@5' needs more than a list"),
    ({"validation": HELD_OUT, "metric": "auc"}, "metric: 'auc' needs more than a list"),
    ({"validation": HELD_OUT, "metric": ["ndcg@5", "ndcg@5"]}, "metric: 'ndcg@5' is named 2 times"),
    ({"validation": HELD_OUT, "metric": []}, "metric: no metric was named"),
    ({"validation": HELD_OUT, "metric": 10}, "metric must be a name such as 'ndcg@10', or several, got 10"),
    ({"validation": HELD_OUT, "patience": 0}, "patience must be a whole number of at least 1, got 0"),
    ({"validation": HELD_OUT, "patience": True}, "patience must be a whole number"),
    ({"validation": HELD_OUT, "validate_every": 0}, "validate_every must be a whole number of at least 1, got 0"),
    ({"validation": HELD_OUT, "validate_every": None}, "validate_every must be a whole number"),
    ({"metric": "recall@5"}, "metric is 'recall@5', which has no effect without validation; give both or neither"),
    ({"metric": ["ndcg@10"]}, r"metric is \['ndcg@10'\], which has no effect without validation"),
    ({"patience": 5}, "patience is 5, which has no effect without validation"),
    ({"patience": None}, "patience is None, which has no effect without validation"),
    ({"validate_every": 2}, "validate_every is 2, which has no effect without validation"),
    ({"time_budget": 0}, "time_budget must be a finite number greater than 0, got 0"),
    ({"time_budget": math.nan}, "time_budget must be a finite number greater than 0, got nan"),
    ({"time_budget": "1h"}, "time_budget must be a finite number greater than 0, got '1h'"),
    ({"callback": "print"}, r"callback must be a function of \(record, model\), got 'print'"),
]


@pytest.mark.parametrize(("given", "message"), REFUSALS)
def test_refuses_before_the_first_epoch_and_leaves_the_model(given, message):
    train = Interactions.from_matrix(TRAIN, users=range(USERS), items=[f"item {item}" for item in range(ITEMS)])
    model = small(iterations=1).fit(train)
    state = model._fitted
    epochs = Copies()
    with pytest.raises(InputError, match=message):
        model.fit(train, **{"callback": epochs} | given)
    assert model._fitted is state
    assert epochs.records == []


@pytest.mark.parametrize("estimator", [KLMF(2, iterations=2), ObservedMF(2, iterations=2)])
def test_models_that_cannot_fold_in_say_so_before_the_first_epoch(estimator):
    epochs = Copies()
    with pytest.raises(InputError, match="cannot fold in users who were not in training"):
        estimator.fit(TRAIN, validation=(TRAIN, HELD_OUT), validate_every=2, callback=epochs)
    assert epochs.records == []


def test_fold_in_refuses_other_ids():
    items = [f"item {item}" for item in range(ITEMS)]
    train = Interactions.from_matrix(TRAIN, items=items)
    fold_in = Interactions.from_matrix(TRAIN, items=items[::-1], users=range(50, 50 + USERS))
    with pytest.raises(InputError, match=r"validation\[0\].items are other ids than those of the data"):
        small().fit(train, validation=(fold_in, HELD_OUT))
    fold_in = Interactions.from_matrix(TRAIN, items=items, users=[f"u{user}" for user in range(USERS)])
    targets = Interactions.from_matrix(HELD_OUT, items=items, users=[f"v{user}" for user in range(USERS)])
    with pytest.raises(InputError, match=r"validation\[1\].users are other ids than those of validation\[0\]"):
        small().fit(train, validation=(fold_in, targets))


# the interface


def test_hyper_parameters_stay_as_they_are():
    model = small()
    before = model.get_params()
    assert model.fit(TRAIN, validation=HELD_OUT, patience=1).get_params() == before
    assert "patience" not in before


def test_the_estimators_take_the_same_arguments_with_the_same_defaults():
    names = ["validation", "metric", "patience", "validate_every", "time_budget", "callback"]
    expected = {name: inspect.signature(Watch).parameters[name].default for name in names}
    for estimator in (WMF, KLMF, ObservedMF):
        parameters = inspect.signature(estimator.fit).parameters
        assert {name: parameters[name].default for name in names} == expected
