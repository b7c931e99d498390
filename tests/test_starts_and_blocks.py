"""What the alternating loop begins with, and how it cuts up its work."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from implicit_wmf import InputError, WMFConfig
from implicit_wmf.training import balanced_bounds, initial_factors


def test_starting_factors_that_the_precision_cannot_hold_are_refused():
    with pytest.raises(InputError, match=r"init_scale is 1e-60, which float32 cannot hold divided by sqrt"):
        initial_factors((2, 2), WMFConfig(init_scale=1e-60))
    with pytest.raises(InputError, match=r"init_scale is 1e\+60, which float32 cannot hold"):
        initial_factors((2, 2), WMFConfig(init_scale=1e60))
    users, items = initial_factors((2, 3), WMFConfig(factors=4, init_scale=2.0))  # a scale of 1
    assert users.shape == (2, 4)
    assert items.shape == (3, 4)


def test_starting_factors_have_their_standard_deviation():
    users, items = initial_factors((2000, 3000), WMFConfig(factors=16, init_scale=0.5, random_state=3))
    for factors in (users, items):
        assert abs(factors.mean()) < 0.003
        assert factors.std() == pytest.approx(0.5 / 4, rel=0.02)
    assert_array_equal(users, initial_factors((2000, 5), WMFConfig(factors=16, init_scale=0.5, random_state=3))[0])


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 6400])
def test_blocks_cover_every_row_once_and_the_heaviest_comes_first(rows):
    work = np.random.default_rng(rows).lognormal(10, 1, rows)
    bounds = balanced_bounds(work)
    ordered = sorted(bounds)
    assert [start for start, _ in ordered] == [0, *(stop for _, stop in ordered[:-1])]
    assert ordered[-1][1] == rows
    costs = [work[start:stop].sum() for start, stop in bounds]
    assert all(start < stop for start, stop in bounds)
    assert costs == sorted(costs, reverse=True)
    assert len(bounds) <= 64
    assert max(costs) <= work.sum() / 64 + work.max()


def test_blocks_of_equal_rows_are_equal_and_none_is_long():
    assert sorted(balanced_bounds(np.full(640, 5.0))) == [(10 * k, 10 * k + 10) for k in range(64)]
    bounds = balanced_bounds(np.full(100_000, 3e4))  # nanoseconds: 3 s in all, so 150 blocks of 20 ms
    assert len(bounds) == 150
    assert max(stop - start for start, stop in bounds) * 3e4 <= 20e6 + 2 * 3e4
