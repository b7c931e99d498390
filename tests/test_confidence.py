"""Weights and targets of stored cells, in all their short forms, against the literal confidence and preference."""

import itertools

import numpy as np
import pytest
import reference
from conftest import to_sparse

from implicit_wmf import InputError, WMFConfig
from implicit_wmf.confidence import weigh

DATA = {
    "counts": [1.0, 2.0, 3.5],
    "equal": [2.5],
    "zeros": [0.0, 1.0, 2.0],
    "negatives": [-1.0, 1.0, 2.0],
}


def dense_counts(values):
    generator = np.random.default_rng(0)
    dense = generator.choice(values, size=(7, 9))
    dense[generator.random(dense.shape) < 0.5] = np.nan
    return dense


def assert_describes(side, C, P, tolerance):
    """What the kernels are told amounts to these confidences and preferences, in every cell."""
    rows = side.rows
    i, j = np.repeat(np.arange(len(C)), side.row_sizes), rows.indices
    cells = np.arange(i.size)
    weight, target = np.zeros((2, *C.shape))
    weight[i, j] = rows.scale * rows.values[cells * rows.value_step]
    target[i, j] = rows.targets[cells * rows.target_step] + rows.follow * weight[i, j]
    described = np.outer(rows.background, side.column_background) + weight
    np.testing.assert_allclose(described, C, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(target, C * P, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("values", DATA)
@pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
@pytest.mark.parametrize("dtypes", list(itertools.product(["float32", "float64"], repeat=2)))
@pytest.mark.parametrize(
    "backgrounds",
    [
        (None, None),
        ("user", None),
        (None, "popularity"),
        (np.arange(7.0), None),
        ("uniform", [0, 1, 5, 2, 0, 3, 1, 1, 9]),
    ],
    ids=["none", "user", "popularity", "user array", "item array"],
)
def test_every_cell_has_its_weight_and_target(values, weighting, dtypes, backgrounds):
    dense = dense_counts(DATA[values])
    config = WMFConfig(
        weighting=weighting, alpha=2.5, log_epsilon=0.5, unobserved_weight=0.3, dtype=dtypes[0],
        user_background=backgrounds[0], item_background=backgrounds[1],
    )  # fmt: skip
    settings = {"user_background": backgrounds[0], "item_background": backgrounds[1], "unobserved_weight": 0.3}
    C, P = reference.confidence_and_preference(dense, weighting, alpha=2.5, log_epsilon=0.5, **settings)
    base = reference.background(np.nan_to_num(dense) > 0, **settings)
    problem = weigh(to_sparse(dense).astype(dtypes[1]), config)
    tolerance = 1e-5 if "float32" in dtypes else 1e-12
    for side, C_side, P_side, base_side in ((problem.users, C, P, base), (problem.items, C.T, P.T, base.T)):
        assert_describes(side, C_side, P_side, tolerance)
        np.testing.assert_allclose(np.outer(side.row_background, side.column_background), base_side, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "weighting", "short"),
    [
        ("counts", "linear", (True, True)),
        ("equal", "log", (True, True)),
        ("counts", "log", (False, True)),
        ("counts", "ials", (True, True)),
        ("zeros", "linear", (True, False)),
        ("negatives", "linear", (False, False)),
        ("equal", "raw", (False, False)),
    ],
)
def test_no_array_is_made_for_what_all_cells_share(values, weighting, short):
    counts = to_sparse(dense_counts(DATA[values])).astype(np.float32)
    rows = weigh(counts, WMFConfig(weighting=weighting)).users.rows
    own_weights = rows.value_step == 1 and not np.shares_memory(rows.values, counts.data)
    assert (not own_weights, rows.target_step == 0) == short


@pytest.mark.parametrize(
    "settings", [{"alpha": 1e300}, {"alpha": 1e38}, {"weighting": "log", "log_epsilon": 5e-324, "alpha": 1e38}]
)
def test_confidence_that_overflows_is_refused(settings):
    counts = to_sparse(np.diag([1.0, 1e30]))
    with pytest.raises(InputError, match=r"confidence of value .* overflows float32"):
        weigh(counts, WMFConfig(**settings))


def test_unobserved_weight_that_overflows_is_refused():
    with pytest.raises(InputError, match="overflows float32"):
        weigh(to_sparse(np.eye(3)), WMFConfig(unobserved_weight=1e39))
