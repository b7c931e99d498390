"""The estimator: its parameters, fits and recommendations."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone

from implicit_wmf import WMF, InputError, Interactions, NotFittedError, WMFConfig

# hyper-parameters


def test_scikit_learn_can_clone_and_change_it(model):
    copy = clone(WMF(8, alpha=3.0, dtype=np.float64, random_state=5))
    assert copy.get_params() == WMF(8, alpha=3.0, dtype=np.float64, random_state=5).get_params()
    assert copy.set_params(alpha=4.0, solver="cg") is copy
    assert copy.config == WMFConfig(8, alpha=4.0, dtype=np.float64, random_state=5, solver="cg")
    assert repr(copy) == "WMF(factors=8, alpha=4.0, solver='cg', dtype=<class 'numpy.float64'>, random_state=5)"
    before = model.user_factors
    model.set_params(factors=7)
    assert model.user_factors is before


def test_unknown_parameter_is_refused():
    with pytest.raises(InputError, match="no hyper-parameter 'beta'; there are factors, "):
        WMF().set_params(beta=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0), ("factors", 2.0), ("factors", True), ("regularization", -1), ("regularization", np.nan),
        ("regularization_exponent", "1"), ("alpha", 0), ("alpha", np.inf), ("weighting", "bm25"), ("log_epsilon", 0),
        ("unobserved_weight", -0.1), ("user_background", "popularity"), ("item_background", "user"), ("iterations", -1),
        ("solver", "sgd"), ("cg_steps", 0), ("init_scale", 0), ("dtype", "float16"), ("dtype", "words"),
        ("dtype", None), ("dtype", ">f4"), ("alpha", 10**400), ("alpha", Fraction(1, 3)), ("num_threads", 0),
        ("user_background", np.zeros(3)), ("item_background", [1, np.nan]), ("item_background", [[1.0]]),
        ("user_background", [-1, 2]), ("popularity_exponent", -1), ("item_regularization", -1),
        ("random_state", -1), ("random_state", "x"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"^{name} must be .*, got "):
        WMF(**{name: value})
    model = WMF()
    with pytest.raises(InputError):
        model.set_params(**{name: value})
    assert model.config == WMFConfig()


def test_a_problem_without_unique_solution_is_refused():
    with pytest.raises(InputError, match="regularization and unobserved_weight are both 0"):
        WMF(regularization=0, unobserved_weight=0)
    with pytest.raises(InputError, match="item regularization and unobserved_weight are both 0"):
        WMF(item_regularization=0, unobserved_weight=0)


def test_unfitted_model_says_so():
    for use in (lambda m: m.user_factors, lambda m: m.recommend(0), lambda m: m.loss(), lambda m: m.save("x")):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(WMF())


# fitting


def test_generator_as_random_state_is_used():
    counts = csr_array(np.eye(4))
    first = WMF(2, random_state=np.random.default_rng(4)).fit(counts)
    assert_array_equal(first.user_factors, WMF(2, random_state=4).fit(counts).user_factors)


def test_dense_sparse_and_interactions_are_the_same_data():
    dense = np.array([[5.0, 0, 1], [0, 2, 0], [1, 0, 0]])
    fits = [WMF(2, random_state=0).fit(data) for data in (dense, csr_array(dense), Interactions.from_matrix(dense))]
    for other in fits[1:]:
        assert_array_equal(fits[0].item_factors, other.item_factors)


def test_bad_data_leaves_the_model_as_it_was(model):
    before = model.user_factors.copy()
    for bad in (np.array([[1.0, np.nan]]), "text", None, np.ones(3), np.zeros((0, 3))):
        with pytest.raises(InputError):
            model.fit(bad)
    assert_array_equal(model.user_factors, before)


def test_history_makes_a_table(model):
    table = pd.DataFrame(model.history)
    assert list(table) == [
        "epoch", "loss", "stored", "background", "regularization", "seconds",
        "exact_users", "exact_items", "user_steps", "item_steps", "validation",
    ]  # fmt: skip
    assert table.epoch.tolist() == [1, 2, 3]
    np.testing.assert_allclose(table.loss, table.stored + table.background + table.regularization)


def test_loss_of_other_data(model, frame):
    assert model.loss() == model.history[-1].loss
    assert model.loss(2 * model.interactions.matrix) != model.loss()
    with pytest.raises(InputError, match="data is 2 users x 2 items; the model was fitted on 4 users x 3 items"):
        model.loss(np.eye(2))


def test_progress_shows_epochs_and_loss(capsys, model):
    model.fit(model.interactions, progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert f"loss={model.history[-1].loss:.6g}" in shown
    model.fit(model.interactions, progress=False)
    assert capsys.readouterr().err == ""
