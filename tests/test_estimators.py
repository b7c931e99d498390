"""What every estimator promises: parameters, refusals that change nothing, same bits, saved files."""

import threading

import numpy as np
import pytest
from conftest import COMPILED, to_sparse
from estimators import FACTORIZERS
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, issparse
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from implicit_wmf import WMF, InputError, Interactions, NotFittedError
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF

SMALL = {
    WMF: {"iterations": 3},
    ObservedMF: {"iterations": 3},
    KLMF: {"iterations": 3},
    SymmetricMF: {"iterations": 20, "starts": 2},
}


@pytest.fixture(params=FACTORIZERS, ids=lambda estimator: estimator.__name__)
def estimator(request):
    return request.param


def make(estimator, **settings):
    return estimator(2, **SMALL[estimator], **{"random_state": 0} | settings)


def data(seed=0):
    """Square, non-negative, with an empty row: every estimator takes it."""
    generator = np.random.default_rng(seed)
    dense = np.full((12, 12), np.nan)
    stored = generator.random(dense.shape) < 0.4
    dense[stored] = generator.integers(1, 6, stored.sum())
    dense[4] = np.nan
    return Interactions.from_matrix(to_sparse(dense), users=[f"u{k}" for k in range(12)])


def test_scikit_learn_can_clone_and_change_it(estimator):
    model = make(estimator)
    copy = clone(model)
    assert copy.config == model.config
    assert copy.set_params(factors=7) is copy
    assert copy.config.factors == 7 != model.config.factors
    assert repr(copy).startswith(f"{estimator.__name__}(factors=7, ")
    with pytest.raises(InputError, match="no hyper-parameter 'beta'"):
        model.set_params(beta=1)


def test_unfitted_models_say_so(estimator, tmp_path):
    for use in (lambda m: m.user_factors, lambda m: m.recommend(0), lambda m: m.loss(), lambda m: m.save(tmp_path)):
        with pytest.raises(NotFittedError, match=f"this {estimator.__name__} has no factors yet: call fit first"):
            use(make(estimator))


def test_history_ends_in_the_loss_of_the_model(estimator):
    model = make(estimator).fit(data())
    assert model.history
    assert model.history[-1].loss == pytest.approx(model.loss(), rel=1e-9)
    assert model.loss(data()) == model.loss()
    losses = [record.loss for record in model.history]
    assert losses == sorted(losses, reverse=True)
    untracked = make(estimator).fit(data(), track_loss=False)
    assert_array_equal(untracked.user_factors, model.user_factors)


def test_the_random_state_decides(estimator):
    first = make(estimator).fit(data())
    by_generator = make(estimator, random_state=np.random.default_rng(0)).fit(data())
    assert_array_equal(by_generator.user_factors, first.user_factors)
    other = make(estimator, random_state=1).fit(data())
    assert (other.user_factors != first.user_factors).any()


def many_cells(density):
    """Square counts, more of them than any estimator takes in one block, so that threads have something to share."""
    generator = np.random.default_rng(0)
    dense = generator.integers(1, 6, (400, 400)).astype(float)
    return csr_array(dense * (generator.random(dense.shape) < density))


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize(
    ("estimator", "settings", "density"),
    [
        *((estimator, {"dtype": dtype}, 0.45) for estimator in FACTORIZERS[:3] for dtype in ("float32", "float64")),
        (SymmetricMF, {}, 0.45),
        (SymmetricMF, {}, 0.6),  # where more than a half is stored it looks at all cells
    ],
)
def test_the_number_of_threads_does_not_change_a_bit(estimator, settings, density):
    fits = []
    for number in (1, 2, 5):
        with threadpool_limits(number, user_api="blas"):
            fits.append(make(estimator, num_threads=number, **settings).fit(many_cells(density)))
    for other in fits[1:]:
        assert_array_equal(other.user_factors, fits[0].user_factors)
        assert_array_equal(other.item_factors, fits[0].item_factors)
        assert [record.loss for record in other.history] == [record.loss for record in fits[0].history]
        assert other.loss() == fits[0].loss()


FORMS = {estimator.__name__: (estimator, {}) for estimator in FACTORIZERS}
FORMS["KLMF, three factors"] = KLMF, {"B": np.ones((3, 400)), "C": np.ones((2, 400))}
FORMS["SymmetricMF, weights"] = SymmetricMF, {"P": np.ones((400, 400))}


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", [1, 3])
def test_no_more_threads_than_asked_for(form, number, monkeypatch):
    estimator, others = FORMS[form]
    begun = []
    start = threading.Thread.start

    def spy(thread):
        begun.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", spy)
    monkeypatch.setattr("implicit_wmf.threads.available_threads", lambda: 5)
    counts = many_cells(0.6)
    model = make(estimator, num_threads=number).fit(counts, **others, progress=False)
    in_fit = begun.copy()
    model.loss()
    expected = {f"implicit_wmf-{k}" for k in range(number)} if number > 1 else set()
    assert set(in_fit) == expected
    assert set(begun[len(in_fit) :]) == expected


@pytest.mark.parametrize("mmap", [False, True])
def test_saved_models_come_back_whole(estimator, mmap, tmp_path):
    model = make(estimator).fit(data())
    model.save(tmp_path / "m")
    loaded = estimator.load(tmp_path / "m", mmap=mmap)
    assert loaded.config == model.config
    assert loaded.history == model.history
    assert loaded.loss() == model.loss()
    for ours, expected in zip(loaded.recommend(np.arange(12)), model.recommend(np.arange(12)), strict=True):
        assert_array_equal(ours, expected)
    assert loaded.recommend_frame(["u3"], N=2).equals(model.recommend_frame(["u3"], N=2))
    for other in set(FACTORIZERS) - {estimator}:
        with pytest.raises(InputError, match=f"is a {estimator.__name__}, not a {other.__name__}: load it with"):
            other.load(tmp_path / "m")


def spoilt(**parts):
    """A sparse matrix some of whose arrays were changed after it was built."""
    matrix = csr_array(np.eye(3))
    for name, array in parts.items():
        setattr(matrix, name, np.array(array))
    return matrix


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (spoilt(data=[1, np.nan, 1]), "matrix: nan at row 1, column 1; give finite numbers"),
        (spoilt(data=[1, 1, -np.inf]), "matrix: -inf at row 2, column 2; give finite numbers"),
        (spoilt(data=[1j, 1, 1]), "matrix: dtype complex128 does not hold real numbers"),
        (spoilt(indices=[0, 7, 2]), "matrix.indices: 7 at position 1 is out of range for a size of 3"),
        (spoilt(indptr=[0, 2, 1, 3]), "matrix.indptr: "),
        (csr_array((0, 3)), r"matrix.shape: expected two positive integers \(users, items\), met \(0, 3\)"),
        (np.ones(3), r"matrix: expected 2 dimensions \(users, items\), met 1; reshape it"),
        ("text", "matrix: dtype <U4 does not hold real numbers"),
        (None, "matrix: dtype object does not hold real numbers"),
    ],
)
def test_bad_data_is_refused_and_leaves_the_model_as_it_was(estimator, bad, message):
    model = make(estimator).fit(data())
    before = model.user_factors, model.interactions
    name = {ObservedMF: "ratings: ", SymmetricMF: "R: "}.get(estimator, "data: ")
    if estimator is ObservedMF and not issparse(bad):  # test_observed.py has what it says of dense data and a mask
        name, message = "observed: ", f"which cells of the {type(bad).__name__} are ratings"
    with pytest.raises(InputError, match=f"^{name}{message}"):
        model.fit(bad)
    assert model.user_factors is before[0]
    assert model.interactions is before[1]


def test_predictions_are_finite_for_rows_without_data(estimator):
    ids, scores = make(estimator).fit(data()).recommend(4, N=3)
    assert (ids >= 0).all()
    assert np.isfinite(scores).all()
