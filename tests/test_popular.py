"""The popularity baseline."""

import math

import numpy as np
import pytest
from fixed_lists import as_interactions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from implicit_wmf.errors import InputError, NotFittedError
from implicit_wmf.popularity import MostPopular


def slow_popular(dense, user, N, filter_liked, filter_items, items):
    """Rank every item by its users, the smaller index first, and drop what must not appear."""
    count = (dense > 0).sum(axis=0)
    allowed = set(range(dense.shape[1])) if items is None else set(items)
    allowed -= set(filter_items or ())
    if filter_liked:
        allowed -= set(np.flatnonzero(dense[user]))
    ranked = sorted(allowed, key=lambda item: (-count[item], item))[:N]
    short = N - len(ranked)
    return ranked + [-1] * short, [float(count[item]) for item in ranked] + [math.nan] * short


@settings(deadline=None)
@given(st.data())
def test_popular_equals_the_plain_ranking(data):
    users, items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    cells = st.lists(st.sampled_from([0, 0, 1, 2, -1]), min_size=users * items, max_size=users * items)
    dense = np.array(data.draw(cells), dtype=float).reshape(users, items)
    some_items = st.none() | st.lists(st.integers(0, items - 1), max_size=items)
    options = data.draw(st.tuples(st.integers(1, 10), st.booleans(), some_items, some_items))
    rows = data.draw(st.lists(st.integers(0, users - 1), max_size=7))
    ids, scores = MostPopular().fit(as_interactions(dense)).recommend(rows, *options)
    expected = [slow_popular(dense, row, *options) for row in rows]
    assert ids.shape == scores.shape == (len(rows), options[0])
    assert ids.tolist() == [ranked for ranked, _ in expected]
    np.testing.assert_array_equal(scores, np.array([values for _, values in expected]).reshape(scores.shape))


def test_popular_over_several_blocks(monkeypatch):
    for limit in ("_MOST_USERS", "_LEAST_USERS"):
        monkeypatch.setattr(f"implicit_wmf.ranking.{limit}", 7)
    dense = (np.random.default_rng(2).random((30, 12)) < 0.4).astype(float)
    dense[4] = 1
    ids, _ = MostPopular().fit(csr_array(dense)).recommend(np.arange(30)[::-1], N=5)
    assert ids.tolist() == [slow_popular(dense, user, 5, True, None, None)[0] for user in range(29, -1, -1)]
    assert ids[25].tolist() == [-1] * 5


@pytest.mark.parametrize("user", [1, np.int32(1), np.array(1)])
def test_popular_bare_index_gives_flat_arrays(train, user):
    ids, scores = MostPopular().fit(train).recommend(user, N=4)
    assert ids.tolist() == [0, 2, 3, 4]
    assert scores.tolist() == [3, 0, 0, 0]
    assert (ids.dtype, scores.dtype) == (np.int32, np.float64)


def test_popular_refuses_what_it_cannot_serve(train):
    with pytest.raises(NotFittedError, match="this MostPopular has no factors yet: call fit first"):
        MostPopular().recommend(0)
    model = MostPopular().fit(train)
    with pytest.raises(InputError, match="users holds 6 at position 1; indices run from 0 to 5"):
        model.recommend([0, 6])
    with pytest.raises(InputError, match="users holds -1 at position 0"):
        model.recommend(-1)
    with pytest.raises(InputError, match="users must be whole numbers .* got float64"):
        model.recommend([0.5])
    with pytest.raises(InputError, match=r"users must be one index .* got an array of shape \(1, 1\)"):
        model.recommend([[0]])
    with pytest.raises(InputError, match="filter_items holds 5 at position 0; indices run from 0 to 4"):
        model.recommend(0, filter_items=[5])
    with pytest.raises(InputError, match="items must be whole numbers .* got bool"):
        model.recommend(0, items=np.ones(5, dtype=bool))
    for length in (0, 2.5, True):
        with pytest.raises(InputError, match=f"N must be a whole number of at least 1, .* got {length}"):
            model.recommend(0, N=length)
