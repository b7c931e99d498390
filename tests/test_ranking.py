"""Lists of recommendations against brute force."""

import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, awkward_counts, to_sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, Interactions, ranking
from implicit_wmf.ranking import Catalogue, recommend


def brute_force(scores, allowed, N):
    """Sort what is allowed by score and then by index."""
    lists = []
    for row, mine in zip(scores, allowed, strict=True):
        best = sorted(np.flatnonzero(mine), key=lambda item: (-row[item], item))[:N]  # noqa: B023
        lists.append([*best, *[-1] * (N - len(best))])
    return np.array(lists, dtype=int).reshape(len(scores), N)


@settings(max_examples=1000 if COMPILED else 40, deadline=None)
@given(st.data())
def test_lists_equal_brute_force(data):
    users, items, factors = (data.draw(st.integers(1, limit)) for limit in (40, 400, 33))
    N = data.draw(st.sampled_from([1, 2, 3, 10, 17, 60, 500]))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    # small whole numbers: many ties, exact in float32
    low, high = data.draw(st.sampled_from([(-2, 3), (0, 2), (1, 4)]))
    vectors = generator.integers(low, high, (users, factors)).astype(dtype)
    item_factors = generator.integers(low, high, (items, factors)).astype(dtype)
    item_factors *= (generator.random((items, 1)) ** 4 * 8).astype(int)  # norms that differ, zeros among them
    if data.draw(st.booleans()):
        vectors = -np.abs(vectors)  # negative scores only
        item_factors = np.abs(item_factors)
    if COMPILED and data.draw(st.booleans()):  # scores that overflow, of which interpreted kernels warn
        vectors *= np.finfo(dtype).max / 4
    seen = generator.random((users, items)) < data.draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    candidates = generator.random(items) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    own = generator.random((users, items)) < 0.1 if data.draw(st.booleans()) else None
    with np.errstate(over="ignore", invalid="ignore"):
        exact = (vectors[:, :, None] * item_factors.T[None]).sum(axis=1, dtype=dtype)
    assume(not np.isnan(exact).any())  # sums of infinities of either sign; such cases do not count
    found, scores = recommend(
        vectors,
        Catalogue(item_factors, np.flatnonzero(candidates).astype(np.int32)),
        csr_array(seen) if seen.any() else None,
        N=N,
        allowed=None if own is None else csr_array(own),
        num_threads=data.draw(st.integers(1, 3)),
    )
    assert_array_equal(found, brute_force(exact, ~seen & (candidates if own is None else own), N))
    assert_array_equal(np.isnan(scores), found == -1)
    expected = np.take_along_axis(exact, np.maximum(found, 0), axis=1)
    assert_array_equal(scores[found >= 0], expected[found >= 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("late", [2, 3, 9])
def test_users_whose_search_goes_on_are_moved_together(late, dtype):
    generator = np.random.default_rng(late)
    users, items = 100, 700  # several tiles of users, the last not full, and rounds of panels
    item_factors, vectors = np.zeros((items, 5)), np.zeros((users, 5))
    for axis, (first, stop, size) in enumerate([(0, 60, 20), (60, 200, 5), (200, 450, 1), (450, 700, 0.2)]):
        item_factors[first:stop, axis] = size * (1 + generator.random(stop - first))
    item_factors[:, 4] = 3 * generator.random(items) * item_factors.max(axis=1)  # norms that say little of scores
    goes_on = np.arange(users) % late == 1  # to whom large items mean nothing
    axis = np.where(goes_on, 1 + np.arange(users) // late % 3, 0)
    vectors[np.arange(users), axis] = 1 + generator.random(users)
    vectors *= np.where(goes_on, 50, 0.02)[:, None]  # norms that must move with them
    vectors, item_factors = vectors.astype(dtype), item_factors[generator.permutation(items)].astype(dtype)
    seen = generator.random((users, items)) < 0.1
    found, scores = recommend(
        vectors, Catalogue(item_factors, np.arange(items, dtype=np.int32)), csr_array(seen), N=7, num_threads=1
    )
    exact = vectors.astype(float) @ item_factors.T.astype(float)
    best = np.sort(np.where(seen, -np.inf, exact), axis=1)[:, ::-1][:, :7]
    np.testing.assert_allclose(scores, best, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, found, axis=1), best, rtol=1e-5, atol=1e-5)
    assert not np.take_along_axis(seen, found, axis=1).any()


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize(("factors", "N"), [(64, 10), (64, 300), (2048, 10)])
def test_lists_of_real_factors_do_not_depend_on_blocks_or_threads(factors, N, monkeypatch):
    generator = np.random.default_rng(3)
    vectors = generator.standard_normal((100, factors)).astype(np.float32)
    item_factors = (generator.standard_normal((3000, factors)) * generator.lognormal(size=(3000, 1))).astype(np.float32)
    seen = csr_array(generator.random((100, 3000)) < 0.05)
    catalogue = Catalogue(item_factors, np.arange(3000, dtype=np.int32))
    ids, scores = recommend(vectors, catalogue, seen, N=N)
    exact = np.where(seen.toarray(), -np.inf, vectors.astype(float) @ item_factors.T.astype(float))
    best = -np.sort(-exact, axis=1)[:, :N]
    np.testing.assert_allclose(scores, best, rtol=1e-5, atol=1e-5 * np.abs(best).max())
    assert not seen.toarray()[np.arange(100)[:, None], ids].any()
    np.testing.assert_allclose(np.take_along_axis(exact, ids.astype(int), 1), scores, rtol=1e-4, atol=1e-4)
    assert all(len(set(row)) == N for row in ids.tolist())
    for users, threads in ((16, 3), (33, 1), (1000, 2)):
        monkeypatch.setattr(ranking, "_MOST_USERS", users)
        monkeypatch.setattr(ranking, "_LEAST_USERS", users)
        for ours, expected in zip(
            recommend(vectors, catalogue, seen, N=N, num_threads=threads), (ids, scores), strict=True
        ):
            assert_array_equal(ours, expected)
    one = [recommend(vectors[k : k + 1], catalogue, seen[[k]], N=N)[0][0] for k in range(3)]
    assert_array_equal(one, ids[:3])


def test_one_user_and_many_have_the_same_lists():
    model = WMF(4, random_state=0, iterations=2).fit(to_sparse(awkward_counts()))
    ids, scores = model.recommend(np.arange(30), N=7)
    assert ids.shape == scores.shape == (30, 7)
    assert ids.dtype == np.int32
    for user in range(30):
        one, its_scores = model.recommend(user, N=7)
        assert_array_equal(one, ids[user])
        assert_array_equal(its_scores, scores[user])
    assert model.recommend([], N=3)[0].shape == (0, 3)


def test_filters():
    dense = awkward_counts()
    model = WMF(4, random_state=0, iterations=2).fit(to_sparse(dense))
    seen = ~np.isnan(dense)
    ids, _ = model.recommend(np.arange(30), N=100)
    for user in range(30):
        assert set(ids[user][ids[user] >= 0]) == set(np.flatnonzero(~seen[user]))
    ids, scores = model.recommend(29, N=3)  # has everything but item 4
    assert ids.tolist() == [4, -1, -1]
    assert_array_equal(np.isnan(scores), [False, True, True])
    everything, _ = model.recommend(29, N=100, filter_already_liked_items=False)
    assert sorted(everything[:80]) == list(range(80))
    allowed, _ = model.recommend(3, N=4, items=[9, 2, 9, 5, 70], filter_items=[5])
    assert set(allowed) == {2, 9, 70, -1}
    assert allowed[-1] == -1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 4}, "users holds 4 at position 0; indices run from 0 to 3"),
        ({"users": [0, -1]}, "users holds -1 at position 1"),
        ({"users": ["eva"]}, "users must be whole numbers .*user_indices"),
        ({"users": [[0]]}, r"users must be .* got an array of shape \(1, 1\)"),
        ({"users": True}, "users must be whole numbers"),
        ({"users": 0, "N": 0}, "N must be a whole number of at least 1, .* got 0"),
        ({"users": 0, "N": 2.5}, "N must be"),
        ({"users": 0, "N": 10**20}, "N must be"),
        ({"users": [[0], [1, 2]]}, "users must be one index or a 1-D array"),
        ({"users": 0, "items": [3]}, "items holds 3 at position 0; indices run from 0 to 2"),
        ({"users": 0, "filter_items": [0.5]}, "filter_items must be whole numbers"),
        ({}, "users: give positions, or user_items with a row for each"),
        ({"users": [0, 1], "items": csr_array((1, 3))}, r"items has shape \(1, 3\); \(2, 3\) is needed"),
        ({"users": 0, "filter_items": csr_array((1, 4))}, r"filter_items has shape \(1, 4\); \(1, 3\) is needed"),
        ({"users": 0, "user_items": csr_array((3, 3))}, r"user_items has shape \(3, 3\); \(1, 3\) is needed"),
        ({"users": 0, "user_items": [[1, 2, np.nan]]}, "user_items: matrix: nan at row 0, column 2"),
    ],
)
def test_bad_questions_are_refused(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model.recommend(**arguments)


def test_users_may_have_lists_of_their_own():
    dense = awkward_counts()
    model = WMF(4, random_state=0, iterations=2).fit(to_sparse(dense))
    users, generator = np.array([3, 7, 7, 29]), np.random.default_rng(0)
    own, barred, has = (csr_array(generator.random((4, 80)) < share) for share in (0.4, 0.3, 0.2))
    scores = model.user_factors[users].astype(float) @ model.item_factors.T.astype(float)

    def expected(allowed, N=90):
        ranked = np.argsort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")[:, :N]
        ids = np.full((4, N), -1)
        ids[:, : ranked.shape[1]] = np.where(np.take_along_axis(allowed, ranked, axis=1), ranked, -1)
        return ids

    seen, few = ~np.isnan(dense[users]), np.isin(np.arange(80), [1, 2, 60])
    own_, barred_, has_ = (matrix.toarray() for matrix in (own, barred, has))
    cases = [
        ({"items": own}, own_ & ~seen),
        ({"filter_items": barred}, ~barred_ & ~seen),
        ({"items": own, "filter_items": barred, "filter_already_liked_items": False}, own_ & ~barred_),
        ({"items": own, "filter_items": [1, 2, 60], "user_items": has}, own_ & ~has_ & ~few),
        ({"items": [1, 2, 60], "filter_items": barred}, ~barred_ & ~seen & few),
        ({"user_items": has}, ~has_),
        ({"user_items": has, "filter_already_liked_items": False}, np.ones((4, 80), bool)),
    ]  # fmt: skip
    for arguments, allowed in cases:
        assert_array_equal(model.recommend(users, N=90, **arguments)[0], expected(allowed))


def test_recommend_frame_speaks_in_raw_ids(model):
    table = model.recommend_frame(["cy", "eva"], N=5)
    assert list(table) == ["user", "item", "rank", "score"]
    assert table.user.tolist() == ["cy", "cy", "eva"]
    assert set(table.item[:2]) == {"jam", "rye"}
    assert table.item.tolist()[2] == "rye"
    assert table["rank"].tolist() == [1, 2, 1]
    assert len(model.recommend_frame(N=5)) == 4 * 3 - 6
    assert model.recommend_frame("cy", N=1).user.tolist() == ["cy"]
    with pytest.raises(InputError, match="'zoe'"):
        model.recommend_frame(["eva", "zoe"])


def test_unknown_users_may_have_what_is_popular(model):
    table = model.recommend_frame(["zoe", "eva"], N=5, unknown="popular")
    assert table.user.tolist() == ["zoe"] * 3 + ["eva"]
    assert table.item.tolist() == ["tea", "jam", "rye", "rye"]
    assert table.score.tolist()[:3] == [3, 2, 1]
    assert table[table.user == "eva"].equals(
        model.recommend_frame("eva", N=5).set_index(pd.Index([3])).astype(table.dtypes)
    )
    assert len(model.recommend_frame("zoe", unknown="popular")) == 3
    with pytest.raises(InputError, match="unknown must be 'error' or 'popular', got 'skip'"):
        model.recommend_frame("zoe", unknown="skip")


@pytest.mark.skipif(not COMPILED, reason="the interpreted kernels warn of the overflow")
def test_scores_that_overflow_reach_no_padding():
    vectors = np.full((3, 2), 1e20, np.float32)
    with np.errstate(over="ignore"):
        ids, scores = recommend(vectors, Catalogue(vectors[[0] * 40], np.arange(40, dtype=np.int32)), None, N=3)
    assert ids.tolist() == [[0, 1, 2]] * 3
    assert np.isposinf(scores).all()


def test_new_users_may_come_as_lists_interactions_or_none_at_all(model):
    rows = [[1.0, 0, 0], [0, 2, 0]]
    expected = model.recommend(user_items=csr_array(rows), N=2)[0]
    for form in (rows, np.array(rows), Interactions.from_matrix(np.array(rows))):
        assert_array_equal(model.recommend(user_items=form, N=2)[0], expected)
    assert model.recommend(user_items=csr_array((0, 3)), N=2)[0].shape == (0, 2)


def test_raw_zeros_are_left_out_of_what_is_given_too():
    counts = csr_array(np.eye(3, 4))
    counts.data[0] = 0
    model = WMF(2, weighting="raw", random_state=0, iterations=2).fit(counts)
    assert sorted(model.recommend([0], N=4)[0][0]) == [0, 1, 2, 3]
    assert sorted(model.recommend([0], N=4, user_items=counts[[0]])[0][0]) == [0, 1, 2, 3]
    assert sorted(model.recommend(N=4, user_items=counts[[0]])[0][0]) == [0, 1, 2, 3]


def test_threads_can_be_changed_after_the_fit(model, monkeypatch):
    asked = []
    monkeypatch.setattr(ranking, "run_blocks", lambda task, count, threads: asked.append(threads))
    model.set_params(num_threads=1).recommend([0])
    assert asked == [1]


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_answers_are_of_one_state_while_another_thread_fits():
    fits = [WMF(8, random_state=seed, iterations=1).fit(to_sparse(awkward_counts(seed=seed))) for seed in (0, 1)]
    model = WMF(8)
    states = [fit._fitted for fit in fits]
    model._fitted = states[0]
    questions = {
        "lists": lambda m: m.recommend([1, 2], N=5)[0].tolist(),
        "similar": lambda m: m.similar_items([1, 2], N=5)[0].tolist(),
        "folded": lambda m: m.fold_in_users(np.eye(2, 80)).tolist(),
        "explained": lambda m: m.explain(5, 6).score,
    }
    expected = {name: [ask(fit) for fit in fits] for name, ask in questions.items()}
    done = threading.Event()

    def swap():
        for turn in range(300):
            model._fitted = replace(states[turn % 2])  # nothing derived from it yet
            time.sleep(0.001)
        done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    while not done.is_set():
        for name, ask in questions.items():
            assert ask(model) in expected[name]
    swapper.join()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_catalogue_looks_at_items_by_falling_norm_and_bounds_what_is_left(dtype):
    generator = np.random.default_rng(0)
    factors = (generator.standard_normal((70, 5)) * generator.lognormal(size=(70, 1))).astype(dtype)
    chosen = np.flatnonzero(generator.random(70) < 0.8).astype(np.int32)
    order, bounds, _ = Catalogue(factors, chosen).items
    tile = 64 // factors.itemsize
    norms = np.linalg.norm(factors.astype(float), axis=1)
    items = order[: chosen.size]
    assert sorted(items) == chosen.tolist()
    assert (order[chosen.size :] == -1).all()
    assert order.size % tile == 0
    assert order.size - chosen.size < tile
    assert (np.diff(norms[items]) <= 1e-5 * norms.max()).all()
    np.testing.assert_allclose(bounds, [norms[items[k:]].max() for k in range(0, chosen.size, tile)], rtol=1e-6)


def test_norms_that_are_equal_but_for_rounding_keep_the_order_of_memory():
    angles = np.linspace(0, 6, 50)
    factors = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert Catalogue(factors, np.arange(50, dtype=np.int32)).items.order[:50].tolist() == list(range(50))
    tiny = factors * 1e-12  # in proportion to the largest
    tiny[49] *= 2
    assert Catalogue(tiny, np.arange(50, dtype=np.int32)).items.order[0] == 49


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("users", [1, 16, 100, 1024, 5000, 100_000])
def test_blocks_of_users(users, threads):
    length = ranking._block_length(users, 1000, 10, threads)
    blocks = -(-users // length)
    assert 16 <= length <= 1024
    assert users < 16 * threads or blocks >= threads * (users >= 16 * threads) - 1
    assert users < 1024 * threads or blocks % threads in (0, threads - 1)


def test_blocks_are_shorter_where_items_or_lists_are_many():
    assert ranking._block_length(10_000, 1000, 10, 1) == 1000  # ten equal ones of at most 1024
    assert ranking._block_length(10_000, int(4e10 / 500), 10, 1) == 500
    assert ranking._block_length(10_000, 1000, (1 << 22) // 400, 1) == 400
    assert ranking._block_length(10_000, int(1e12), 10**7, 1) == 16
    assert ranking._block_length(100, 1000, 10, 2) == 50
    assert ranking._block_length(1, 1000, 10, 2) == 16


def test_tables_of_a_block_fit():
    counts = np.array([0, 1, 2, 3, 4, 5, 100])
    sizes = [1, 2, 4, 8, 8, 16, 256]  # powers of 2, at least twice the entries
    for length in (1, 2, 3, 7, 10):
        expected = max(sum(sizes[first : first + length]) for first in range(0, 7, length))
        assert ranking._table_places(counts, length) == expected
    assert ranking._table_places(np.zeros(0, np.int64), 4) == 0


def test_most_popular_by_hand():
    matrix = csr_array(np.array([[1.0, 0, 2, -1], [3, 0, 0, 5], [0, 0, 1, -2], [0.5, 0, 0, 0]]))
    ids, counts = ranking.most_popular(matrix, 3)
    assert (ids.tolist(), counts.tolist()) == ([0, 2, 3], [3, 2, 1])
    ids, counts = ranking.most_popular(matrix, 6)
    assert ids.tolist() == [0, 2, 3, 1, -1, -1]
    assert counts[:4].tolist() == [3, 2, 1, 0]
    assert np.isnan(counts[4:]).all()
