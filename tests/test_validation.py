"""What is measured on held-out interactions while fitting, and what is refused before the first epoch."""

import inspect
import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from watched_fits import HELD_OUT, ITEMS, TRAIN, USERS, Copies, small

from implicit_wmf import WMF, InputError, Interactions, validation
from implicit_wmf.evaluation import evaluate
from implicit_wmf.factorizers import KLMF, ObservedMF
from implicit_wmf.validation import Watch


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
