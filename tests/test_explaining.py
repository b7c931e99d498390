"""Contributions of past items, against dense normal equations."""

import numpy as np
import pytest
import reference
from conftest import COMPILED, awkward_counts, to_sparse
from numpy.testing import assert_allclose, assert_array_equal

from implicit_wmf import WMF, InputError, NotFittedError, explaining

USERS, ITEMS = (30, 80) if COMPILED else (9, 12)
WEIGHTINGS = {
    "linear": {"alpha": 3.0},
    "log": {"weighting": "log", "alpha": 2.0, "log_epsilon": 0.5},
    "ials": {"weighting": "ials", "alpha": 1.5, "unobserved_weight": 0.2},
    "raw": {"weighting": "raw"},
}
SCHEMES = {
    "uniform": {},
    "named": {"user_background": "user", "item_background": "popularity", "popularity_exponent": 0.8},
    "absence": {"item_background": "item"},
    "arrays": {"user_background": np.linspace(0, 3, USERS), "item_background": np.linspace(2, 1, ITEMS)},
    "sides": {"user_regularization": 2.0, "item_regularization": 0.5, "regularization_exponent": 0.7},
}


def literal(config, counts=None, P=None, C=None):
    """C, P and users' penalties, dense."""
    names = ("unobserved_weight", "user_background", "item_background", "popularity_exponent")
    background = {name: getattr(config, name) for name in names}
    if P is None:
        C, P = reference.confidence_and_preference(
            counts, config.weighting, config.alpha, config.log_epsilon, **background
        )
    else:
        C, P = reference.general_confidence_and_preference(P, C, **background)
    return C, P, reference.penalties(C, config.regularizations[0], config.regularization_exponent)[0]


def slow_contributions(C, P, penalty, H, user, item):
    """h_j' A^-1 h_k C_ik P_ik for every item k, from the dense system."""
    H = H.astype(float)
    A = sum(C[user, k] * np.outer(H[k], H[k]) for k in range(len(H))) + penalty[user] * np.eye(H.shape[1])
    return H @ np.linalg.solve(A, H[item]) * C[user] * P[user]


def assert_explains(model, C, P, penalty, rtol):
    users, items = np.arange(USERS)[:, None], np.arange(0, ITEMS, 5)
    scores, ids, contributions = model.explain(users, items, N=ITEMS)
    assert scores.shape == (USERS, items.size)
    assert ids.shape == contributions.shape == (USERS, items.size, ITEMS)
    rows = reference.solve_rows(C, P, model.item_factors, penalty)
    expected = rows @ model.item_factors.astype(float).T
    size = np.abs(expected).max()
    assert size > 1e-3
    assert_allclose(scores, expected[:, items], rtol=rtol, atol=rtol * size)
    assert_allclose(np.nansum(contributions, axis=2), scores, rtol=1e-10, atol=1e-10 * size)
    for user in range(USERS):
        mine = np.flatnonzero(C[user] * P[user])
        for place, item in enumerate(items):
            assert sorted(ids[user, place, : mine.size]) == mine.tolist()
            assert (ids[user, place, mine.size :] == -1).all()
            assert np.isnan(contributions[user, place, mine.size :]).all()
            every = slow_contributions(C, P, penalty, model.item_factors, user, item)
            listed = contributions[user, place, : mine.size]
            assert_allclose(listed, every[ids[user, place, : mine.size]], rtol=10 * rtol, atol=rtol * size)
            assert (np.diff(listed) <= 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_contributions_are_those_of_the_dense_system(weighting, scheme, dtype):
    counts = awkward_counts(USERS, ITEMS)
    settings = {"regularization": 0.3, "iterations": 2, "random_state": 0, "dtype": dtype}
    model = WMF(5, **settings | WEIGHTINGS[weighting] | SCHEMES[scheme]).fit(to_sparse(counts))
    assert_explains(model, *literal(model.config, counts), rtol=1e-4 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_contributions_under_given_confidences(scheme, full):
    generator = np.random.default_rng(1)
    P, C = np.full((2, USERS, ITEMS), np.nan)
    share = np.linspace(0.05, 0.9, USERS)[:, None]
    stored, weighed = generator.random(P.shape) < share, generator.random(P.shape) < share[::-1]
    P[stored] = generator.standard_normal(stored.sum())
    C[weighed] = generator.choice([0, 1e-3, 0.5, 1.0, 3.0, 40.0], weighed.sum())
    if full:
        P, C = generator.standard_normal(P.shape), generator.choice([0, 1e-11, 2e-11], P.shape)
    P[1, : ITEMS // 2] = 1.0  # a positive for everyone's activity
    C[1] = 2.0
    settings = {"regularization": 1e-11 if full else 0.3, "iterations": 2, "random_state": 0, "dtype": "float64"}
    model = WMF(4, **settings | SCHEMES[scheme]).fit(to_sparse(P), confidence=to_sparse(C))
    rtol = 1e-6 if full else 1e-9
    assert_explains(model, *literal(model.config, P=P, C=C), rtol=rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_converged_model_recommends_with_the_scores_that_are_explained(dtype):
    counts = to_sparse(awkward_counts(USERS, ITEMS))
    model = WMF(3, iterations=200, regularization=5.0, random_state=0, dtype=dtype).fit(counts, track_loss=False)
    ids, scores = model.recommend(np.arange(USERS), N=ITEMS, filter_already_liked_items=False)
    assert np.abs(scores).max() > 0.3
    assert_allclose(model.explain(np.arange(USERS)[:, None], ids).score, scores, rtol=1e-4, atol=1e-5)


def test_every_pair_adds_up_to_the_score_of_the_folded_in_row(counts):
    model = WMF(16, iterations=2, random_state=0).fit(counts)
    rows = model.fold_in_users(counts)
    users, items = np.arange(25)[:, None], np.arange(0, 80, 2)
    scores, _, contributions = model.explain(users, items, N=80)
    assert scores.size == 1000
    expected = (rows.astype(float) @ model.item_factors.astype(float).T)[users, items]
    assert_allclose(np.nansum(contributions, axis=2), expected, rtol=1e-4, atol=1e-5)


def test_one_pair_and_short_lists(counts):
    model = WMF(4, iterations=2, random_state=0, num_threads=1).fit(counts)
    everything = model.explain([20, 5, 20], [7, 7, 8], N=80)
    one = model.explain(np.int64(20), 7, N=3)
    assert type(one.score) is float
    assert one.score == pytest.approx(everything.score[0], rel=1e-12)
    assert one.ids.tolist() == everything.ids[0, :3].tolist()
    assert one.ids.dtype == np.int32
    assert_allclose(one.contributions, everything.contributions[0, :3], rtol=1e-12)
    without = model.explain(3, 7, N=2)
    assert counts[[3]].nnz == 0
    assert without.score == 0
    assert without.ids.tolist() == [-1, -1]
    assert np.isnan(without.contributions).all()
    nobody = model.explain([], [], N=2)
    assert [part.shape for part in nobody] == [(0,), (0, 2), (0, 2)]


def test_known_negatives_are_not_listed_but_have_their_say():
    dense = np.array([[1.0, -4, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1]])
    model = WMF(2, iterations=3, random_state=0, regularization=0.1).fit(dense)
    found = model.explain(0, 2, N=4)
    assert sorted(found.ids.tolist()) == [-1, -1, 0, 3]
    C, P, penalty = literal(model.config, np.where(dense == 0, np.nan, dense))
    assert C[0, 1] == 5
    assert found.score == pytest.approx(slow_contributions(C, P, penalty, model.item_factors, 0, 2).sum(), rel=1e-6)


def test_equal_contributions_go_to_the_smaller_index():
    model = WMF(2, iterations=3, random_state=0).fit(np.array([[2.0, 0, 2, 2, 1], [1, 1, 1, 1, 0]]))
    state = model._state()
    state.item_factors[2] = state.item_factors[3] = state.item_factors[0]
    assert [k for k in model.explain(0, 1, N=5).ids.tolist() if k in (0, 2, 3)] == [0, 2, 3]


def test_items_of_one_user_in_several_pieces(counts, monkeypatch):
    model = WMF(4, iterations=2, random_state=0).fit(counts)
    users, items = np.repeat([12, 4, 12], 80), np.tile(np.arange(80), 3)
    whole = model.explain(users, items, N=4)
    monkeypatch.setattr(explaining, "_PAIRS", 7)
    for ours, expected in zip(model.explain(users, items, N=4), whole, strict=True):
        assert_allclose(ours, expected, rtol=1e-10, atol=1e-14)
    assert_array_equal(whole.ids[:80], whole.ids[160:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_regularization_and_with_factors_to_spare(dtype):
    counts = awkward_counts(12, 6)
    model = WMF(9, iterations=3, regularization=0.0, random_state=0, dtype=dtype).fit(to_sparse(counts))
    scores, _, contributions = model.explain(np.arange(12)[:, None], np.arange(6), N=6)
    C, P, _ = literal(model.config, counts)
    H = model.item_factors.astype(float)
    roots = np.sqrt(C)
    expected = np.array([H @ np.linalg.lstsq(roots[i][:, None] * H, roots[i] * P[i])[0] for i in range(12)])
    assert_allclose(scores, expected, atol=1e-4 if dtype == "float32" else 1e-6)
    assert_allclose(np.nansum(contributions, axis=2), scores, rtol=1e-10, atol=1e-12)


def test_factors_of_zeros_explain_nothing():
    model = WMF(2, iterations=1, regularization=0.0, random_state=0).fit(np.array([[-1.0, 0], [0, -2]]))
    model._state().item_factors[:] = 0
    assert model.explain(0, 1).score == 0


def test_explanations_follow_a_new_fit_and_saved_models(counts, tmp_path):
    model = WMF(4, iterations=1, random_state=0).fit(counts)
    before = model.explain(9, 3)
    model.set_params(alpha=50.0)
    assert model.explain(9, 3).score == before.score  # the fitted hyper-parameters count
    model.save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m", mmap=True)
    assert loaded.explain(9, 3).score == pytest.approx(before.score, rel=1e-12)
    model.fit(counts)
    assert model.explain(9, 3).score != before.score
    assert model.explain(9, 3).score == pytest.approx(
        WMF(4, iterations=1, random_state=0, alpha=50.0).fit(counts).explain(9, 3).score
    )


def test_refuses_what_it_cannot_serve(counts):
    with pytest.raises(NotFittedError, match="no factors yet"):
        WMF().explain(0, 0)
    model = WMF(2, iterations=1, random_state=0).fit(counts)
    with pytest.raises(InputError, match="users holds 30 at position 0; indices run from 0 to 29"):
        model.explain(30, 0)
    with pytest.raises(InputError, match="items holds -1 at position 1"):
        model.explain(0, [0, -1])
    with pytest.raises(InputError, match="do not broadcast"):
        model.explain([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="N must be a whole number"):
        model.explain(0, 0, N=0)
