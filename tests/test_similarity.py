"""Similar items and users, scores of pairs, and the most popular items, against brute force."""

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, awkward_counts, to_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, Interactions, NotFittedError, scoring, similarity
from implicit_wmf.factorizers import ObservedMF
from implicit_wmf.persistence import SavedModel
from implicit_wmf.popularity import MostPopular
from implicit_wmf.similarity import normalised


def with_factors(users, items):
    """A model with these factors, whose data are of no importance."""
    model = WMF(users.shape[1], dtype=users.dtype)
    data = Interactions.from_matrix(csr_array((len(users), len(items))))
    model._fitted = SavedModel(model.config, users, items, data, [])
    return model


def slow_neighbours(factors, row, N, metric, allowed):
    """Compare with everything, sort by score and then by position; in float64."""
    factors = factors.astype(float)
    scores = factors @ factors[row]
    if metric == "cosine":
        norms = np.sqrt((factors**2).sum(axis=1))
        product = norms * norms[row]
        scores = np.where(product > 0, scores / np.where(product > 0, product, 1), 0.0)
    best = sorted(allowed, key=lambda other: (-scores[other], other))[:N]
    short = N - len(best)
    return best + [-1] * short, [*scores[best], *[np.nan] * short]


@settings(max_examples=200 if COMPILED else 30, deadline=None)
@given(st.data())
def test_neighbours_equal_brute_force(data):
    counts = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # vectors of one to four entries, all 1: cosines of 1, 1/2 or 0, exact in float32, and full of ties
    users, items = (generator.choice([0.0, 1.0], (count, 4)) for count in counts)
    for factors in (users, items):
        factors[np.isin(factors.sum(axis=1), (2, 3))] = [0, 0, 0, 1]
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    model = with_factors(users.astype(dtype), (8 * items).astype(dtype))
    side = data.draw(st.sampled_from(["items", "users"]))
    factors = getattr(model, f"{side[:-1]}_factors")
    some = st.none() | st.lists(st.integers(0, len(factors) - 1), max_size=len(factors))
    candidates, denied, metric = data.draw(st.tuples(some, some, st.sampled_from(["cosine", "dot"])))
    rows = data.draw(st.lists(st.integers(0, len(factors) - 1), max_size=5))
    N, include_self = data.draw(st.integers(1, 70)), data.draw(st.booleans())
    options = {"metric": metric, f"filter_{side}": denied, "candidates": candidates, "include_self": include_self}
    ids, scores = getattr(model, f"similar_{side}")(rows, N, **options)
    assert (ids.shape, ids.dtype, scores.dtype) == ((len(rows), N), np.int32, dtype)
    for row, ours, theirs in zip(rows, ids, scores, strict=True):
        allowed = set(range(len(factors)) if candidates is None else candidates) - set(denied or ())
        expected = slow_neighbours(factors, row, N, metric, allowed if include_self else allowed - {row})
        assert_array_equal(ours, expected[0])
        assert_array_equal(theirs, expected[1])


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("factors", [3, 16, 33])
def test_neighbours_of_real_factors(factors, metric):
    model = WMF(factors, iterations=2, random_state=0).fit(to_sparse(awkward_counts()))
    ids, scores = model.similar_items(np.arange(80), N=80, metric=metric)
    for item in range(80):
        best, expected = slow_neighbours(model.item_factors, item, 80, metric, range(80))
        assert_allclose(scores[item], expected, atol=2e-6)
        assert sorted(ids[item]) == sorted(best)
    if metric == "cosine":
        empty = 4
        assert not model.item_factors[empty].any()
        assert_array_equal(ids[empty], np.arange(80))
        assert_array_equal(scores[empty], np.zeros(80, np.float32))
        assert_array_equal(np.delete(ids[:, 0], empty), np.delete(np.arange(80), empty))


def test_one_position_gives_flat_arrays_and_the_item_itself_first(model):
    ids, scores = model_of(model).similar_items(1, N=3)
    assert ids.shape == scores.shape == (3,)
    assert (ids[0], scores[0]) == (1, pytest.approx(1, abs=1e-6))
    without, _ = model_of(model).similar_items(1, N=3, include_self=False)
    assert without.tolist() == [*ids[1:], -1]


def model_of(fitted):
    model = WMF.from_config(fitted.config)
    model._fitted = fitted._state()
    return model


def test_cosines_of_enormous_and_tiny_factors():
    generator = np.random.default_rng(0)
    factors = generator.standard_normal((20, 5))
    expected = factors / np.linalg.norm(factors, axis=1)[:, None]
    scale = 10.0 ** np.linspace(-300, 300, 20)[:, None]
    assert_allclose(normalised(factors * scale), expected, rtol=1e-12)
    assert_allclose(normalised((factors * 1e-30).astype(np.float32)), expected, rtol=1e-6)
    assert normalised(factors.astype(np.float32)).dtype == np.float32


def test_normalised_in_blocks(monkeypatch):
    factors = np.random.default_rng(1).standard_normal((23, 4))
    whole = normalised(factors)
    monkeypatch.setattr(similarity, "_ROWS", 5)
    assert_array_equal(normalised(factors), whole)


def test_neighbours_follow_a_new_fit(counts):
    model = WMF(4, iterations=1, random_state=0).fit(counts)
    before = model.similar_items(range(80), N=5)[0]
    assert model.similar_items(range(80), N=5)[0].tolist() == before.tolist()
    model.set_params(random_state=1).fit(counts)
    fresh = WMF(4, iterations=1, random_state=1).fit(counts)
    for metric in ("cosine", "dot"):
        found = model.similar_items(range(80), N=5, metric=metric)[0]
        assert_array_equal(found, fresh.similar_items(range(80), N=5, metric=metric)[0])
    assert (model.similar_items(range(80), N=5)[0] != before).any()


def test_ratings_compare_factors_without_biases(counts):
    model = ObservedMF(4, iterations=2, random_state=0).fit(counts)
    _, scores = model.similar_users(0, N=30, metric="dot")
    vectors = model.user_factors.astype(float)
    assert_allclose(scores, np.sort(vectors @ vectors[0])[::-1], atol=1e-5)


def test_saved_and_mapped_models_find_the_same(counts, tmp_path):
    model = WMF(5, iterations=1, random_state=0).fit(counts)
    model.save(tmp_path / "m")
    mapped = model_of(WMF.load(tmp_path / "m", mmap=True))
    for ours, expected in zip(mapped.similar_users([1, 2]), model_of(model).similar_users([1, 2]), strict=True):
        assert_array_equal(ours, expected)


def test_frames_hold_raw_ids(model):
    model = model_of(model)
    table = model.similar_items_frame(["tea", "jam"], N=2)
    assert list(table.columns) == ["item", "similar", "rank", "score"]
    assert table["item"].tolist() == ["tea", "tea", "jam", "jam"]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    rows = model.interactions.item_indices(["tea", "jam"])
    ids, scores = model.similar_items(rows, N=2)
    assert table["similar"].tolist() == model.interactions.items[ids.reshape(-1)].tolist()
    assert table["score"].tolist() == scores.reshape(-1).tolist()
    pd.testing.assert_frame_equal(
        model.similar_items_frame(N=1, metric="dot"),
        model.similar_items_frame(["jam", "rye", "tea"], N=1, metric="dot"),
    )
    people = model.similar_users_frame("eva", N=9, include_self=False)
    assert list(people.columns) == ["user", "similar", "rank", "score"]
    assert people["user"].tolist() == ["eva"] * 3
    assert sorted(people["similar"]) == ["ann", "bob", "cy"]
    assert len(model.similar_users_frame()) == 16
    with pytest.raises(InputError, match="1 of 2 ids are unknown: 'ale'"):
        model.similar_items_frame(["tea", "ale"])


def test_neighbours_refuse_what_they_cannot_serve(model):
    model = model_of(model)
    with pytest.raises(InputError, match="metric must be one of 'cosine', 'dot', got 'euclid'"):
        model.similar_items(0, metric="euclid")
    with pytest.raises(InputError, match="items holds 3 at position 1; indices run from 0 to 2"):
        model.similar_items([0, 3])
    with pytest.raises(InputError, match="users holds 4 at position 0; indices run from 0 to 3"):
        model.similar_users(4)
    with pytest.raises(InputError, match="candidates holds -1 at position 0"):
        model.similar_items(0, candidates=[-1])
    with pytest.raises(InputError, match="filter_users must be whole numbers"):
        model.similar_users(0, filter_users=[0.5])
    with pytest.raises(InputError, match="N must be a whole number"):
        model.similar_items(0, N=0)
    with pytest.raises(NotFittedError, match="no factors yet"):
        WMF().similar_items(0)


@pytest.mark.parametrize("estimator", [WMF, ObservedMF])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_are_those_of_the_lists(estimator, dtype, counts, monkeypatch):
    model = estimator(5, iterations=2, random_state=0, dtype=dtype).fit(counts)
    ids, scores = model.recommend(np.arange(30), N=80, filter_already_liked_items=False)
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    table = model.score(np.arange(30)[:, None], ids)
    assert (table.shape, table.dtype) == ((30, 80), np.float64)
    assert_allclose(table, scores, rtol=tolerance, atol=tolerance)
    monkeypatch.setattr(scoring, "_CHUNK", 7)
    assert_array_equal(model.score(np.arange(30)[:, None], ids), table)
    one = model.score(3, 5)
    assert type(one) is float
    assert one == model.score([3], 5)[0] == table[3][ids[3] == 5].item()
    if estimator is ObservedMF:
        assert_array_equal(model.score([1, 2], [3, 4]).round(5), model.predict([1, 2], [3, 4]).round(5))
    else:
        expected = model.user_factors.astype(float) @ model.item_factors.astype(float).T
        assert_allclose(model.score(np.arange(30)[:, None], np.arange(80)), expected, rtol=1e-12, atol=1e-15)


def test_scores_refuse_what_they_cannot_serve(model):
    model = model_of(model)
    assert model.score([], []).shape == (0,)
    with pytest.raises(InputError, match=r"shapes \(2,\) and \(3,\), which do not broadcast"):
        model.score([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="items holds 9 at position 1; indices run from 0 to 2"):
        model.score(0, [[0, 9]])
    with pytest.raises(InputError, match="users must be whole numbers .* got float64"):
        model.score(0.5, 0)
    with pytest.raises(InputError, match="items must be one index or an array of them"):
        model.score(0, [[1], [1, 2]])
    with pytest.raises(NotFittedError, match="no factors yet"):
        WMF().score(0, 0)


def test_most_popular_is_a_model_like_the_others(frame, tmp_path):
    data = Interactions.from_frame(frame, user="who", item="what", value="n")
    model = MostPopular().fit(data)
    assert model.popularity.tolist() == [2, 1, 3]
    assert_array_equal(model.user_factors @ model.item_factors.T, np.tile(model.popularity, (4, 1)))
    table = model.recommend_frame(["cy", "ann"], N=2)
    assert table["item"].tolist() == ["jam", "rye", "jam"]
    assert table["score"].tolist() == [2, 1, 2]
    model.save(tmp_path / "m")
    loaded = MostPopular.load(tmp_path / "m")
    assert loaded.recommend_frame(["cy", "ann"], N=2).equals(table)
    assert (loaded.history, repr(loaded), loaded.get_params()) == ([], "MostPopular()", {})
    new = csr_array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert model.recommend(user_items=new, N=2)[0].tolist() == [[0, 1], [2, 0]]
    with pytest.raises(InputError, match="is a MostPopular, not a WMF: load it with MostPopular.load"):
        WMF.load(tmp_path / "m")
    with pytest.raises(InputError, match="no hyper-parameter 'factors'"):
        model.set_params(factors=3)


def test_most_popular_counts_users_not_values():
    data = csr_array(np.array([[9.0, 1, 0], [-5, 1, 0], [0, 0, 3]]))
    model = MostPopular().fit(data)
    assert model.popularity.tolist() == [1, 2, 1]
    before = model.popularity
    with pytest.raises(InputError):
        model.fit("text")
    assert_array_equal(model.popularity, before)
