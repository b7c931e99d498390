"""Splits in time: disjoint, complete, blind to the future, whatever the order of lines."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import new_pairs, split_by_time, split_last
from implicit_wmf.interactions import Interactions

NAMES = {"user": "who", "item": "what", "value": "count", "timestamp": "when"}

# Powers of two as values make the sum of a cell tell which of the lines are in it.
line_lists = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(0, 6)), min_size=2, max_size=14
)
fractions = st.floats(0.05, 0.95)


def make_frame(lines) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=["who", "what", "when"])
    return frame.assign(count=2.0 ** np.arange(len(frame)))


def line_numbers(data: Interactions) -> Counter:
    """Read the line numbers back from the sums of powers of two, as (user, item, line)."""
    matrix = data.matrix.tocoo()
    return Counter(
        (data.users[row], data.items[column], line)
        for row, column, value in zip(matrix.row, matrix.col, matrix.data, strict=True)
        for line in range(20)
        if int(value) >> line & 1
    )


def all_lines(lines) -> Counter:
    return Counter((user, item, line) for line, (user, item, _) in enumerate(lines))


def assert_complete_and_disjoint(lines, train, test):
    assert line_numbers(train) + line_numbers(test) == all_lines(lines)
    assert not line_numbers(train) & line_numbers(test)
    assert set(train.users) == {user for user, _, _ in lines}
    assert set(train.items) == {item for _, item, _ in lines}
    assert train.users.equals(test.users)
    assert train.items.equals(test.items)


@settings(deadline=None)
@given(line_lists, fractions)
def test_by_time_parts_are_complete_and_blind_to_the_future(lines, fraction):
    times = sorted(time for _, _, time in lines)
    in_test = max(1, round(fraction * len(times)))
    assume(times[len(times) - in_test] > times[0])
    train, test = split_by_time(make_frame(lines), **NAMES, test_fraction=fraction)
    assert_complete_and_disjoint(lines, train, test)
    train_times = [lines[line][2] for _, _, line in line_numbers(train)]
    test_times = [lines[line][2] for _, _, line in line_numbers(test)]
    assert max(train_times) < min(test_times)
    assert len(test_times) >= in_test
    assert len([time for time in test_times if time > min(test_times)]) < in_test


@settings(deadline=None)
@given(line_lists, st.integers(0, 7))
def test_by_time_cut_is_the_first_time_of_test(lines, cut):
    expected = {line for line, (_, _, time) in enumerate(lines) if time >= cut}
    assume(0 < len(expected) < len(lines))
    train, test = split_by_time(make_frame(lines), **NAMES, cut=cut)
    assert_complete_and_disjoint(lines, train, test)
    assert {line for _, _, line in line_numbers(test)} == expected


def last_lines(lines, wanted_of) -> set:
    """Walk each user's times backwards, all but the first, until as many lines as wanted are taken."""
    expected = set()
    baskets = defaultdict(lambda: defaultdict(set))
    for line, (user, _, time) in enumerate(lines):
        baskets[user][time].add(line)
    for by_time in baskets.values():
        wanted = wanted_of(sum(map(len, by_time.values())))
        taken = set()
        for time in sorted(by_time)[:0:-1]:
            if len(taken) < wanted:
                taken |= by_time[time]
        expected |= taken
    return expected


def assert_no_user_trains_on_the_future(lines, train, test):
    for one in set(train.users):
        last_in_train = max(lines[line][2] for user, _, line in line_numbers(train) if user == one)
        assert all(lines[line][2] > last_in_train for user, _, line in line_numbers(test) if user == one)


@settings(deadline=None)
@given(line_lists, fractions)
def test_last_takes_each_users_last_times(lines, fraction):
    expected = last_lines(lines, lambda size: max(1, round(fraction * size)))
    assume(expected)
    train, test = split_last(make_frame(lines), **NAMES, test_fraction=fraction)
    assert_complete_and_disjoint(lines, train, test)
    assert_no_user_trains_on_the_future(lines, train, test)
    assert {line for _, _, line in line_numbers(test)} == expected


@settings(deadline=None)
@given(line_lists, st.integers(1, 6))
def test_last_k_takes_as_few_last_times_as_hold_k_lines(lines, k):
    expected = last_lines(lines, lambda size: k)
    assume(expected)
    train, test = split_last(make_frame(lines), **NAMES, k=k)
    assert_complete_and_disjoint(lines, train, test)
    assert_no_user_trains_on_the_future(lines, train, test)
    assert {line for _, _, line in line_numbers(test)} == expected


def test_last_k_by_hand():
    lines = [("a", "x", 3), ("a", "y", 1), ("a", "z", 2), ("b", "x", 1), ("b", "y", 2), ("b", "z", 2), ("c", "x", 9)]
    for k, expected in ((1, {0, 4, 5}), (2, {0, 2, 4, 5}), (3, {0, 2, 4, 5}), (10**30, {0, 2, 4, 5})):
        _, test = split_last(make_frame(lines), **NAMES, k=k)
        assert {line for _, _, line in line_numbers(test)} == expected
    _, test = split_last(make_frame(lines), user="who", item="what", value="count", k=np.int64(2))
    assert {line for _, _, line in line_numbers(test)} == {1, 2, 4, 5}


@pytest.mark.parametrize("k", [0, -1, 1.5, 2.0, True, "2", float("nan"), [1]])
def test_refuses_a_k_that_counts_no_lines(k):
    with pytest.raises(InputError, match="k must be a whole number of at least 1, got "):
        split_last(make_frame([("a", "x", 1), ("a", "y", 5)]), **NAMES, k=k)


@settings(deadline=None)
@given(line_lists, fractions, st.randoms(use_true_random=False))
def test_order_of_lines_does_not_matter(lines, fraction, random):
    assume(len({time for _, _, time in lines}) > 1)
    frame = make_frame(lines)
    order = list(range(len(frame)))
    random.shuffle(order)
    share = {"test_fraction": fraction}
    for split, size in ((split_by_time, share), (split_last, share), (split_last, {"k": 2})):
        try:
            parts = split(frame, **NAMES, **size)
        except InputError as error:
            with pytest.raises(InputError) as shuffled_error:
                split(frame.iloc[order], **NAMES, **size)
            assert str(shuffled_error.value) == str(error)
            continue
        shuffled = split(frame.iloc[order], **NAMES, **size)
        assert [line_numbers(part) for part in shuffled] == [line_numbers(part) for part in parts]


def test_last_without_timestamp_takes_the_lines_as_they_stand():
    lines = [("a", "x", 9), ("b", "x", 9), ("a", "y", 1), ("a", "z", 5), ("c", "x", 0), ("a", "x", 3), ("b", "y", 2)]
    train, test = split_last(make_frame(lines), user="who", item="what", value="count", test_fraction=0.5)
    assert {line for _, _, line in line_numbers(test)} == {3, 5, 6}
    assert {line for _, _, line in line_numbers(train)} == {0, 1, 2, 4}


def test_last_keeps_a_basket_whole_and_a_first_basket_in_train():
    lines = [("a", "x", 1), ("a", "x", 2), ("a", "y", 2), ("a", "z", 2), ("b", "x", 1), ("b", "y", 1)]
    _, test = split_last(make_frame(lines), **NAMES, test_fraction=0.25)
    assert {line for _, _, line in line_numbers(test)} == {1, 2, 3}


def test_an_index_of_its_own_is_not_mistaken_for_positions():
    frame = make_frame([("a", "x", 1), ("b", "x", 2), ("a", "y", 3)]).set_index(pd.Index([7, 7, 0]))
    before = frame.copy(deep=True)
    _, test = split_by_time(frame, **NAMES, cut=3)
    assert {line for _, _, line in line_numbers(test)} == {2}
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
@pytest.mark.parametrize("timezone", [None, "Europe/Berlin"])
def test_dates_from_pandas_polars_and_arrow(convert, timezone):
    frame = make_frame([("a", "x", 0), ("b", "x", 1), ("a", "y", 2), ("b", "y", 3)])
    frame["when"] = pd.Timestamp("2011-12-01", tz=timezone) + pd.to_timedelta(frame["when"], unit="D")
    cut = pd.Timestamp("2011-12-03", tz=timezone)
    for parts in (
        split_by_time(convert(frame), **NAMES, cut=cut),
        split_by_time(convert(frame), **NAMES, cut=str(cut)),
        split_by_time(convert(frame), **NAMES, test_fraction=0.5),
        split_last(convert(frame), **NAMES, test_fraction=0.5),
    ):
        assert [{line for _, _, line in line_numbers(part)} for part in parts] == [{0, 1}, {2, 3}]


def test_refuses_a_part_that_would_be_empty():
    frame = make_frame([("a", "x", 1), ("b", "y", 5)])
    with pytest.raises(InputError, match="test would be empty: none of the 2 lines has a 'when' at or after the cut 6"):
        split_by_time(frame, **NAMES, cut=6)
    with pytest.raises(InputError, match="train would be empty: .* before the cut 1; times run from 1 to 5: give"):
        split_by_time(frame, **NAMES, cut=1)
    with pytest.raises(InputError, match="train would be empty"):
        split_by_time(frame, **NAMES, test_fraction=0.9)
    with pytest.raises(InputError, match="test would be empty: none of the 2 users has lines at two different times"):
        split_last(frame, **NAMES)
    with pytest.raises(InputError, match="the table is empty; give at least two lines"):
        split_by_time(frame.iloc[:0], **NAMES)


@pytest.mark.parametrize("fraction", [0, 1, -0.2, 1.5, float("nan"), "0.2", None, True])
@pytest.mark.parametrize("split", [split_by_time, split_last])
def test_refuses_a_share_that_is_none(split, fraction):
    with pytest.raises(InputError, match="test_fraction is .*; give a number between 0 and 1"):
        split(make_frame([("a", "x", 1), ("a", "y", 5)]), **NAMES, test_fraction=fraction)


@pytest.mark.parametrize("split", [split_by_time, split_last])
def test_refuses_times_that_are_missing_or_no_times(split):
    frame = make_frame([("a", "x", 1), ("a", "y", 5), ("a", "z", 7)])
    with pytest.raises(InputError, match="'when': the timestamp at line 1 is missing"):
        split(frame.assign(when=[1.0, np.nan, 2.0]), **NAMES)
    with pytest.raises(InputError, match="'when': the timestamp at line 0 is missing"):
        split(frame.assign(when=pd.to_datetime([None, "2011-01-01", None])), **NAMES)
    with pytest.raises(InputError, match="'2011-01-01' is neither numbers nor datetimes; parse it"):
        split(frame.assign(when=["2011-01-01", "2011-01-02", "2010-01-01"]), **NAMES)
    with pytest.raises(InputError, match="dtype bool .* is neither numbers nor datetimes"):
        split(frame.assign(when=[True, False, True]), **NAMES)
    with pytest.raises(InputError, match="timestamp: no column 'time'; the columns are 'who', 'what', 'when', 'count'"):
        split(frame, user="who", item="what", timestamp="time")


@pytest.mark.parametrize("cut", ["soon", pd.Timestamp("2011-12-03"), float("nan"), True, [3]])
def test_refuses_a_cut_that_is_no_number_among_numbers(cut):
    frame = make_frame([("a", "x", 1), ("a", "y", 5)])
    with pytest.raises(InputError, match=r"cut is .*, but the times are numbers \(int64\); give a number"):
        split_by_time(frame, **NAMES, cut=cut)


@pytest.mark.parametrize("cut", ["soon", 2011, 1.5e9, float("nan"), True, pd.NaT, [3]])
def test_refuses_a_cut_that_is_no_date_among_dates(cut):
    frame = make_frame([("a", "x", 1), ("a", "y", 5)])
    frame["when"] = pd.to_datetime(frame["when"], unit="D")
    with pytest.raises(InputError, match=r"cut is .*, but the times are dates; give a date"):
        split_by_time(frame, **NAMES, cut=cut)


def test_a_cut_is_compared_in_utc_and_refused_without_the_time_zone_of_the_column():
    frame = make_frame([("a", "x", 0), ("a", "y", 1)])
    frame["when"] = pd.to_datetime(["2011-12-01 00:30", "2011-12-01 01:30"]).tz_localize("Europe/Berlin")
    _, test = split_by_time(frame, **NAMES, cut=pd.Timestamp("2011-12-01", tz="UTC"))
    assert {line for _, _, line in line_numbers(test)} == {1}
    for table in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        with pytest.raises(InputError, match="'2011-12-01' without a time zone, but the times are in Europe/Berlin"):
            split_by_time(table, **NAMES, cut="2011-12-01")


def test_a_cut_with_a_time_zone_is_refused_where_the_times_have_none():
    frame = make_frame([("a", "x", 0), ("a", "y", 1)])
    frame["when"] = pd.to_datetime(["2011-12-01 00:30", "2011-12-01 01:30"])
    _, test = split_by_time(frame, **NAMES, cut="2011-12-01 01:00")
    assert {line for _, _, line in line_numbers(test)} == {1}
    for table in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        with pytest.raises(InputError, match="with a time zone, but the times have none; give a cut without"):
            split_by_time(table, **NAMES, cut="2011-12-01 01:00+01:00")


@pytest.mark.parametrize("split", [split_by_time, split_last])
@pytest.mark.parametrize("column", ["who", "what"])
def test_refuses_missing_ids(split, column):
    frame = make_frame([("a", "x", 1), ("a", "y", 5), ("a", "z", 6)])
    with pytest.raises(InputError, match=column):
        split(frame.assign(**{column: ["a", None, "a"]}), **NAMES)


def test_new_pairs_leaves_out_what_train_stores():
    rng = np.random.default_rng(1)
    train_dense, test_dense = rng.integers(0, 2, (2, 6, 5)) * rng.integers(1, 5, (2, 6, 5))
    users, items = pd.Index(list("uvwxyz")), pd.Index([10, 20, 30, 40, 50])
    train = Interactions.from_matrix(train_dense.astype(float), users=users, items=items)
    test = Interactions.from_matrix(test_dense.astype(float), users=users, items=items)
    fresh = new_pairs(test, train)
    np.testing.assert_array_equal(fresh.matrix.toarray(), np.where(train_dense > 0, 0, test_dense))
    assert fresh.timestamps is None
    assert fresh.users.equals(users)
    assert fresh.items.equals(items)
    assert new_pairs(test, test).matrix.nnz == 0


def test_new_pairs_keeps_the_times_of_the_pairs_that_stay():
    test = Interactions.from_triples([0, 1, 1], [1, 0, 2], shape=(2, 3), timestamps=[7, 8, 9])
    fresh = new_pairs(test, Interactions.from_triples([1, 0], [0, 2], shape=(2, 3)))
    assert fresh.matrix.toarray().tolist() == [[0, 1, 0], [0, 0, 1]]
    assert fresh.timestamps.tolist() == [7, 9]


def test_new_pairs_refuses_other_shapes_and_ids():
    train = Interactions.from_matrix(np.eye(3))
    with pytest.raises(InputError, match=r"train has shape \(3, 3\) and test \(2, 3\)"):
        new_pairs(Interactions.from_matrix(np.eye(2, 3)), train)
    one, other = (Interactions.from_matrix(np.eye(3), items=pd.Index(ids)) for ids in ([0, 1, 2], [2, 1, 0]))
    with pytest.raises(InputError, match=r"train.items and test.items hold different ids or another order"):
        new_pairs(other, one)


def test_new_pairs_takes_what_has_no_ids_by_position():
    named = Interactions.from_matrix(np.ones((2, 2)), users=["ann", "bob"])
    fresh = new_pairs(named, np.eye(2))
    assert fresh.matrix.toarray().tolist() == [[0, 1], [1, 0]]
    assert list(fresh.users) == ["ann", "bob"]
    assert new_pairs(np.eye(2), named).nnz == 0
    with pytest.raises(InputError, match="test: matrix: expected 2 dimensions"):
        new_pairs(np.ones(3), named)
