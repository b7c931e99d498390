"""The benchmark runs, measures what it says, and would notice a contestant that solves another problem."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference
from conftest import COMPILED
from scipy.sparse import csr_array

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of the installed package; last, so that it shadows nothing

from bench import data, growth, objectives, selfcheck, share, speed  # noqa: E402
from bench.contestants import CannotExpressError, Ours, Peer, make  # noqa: E402
from bench.lab import JobError, Lab, Timing, missing_peers, without_missing  # noqa: E402
from bench.plan import FULL, MOVIELENS, QUICK, Objective, Shape  # noqa: E402
from bench.report import Report  # noqa: E402
from implicit_wmf.factorizers import KLMF  # noqa: E402

compiled = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
with_peers = pytest.mark.skipif(bool(missing_peers()), reason="pip install 'implicit_wmf[bench]' adds the peers")


def run_bench(*arguments):
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def timing(*rounds, losses=()):
    result = Timing("ours exact")
    for seconds in rounds:
        result.add({"seconds": list(seconds), "losses": list(losses)})
    return result


@pytest.fixture
def lab(tmp_path):
    return Lab(threads=1, rounds=1, budget=1.0, cache=tmp_path / "cache")


@compiled
def test_quick_run_fills_every_section(tmp_path):
    output = tmp_path / "results.md"
    result = run_bench("speed", "--quick", "--cache", tmp_path / "cache", "--output", output)
    assert result.returncode == 0, result.stderr
    text = output.read_text()
    assert text.strip() == result.stdout.strip()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(sections) == len(speed.SECTIONS) + 1  # growth has two
    assert "ended early" not in text
    contestants = {name for name in re.findall(r"\b(?:ours|irspack|implicit) [\w+]+(?: \d)?", text)}
    expected = ["ours exact", *speed.OURS_CG, *without_missing([*speed.EXACT_PEERS, *speed.CG_PEERS])]
    assert contestants >= set(expected)
    for section in sections:
        rows = [line.strip("| ").split("|")[1:] for line in section.splitlines() if line.startswith("|")][2:]
        assert rows
        assert all(re.search(r"\d", cell) for cell in map(" ".join, rows))
        if not section.startswith("Time to an objective"):  # where a contestant may miss the target
            assert "-" not in [cell.strip() for row in rows for cell in row]
    assert ("pip install 'implicit_wmf[bench]'" in text) == bool(missing_peers())


def test_command_line_refuses_what_it_cannot_run():
    result = run_bench("speed", "--threads", "0")
    assert result.returncode == 2
    assert "0 is not a whole number of at least 1" in result.stderr
    result = run_bench("speed", "--only", "everything")
    assert result.returncode == 2
    assert "everything" in result.stderr


@compiled
def test_only_runs_the_named_section(tmp_path):
    output = tmp_path / "results.md"
    result = run_bench("speed", "--quick", "--only", "threads", "--cache", tmp_path, "--output", output)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^## (.*)", output.read_text(), flags=re.MULTILINE) == ["Threads"]


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


def test_self_check_passes_ours_and_catches_another_problem(monkeypatch):
    checks = selfcheck.selfcheck(peers=False, threads=1)
    assert {check["verdict"] for check in checks} == {"ok"}
    assert len(checks) == len(selfcheck.EXACT) * len(selfcheck.OBJECTIVES)
    fit = Ours._fit

    def with_a_tenth_more(self, epochs, **options):
        self._settings["alpha"] *= 1.1 if epochs else 1.0
        return fit(self, epochs, **options)

    monkeypatch.setattr(Ours, "_fit", with_a_tenth_more)
    checks = selfcheck.selfcheck(peers=False, threads=1)
    assert {check["verdict"] for check in checks} == {"NOT THE SAME PROBLEM"}


@compiled
@with_peers
def test_peers_solve_the_same_problem():
    result = run_bench("selfcheck")
    assert result.returncode == 0, result.stdout + result.stderr
    for name in selfcheck.EXACT_PEERS:
        assert re.search(rf"{re.escape(name)} +\d\.\de-\d+ ok", result.stdout)


class Standstill(Peer):
    """A peer that never moves from its start."""

    def _prepare(self, objective, solver, cg_steps):
        pass

    def _run(self, epochs, after_epoch=None):
        for _ in range(epochs if after_epoch else 0):
            after_epoch(*self._start)
        return [0.5] * epochs


def test_peers_are_judged_by_the_literal_loss():
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


def test_peers_start_where_ours_starts():
    counts = selfcheck._counts()
    objective = QUICK.epoch_objective
    settings = {**objective.settings(), "factors": 4, "num_threads": 1, "random_state": 1}
    start = Standstill(counts, objective, settings, "cg", 3, None).factors(1)
    ours = make("ours cg 2", counts, objective, 4, threads=1).factors(0)
    for side in (0, 1):
        np.testing.assert_array_equal(start[side], ours[side])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sweeps_are_those_of_klmf(dtype):
    counts = selfcheck._counts()
    sweeps = make(f"KLMF {dtype}", counts, QUICK.epoch_objective, 4, threads=1)
    model = KLMF(4, iterations=2, dtype=dtype, random_state=1, num_threads=1).fit(counts)
    for ours, expected in zip(sweeps.factors(2), (model.user_factors, model.item_factors), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, expected)
    assert len(sweeps.seconds(2)) == 2


@pytest.mark.parametrize("name", ["implicit cg 3", "irspack exact"])
def test_peers_refuse_what_they_cannot_express(name):
    with pytest.raises(CannotExpressError, match="no way to express linear, alpha = 2"):
        make(name, selfcheck._counts(), Objective(2.0, 0.1, regularization_exponent=1.0), 4, threads=1)


def test_flops_are_those_of_the_cheaper_way():
    counts = csr_array(np.array([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]))
    dual_1, dual_2, primal_4 = 2 + 1 / 3, 8 + 8 / 3, 16 + 8 / 3  # d = 2 with n = 1, 2 and 4
    assert share.epoch_flops(counts, 2) == pytest.approx((primal_4 + dual_1) + (dual_2 + 3 * dual_1))


def test_timings_are_medians_of_rounds():
    ours, peer = timing([1.0, 2.0, 9.0], [1.0]), timing([8.0], [2.0, 0.5, 2.0])
    assert (ours.best, ours.median) == (1.0, 1.5)
    assert ours.ratio(peer) == 3.0  # of 4 and 2
    assert timing([1.0, 5.0], [3.0, 2.0]).seconds_until(1) == 2.0
    assert timing([1.0, 5.0], [3.0, 2.0]).seconds_until(2) == 5.5


def test_slopes_are_exponents():
    slopes = growth._slopes([1, 2, 4], [timing([1.0]), timing([4.0]), timing([16.0])])
    assert slopes == ["", "2.00", "2.00 (fitted to all: 2.00)"]


def test_time_to_an_objective():
    first = timing([2.0, 2.0], losses=[12.0, 10.0])
    fast = timing([1.0] * 6, losses=[11.0, 9.0, 8.0, 7.0, 6.0, 5.0])
    never = timing([3.0, 3.0], losses=[12.0, 11.0])
    slow = timing([5.0], losses=[5.0])
    assert objectives._row(fast, first)[1:] == ["6", "-5.0e-01", "2", "2", "2.00", "-3.0e-01"]
    assert objectives._row(never, first)[1:] == ["2", "+1.0e-01", "never", "-", "-", "+2.0e-01"]
    assert objectives._row(slow, first)[1:] == ["1", "-5.0e-01", "1", "5", "0.80", "no epoch"]


def test_a_contestant_that_fails_leaves_the_others(lab, monkeypatch):
    def run(job):
        if job["contestant"] == "ours exact":
            raise JobError("ours exact: out of memory")
        return {"seconds": [1.0], "losses": []}

    monkeypatch.setattr(lab, "run", run)
    jobs = [lab.fit_job(name, QUICK.dense, QUICK.epoch_objective, 4, 1) for name in ("ours exact", "ours cg 3")]
    failed, done = lab.race(jobs, "race")
    assert failed.failure == "ours exact: out of memory"
    assert speed._seconds(done, failed) == ["ours cg 3", "-", "-", "-"]
    assert speed._seconds(failed, done)[:2] == ["ours exact", "ours exact: out of memory"]
    assert done.best == 1.0


def test_a_failing_worker_says_who_and_why(lab):
    job = lab.fit_job("ours nothing", Shape(20, 10, 40), QUICK.epoch_objective, 4, 1)
    with pytest.raises(JobError, match="ours nothing: .*solver must be one of .* got 'nothing'"):
        lab.run(job)


def test_data_is_made_once_and_read_back(tmp_path):
    shape = Shape(30, 20, 100)
    path = data.data_file(tmp_path / "new", shape)
    written = path.stat().st_mtime_ns
    assert data.data_file(tmp_path / "new", shape) == path
    assert path.stat().st_mtime_ns == written
    counts = data.load(str(path))
    assert (counts.shape, counts.nnz, counts.dtype) == ((30, 20), 100, np.float32)
    assert os.listdir(path.parent) == [path.name]


def test_movielens_is_read_as_binary_counts(tmp_path, monkeypatch):
    folder = tmp_path / "ml-1m-ncf"
    folder.mkdir()
    frame = pd.DataFrame({"user": [7, 7, 3, 7], "item": [5, 9, 9, 9], "timestamp": [1, 2, 3, 4]})
    frame.to_parquet(folder / "train.parquet")
    monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path))
    counts = data.load(str(data.data_file(tmp_path, MOVIELENS)))
    assert counts.toarray().tolist() == [[0, 1], [1, 1]]


def test_absent_movielens_is_said(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path / "nowhere"))
    report = Report(tmp_path / "results.md")
    monkeypatch.setattr(objectives, "_compare", lambda lab, plan, report, data, *_: report.text(f"compared {data}"))
    objectives.objective_section(lab, FULL, report)
    text = (tmp_path / "results.md").read_text()
    assert text.count("compared") == len(FULL.target_objectives)
    assert "set IMPLICIT_WMF_DATA to a folder that holds ml-1m-ncf/train.parquet" in text


def test_full_plan_has_the_shapes_it_promises():
    assert [shape.interactions for shape in FULL.growth] == [n * 1_000_000 for n in (1, 2, 4, 8, 16)]
    density = {round(shape.interactions / shape.users, 1) for shape in FULL.growth}
    assert density == {72.4}
    assert str(FULL.big) == "138,493 x 26,744, 20,000,000"


def test_a_plan_can_be_limited_to_some_numbers_of_factors():
    plan = FULL.only_factors([64, 512])
    assert (plan.exact_factors, plan.cg_factors, plan.share_factors) == ((64,), (64, 512), (64, 512))
    assert plan.growth == FULL.growth
    assert plan.name == "full, d = 64, 512 only"
