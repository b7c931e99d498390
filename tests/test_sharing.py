"""Ranges of shards for workers: compared with all ways to cut, and with what placing is to keep."""

from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_wmf.sharded.sharing import Range, place, share_out

WORK = st.lists(st.integers(1, 30), min_size=1, max_size=7)
THREADS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def share(work, threads, first=0):
    return share_out(np.array(work, float), threads, first)


def slowest(work, threads, edges):
    """The time that the busiest worker takes for its range."""
    ends = [0, *edges, len(work)]
    parts = [sum(work[start:stop]) for start, stop in zip(ends[:-1], ends[1:], strict=True)]
    return max(part / count for part, count in zip(parts, threads, strict=True))


@settings(deadline=None)
@given(WORK, THREADS, st.integers(0, 5))
def test_ranges_have_every_shard_once_and_in_order(work, threads, first):
    ranges = share(work, threads, first)
    assert len(ranges) == len(threads)
    assert [number for one in ranges for number in range(*one)] == list(range(first, first + len(work)))
    assert all(one.stop == after.first for one, after in zip(ranges[:-1], ranges[1:], strict=True))


@settings(deadline=None)
@given(WORK, THREADS)
def test_no_other_cut_is_done_sooner(work, threads):
    edges = [one.stop for one in share(work, threads)[:-1]]
    every_cut = combinations_with_replacement(range(len(work) + 1), len(threads) - 1)
    best = min(slowest(work, threads, cut) for cut in every_cut)
    assert slowest(work, threads, edges) <= best * (1 + 1e-5)


def test_a_worker_with_more_threads_has_more():
    assert share([1.0] * 8, [3, 1]) == [Range(0, 6), Range(6, 8)]
    assert share([1.0] * 8, [1, 3]) == [Range(0, 2), Range(2, 8)]


def test_the_heaviest_shard_has_a_worker_of_its_own():
    assert share([1, 1, 50, 1, 1], [1, 1, 1]) == [Range(0, 2), Range(2, 3), Range(3, 5)]


@pytest.mark.parametrize("shards", [1, 2])
def test_of_more_workers_than_shards_some_have_none(shards):
    ranges = share([5.0] * shards, [1, 1, 1, 1])
    assert len(ranges) == 4
    assert [one.stop - one.first for one in ranges if one.stop > one.first] == [1] * shards


@settings(deadline=None)
@given(WORK)
def test_work_that_differs_by_orders_of_magnitude_is_all_given_away(work):
    spread = [10.0 ** (one - 15) for one in work]
    assert sum(one.stop - one.first for one in share(spread, [1, 2, 1])) == len(work)


def kept(placed, held):
    """How many shards stay where they are."""
    return sum(len(set(range(*one)) & set(range(*held.get(worker, (0, 0))))) for one, worker in placed.items())


def names(threads, random):
    """Workers of so many threads each, in an order of their addresses that says nothing."""
    addresses = [f"tcp://10.0.0.{number}:1" for number in range(len(threads))]
    random.shuffle(addresses)
    return dict(zip(addresses, threads, strict=True))


@settings(deadline=None)
@given(WORK, THREADS, st.randoms(use_true_random=False))
def test_every_range_has_a_worker_of_its_own_with_the_threads_it_is_for(work, threads, random):
    ranges, workers = share(work, threads), names(threads, random)
    held = {worker: Range(*sorted(random.choices(range(len(work) + 1), k=2))) for worker in workers}
    placed = place(ranges, workers, held)
    assert set(placed) == {one for one in ranges if one.stop > one.first}
    assert len(set(placed.values())) == len(placed)
    for one, meant_for in zip(ranges, threads, strict=True):
        assert one not in placed or workers[placed[one]] == meant_for


@settings(deadline=None)
@given(WORK, THREADS, st.randoms(use_true_random=False))
def test_what_is_well_placed_stays(work, threads, random):
    ranges, workers = share(work, threads), names(threads, random)
    held = {worker: one for worker, one in zip(workers, ranges, strict=True) if one.stop > one.first}
    assert place(ranges, dict(sorted(workers.items())) if len(set(threads)) == 1 else workers, held) == {
        one: worker for worker, one in held.items()
    }


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=7), st.integers(1, 3))
def test_where_workers_join_most_of_what_can_stay_stays(work, joining):
    before, after = share(work, [1, 1]), share(work, [1] * (2 + joining))
    held = {worker: one for worker, one in zip("ab", before, strict=True) if one.stop > one.first}
    workers = dict.fromkeys("abcde"[: 2 + joining], 1)
    placed = place(after, workers, held)
    best = max(kept(dict(zip(placed, some, strict=True)), held) for some in permutations(workers, len(placed)))
    assert 2 * kept(placed, held) >= best > 0  # as they are chosen one by one, it is half of the best at least


def test_workers_that_have_nothing_get_ranges_in_the_order_of_their_addresses():
    ranges = share([1.0] * 6, [1, 1, 1])
    placed = place(ranges, {"tcp://c:1": 1, "tcp://a:1": 1, "tcp://b:1": 1}, {})
    assert placed == dict(zip(ranges, ["tcp://a:1", "tcp://b:1", "tcp://c:1"], strict=True))
