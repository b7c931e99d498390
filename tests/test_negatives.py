"""Drawn negatives: whom they may be, how likely each is, and that a seed repeats them."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from conftest import to_sparse

from implicit_wmf import Interactions, MostPopular
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation.negatives import draw_negatives
from implicit_wmf.evaluation.sampled import evaluate_sampled
from implicit_wmf.threads import thread_limit


def two_parts(users=12, items=20, seed=0):
    """Train and test without common pairs: an empty user, a user without test, known negatives and zeros."""
    generator = np.random.default_rng(seed)
    dense = generator.random((users, items)) < 0.4
    held = dense & (generator.random(dense.shape) < 0.4)
    held[1] = False
    dense[2] = held[2] = False
    train, test = np.where(dense & ~held, 1.0, np.nan), np.where(held, 1.0, np.nan)
    test[3, np.flatnonzero(~dense[3])[:2]] = [-1.0, 0.0]
    return Interactions.from_matrix(to_sparse(train)), Interactions.from_matrix(to_sparse(test))


class TestDrawnNegatives:
    @pytest.mark.parametrize("exponent", [0.0, 0.75])
    def test_they_are_new_to_the_user_and_all_different(self, exponent):
        train, test = two_parts()
        cases = draw_negatives(train, test, 5, popularity_exponent=exponent, random_state=0)
        wanted = np.argwhere(test.matrix.toarray() > 0)
        assert np.column_stack([cases.users, cases.positives]).tolist() == wanted.tolist()
        assert cases.negatives.shape == (len(wanted), 5)
        stored = [train.matrix.indices, test.matrix.indices]
        for user, row in zip(cases.users, cases.negatives, strict=True):
            has = {
                int(item)
                for part, indices in zip((train, test), stored, strict=True)
                for item in indices[part.matrix.indptr[user] : part.matrix.indptr[user + 1]]
            }
            assert len(set(row)) == 5
            assert not has & set(row.tolist())
            assert row.min() >= 0
            assert row.max() < 20

    def test_one_seed_is_one_draw(self):
        parts = two_parts()
        assert (draw_negatives(*parts, 5).negatives == draw_negatives(*parts, 5, random_state=0).negatives).all()
        one, same, other = (draw_negatives(*parts, 5, random_state=seed).negatives for seed in (3, 3, 4))
        assert (one == same).all()
        assert (one != other).any()
        again = draw_negatives(*parts, 5, random_state=np.random.default_rng(3)).negatives
        assert (one == again).all()

    @pytest.mark.parametrize("exponent", [0.0, 1.0])
    def test_blocks_and_threads_change_nothing(self, monkeypatch, exponent):
        parts = two_parts(60, 40)
        whole = draw_negatives(*parts, 7, popularity_exponent=exponent)
        monkeypatch.setattr("implicit_wmf.evaluation.hits._BLOCK", 3)
        for threads in (1, 3):
            with thread_limit(threads):
                again = draw_negatives(*parts, 7, popularity_exponent=exponent)
            assert (again.negatives == whole.negatives).all()

    def test_all_that_is_left_can_be_drawn_however_unlikely(self):
        # items 0 and 1 have all of the weight but 2e-18 of it, and the last user has them
        pairs = [(user, item) for user in range(1000) for item in (0, 1)] + [(0, 2), (1, 3)]
        train = Interactions.from_triples(*np.array(pairs).T, shape=(1000, 6))
        test = Interactions.from_triples(np.array([999]), np.array([5]), shape=(1000, 6))
        generator = np.random.default_rng(0)
        rounds = [
            tuple(draw_negatives(train, test, 2, popularity_exponent=6, random_state=generator).negatives[0])
            for _ in range(1000)
        ]
        assert set(rounds) == {(2, 3), (3, 2)}
        assert abs(rounds.count((2, 3)) - 500) < 6 * math.sqrt(1000 / 4)

    def test_a_catalogue_can_be_drawn_whole(self):
        train = Interactions.from_triples(np.zeros(1, int), np.array([7]), shape=(1, 500))
        test = Interactions.from_triples(np.zeros(1, int), np.array([9]), shape=(1, 500))
        drawn = draw_negatives(train, test, 498).negatives[0]
        assert sorted(drawn) == sorted(set(range(500)) - {7, 9})
        assert (drawn[1:] < drawn[:-1]).mean() == pytest.approx(0.5, abs=0.1)

    def test_every_item_that_is_left_is_as_likely(self):
        train = Interactions.from_triples(np.zeros(1, int), np.array([2]), shape=(1, 8))
        test = Interactions.from_triples(np.zeros(1, int), np.array([5]), shape=(1, 8))
        generator = np.random.default_rng(0)
        rounds = 4000
        drawn = Counter(
            int(item)
            for _ in range(rounds)
            for item in draw_negatives(train, test, 2, random_state=generator).negatives.ravel()
        )
        assert sorted(drawn) == [0, 1, 3, 4, 6, 7]
        # each is drawn with chance 1/3: six standard deviations
        assert all(abs(count - rounds / 3) < 6 * math.sqrt(rounds * 2 / 9) for count in drawn.values())

    def test_by_popularity_they_are_drawn_one_after_the_other(self):
        # users of items 0 to 3: 4, 2, 1 and nobody; the last user has nothing and looks for item 4
        pairs = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (0, 2)]
        train = Interactions.from_triples(*np.array(pairs).T, shape=(5, 5))
        test = Interactions.from_triples(np.array([4]), np.array([4]), shape=(5, 5))
        generator = np.random.default_rng(0)
        rounds = 4000
        drawn = Counter(
            tuple(sorted(draw_negatives(train, test, 2, popularity_exponent=1, random_state=generator).negatives[0]))
            for _ in range(rounds)
        )
        weights = {0: 4, 1: 2, 2: 1}
        for one, other in itertools.combinations(weights, 2):
            a, b = weights[one], weights[other]
            chance = a / 7 * b / (7 - a) + b / 7 * a / (7 - b)
            deviation = math.sqrt(rounds * chance * (1 - chance))
            assert abs(drawn[one, other] - rounds * chance) < 6 * deviation
        assert sum(drawn.values()) == rounds

    def test_they_are_ready_to_be_evaluated(self):
        train, test = two_parts()
        model = MostPopular().fit(train)
        table = evaluate_sampled(model, *draw_negatives(train, test, 4, random_state=0), metrics="hit@5", bootstrap=0)
        assert table["value"].tolist() == [1.0]
        wanted = test.matrix.toarray() > 0
        assert table["users"].tolist() == [wanted.any(axis=1).sum()]
        assert table.attrs == {"cases": wanted.sum(), "without_targets": 0}

    def test_a_user_with_too_few_items_is_named(self):
        train = Interactions.from_triples(np.array([0, 1, 1]), np.array([0, 0, 1]), shape=(2, 4), users=["ann", "bob"])
        test = Interactions.from_triples(np.array([0, 1]), np.array([3, 3]), shape=(2, 4), users=["ann", "bob"])
        assert draw_negatives(train, test, 1, random_state=0).negatives[1].tolist() == [2]
        with pytest.raises(InputError, match=r"n is 2, but user 1 \('bob'\) has only 1 items to draw from"):
            draw_negatives(train, test, 2)
        with pytest.raises(InputError, match=r"user 1 \('bob'\) has only 0 items"):
            draw_negatives(train, test, 1, popularity_exponent=0.5)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n": 0}, "n must be a whole number of at least 1, got 0"),
            ({"popularity_exponent": -1}, "popularity_exponent must be a finite number at least 0, got -1"),
            ({"random_state": "a"}, "random_state must be a whole number of at least 0, got 'a'"),
        ],
    )
    def test_wrong_options_are_refused(self, options, message):
        with pytest.raises(InputError, match=message):
            draw_negatives(*two_parts(), **options)

    def test_a_test_without_cases_is_refused(self):
        train, _ = two_parts()
        with pytest.raises(InputError, match="test holds no pair of positive value that train does not store"):
            draw_negatives(train, train)
        with pytest.raises(InputError, match="train has shape"):
            draw_negatives(train, Interactions.from_matrix(np.ones((2, 2))))
