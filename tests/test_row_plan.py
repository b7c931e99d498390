"""Which rows are solved how."""

import numpy as np
import pytest
from conftest import COMPILED

from implicit_wmf import WMF, WMFConfig, row_plan
from implicit_wmf.datasets import synthetic
from implicit_wmf.row_plan import SidePlan, exact_cost, step_cost

SIZES = np.array([0, 1, 5, 9, 30, 70, 400, 5000])


def plan(solver, factors=64, **settings):
    return SidePlan(SIZES, WMFConfig(factors=factors, solver=solver, **settings))


def test_costs_grow_with_cells_and_factors():
    for cost in (exact_cost, step_cost):
        assert (np.diff(cost(np.unique(SIZES), 64)) > 0).all()
        assert (cost(SIZES, 128)[1:] > cost(SIZES, 64)[1:]).all()


def test_exact_is_exact_everywhere():
    assert not plan("exact").steps.any()
    assert not plan("exact").iterates


def test_a_fixed_number_of_steps_is_taken_unless_exact_is_cheaper():
    steps = plan("cg", cg_steps=3).steps
    assert set(steps[SIZES > 30]) == {3}
    assert set(steps[SIZES <= 1]) == {0}
    assert not plan("cg", cg_steps=300).iterates


def test_little_data_is_solved_exactly():
    assert not SidePlan(np.full(100, 50), WMFConfig(solver="auto")).iterates
    assert SidePlan(np.full(100_000, 50), WMFConfig(solver="auto")).iterates


def test_steps_are_allowed_up_to_the_cost_of_an_exact_row():
    chosen = SidePlan(np.full(100_000, 200), WMFConfig(solver="auto", factors=128))
    ratio = (exact_cost(np.array([200]), 128) / step_cost(np.array([200]), 128)).item()
    assert ratio <= chosen.steps[0] <= ratio + 1


def test_groups_that_need_too_many_steps_become_exact():
    sizes = np.repeat([40, 200], 100_000)
    chosen = SidePlan(sizes, WMFConfig(solver="auto"))
    assert chosen.steps.all()
    chosen.steps[:100_000] += 1  # as the kernel says that no allowance was enough
    chosen.steps[100_000:] = 2
    chosen.learn()
    assert chosen.exact == 0.5
    assert chosen.mean_steps == 2
    chosen.prepare()
    assert not chosen.steps[:100_000].any()
    assert chosen.steps[100_000:].all()
    chosen.steps[100_000:] = 2
    chosen.learn()
    chosen.prepare()
    assert not chosen.steps[:100_000].any()  # nothing new is known about them


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
        for solver in ("auto", "exact")
    }
    assert losses["auto"].loss <= losses["exact"].loss * 1.03
    assert losses["auto"].exact_users < 1
    assert losses["auto"].user_steps > 0
    assert losses["exact"].exact_items == 1
    assert losses["exact"].item_steps == 0
