"""Contestants of the benchmark: what they minimise is what we mean, and the self-check would notice if not."""

import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import reference
from benchmark import ROOT
from conftest import COMPILED
from scipy.sparse import csr_array

from bench import selfcheck
from bench.contestants import CannotExpressError, Ours, Peer, WholeFits, make, takes_start
from bench.lab import without_missing
from bench.objective import Objective
from bench.peers import peer as peer_module
from bench.peers.plain import one_strength, to_plain
from bench.speed.plan import QUICK
from implicit_wmf.factorizers import KLMF

compiled = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
PEERS = without_missing(selfcheck.EXACT_PEERS)


@pytest.mark.parametrize("objective", selfcheck.OBJECTIVES, ids=str)
def test_self_check_refers_to_the_literal_objective(objective):
    dense = selfcheck._counts().toarray().astype(float)
    items = np.random.default_rng(3).standard_normal((dense.shape[1], selfcheck.FACTORS))
    settings = {"alpha": objective.alpha, "unobserved_weight": objective.unobserved_weight}
    stored = np.where(dense > 0, dense, np.nan)
    C, P = reference.confidence_and_preference(stored, objective.weighting, **settings)
    user_penalty, item_penalty = reference.penalties(C, objective.regularization, objective.regularization_exponent)
    users = reference.solve_rows(C, P, items, user_penalty)
    expected = users @ reference.solve_rows(C.T, P.T, users, item_penalty).T
    np.testing.assert_allclose(selfcheck.reference_scores(dense, objective, items), expected, rtol=1e-9, atol=1e-12)
    value = reference.loss(C, P, users, items, user_penalty, item_penalty)
    assert selfcheck.reference_value(dense, objective, users, items) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("counts", [selfcheck._counts(), selfcheck._regular_counts()], ids=["counts", "regular"])
@pytest.mark.parametrize("objective", selfcheck.CONVEX_OBJECTIVES, ids=str)
def test_self_check_has_one_minimum_and_sees_a_little_more_regularization(counts, objective):
    dense = counts.toarray().astype(float)
    starts = np.random.default_rng(7).standard_normal((2, dense.shape[1], selfcheck.FACTORS)) * [[[0.03]], [[0.3]]]
    first, second = (
        selfcheck.reference_value(dense, objective, *selfcheck.reference_minimiser(dense, objective, start))
        for start in starts
    )
    assert first == pytest.approx(second, rel=selfcheck.VALUE_TOLERANCE / 10)
    stronger = replace(objective, regularization=objective.regularization * 1.01)
    other = selfcheck.reference_minimiser(dense, stronger, starts[0])
    assert selfcheck.reference_value(dense, objective, *other) / first - 1 > 2 * selfcheck.VALUE_TOLERANCE


def with_a_tenth_more(monkeypatch):
    fit = Ours._fit

    def changed(self, epochs, **options):
        self._settings["regularization"] *= 1.1 if epochs else 1.0
        return fit(self, epochs, **options)

    monkeypatch.setattr(Ours, "_fit", changed)


def test_first_epochs_pass_ours_and_catch_another_problem(monkeypatch):
    for objective in selfcheck.OBJECTIVES:
        checks = list(selfcheck._first_epochs(["ours exact", "ours cg 24"], objective, 1))
        assert [check["verdict"] for check in checks] == ["ok", "ok"]
    with_a_tenth_more(monkeypatch)
    for objective in selfcheck.OBJECTIVES:
        checks = list(selfcheck._first_epochs(["ours exact", "ours cg 24"], objective, 1))
        assert [check["verdict"] for check in checks] == ["NOT THE SAME PROBLEM"] * 2


@compiled
def test_minima_pass_ours_and_catch_another_problem(monkeypatch):
    checks = selfcheck.selfcheck({"peers": [], "threads": 1})
    assert {check["verdict"] for check in checks} == {"ok"}
    assert len(checks) == 2 * len(selfcheck.OBJECTIVES) + 3 * len(selfcheck.CONVEX_OBJECTIVES)
    with_a_tenth_more(monkeypatch)
    checks = selfcheck.selfcheck({"peers": [], "threads": 1})
    assert {check["verdict"] for check in checks} == {"NOT THE SAME PROBLEM"}


def test_a_contestant_whose_factors_are_no_numbers_is_not_ok():
    assert selfcheck._check("objective", "name", np.nan, 1.0)["verdict"] == "NOT THE SAME PROBLEM"


@compiled
@pytest.mark.skipif(not PEERS, reason="pip install 'implicit_wmf[bench]' adds the peers")
def test_peers_solve_the_same_problem():
    command = [sys.executable, "-m", "bench", "selfcheck"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in PEERS:
        assert re.search(rf"minimum: .* {re.escape(name)} +\d\.\de-\d+ ok", result.stdout)


def dense_value(C, P, W, H, penalty):
    return (C * (P - W @ H.T) ** 2).sum() + penalty * ((W**2).sum() + (H**2).sum())


@pytest.mark.parametrize(
    ("counts", "objective", "units"),
    [
        (selfcheck._counts(), Objective(2.5, 0.3, unobserved_weight=0.4), 1.0),
        (selfcheck._counts(), Objective(2.5, 0.3, "ials", 0.4), 1.0),
        (selfcheck._regular_counts(), Objective(1.0, 0.2, "ials", 0.3, 1.0), 1.0),
        (selfcheck._regular_counts(), Objective(1.0, 0.2, "ials", 0.3, 1.0), 5.0),
        (csr_array(np.ones((6, 3), np.float32)), Objective(2.0, 0.2, regularization_exponent=0.5), 1.0),
    ],
    ids=["linear", "ials", "scaled", "cells", "stretched"],
)
def test_plain_objective_is_ours_but_for_a_constant_factor(counts, objective, units):
    dense = counts.toarray().astype(float)
    C, P = selfcheck.literal_cells(dense, objective)
    plain = to_plain(counts, objective, "Peer")
    sides = [np.full(size, units) for size in dense.shape]
    strength = one_strength(plain, *sides, nearest=False, peer="Peer", objective=objective)
    theirs = 1 + plain.weights.toarray()
    ratios = []
    for W, H in zip(*(np.random.default_rng(0).standard_normal((4, size, 3)) for size in dense.shape), strict=True):
        ours = selfcheck.reference_value(dense, objective, W * strength.user_scale, H * strength.item_scale)
        ratios.append(ours / dense_value(theirs, (dense > 0) * 1.0, W, H, units * strength.value))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


def test_nearest_strength_keeps_the_sums_of_the_penalties():
    counts = csr_array(np.array([[1.0, 1, 1], [0, 1, 0], [0, 0, 0]], dtype=np.float32))
    objective = Objective(1.0, 0.5, "ials", 0.5, 1.0)
    # total confidence: users 4.5, 2.5, 1.5, items 2.5, 3.5, 2.5; p = 1 / 1.5, so penalties are divided by 1 / 3
    plain = to_plain(counts, objective, "Peer")
    np.testing.assert_allclose(plain.user_penalties, [6.75, 3.75, 2.25])
    np.testing.assert_allclose(plain.item_penalties, [3.75, 5.25, 3.75])
    cells = np.array([3.0, 1, 0]), np.array([1.0, 2, 1])
    strength = one_strength(plain, *cells, nearest=True, peer="Peer", objective=objective)
    # the third user has no cells: 10.5 over 4 cells on the users' side, 12.75 over 4 on the items'
    assert strength.value == pytest.approx(np.sqrt(10.5 * 12.75) / 4)
    assert strength.item_scale / strength.user_scale == pytest.approx(np.sqrt(10.5 / 12.75))
    with pytest.raises(CannotExpressError, match="Peer has no way to express ials, alpha = 1"):
        one_strength(plain, *cells, nearest=False, peer="Peer", objective=objective)


class Shown(Peer):
    """A peer that shows its strength."""

    def _prepare(self, objective, solver, cg_steps):
        self.strength = self._plain(objective)[1]

    def _run(self, epochs, after_epoch=None):
        return []


def test_strength_of_the_nearest_is_multiplied():
    objective = Objective(1.0, 0.5, "ials", 0.5, 1.0)
    settings = {**objective.settings(), "factors": 2, "num_threads": 1, "random_state": 1}
    once, more = (
        Shown(selfcheck._counts(), objective, settings, "cg", 3, nearest=True, strength_factor=factor).strength
        for factor in (1.0, 3.0)
    )
    assert more == replace(once, value=3 * once.value)
    with pytest.raises(CannotExpressError, match="irspack exact minimises the objective itself; its strength cannot"):
        make("irspack exact", selfcheck._counts(), objective, 4, threads=1, strength_factor=3.0)


@pytest.mark.parametrize("objective", [Objective(1.0, 0.1, unobserved_weight=0.0), Objective(1.0, 0.1, "log")])
def test_no_background_and_other_weightings_are_not_plain(objective):
    with pytest.raises(CannotExpressError, match="Peer has no way to express"):
        to_plain(selfcheck._counts(), objective, "Peer")


class Standstill(Peer):
    """A peer that never moves from its start, in half our units."""

    def _prepare(self, objective, solver, cg_steps):
        self._user_scale = self._item_scale = 2.0

    def _run(self, epochs, after_epoch=None):
        for _ in range(epochs if after_epoch else 0):
            after_epoch(*self._first())
        return [0.5] * epochs


def test_peers_are_judged_by_the_literal_loss(monkeypatch):
    counts = csr_array(np.array([[2.0, 0, 1], [0, 3, 0]], dtype=np.float32))
    objective = Objective(2.0, 0.3, unobserved_weight=0.5)
    settings = {**objective.settings(), "factors": 2, "num_threads": 1, "random_state": 1}
    W, H = np.array([[0.2, 1.0], [0.4, -1]], dtype=np.float32), np.eye(3, 2, dtype=np.float32)
    peer = Standstill(counts, objective, settings, "cg", 3, (W, H))
    dense = np.where(counts.toarray() > 0, counts.toarray(), np.nan)
    C, P = reference.confidence_and_preference(dense, "linear", alpha=2.0, unobserved_weight=0.5)
    expected = reference.loss(C, P, W, H, np.full(2, 0.3), np.full(3, 0.3))
    assert peer.losses(2) == pytest.approx([expected, expected], rel=1e-6)
    assert peer.seconds(2) == [0.5, 0.5]
    points = peer.curve([1, 3])
    assert [(point.epoch, point.seconds) for point in points] == [(1, 0.5), (3, 1.5)]
    np.testing.assert_array_equal(points[1].users, W)
    # what was done before the first epoch counts, what is done after an epoch does not
    clock = iter([13.0, 20.0, 30.0])
    monkeypatch.setattr(peer_module.time, "perf_counter", lambda: next(clock))
    assert [point.seconds for point in peer.curve([1, 3], began=10.0)] == [3.0, 4.0]


def test_peers_start_where_ours_starts():
    counts = selfcheck._counts()
    objective = QUICK.epoch_objective
    settings = {**objective.settings(), "factors": 4, "num_threads": 1, "random_state": 1}
    start = Standstill(counts, objective, settings, "cg", 3, None).factors(1)
    ours = make("ours cg 2", counts, objective, 4, threads=1).factors(0)
    for side in (0, 1):
        np.testing.assert_array_equal(start[side], ours[side])


class Counting(WholeFits):
    """A peer whose fit takes 10 seconds and 2 an epoch, and whose factors say how many epochs there were."""

    clock = 0.0

    def _prepare(self, objective, solver, cg_steps):
        pass

    def _fit(self, epochs):
        type(self).clock += 10 + 2 * epochs
        return tuple(np.full((size, 1), epochs, dtype=np.float32) for size in self._counts.shape)


def test_epochs_of_whole_fits_are_differences(monkeypatch):
    monkeypatch.setattr(peer_module.time, "perf_counter", lambda: Counting.clock)
    objective = Objective(1.0, 0.5)
    settings = {**objective.settings(), "factors": 1, "num_threads": 1, "random_state": 1}
    peer = Counting(csr_array(np.eye(2, dtype=np.float32)), objective, settings, "exact", 3)
    assert peer.seconds(3) == pytest.approx([2.0, 2.0, 2.0])
    assert [(point.epoch, point.seconds, point.users[0, 0]) for point in peer.curve([1, 4])] == [(1, 12, 1), (4, 18, 4)]
    # 4 seconds have gone by since the clock was read
    curve = peer.curve([1, 4], began=Counting.clock - 4)
    assert [(point.epoch, point.seconds) for point in curve] == [(1, 16), (4, 22)]
    # scores 1 after one epoch: stored cells cost 0, the two others 1 each, four factors 0.5 each; then scores of 4
    assert peer.losses(2) == pytest.approx([4.0, 2 * 2 * 9 + 2 * 16 + 8.0])
    with pytest.raises(CannotExpressError, match="Counting does not show the factors that it starts from"):
        peer.factors(0)
    with pytest.raises(CannotExpressError, match="Counting cannot be given starting factors"):
        Counting(csr_array(np.eye(2)), objective, settings, "exact", 3, (np.ones((2, 1)), np.ones((2, 1))))


def test_curve_of_ours_is_that_of_shorter_fits():
    counts = selfcheck._counts()
    points = make("ours auto", counts, QUICK.epoch_objective, 4, threads=1).curve([1, 3])
    assert [point.epoch for point in points] == [1, 3]
    assert 0 < points[0].seconds < points[1].seconds
    later = make("ours auto", counts, QUICK.epoch_objective, 4, threads=1).curve([1, 3], time.perf_counter() - 100)
    assert 100 < later[0].seconds < later[1].seconds < 200
    for point in points:
        users, items = make("ours auto", counts, QUICK.epoch_objective, 4, threads=1).factors(point.epoch)
        np.testing.assert_array_equal(point.users, users)
        np.testing.assert_array_equal(point.items, items)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sweeps_are_those_of_klmf(dtype):
    counts = selfcheck._counts()
    sweeps = make(f"KLMF {dtype}", counts, QUICK.epoch_objective, 4, threads=1)
    model = KLMF(4, iterations=2, dtype=dtype, random_state=1, num_threads=1).fit(counts)
    for ours, expected in zip(sweeps.factors(2), (model.user_factors, model.item_factors), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, expected)
    assert len(sweeps.seconds(2)) == 2


@pytest.mark.parametrize("name", ["implicit cg 3", "irspack exact", "cmfrec exact", "spark exact"])
def test_peers_refuse_what_they_cannot_express(name):
    with pytest.raises(CannotExpressError, match="no way to express linear, alpha = 2"):
        make(name, selfcheck._counts(), Objective(2.0, 0.1, regularization_exponent=1.0), 4, threads=1)


def test_solvers_that_do_something_else_refuse():
    with pytest.raises(CannotExpressError, match="Cmfrec by conjugate gradients has no way to express linear"):
        make("cmfrec cg 3", selfcheck._counts(), Objective(2.0, 0.1), 4, threads=1)
    with pytest.raises(CannotExpressError, match="Spark has no solver 'cg', only 'exact'"):
        make("spark cg 3", selfcheck._counts(), Objective(2.0, 0.1), 4, threads=1)


def test_who_takes_a_start():
    assert [name for name in selfcheck.EXACT_PEERS if takes_start(name)] == selfcheck.STARTED_PEERS
    assert not takes_start("ours exact")
