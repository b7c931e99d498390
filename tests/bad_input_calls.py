"""Every public method that takes arguments, as calls with one argument left open, and what is to be refused there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from bad_inputs import Refused
from scipy import sparse

from implicit_wmf import WMF, ItemKNN, MostPopular, evaluation
from implicit_wmf.factorizers import KLMF, ObservedMF, SymmetricMF

USERS, ITEMS = 12, 9


def counts(square=False):
    """Whole numbers >= 0, with an empty row and an empty column."""
    generator = np.random.default_rng(0)
    dense = generator.integers(0, 4, (USERS, USERS if square else ITEMS)).astype(np.float32)
    dense[:, 3] = dense[5] = 0
    return dense


def make(estimator):
    """An estimator whose fit takes no time."""
    if estimator in (ItemKNN, MostPopular):
        return estimator()
    few = {"iterations": 4, "starts": 1} if estimator is SymmetricMF else {"iterations": 2}
    return estimator(factors=2, random_state=0, **few)


def fit(estimator, data=None):
    """A fitted estimator."""
    return make(estimator).fit(sparse.csr_array(counts(estimator is SymmetricMF) if data is None else data))


class Call(NamedTuple):
    """A method with one argument left open."""

    name: str
    argument: str  # what a refusal has to name
    refused: Callable[[], dict[str, Any]]  # values that are to be refused; made anew each time: generators end
    call: Callable[[Any, Any], Any]  # of a fitted model and the value


def calls_of(estimator):
    """The calls that this estimator has."""
    items = USERS if estimator is SymmetricMF else ITEMS
    found = [*_lists(items), *_scores(items)]
    if estimator is not ItemKNN:
        found += [*_ranks(items), *_similar("item", items), *_similar("user", USERS), *_frames()]
    return found + OWN.get(estimator, list)() + [_fit(estimator, items)]


def _asked(rows, items, optional=False):
    """No matrices of things about users; None stands for nothing where the argument is optional."""
    return lambda: Refused.matrices(rows, items) | Refused.other_shapes(rows, items) | ({} if optional else NOTHING)


NOTHING = {"nothing": None}


def _lists(items):
    pair = [0, 1]
    for name in ("items", "filter_items"):
        yield Call("recommend", name, lambda: Refused.positions(items), _given("recommend", pair, N=3, open_=name))
    for name in ("items", "filter_items", "user_items"):
        matrices = _asked(2, items, optional=True)
        yield Call("recommend", name, matrices, _given("recommend", pair, N=3, open_=name))
    yield Call("recommend", "user", lambda: Refused.positions(USERS) | NOTHING, lambda m, value: m.recommend(value))
    yield Call("recommend", "N", Refused.lengths, lambda m, value: m.recommend(pair, value))
    flag = "filter_already_liked_items"
    yield Call("recommend", flag, Refused.flags, _given("recommend", pair, open_=flag))


def _given(method, *arguments, open_, **named):
    return lambda model, value: getattr(model, method)(*arguments, **named, **{open_: value})


def _scores(items):
    flat = {"two dimensions", "ragged"}  # these take positions of any shape

    def positions(count):
        return lambda: {name: value for name, value in Refused.positions(count).items() if name not in flat}

    yield Call("score", "users", positions(USERS), lambda m, value: m.score(value, 0))
    yield Call("score", "items", positions(items), lambda m, value: m.score(0, value))


def _ranks(items):
    none = sparse.csr_array((2, items))
    yield Call("rank_counts", "users", lambda: Refused.positions(USERS), lambda m, value: m.rank_counts(value, none))
    yield Call("rank_counts", "targets", _asked(2, items), lambda m, value: m.rank_counts([0, 1], value))
    yield Call("rank_counts", "seen", _asked(2, items, True), lambda m, value: m.rank_counts([0, 1], none, value))


def _similar(side, count):
    method, positions = f"similar_{side}s", lambda: Refused.positions(count)
    yield Call(method, f"{side}s", lambda: positions() | NOTHING, lambda m, value: getattr(m, method)(value))
    yield Call(method, "N", Refused.lengths, lambda m, value: getattr(m, method)(0, value))
    for name in (f"filter_{side}s", "candidates"):
        yield Call(method, name, positions, _given(method, 0, open_=name))
    for name in ("metric", "include_self"):
        yield Call(method, name, Refused.flags, _given(method, 0, open_=name))


def _unknown_ids():
    """No raw ids of 12 users, which are their positions."""
    return {
        "unknown": [0, USERS],
        "negative": -1,
        "text": "0",
        "a nan": np.nan,
        "nothing in a list": [None],
        "unhashable": [[0]],
        "two dimensions": np.zeros((2, 2), int),
        "float16": np.zeros(2, np.float16),
        "longdouble": np.zeros(2, np.longdouble),
        "a set": {0},
        "an object": object(),
        "booleans": [True],
        "dates": np.array(["2020-01-01"], "datetime64[D]"),
        "half": 0.5,
    }


def _frames():
    for method in ("recommend_frame", "similar_users_frame"):
        yield Call(method, "users", _unknown_ids, lambda m, value, method=method: getattr(m, method)(value))
    yield Call("recommend_frame", "N", Refused.lengths, lambda m, value: m.recommend_frame([0], value))
    yield Call("recommend_frame", "unknown", Refused.flags, _given("recommend_frame", [0], open_="unknown"))


def _fit(estimator, items):
    name = {ObservedMF: "ratings|observed", SymmetricMF: "R"}.get(estimator, "data")
    return Call("fit", name, lambda: Refused.matrices(USERS, items) | NOTHING, lambda m, value: m.fit(value))


def _of_wmf():
    data = counts()
    preference, free = data[:3], ("taller", "flatter")
    new = lambda: {k: v for k, v in Refused.other_shapes(3, ITEMS).items() if k not in free}  # noqa: E731
    whole = _asked(USERS, ITEMS, True)
    negative = {"negative": -data - 1}
    short = {"negative": -preference - 1}
    return [
        Call("explain", "users", _scores(ITEMS).__next__().refused, lambda m, value: m.explain(value, 0)),
        Call("explain", "items", list(_scores(ITEMS))[1].refused, lambda m, value: m.explain(0, value)),
        Call("explain", "N", Refused.lengths, lambda m, value: m.explain(0, 0, value)),
        Call("fold_in_users", "user_items", lambda: Refused.matrices(3, ITEMS) | new() | NOTHING,
             lambda m, value: m.fold_in_users(value)),
        Call("fold_in_users", "confidence", lambda: _asked(3, ITEMS, True)() | short,
             lambda m, value: m.fold_in_users(preference, confidence=value)),
        Call("fold_in_items", "user_items", lambda: Refused.matrices(USERS, 3) | NOTHING,
             lambda m, value: m.fold_in_items(value)),
        Call("transform", "user_items", lambda: Refused.matrices(3, ITEMS) | NOTHING,
             lambda m, value: m.transform(value)),
        Call("partial_fit", "data", lambda: Refused.matrices(3, ITEMS) | NOTHING,
             lambda m, value: m.partial_fit(value)),
        Call("partial_fit", "iterations", Refused.wholes, lambda m, value: m.partial_fit(data, iterations=value)),
        Call("loss", "data", whole, lambda m, value: m.loss(value)),
        Call("loss", "confidence", lambda: whole() | negative, lambda m, value: m.loss(data, confidence=value)),
        Call("fit", "confidence", lambda: whole() | negative, lambda m, value: m.fit(data, confidence=value)),
        *_validations(data),
    ]  # fmt: skip


def _validations(data):
    new = (data == 0).astype(float)
    pairs = {"half a pair": (data,), "three of a pair": (data,) * 3, "an empty pair": (), "nothings": (None, None)}
    metrics = {"unknown": "x@3", "none": [], "of length 0": "hit@0", "negative": "hit@-1", "a half": "hit@1.5",
               "twice": ["hit@1", "hit@1"], "a number": 3, "nothing": None}  # fmt: skip
    whole = _asked(USERS, ITEMS, True)
    yield Call("fit", "validation", lambda: whole() | pairs, _given("fit", data, open_="validation"))
    yield Call("fit", "metric", lambda: metrics, _given("fit", data, validation=new, open_="metric"))
    yield Call("fit", "callback", lambda: {"text": "f", "a number": 3}, _given("fit", data, open_="callback"))
    for name in ("validate_every", "patience"):
        values = lambda name=name: {k: v for k, v in Refused.wholes().items() if v is not None or name != "patience"}  # noqa: E731
        yield Call("fit", name, values, _given("fit", data, validation=new, open_=name))
    times = {"zero": 0, "negative": -1.0, "nan": np.nan, "infinite": np.inf, "text": "1", "complex": 1j, "true": True}
    yield Call("fit", "time_budget", lambda: times, _given("fit", data, open_="time_budget"))


def _of_observed():
    data = counts()
    positions = {"one array": ([0],), "beyond": ([0, USERS], [0, 0]), "negative": ([-1], [0]), "floats": ([0.0], [0]),
                 "uneven": ([0, 1], [0]), "nothings": (None, None), "ragged": ([[0], [0, 1]], [0, 1]),
                 "masked": (np.ma.masked_array([0, 1], [0, 1]), [0, 1])}  # fmt: skip
    # a sparse pattern is looked at for its places, whatever is stored there
    cells = lambda: {k: v for k, v in _asked(USERS, ITEMS, True)().items() if not k.startswith("sparse")}  # noqa: E731
    nan = np.where(counts() > 0, np.nan, counts())
    return [
        Call("fit", "observed", lambda: cells() | positions, _given("fit", data, open_="observed")),
        Call("loss", "observed", lambda: cells() | positions, _given("loss", data, open_="observed")),
        Call("fit", "ratings", lambda: {"nan": nan}, lambda m, value: m.fit(value, observed=np.ones_like(data, bool))),
        Call("predict", "users", list(_scores(ITEMS))[0].refused, lambda m, value: m.predict(value, 0)),
        Call("predict", "items", list(_scores(ITEMS))[1].refused, lambda m, value: m.predict(0, value)),
    ]


def _of_kl():
    data = counts()
    whole = _asked(USERS, ITEMS, True)

    def sides(columns):
        free = ("taller", "flatter", "a table")
        every = Refused.matrices(3, columns) | Refused.other_shapes(3, columns) | {"negative": -np.ones((3, columns))}
        return lambda: {name: value for name, value in every.items() if name not in free}

    return [
        Call("fit", "data", lambda: {"negative": -data}, lambda m, value: m.fit(value)),
        Call("fit", "B", sides(USERS), _given("fit", data, open_="B")),
        Call("fit", "C", sides(ITEMS), _given("fit", data, open_="C")),
        Call("loss", "data", lambda: whole() | {"negative": -data}, lambda m, value: m.loss(value)),
    ]


def _of_symmetric():
    data, whole = counts(square=True), _asked(USERS, USERS, True)
    return [
        Call("fit", "R", lambda: {"not square": counts()}, lambda m, value: m.fit(value)),
        Call("fit", "P", whole, lambda m, value: m.fit(data, value)),
        Call("loss", "R", whole, lambda m, value: m.loss(value)),
        Call("loss", "P", whole, lambda m, value: m.loss(data, value)),
    ]


OWN = {WMF: _of_wmf, ObservedMF: _of_observed, KLMF: _of_kl, SymmetricMF: _of_symmetric}


def _evaluations():
    """Calls of a model fitted to the first of two parts."""
    train, test = evaluation.split_random(counts(), random_state=0)
    known = {"train": train, "test": test, "bootstrap": 5}
    sampled = {"users": [0, 1], "positives": [2, 3], "negatives": [[1, 2], [4, 5]], "bootstrap": 5}

    def evaluate(name):
        return lambda m, value: evaluation.evaluate(m, **known | {name: value})

    def one_of_few(name):
        return lambda m, value: evaluation.evaluate_sampled(m, **sampled | {name: value})

    whole = _asked(USERS, ITEMS)
    yield Call("evaluate", "train", whole, evaluate("train"))
    yield Call("evaluate", "test", whole, evaluate("test"))
    users = lambda: Refused.positions(USERS) | {"twice": [0, 0]}  # noqa: E731
    yield Call("evaluate", "users", users, evaluate("users"))
    yield Call("evaluate", "batch_size", Refused.wholes, evaluate("batch_size"))
    yield Call("evaluate", "metrics", lambda: {"unknown": "x@3", "none": [], "number": 3}, evaluate("metrics"))
    yield Call("evaluate_sampled", "users", lambda: Refused.positions(USERS), one_of_few("users"))
    yield Call("evaluate_sampled", "ties", lambda: Refused.flags() | NOTHING, one_of_few("ties"))
    negatives = lambda: {"floats": [[0.5], [1]], "text": "ab", "one": [1, 2], "masked": np.ma.masked_array([[1], [2]])}  # noqa: E731
    yield Call("evaluate_sampled", "negatives", negatives, one_of_few("negatives"))


EVALUATIONS = list(_evaluations())
