"""Coverage, evenness and popularity of lists, by hand and by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from implicit_wmf.evaluation.catalogue import Exposure, coverage, gini, popularity_rank, popularity_ranks


def test_popularity_ranks_by_hand():
    # users with a positive value for each item: 2, 1, 3, 1, 0; a negative value and a stored zero are none
    matrix = csr_array(np.array([[1, 0, 1, 5, -1], [2, 0, 1, 9, 0], [0, 3, 0.5, 0, -2]]))
    matrix.data[matrix.data == 9] = 0
    # item 2 is first, item 0 second, items 1 and 3 share ranks 3 and 4, item 4 is last
    assert popularity_ranks(matrix).tolist() == [2, 3.5, 1, 3.5, 5]


def test_popularity_rank_of_lists_by_hand():
    lists = np.array([[2, 1, 4], [4, -1, -1], [-1, -1, -1]])
    ranks = np.array([2, 3.5, 1, 3.5, 5])
    assert popularity_rank(lists, ranks, 2).tolist()[:2] == [(1 + 3.5) / 2, 5]
    assert popularity_rank(lists, ranks, 3).tolist()[:2] == [(1 + 3.5 + 5) / 3, 5]
    assert np.isnan(popularity_rank(lists, ranks, 3)[2])


def test_exposure_coverage_and_gini_by_hand():
    exposure = Exposure(5, [1, 3])
    exposure.add(np.array([[2, 1, 4], [2, -1, -1]]))
    exposure.add(np.array([[0, 2, -1]]))
    assert exposure.counts[1].tolist() == [1, 0, 2, 0, 0]
    assert exposure.counts[3].tolist() == [1, 1, 3, 0, 1]
    assert coverage(exposure.counts[1]) == 2 / 5
    assert coverage(exposure.counts[3]) == 4 / 5
    # ascending 0, 0, 0, 1, 2 with weights -4, -2, 0, 2, 4: (2 + 8) / (4 * 3)
    assert gini(exposure.counts[1]) == pytest.approx(10 / 12)
    # ascending 0, 1, 1, 1, 3: (-2 + 0 + 2 + 12) / (4 * 6)
    assert gini(exposure.counts[3]) == pytest.approx(12 / 24)


def test_gini_at_its_ends():
    assert gini(np.array([4, 4, 4])) == 0
    assert gini(np.array([0, 7, 0])) == 1
    assert math.isnan(gini(np.array([0, 0])))
    assert math.isnan(gini(np.array([3])))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=20).filter(any))
def test_gini_is_half_the_relative_mean_difference(exposure):
    n, total = len(exposure), sum(exposure)
    differences = sum(abs(x - y) for x in exposure for y in exposure)  # over n (n - 1) pairs of two items
    expected = differences / (2 * n * (n - 1)) / (total / n)
    assert gini(np.array(exposure)) == pytest.approx(expected, rel=1e-12)
