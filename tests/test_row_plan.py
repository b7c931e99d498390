"""Which rows are solved how."""

import numpy as np
import pytest
from conftest import COMPILED

from implicit_wmf import WMF, WMFConfig, row_plan
from implicit_wmf.datasets import synthetic
from implicit_wmf.kernels.rows import ANY, EMPTY, PRIMAL
from implicit_wmf.row_plan import SidePlan, exact_cost, step_cost

SIZES = np.array([0, 1, 5, 9, 30, 70, 400, 5000])
EVERY = np.ones(SIZES.size, dtype=bool)


def plan(sizes, kind=ANY, **settings):
    config = WMFConfig(**settings)
    kinds = np.where(sizes > 0, kind, EMPTY).astype(np.uint8)
    solver = {"solver": config.solver, "cg_steps": config.cg_steps}
    return SidePlan(sizes, kinds, config.factors, config.factor_dtype, **solver)


def test_costs_grow_with_cells_and_factors():
    for cost in (lambda d: exact_cost(SIZES, d, EVERY), lambda d: exact_cost(SIZES, d, ~EVERY)):
        assert (np.diff(cost(64)) > 0).all()
        assert (cost(128) > cost(64))[1:].all()
    assert (np.diff(step_cost(SIZES, 64)) > 0).all()
    assert (step_cost(SIZES, 128) > step_cost(SIZES, 64)).all()


def test_exact_is_exact_everywhere():
    chosen = plan(SIZES, solver="exact")
    assert not chosen.steps.any()
    assert not chosen.iterates
    assert chosen.tolerance == 0


def test_a_fixed_number_of_steps_is_taken_unless_exact_is_cheaper():
    steps = plan(SIZES, solver="cg", cg_steps=3).steps
    assert set(steps[SIZES > 30]) == {3}
    assert set(steps[SIZES <= 1]) == {0}
    assert not plan(SIZES, solver="cg", cg_steps=300).iterates


def test_rows_that_cannot_have_the_dual_take_steps_where_others_are_exact():
    few = np.array([0, 3])
    assert plan(few, solver="cg", factors=256).steps.tolist() == [0, 0]
    assert plan(few, PRIMAL, solver="cg", factors=256).steps.tolist() == [0, 3]


def test_little_data_is_solved_exactly():
    assert not plan(np.full(100, 50), solver="auto").iterates
    assert plan(np.full(100_000, 50), solver="auto").iterates


def test_steps_are_allowed_up_to_the_cost_of_an_exact_row():
    chosen = plan(np.full(100_000, 200), solver="auto", factors=128)
    size = np.array([200])
    ratio = (exact_cost(size, 128, np.array([True])) / step_cost(size, 128)).item()
    assert ratio <= chosen.steps[0] <= ratio + 1


def test_groups_that_need_too_many_steps_become_exact():
    chosen = plan(np.repeat([40, 200], 100_000), solver="auto")
    assert chosen.steps.all()
    first = chosen.tolerance
    chosen.steps[:100_000] += 1  # as the kernel says that no allowance was enough
    chosen.steps[100_000:] = 2
    chosen.learn()
    assert chosen.exact == 0.5
    assert chosen.mean_steps == 2
    assert not chosen.steps[:100_000].any()
    assert chosen.steps[100_000:].all()
    chosen.steps[100_000:] = 2
    chosen.learn()
    assert not chosen.steps[:100_000].any()  # nothing new is known about them
    assert chosen.tolerance < first


def test_a_row_that_falls_back_counts_for_what_it_cost():
    sizes = np.full(100_000, 40)
    chosen = plan(sizes, solver="auto")
    allowance = int(chosen.steps[0])
    some = sizes.size // 4
    chosen.steps[:some] += 1
    chosen.steps[some:] = 1
    chosen.learn()
    assert chosen._expected[chosen._group[0]] == pytest.approx((2 * allowance + 3) / 4)
    assert chosen.exact == 0.25
    assert chosen.mean_steps == 1


def test_rows_without_targets_count_for_nothing():
    chosen = plan(np.repeat([0, 200], 50_000), solver="auto")
    chosen.steps[50_000:] = 4
    chosen.learn()
    assert chosen.exact == 0
    assert chosen.mean_steps == 4


def fixed_steps_lose(settings):
    return settings.get("unobserved_weight") == 0.003


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize(
    "settings",
    [
        {"weighting": "ials", "unobserved_weight": 0.3, "regularization": 0.007, "regularization_exponent": 1.0},
        {"weighting": "ials", "unobserved_weight": 0.003, "regularization": 0.0003, "regularization_exponent": 1.0},
        {"alpha": 40.0, "regularization": 1.0},
        {"alpha": 1.0, "item_background": "popularity"},
    ],
)
def test_auto_ends_where_exact_rows_do(settings, monkeypatch):
    monkeypatch.setattr(row_plan, "_WORTHWHILE", 0)
    counts = synthetic(2000, 600, 60_000, random_state=0)
    losses = {
        solver: WMF(32, solver=solver, random_state=0, **settings).fit(counts).history[-1]
        for solver in ("auto", "exact", "cg")
    }
    strong = fixed_steps_lose(settings)
    assert losses["auto"].loss <= losses["exact"].loss * (1.03 if strong else 1.002)
    if strong:
        assert losses["cg"].loss > losses["auto"].loss * 1.03
    assert losses["auto"].exact_users < 1
    assert losses["auto"].user_steps > 0
    assert losses["exact"].exact_items == 1
    assert losses["exact"].item_steps == 0
