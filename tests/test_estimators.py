"""What every estimator promises: parameters, refusals that change nothing, same bits, saved files."""

import inspect

import numpy as np
import pytest
from conftest import to_sparse
from numpy.testing import assert_array_equal
from sklearn.base import clone

from implicit_wmf import WMF, InputError, Interactions, NotFittedError
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF

ESTIMATORS = [WMF, ObservedMF, KLMF, SymmetricMF]
SMALL = {
    WMF: {"iterations": 3},
    ObservedMF: {"iterations": 3},
    KLMF: {"iterations": 3},
    SymmetricMF: {"iterations": 20, "starts": 2},
}


@pytest.fixture(params=ESTIMATORS, ids=lambda estimator: estimator.__name__)
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


def test_constructor_configuration_and_documentation_name_the_same_parameters(estimator):
    config = estimator().config
    assert tuple(inspect.signature(estimator).parameters) == config.names()
    assert config == type(config)()
    documented = inspect.getdoc(estimator).split("Parameters\n")[1].split("Attributes\n")[0]
    assert all(f"\n{name} : " in documented for name in config.names())


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


@pytest.mark.parametrize("threads", [2, 5])
def test_the_same_seed_gives_the_same_bits(estimator, threads):
    settings = {"num_threads": threads} if "num_threads" in estimator().get_params() else {}
    first, second = make(estimator).fit(data()), make(estimator, **settings).fit(data())
    assert_array_equal(first.user_factors, second.user_factors)
    assert_array_equal(first.item_factors, second.item_factors)
    by_generator = make(estimator, random_state=np.random.default_rng(0)).fit(data())
    assert_array_equal(by_generator.user_factors, first.user_factors)
    other = make(estimator, random_state=1).fit(data())
    assert (other.user_factors != first.user_factors).any()


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
    for other in set(ESTIMATORS) - {estimator}:
        with pytest.raises(InputError, match=f"is a {estimator.__name__}, not a {other.__name__}: load it with"):
            other.load(tmp_path / "m")


def test_bad_data_is_refused_and_leaves_the_model_as_it_was(estimator):
    model = make(estimator).fit(data())
    before = model.user_factors
    nan = to_sparse(np.eye(3))
    nan.data[:] = np.nan
    for bad in (nan, "text", None, np.ones(3), np.zeros((0, 3))):
        with pytest.raises(InputError):
            model.fit(bad)
    assert model.user_factors is before


def test_predictions_are_finite_for_rows_without_data(estimator):
    ids, scores = make(estimator).fit(data()).recommend(4, N=3)
    assert (ids >= 0).all()
    assert np.isfinite(scores).all()
