"""Splits of pairs: disjoint, complete, as large as asked for, every choice as likely, the same from the same seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csr_array

from implicit_wmf.errors import InputError
from implicit_wmf.evaluation.split_pairs import leave_one_out, split_random, split_users
from implicit_wmf.interactions import Interactions

USERS, ITEMS = list("abcdef"), [30, 10, 20, 50, 40]
SPLITS = [split_random, leave_one_out, split_users]

fractions = st.floats(0.02, 0.98)
seeds = st.integers(0, 2**32)
# Stored pairs of up to six users and five items, each with the time of its last interaction.
pair_times = st.dictionaries(st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS)), st.integers(0, 3), min_size=2)


def make(times, *, dates=False) -> Interactions:
    """Make interactions of the pairs, whose values are distinct and also zero or negative."""
    rows = [USERS.index(user) for user, _ in times]
    columns = [ITEMS.index(item) for _, item in times]
    moments = np.array(list(times.values()), dtype="datetime64[D]" if dates else np.int64)
    values = np.arange(len(times)) - 2.0
    return Interactions.from_triples(
        np.array(rows, dtype=int), np.array(columns, dtype=int), values, timestamps=moments, users=USERS, items=ITEMS
    )


def without_times(data: Interactions) -> Interactions:
    return Interactions(data.matrix, data.users, data.items)


def pairs_of(data: Interactions) -> dict:
    """Read every stored pair back: (user, item) -> (value, time)."""
    matrix, found = data.matrix, {}
    for row, user in enumerate(data.users):
        for place in range(matrix.indptr[row], matrix.indptr[row + 1]):
            time = None if data.timestamps is None else data.timestamps[place].item()
            found[user, data.items[matrix.indices[place]]] = float(matrix.data[place]), time
    return found


def by_user(pairs) -> dict:
    found = defaultdict(dict)
    for (user, item), (_, time) in pairs.items():
        found[user][item] = time
    return found


def assert_complete_and_disjoint(data, *parts):
    together = [pair for part in parts for pair in pairs_of(part).items()]
    assert len(together) == data.nnz
    assert dict(together) == pairs_of(data)


def assert_same_ids(data, *parts):
    for part in parts:
        assert part.shape == data.shape
        assert part.users.equals(data.users)
        assert part.items.equals(data.items)


def rounded_share(size, share) -> int:
    return 0 if size < 2 else min(max(round(share * size), 1), size - 1)


@settings(deadline=None)
@given(pair_times, fractions, seeds)
def test_random_parts_are_complete_and_of_the_size_asked_for(times, fraction, seed):
    data = make(times)
    train, test = split_random(data, test_fraction=fraction, random_state=seed)
    assert_complete_and_disjoint(data, train, test)
    assert_same_ids(data, train, test)
    assert test.nnz == rounded_share(len(times), fraction)


@settings(deadline=None)
@given(pair_times, fractions, seeds)
def test_random_within_users_takes_the_share_of_each(times, fraction, seed):
    data = make(times, dates=True)
    sizes = Counter(user for user, _ in times)
    assume(max(sizes.values(), default=0) > 1)
    train, test = split_random(data, test_fraction=fraction, within_users=True, random_state=seed)
    assert_complete_and_disjoint(data, train, test)
    assert_same_ids(data, train, test)
    in_test = Counter(user for user, _ in pairs_of(test))
    assert in_test == +Counter({user: rounded_share(size, fraction) for user, size in sizes.items()})


@settings(deadline=None)
@given(pair_times, seeds)
def test_leave_one_out_takes_a_pair_of_each_users_last_time(times, seed):
    data = make(times)
    users = by_user(pairs_of(data))
    assume(max(map(len, users.values()), default=0) > 1)
    train, test = leave_one_out(data, random_state=seed)
    assert_complete_and_disjoint(data, train, test)
    assert_same_ids(data, train, test)
    left_out = by_user(pairs_of(test))
    assert set(left_out) == {user for user, items in users.items() if len(items) > 1}
    for user, items in left_out.items():
        assert len(items) == 1
        assert max(items.values()) == max(users[user].values())


@settings(deadline=None)
@given(pair_times, seeds)
def test_leave_one_out_at_random_takes_a_pair_of_each(times, seed):
    data = make(times)
    users = by_user(pairs_of(data))
    assume(max(map(len, users.values()), default=0) > 1)
    train, test = leave_one_out(data, pick="random", random_state=seed)
    assert_complete_and_disjoint(data, train, test)
    assert Counter(user for user, _ in pairs_of(test)) == Counter(user for user in users if len(users[user]) > 1)
    timeless = leave_one_out(without_times(data), random_state=seed)
    assert [set(pairs_of(part)) for part in timeless] == [set(pairs_of(part)) for part in (train, test)]


@settings(deadline=None)
@given(pair_times, st.one_of(st.integers(1, 6), fractions), fractions, st.integers(2, 4), seeds)
def test_users_are_held_out_altogether(times, held_out_users, fraction, min_items, seed):
    data = make(times)
    sizes = Counter(user for user, _ in times)
    eligible = {user for user in sizes if sizes[user] >= min_items}
    wanted = held_out_users if held_out_users >= 1 else max(1, round(held_out_users * len(eligible)))
    options = {"held_out_users": held_out_users, "fold_in_fraction": fraction, "min_items": min_items}
    too_many = wanted > len(eligible)
    if too_many or wanted == len(sizes):
        problem = f"of 6 users {len(eligible)} have at least {min_items} pairs" if too_many else "train would be empty"
        with pytest.raises(InputError, match=problem):
            split_users(data, **options, random_state=seed)
        return
    train, fold_in, targets = split_users(data, **options, random_state=seed)
    assert_complete_and_disjoint(data, train, fold_in, targets)
    assert_same_ids(fold_in, targets)
    held_out = list(fold_in.users)
    assert held_out == sorted(held_out)
    assert set(held_out) <= eligible
    assert len(held_out) == wanted
    assert list(train.users) == [user for user in USERS if user not in held_out]
    assert all(part.items.equals(data.items) for part in (train, fold_in, targets))
    in_fold_in = Counter(user for user, _ in pairs_of(fold_in))
    assert in_fold_in == Counter({user: rounded_share(sizes[user], fraction) for user in held_out})


def test_every_choice_of_a_users_pairs_is_as_likely():
    data = Interactions.from_triples([0, 1, 1, 1, 1, 1], [0, 0, 1, 2, 3, 4])
    generator = np.random.default_rng(5)
    splits = (split_random(data, test_fraction=0.4, within_users=True, random_state=generator) for _ in range(4000))
    drawn = Counter(tuple(test.matrix.indices.tolist()) for _, test in splits)
    assert set(drawn) == set(combinations(range(5), 2))
    # 400 of each are expected, with a standard deviation of 19.
    assert max(abs(count - 400) for count in drawn.values()) < 80


def test_every_pair_and_every_pair_of_the_last_time_is_as_likely_to_be_left_out():
    data = Interactions.from_triples([0, 0, 0, 0, 1], [0, 1, 2, 3, 0], timestamps=[7.5, 2, 7.5, 7.5, 9])
    generator = np.random.default_rng(6)
    for pick, expected in (("last", {0: 1000, 2: 1000, 3: 1000}), ("random", {0: 750, 1: 750, 2: 750, 3: 750})):
        splits = (leave_one_out(data, pick=pick, random_state=generator) for _ in range(3000))
        drawn = Counter(test.matrix.indices.item() for _, test in splits)
        assert set(drawn) == set(expected)
        assert all(abs(drawn[item] - count) < 130 for item, count in expected.items())


def test_every_user_is_as_likely_to_be_held_out_unless_too_small():
    data = Interactions.from_matrix(np.tril(np.ones((6, 6))))
    generator = np.random.default_rng(7)
    splits = (split_users(data, held_out_users=2, min_items=3, random_state=generator) for _ in range(3000))
    drawn = Counter(tuple(fold_in.users) for _, fold_in, _ in splits)
    assert set(drawn) == set(combinations([2, 3, 4, 5], 2))
    assert all(abs(count - 500) < 110 for count in drawn.values())


@pytest.mark.parametrize("options", [{}, {"within_users": True}])
def test_random_split_is_seeded(options):
    check_seeds(partial(split_random, **options))


@pytest.mark.parametrize("split", [leave_one_out, split_users])
def test_splits_are_seeded(split):
    check_seeds(split)


def check_seeds(split):
    data = Interactions.from_matrix(np.arange(1.0, 1201.0).reshape(40, 30))
    first = split(data, random_state=3)

    def same(parts):
        return all(pairs_of(one) == pairs_of(other) for one, other in zip(first, parts, strict=True))

    assert same(split(data, random_state=3))
    assert same(split(data, random_state=np.int64(3)))
    assert all(
        pairs_of(one) == pairs_of(other) for one, other in zip(split(data), split(data, random_state=0), strict=True)
    )
    assert same(split(data, random_state=np.random.default_rng(3)))
    assert not same(split(data, random_state=4))
    generator = np.random.default_rng(3)
    split(data, random_state=generator)
    assert not same(split(data, random_state=generator))
    assert not any(same(split(data, random_state=None)) for _ in range(2))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("convert", [np.asarray, csr_array, coo_matrix])
def test_matrices_are_taken_as_interactions_of_them(split, convert):
    dense = np.random.default_rng(0).integers(0, 3, (12, 9)).astype(float)
    expected = split(Interactions.from_matrix(dense), random_state=1)
    for part, other in zip(expected, split(convert(dense), random_state=1), strict=True):
        assert pairs_of(part) == pairs_of(other)


@pytest.mark.parametrize("split", SPLITS)
def test_input_is_not_changed_and_dates_stay_dates(split):
    times = {(user, item): 3 * place for place, (user, item) in enumerate((u, i) for u in USERS for i in ITEMS)}
    data, again = make(times, dates=True), make(times, dates=True)
    parts = split(data, random_state=0)
    assert pairs_of(data) == pairs_of(again)
    assert all(part.timestamps.dtype == data.timestamps.dtype for part in parts)
    assert all(not np.shares_memory(part.matrix.data, data.matrix.data) for part in parts)


def test_leave_one_out_counts_a_repeated_item_once_by_its_last_time():
    early = [("eva", "tea", 2, 1), ("eva", "jam", 1, 2), ("eva", "rye", 1, 2)]
    lines = [*early, ("eva", "tea", 3, 3), ("bob", "jam", 1, 9)]
    frame = pd.DataFrame(lines, columns=["who", "what", "n", "day"])
    data = Interactions.from_frame(frame, user="who", item="what", value="n", timestamp="day")
    train, test = leave_one_out(data)
    assert pairs_of(test) == {("eva", "tea"): (5.0, 3)}
    assert pairs_of(train) == {("eva", "jam"): (1.0, 2), ("eva", "rye"): (1.0, 2), ("bob", "jam"): (1.0, 9)}


def test_held_out_users_without_ids_keep_their_row_numbers():
    data = Interactions.from_matrix(np.ones((10, 4)))
    train, fold_in, targets = split_users(data, held_out_users=0.26, fold_in_fraction=0.5, random_state=2)
    assert sorted([*train.users, *fold_in.users]) == list(range(10))
    assert not any(isinstance(part.users, pd.RangeIndex) for part in (train, fold_in, targets))
    assert fold_in.matrix.sum(axis=1).tolist() == targets.matrix.sum(axis=1).tolist() == [2.0, 2.0, 2.0]


def test_train_of_held_out_users_can_be_split_again_for_validation():
    data = Interactions.from_matrix(np.ones((20, 5)), users=[f"user {row}" for row in range(20)])
    rest, *test_parts = split_users(data, held_out_users=4, random_state=0)
    train, *validation_parts = split_users(rest, held_out_users=4, random_state=1)
    assert_complete_and_disjoint(data, train, *test_parts, *validation_parts)
    assert not set(test_parts[0].users) & set(validation_parts[0].users)


def test_refuses_data_without_two_pairs_to_divide():
    single = Interactions.from_matrix(np.eye(3))
    with pytest.raises(
        InputError, match="none of the 3 users has two pairs; give more data, or use split_random without"
    ):
        leave_one_out(single)
    with pytest.raises(InputError, match="test would be empty: none of the 3 users has two pairs"):
        split_random(single, within_users=True)
    for few in (Interactions.from_matrix(np.eye(1)), Interactions.from_matrix(csr_array((4, 2)))):
        with pytest.raises(InputError, match=rf"data: a split needs two pairs at least, but Inter.* {few.nnz} pairs\)"):
            split_random(few)
        with pytest.raises(InputError, match=f"test would be empty: none of the {few.shape[0]} users has two pairs"):
            leave_one_out(few)


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 1.5, float("nan"), float("inf"), "0.2", None, True, [0.2]])
@pytest.mark.parametrize(("split", "name"), [(split_random, "test_fraction"), (split_users, "fold_in_fraction")])
def test_refuses_a_share_that_is_none(split, name, fraction):
    with pytest.raises(InputError, match=rf"{name} is .*; give a number between 0 and 1, such as 0\."):
        split(np.ones((4, 4)), **{name: fraction})


@pytest.mark.parametrize("count", [0, -1, 1.0, 1.5, 0.0, float("nan"), "3", None, True, [1]])
def test_refuses_held_out_users_that_are_neither_number_nor_share(count):
    with pytest.raises(InputError, match="held_out_users is .*; give a whole number of users, from 1 on, or a share"):
        split_users(np.ones((4, 4)), held_out_users=count)


def test_refuses_to_hold_out_more_users_than_there_are():
    data = np.tril(np.ones((5, 5)))
    with pytest.raises(InputError, match=r"held_out_users is 4, but of 5 users 3 have at least 3 pairs \(min_items\)"):
        split_users(data, held_out_users=4, min_items=3)
    with pytest.raises(InputError, match=r"held_out_users is 0\.1, but of 5 users 0 have at least 6 pairs"):
        split_users(data, min_items=6)
    with pytest.raises(InputError, match="train would be empty: held_out_users is 2, which leaves none of the 3 users"):
        split_users(np.array([[1, 1], [0, 0], [1, 1]]), held_out_users=2)
    with pytest.raises(InputError, match="train would be empty: held_out_users is 1, which leaves none of the 1 users"):
        split_users(np.ones((1, 4)), held_out_users=1)


@pytest.mark.parametrize("least", [1, 0, 2.5, "2", None, True])
def test_refuses_a_least_number_of_items_that_cannot_be_divided(least):
    with pytest.raises(InputError, match="min_items must be a whole number of at least 2, got "):
        split_users(np.ones((4, 4)), min_items=least)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_refuses_what_is_no_seed(split, seed):
    with pytest.raises(InputError, match="random_state must be a whole number of at least 0, got "):
        split(np.ones((4, 4)), random_state=seed)


@pytest.mark.parametrize("split", SPLITS)
def test_refuses_tables_and_matrices_that_are_none(split):
    frame = pd.DataFrame({"who": ["a", "a"], "what": ["x", "y"]})
    for table, kind in ((frame, "DataFrame"), (pl.from_pandas(frame), "DataFrame")):
        with pytest.raises(InputError, match=rf"data: met a table \({kind}\), .*; give Interactions.from_frame\(data"):
            split(table)
    with pytest.raises(InputError, match="nan at row 0, column 1; give finite numbers"):
        split(np.array([[1.0, np.nan], [1.0, 1.0]]))


def test_refuses_picks_that_cannot_be_made():
    with pytest.raises(InputError, match="pick is 'last', but the data hold no timestamps; name their column"):
        leave_one_out(np.ones((2, 2)), pick="last")
    with pytest.raises(InputError, match="pick must be one of 'last', 'random', got 'first'"):
        leave_one_out(np.ones((2, 2)), pick="first")
    with pytest.raises(InputError, match="within_users must be True or False, got 'yes'"):
        split_random(np.ones((2, 2)), within_users="yes")
