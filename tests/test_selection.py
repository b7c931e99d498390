"""The N best of a list of scores, against sorting."""

import numpy as np
import pytest

from implicit_wmf.kernels import selection


def lists():
    """Scores and items of lists of every kind: ties, whole numbers, infinities, one value, falling and rising."""
    generator = np.random.default_rng(0)
    for length in (1, 2, 3, 8, 17, 60, 199, 200, 201, 330):
        whole = generator.integers(-3, 4, length).astype(float)
        for scores in (
            generator.standard_normal(length),
            whole,
            np.where(whole > 2, np.inf, whole),
            np.where(whole < -2, -np.inf, whole),
            np.full(length, 2.5),
            np.sort(generator.standard_normal(length)),
            -np.sort(generator.standard_normal(length)),
        ):
            for dtype in (np.float32, np.float64):
                yield scores.astype(dtype), generator.permutation(length).astype(np.int32)


LISTS = list(lists())


def best_first(scores, items):
    return sorted(zip(scores.tolist(), items.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))


def pairs(scores, items):
    return list(zip(scores.tolist(), items.tolist(), strict=True))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_cut_moves_the_best_to_the_front_and_returns_their_worst(share):
    for scores, items in LISTS:
        N = max(1, int(share * (len(scores) - 1)))
        if len(scores) <= N:
            continue
        expected = best_first(scores, items)[:N]
        mine, whose = scores.copy(), items.copy()
        with np.errstate(invalid="ignore"):  # infinite scores, of which interpreted kernels warn
            worst = selection.cut(mine, whose, len(scores), N)
        assert sorted(pairs(mine[:N], whose[:N])) == sorted(expected)
        assert worst == expected[-1][0]


def test_cut_looks_at_no_more_than_the_length():
    scores, items = np.array([1.0, 5.0, 3.0, 9.0, 9.0]), np.arange(5, dtype=np.int32)
    assert selection.cut(scores, items, 3, 2) == 3
    assert sorted(items[:2].tolist()) == [1, 2]
    assert scores[3:].tolist() == [9, 9]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.999])
def test_quickselect_puts_the_worst_of_the_best_last(share):
    for scores, items in LISTS:
        N = 1 + int(share * len(scores))
        if len(scores) < N:
            continue
        expected = best_first(scores, items)[:N]
        mine, whose = scores.copy(), items.copy()
        selection._select(mine, whose, len(scores), N)
        assert (mine[N - 1], whose[N - 1]) == expected[-1]
        assert sorted(pairs(mine[:N], whose[:N])) == sorted(expected)
        assert sorted(pairs(mine, whose)) == sorted(pairs(scores, items))


def test_lists_are_written_best_first():
    for scores, items in LISTS:
        length = len(scores)
        out_scores, out_items = np.full(length + 2, 7, scores.dtype), np.full(length + 2, 7, np.int32)
        selection.write_best_first(scores.copy(), items.copy(), length, out_scores, out_items)
        assert pairs(out_scores[:length], out_items[:length]) == best_first(scores, items)
        assert out_scores[length:].tolist() == [7, 7]


def test_heap_sort_sorts_short_lists_too():
    for scores, items in LISTS:
        mine, whose = scores.copy(), items.copy()
        selection._sort_best_first(mine, whose, len(scores))
        assert pairs(mine, whose) == best_first(scores, items)


def test_lists_are_counted_up_to_a_length_and_sorted_in_place_beyond():
    for length, in_place in ((selection.COUNTED, False), (selection.COUNTED + 1, True)):
        scores, items = np.arange(float(length)), np.arange(length, dtype=np.int32)
        selection.write_best_first(scores, items, length, np.empty(length), np.empty(length, np.int32))
        assert (scores[0] == length - 1) == in_place


def test_the_lowest_and_how_many_reach_a_level():
    for scores, _ in LISTS:
        assert selection.lowest(scores, len(scores)) == scores.min()
        assert selection.lowest(scores, 1) == scores[0]
        for level in scores[:3]:
            assert selection._count_from(scores, len(scores), level) == (scores >= level).sum()
