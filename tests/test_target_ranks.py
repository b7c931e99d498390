"""Ranks of targets in the whole catalogue against counting."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import COMPILED
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, target_ranks
from implicit_wmf.target_ranks import rank_counts


def counted(scores, targets, seen):
    """Count candidates above and level with each target, one by one."""
    higher, equal = [], []
    for row, wanted, known in zip(scores, targets, seen, strict=True):
        for item in np.flatnonzero(wanted):
            others = row[~known & (np.arange(row.size) != item)]
            higher.append((others > row[item]).sum())
            equal.append((others == row[item]).sum())
    return higher, equal


@settings(max_examples=200 if COMPILED else 20, deadline=None)
@given(st.data())
def test_counts_equal_counting(data):
    users, items, factors = (data.draw(st.integers(1, limit)) for limit in (40, 600 if COMPILED else 60, 33))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    # small whole numbers: many ties, exact in float32
    vectors = generator.integers(-2, 3, (users, factors)).astype(dtype)
    item_factors = generator.integers(-2, 3, (items, factors)).astype(dtype)
    targets = generator.random((users, items)) < data.draw(st.sampled_from([0.0, 0.02, 0.2]))
    seen = ~targets & (generator.random((users, items)) < data.draw(st.sampled_from([0.0, 0.1, 0.9, 1.0])))
    threads = data.draw(st.integers(1, 3))
    found = rank_counts(vectors, item_factors, csr_array(targets), csr_array(seen), threads)
    for counts, expected in zip(found, counted(vectors @ item_factors.T, targets, seen), strict=True):
        assert counts.dtype == np.int64
        assert_array_equal(counts, expected)


def test_scores_are_those_of_lists():
    """Scores that are sums of rounded products tie, or not, as in lists."""
    rng = np.random.default_rng(0)
    model = WMF(19, iterations=1, random_state=0).fit(csr_array(rng.random((40, 300)) < 0.1))
    ids, scores = model.recommend(np.arange(40), N=300, filter_already_liked_items=False)
    cells = rng.random((40, 300))
    targets, seen = csr_array(cells < 0.05), csr_array(cells > 0.7)
    higher, equal = rank_counts(model.user_factors, model.item_factors, targets, seen)
    scores[np.take_along_axis(cells, ids, axis=1) > 0.7] = np.nan
    rows = np.repeat(np.arange(40), np.diff(targets.indptr))
    own = scores[rows][ids[rows] == targets.indices[:, None]]
    assert_array_equal(higher, (scores[rows] > own[:, None]).sum(axis=1))
    assert_array_equal(equal, (scores[rows] == own[:, None]).sum(axis=1) - 1)


def test_blocks_and_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    vectors, factors = (rng.standard_normal((count, 20)).astype(np.float32) for count in (90, 300))
    targets = rng.random((90, 300)) < 0.05
    seen = csr_array(~targets & (rng.random((90, 300)) < 0.2))
    expected = rank_counts(vectors, factors, csr_array(targets), seen, num_threads=1)
    for most, threads in ((1, 1), (16, 3), (40, 2), (1000, 4)):
        monkeypatch.setattr(target_ranks, "_MOST_USERS", most)
        for counts, same in zip(
            rank_counts(vectors, factors, csr_array(targets), seen, num_threads=threads), expected, strict=True
        ):
            assert_array_equal(counts, same)


def test_nobody_and_nothing():
    empty = rank_counts(np.ones((0, 3)), np.ones((4, 3)), csr_array((0, 4)))
    assert [counts.size for counts in empty] == [0, 0]
    without = rank_counts(np.ones((2, 3)), np.ones((4, 3)), csr_array((2, 4)))
    assert [counts.size for counts in without] == [0, 0]


def test_refuses():
    ones, targets = np.ones((2, 3)), csr_array(np.array([[0, 1, 0, 1], [0, 0, 1, 0]]))
    items = np.ones((4, 3))
    with pytest.raises(InputError, match=r"targets has shape \(2, 4\); \(1, 4\) is needed, a row for each user"):
        rank_counts(ones[:1], items, targets)
    with pytest.raises(InputError, match=r"seen has shape \(2, 5\); \(2, 4\) is needed"):
        rank_counts(ones, items, targets, csr_array((2, 5)))
    with pytest.raises(InputError, match="seen stores 2 of the targets, the first item 3 in row 0; leave them out"):
        rank_counts(ones, items, targets, csr_array(np.array([[1, 0, 0, 1], [0, 0, 1, 0]])))
    items[2] = np.nan
    with pytest.raises(InputError, match="the item factors hold nan in row 2: the model's factors may have diverged"):
        rank_counts(ones, items, targets)
    ones[1, 2] = np.inf
    with pytest.raises(InputError, match="the user factors hold inf in row 1"):
        rank_counts(ones, items, targets)


def test_a_candidate_without_a_score_is_none_that_ranks_below():
    items = np.ones((4, 3))
    items[0] = np.nan  # neither a target nor seen
    with pytest.raises(InputError, match="the item factors hold nan in row 0"):
        rank_counts(np.ones((1, 3)), items, csr_array(np.array([[0, 1, 0, 0]])))


def test_refuses_targets_whose_scores_overflow():
    # the fused sums of this processor give inf, where others give inf - inf
    targets = csr_array(np.array([[0, 1, 0, 1], [0, 0, 1, 0]]))
    target_ranks._check_scores(targets, np.array([1.0, np.inf, 2.0]))
    with pytest.raises(InputError, match="1 targets have a NaN score, the first item 2 in row 1"):
        target_ranks._check_scores(targets, np.array([1.0, 2.0, np.nan]))
