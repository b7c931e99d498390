"""Positives ranked among sampled negatives: ties, cases, and the published figures on MovieLens 1M."""

import heapq
import itertools
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, awkward_counts, to_sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_wmf import WMF, Interactions, MostPopular
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation.sampled import evaluate_sampled
from implicit_wmf.item_knn import ItemKNN

ROOT = Path(__file__).parent.parent


DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data")) / "ml-1m-ncf"


METRICS = ("hit@1", "hit@3", "ndcg@3", "mrr@5", "recall@2", "precision@4", "map@3")


def literal_metric(name, rank):
    """A metric of one relevant item at a rank, counted from 1, by its definition."""
    kind, k = name.split("@")
    if rank > int(k):
        return 0.0
    return {"precision": 1 / int(k), "ndcg": 1 / math.log2(1 + rank), "mrr": 1 / rank, "map": 1 / rank}.get(kind, 1.0)


def literal_ranks(score, negatives, positive, ties):
    """Ranks of the positive in all orders that agree with the scores; of equal scores, as the rule says."""
    others = [item for item in dict.fromkeys(negatives) if item not in (-1, positive)]
    found = [
        order.index(positive) + 1
        for order in itertools.permutations([positive, *others])
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order))
    ]
    return {"optimistic": [min(found)], "pessimistic": [max(found)], "average": found}[ties]


class Table:
    """A model that scores by looking up."""

    def __init__(self, scores):
        self.scores = np.asarray(scores)

    def score(self, users, items):
        return self.scores[users, items]


@pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_values_are_the_means_over_all_orders_that_the_tie_rule_allows(ties, data):
    items, cases = 7, data.draw(st.integers(1, 4))
    cells = st.lists(st.integers(0, 2), min_size=items, max_size=items)
    scores = np.array(data.draw(st.lists(cells, min_size=cases, max_size=cases)), dtype=float)
    positives = data.draw(st.lists(st.integers(0, items - 1), min_size=cases, max_size=cases))
    rows = []
    for positive in positives:
        other = st.integers(0, items - 1).filter(lambda item, positive=positive: item != positive)
        rows.append([data.draw(other), *data.draw(st.lists(st.integers(-1, items - 1), min_size=4, max_size=4))])
    users = np.arange(cases)
    table = evaluate_sampled(Table(scores), users, positives, rows, metrics=METRICS, ties=ties, bootstrap=0)
    for name, value in zip(table["metric"], table["value"], strict=True):
        each = [
            np.mean([literal_metric(name, rank) for rank in literal_ranks(scores[user], rows[user], positive, ties)])
            for user, positive in enumerate(positives)
        ]
        assert value == pytest.approx(np.mean(each), abs=1e-12), name


@pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
def test_without_equal_scores_the_published_procedure_gives_the_same(ties):
    generator = np.random.default_rng(0)
    scores = generator.random((50, 300))
    positives = generator.integers(0, 300, 50)
    negatives = np.stack([generator.choice(300, 99, replace=False) for _ in range(50)])
    hits, gains = [], []
    for user in range(50):
        by_item = {item: scores[user, item] for item in [*negatives[user], positives[user]]}
        best = heapq.nlargest(10, by_item, key=by_item.get)
        hits.append(positives[user] in best)
        gains.append(math.log(2) / math.log(best.index(positives[user]) + 2) if hits[-1] else 0)
    assert (negatives == positives[:, None]).any()
    table = evaluate_sampled(Table(scores), np.arange(50), positives, negatives, ties=ties, bootstrap=0)
    assert table["metric"].tolist() == ["hit@10", "ndcg@10"]
    np.testing.assert_allclose(table["value"], [np.mean(hits), np.mean(gains)], rtol=1e-12)
    assert table["users"].tolist() == [50, 50]
    np.testing.assert_allclose(table["standard_error"][1], np.std(gains, ddof=1) / np.sqrt(50))


@pytest.mark.parametrize(("ties", "found"), [("pessimistic", 0.0), ("average", 0.1), ("optimistic", 1.0)])
def test_a_model_that_scores_everything_alike_shows_what_the_tie_rule_does(ties, found):
    flat = lambda users, items: np.zeros(np.broadcast_shapes(users.shape, items.shape))  # noqa: E731
    negatives = np.tile(np.arange(1, 100), (5, 1))
    table = evaluate_sampled(flat, np.arange(5), np.zeros(5, int), negatives, metrics="hit@10", ties=ties)
    assert table["value"].tolist() == pytest.approx([found])


def test_the_default_gives_no_credit_for_ties():
    assert evaluate_sampled(Table([[1, 1]]), [0], [0], [[1]], metrics="hit@1")["value"].tolist() == [0.0]


def test_users_without_a_positive_are_left_out_and_counted():
    model = Table([[3, 2, 1], [1, 2, 3], [1, 2, 3]])
    table = evaluate_sampled(model, [2, 1, 0], [-1, 0, 0], [[-1, -1], [1, 2], [1, 2]], metrics="hit@1")
    assert table["value"].tolist() == [0.5]
    assert table["users"].tolist() == [2]
    assert table.attrs == {"cases": 2, "without_targets": 1}


def test_cases_of_several_kinds_of_sequences_are_taken():
    model = Table(np.random.default_rng(0).random((3, 9)))
    users, positives = [0, 1, 1], [8, 7, 6]
    rows = [[1, 2, 3], [4], [0, 5]]
    padded = np.array([[1, 2, 3], [4, -1, -1], [0, 5, -1]])
    expected = evaluate_sampled(model, users, positives, padded, metrics=["mrr@3"])
    frame = pd.DataFrame({"user": users, "item": positives, "negatives": [np.array(row) for row in rows]})
    frame.index = [5, 3, 1]
    for negatives in (rows, tuple(map(tuple, rows)), frame["negatives"], padded.astype(np.int16)):
        assert evaluate_sampled(model, frame["user"], frame["item"], negatives, metrics=["mrr@3"]).equals(expected)


def test_batches_of_the_model_change_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    model = Table(generator.integers(0, 4, (20, 30)))
    arguments = (np.arange(20), generator.integers(0, 30, 20), generator.integers(0, 30, (20, 6)))
    whole = evaluate_sampled(model, *arguments, ties="average")
    monkeypatch.setattr("implicit_wmf.evaluation.sampled._PAIRS", 15)
    assert evaluate_sampled(model, *arguments, ties="average").equals(whole)


def test_the_libraries_models_are_taken_as_they_are():
    data = to_sparse(np.where(awkward_counts() > 0, 1.0, np.nan))
    users = np.flatnonzero(np.diff(data.indptr) > 0)
    positives = np.full(users.size, 79)
    negatives = np.tile(np.arange(40), (users.size, 1))
    for model in (MostPopular(), ItemKNN(), WMF(4, iterations=2, random_state=0)):
        model.fit(data)
        expected = Table(model.score(np.arange(30)[:, None], np.arange(80)))
        ours = evaluate_sampled(model, users, positives, negatives, metrics=METRICS)
        assert ours.equals(evaluate_sampled(expected, users, positives, negatives, metrics=METRICS))


def test_cases_of_one_user_are_averaged_one_by_one_but_told_as_one_user():
    generator = np.random.default_rng(0)
    model = Table(generator.random((30, 50)))
    users = generator.permutation(np.repeat(np.arange(30), generator.integers(1, 6, 30)))
    positives = generator.integers(0, 25, users.size)
    negatives = np.tile(np.arange(25, 50), (users.size, 1))
    table = evaluate_sampled(model, users, positives, negatives, metrics="mrr@10")
    assert table["users"].tolist() == [30]
    assert table.attrs == {"cases": users.size, "without_targets": 0}
    ranks = [1 + (model.scores[u, 25:] > model.scores[u, p]).sum() for u, p in zip(users, positives, strict=True)]
    values = np.array([literal_metric("mrr@10", rank) for rank in ranks])
    assert table["value"][0] == pytest.approx(values.mean(), rel=1e-12)
    # the same question asked three times tells nothing new
    thrice = evaluate_sampled(
        model, *(np.repeat(a, 3, axis=0) for a in (users, positives, negatives)), metrics="mrr@10"
    )
    for column in ("value", "standard_error", "low", "high", "users"):
        np.testing.assert_allclose(thrice[column], table[column], rtol=1e-12)


@pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
def test_cut_offs_far_beyond_the_candidates_take_no_memory(monkeypatch, ties):
    generator = np.random.default_rng(0)
    model = Table(generator.integers(0, 4, (20, 30)))
    arguments = (np.arange(20), generator.integers(0, 30, 20), generator.integers(0, 30, (20, 6)))
    few = evaluate_sampled(model, *arguments, metrics=["mrr@7", "precision@7", "ndcg@3"], ties=ties)
    monkeypatch.setattr("implicit_wmf.evaluation.metrics._CELLS", 15)  # two ranks at a time
    names = ["mrr@2000000000", "precision@2000000000", "ndcg@3"]
    many = evaluate_sampled(model, *arguments, metrics=names, ties=ties)
    np.testing.assert_allclose(many["value"], few["value"] * [1, 7 / 2e9, 1], rtol=1e-12)


class TestRefusals:
    def ask(self, model=None, users=(0, 1), positives=(0, 1), negatives=((1, 2), (0, 2)), **options):
        model = Table(np.zeros((2, 3))) if model is None else model
        return evaluate_sampled(model, users, positives, negatives, **options)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"ties": "best"}, "ties is 'best'; choose one of 'pessimistic', 'average', 'optimistic'"),
            ({"metrics": "hit@0"}, "metrics: k in 'hit@0' must be at least 1"),
            ({"metrics": "auc"}, "metrics: 'auc' needs more than a list and its targets"),
            ({"users": [0.0, 1.0]}, r"users must be whole numbers \(positions, not raw ids\), got float64"),
            ({"users": [0, -1]}, "users holds -1 at position 1; 0 is the least"),
            ({"users": 0}, r"users must be a 1-D array of positions, got one of shape \(\)"),
            ({"positives": [0]}, "positives has 1 rows for 2 users; give one for each"),
            ({"positives": [0, -2]}, "positives holds -2 at position 1; -1 is the least"),
            ({"positives": [-1, -1]}, "no user can be evaluated: positives holds no item for any of 2 users"),
            ({"negatives": [1, 2]}, r"negatives must be a 2-D array of positions, got one of shape \(2,\)"),
            ({"negatives": [[1], [2], [2]]}, "negatives has 3 rows for 2 users"),
            ({"negatives": [[1, 2], [0, -3]]}, "negatives holds -3 at position 1, 1; -1 is the least"),
            ({"negatives": [[1], ["a", "b"]]}, r"negatives: row 1 is \['a', 'b'\]; give a sequence of item positions"),
            ({"negatives": [[1, 2], [1, -1]]}, r"negatives: 1 users have none but .* position 1 \(user 1\)"),
            ({"negatives": [[1], []]}, r"negatives: 1 users have none but .* position 1 \(user 1\)"),
            ({"bootstrap": -1}, "bootstrap is -1"),
            ({"confidence": 95}, "confidence is 95; give a number between 0 and 1"),
        ],
    )
    def test_of_cases_and_options(self, arguments, message):
        with pytest.raises(InputError, match=message):
            self.ask(**arguments)

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (MostPopular, r"the model is the class MostPopular; give a fitted model"),
            (object(), r"model: object has no score\(users, items\) and cannot be called itself"),
            (
                lambda users, items: np.zeros(items.shape[0]),
                r"returned an array of shape \(2,\); asked for was \(2, 3\)",
            ),
            (lambda users, items: np.full(items.shape, "x"), "values of dtype <U1; they must be real numbers"),
            (Table([[0, 0, 0], [0, 0, np.nan]]), "1 scores are NaN, the first of user 1 and item 2"),
        ],
    )
    def test_of_what_models_return(self, model, message):
        with pytest.raises(InputError, match=message):
            self.ask(model=model)

    def test_of_users_that_the_model_does_not_know(self):
        with pytest.raises(InputError, match="users holds 7 at position"):
            self.ask(model=MostPopular().fit(np.ones((2, 3))), users=[0, 7])


needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no MovieLens 1M at {DATA}")


needs_compiler = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")


@pytest.fixture(scope="module")
def movielens():
    train, test = (pd.read_parquet(DATA / f"{part}.parquet") for part in ("train", "test"))
    data = Interactions.from_triples(train["user"], train["item"], shape=(6040, 3706))
    return data, (test["user"], test["item"], test["negatives"])


def published_wmf(factors, solver, seed):
    """The settings of Rendle et al. 2022, "Revisiting the performance of iALS", on MovieLens 1M."""
    return WMF(
        factors,
        weighting="ials",
        iterations=12,
        regularization=0.007,
        regularization_exponent=1,
        unobserved_weight=0.3,
        init_scale=0.1,
        solver=solver,
        random_state=seed,
    )


@needs_data
class TestMovieLens:
    """The split of He et al. 2017, with the negatives that they drew."""

    def test_most_popular_gives_the_published_figures(self, movielens):
        data, cases = movielens
        own = sum(item in negatives for item, negatives in zip(cases[1], cases[2], strict=True))
        assert own == 156
        table = evaluate_sampled(MostPopular().fit(data), *cases, ties="optimistic")
        assert table["value"].round(4).tolist() == [0.4538, 0.2545]
        assert table["users"].tolist() == [6040, 6040]
        assert table["value"][0] * 6040 == pytest.approx(2741, abs=1e-9)

    def test_equal_popularities_cost_less_than_a_thousandth(self, movielens):
        data, cases = movielens
        model = MostPopular().fit(data)
        values = [
            evaluate_sampled(model, *cases, ties=ties, bootstrap=0)["value"]
            for ties in ("pessimistic", "average", "optimistic")
        ]
        for lower, higher in itertools.pairwise(values):
            assert (lower < higher).all()
        assert (values[2] - values[0] < 0.001).all()

    @needs_compiler
    def test_neighbourhoods_lie_between_popularity_and_factors(self, movielens):
        data, cases = movielens
        hit, ndcg = evaluate_sampled(ItemKNN().fit(data), *cases, bootstrap=0)["value"]
        assert 0.65 < hit < 0.70
        assert 0.38 < ndcg < 0.42

    @needs_compiler
    @pytest.mark.parametrize("solver", [pytest.param("exact", marks=pytest.mark.slow), "auto"])
    @pytest.mark.parametrize(("factors", "hit", "ndcg"), [(64, 0.717, 0.443), (192, 0.727, 0.452)])
    def test_factorization_reaches_the_published_figures(self, movielens, solver, factors, hit, ndcg):
        data, cases = movielens
        values = [
            evaluate_sampled(published_wmf(factors, solver, seed).fit(data, progress=False), *cases, bootstrap=0)[
                "value"
            ]
            for seed in range(3)
        ]
        mean = np.mean(values, axis=0)
        assert mean[0] >= hit
        assert mean[1] >= ndcg
