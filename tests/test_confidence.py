"""Weights and targets of stored cells, in all their short forms, against the literal confidence and preference."""

import itertools

import numpy as np
import pytest
import reference
from conftest import to_sparse

from implicit_wmf import InputError, WMFConfig
from implicit_wmf.confidence import _chunks, weigh

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


@pytest.mark.parametrize("values", DATA)
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_penalties_grow_with_the_total_confidence(values, exponent):
    dense = dense_counts(DATA[values])
    for weighting in ("linear", "log", "ials", "raw"):
        config = WMFConfig(weighting=weighting, regularization=0.2, regularization_exponent=exponent, alpha=0.7)
        C, _ = reference.confidence_and_preference(dense, weighting, alpha=0.7)
        problem = weigh(to_sparse(dense).astype(np.float32), config)
        expected = reference.penalties(C, 0.2, exponent)
        np.testing.assert_allclose(problem.users.rows.regularization, expected[0], rtol=1e-6)
        np.testing.assert_allclose(problem.items.rows.regularization, expected[1], rtol=1e-6)


def test_small_confidences_have_their_preference():
    dense = dense_counts(DATA["zeros"])
    config = WMFConfig(weighting="ials", alpha=0.3, unobserved_weight=0.1, dtype="float64")
    C, P = reference.confidence_and_preference(dense, "ials", alpha=0.3, unobserved_weight=0.1)
    assert C.max() < 1
    assert_describes(weigh(to_sparse(dense), config).users, C, P, 1e-12)


def test_a_penalty_that_overflows_is_refused():
    config = WMFConfig(regularization_exponent=400.0)
    with pytest.raises(InputError, match=r"total confidence 6 overflows: lower regularization_exponent \(now 400\)"):
        weigh(to_sparse(np.eye(3) * 3), config)


@pytest.mark.parametrize("length", [1, 3, 10, 1000])
def test_rows_are_taken_in_chunks_of_so_many_cells(monkeypatch, length):
    monkeypatch.setattr("implicit_wmf.confidence._CHUNK", length)
    sizes = np.array([0, 2, 0, 5, 1, 1, 1, 9, 0, 0, 3])
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    chunks = list(_chunks(indptr))
    assert [start for start, _ in chunks] == [0, *(stop for _, stop in chunks[:-1])]
    assert chunks[-1][1] == sizes.size
    held = [indptr[stop] - indptr[start] for start, stop in chunks]
    assert max(held) < length + sizes.max()
    assert len(chunks) <= sizes.sum() // length + 2


def weigh_pair(P, C, **settings):
    config = WMFConfig(**{"dtype": "float64", "unobserved_weight": 0.5, **settings})
    return weigh(to_sparse(P), config, to_sparse(C))


def test_rows_that_store_half_of_their_cells_and_one_below_the_background_are_solved_without_it():
    C = np.full((5, 10), np.nan)
    C[0, :5] = [0.4, 2, 2, 2, 2]  # half of the cells, one below the background of 0.5
    C[1, :4] = [0.4, 2, 2, 2]  # fewer
    C[2, :5] = 0.5  # none below
    C[3, :9] = [0, 0, 0, 2, 2, 2, 2, 2, 2]
    P = np.where(np.isnan(C), np.nan, 1.0)
    side = weigh_pair(P, C).users
    assert (side.rows.background == 0).tolist() == [True, False, False, True, False]
    assert side.row_background.tolist() == [0.5] * 5
    assert_describes_general(side, P, C, 0.5)
    assert side.row_sizes.tolist() == [10, 4, 5, 7, 0]


def test_what_is_below_a_background_that_varies():
    user_background, item_background = [1.0, 3.0], [3.0, 1.0]  # of mean 1: 1/2, 3/2 and 3/2, 1/2
    C = np.array([[0.5, np.nan], [np.nan, 0.7]])  # below 0.5 * 1.5 = 0.75 by columns; 1.5 * 0.5 = 0.75
    P = np.where(np.isnan(C), np.nan, 1.0)
    settings = {"user_background": user_background, "item_background": item_background}
    below = weigh_pair(P, C, unobserved_weight=1.0, **settings).users.rows.background
    above = weigh_pair(P, C, unobserved_weight=0.6, **settings).users.rows.background
    assert below.tolist() == [0, 0]
    np.testing.assert_allclose(above, [0.3, 0.9])


def assert_describes_general(side, P, C, unobserved_weight):
    C, P = reference.general_confidence_and_preference(P, C, unobserved_weight=unobserved_weight)
    assert_describes(side, C, P, 1e-12)
