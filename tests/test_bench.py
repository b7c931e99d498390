"""The benchmark runs, measures what it says, and would notice a contestant that solves another problem."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmark import ROOT, work_here
from conftest import COMPILED
from scipy.sparse import csr_array
from systems import needs_linux

from bench import data
from bench.__main__ import main
from bench.lab import JobError, missing_peers, without_missing
from bench.page import Page
from bench.shapes import Shape
from bench.speed import epochs, fits, growth, share, to_objective
from bench.speed.lab import LAST_SECONDS, RACE_SECONDS, SpeedLab
from bench.speed.plan import FULL, QUICK
from bench.speed.report import render_speed
from bench.speed.sections import SECTIONS
from bench.speed.timing import Timing

compiled = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")


def run_bench(*arguments):
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def timing(*rounds, losses=()):
    result = Timing("ours exact")
    for seconds in rounds:
        result.add({"seconds": list(seconds), "losses": list(losses)})
    return result


def is_alive(process):
    """Nobody waits for an orphan in some containers: a zombie is dead as well."""
    try:
        return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def lab(tmp_path):
    return SpeedLab(threads=1, rounds=1, budget=1.0, cache=tmp_path / "cache")


@compiled
def test_quick_run_fills_every_section(tmp_path, capsys, monkeypatch):
    environments = work_here(monkeypatch)
    output = tmp_path / "results.md"
    main(["speed", "--quick", "--cache", str(tmp_path / "cache"), "--output", str(output)])
    text = output.read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(sections) == len(SECTIONS) + 1  # growth has two
    assert "ended early" not in text
    contestants = set(re.findall(r"\| ((?:ours|irspack|implicit|cmfrec|spark) [^|]*?) *\|", text))
    raced = QUICK.within_reach((*QUICK.exact_peers, *QUICK.cg_peers), QUICK.exact_factors[0])
    assert contestants >= {"ours exact", *epochs.OURS_CG, *without_missing(raced)}
    assert "irspack iALS++" not in contestants
    for section in sections:
        rows = [line.strip("| ").split("|")[1:] for line in section.splitlines() if line.startswith("|")][2:]
        assert rows
        assert all(re.search(r"\d", cell) for cell in map(" ".join, rows))
        if not section.startswith("Time to an objective"):  # where a contestant may miss the target
            # the objective of those with a start of their own is not followed
            comparable = [row for row in rows if not any("cmfrec" in cell for cell in row)]
            assert "-" not in [cell.strip() for row in comparable for cell in row]
    assert not missing_peers() or missing_peers() in text
    record = json.loads(output.with_suffix(".json").read_text())
    assert list(record["sections"]) == list(SECTIONS)
    cold, warm = (environment["NUMBA_CACHE_DIR"] for environment in environments if "NUMBA_CACHE_DIR" in environment)
    assert cold == warm and not Path(cold).exists()
    assert {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "BLIS_NUM_THREADS": "2"} in environments
    again = tmp_path / "again" / "results.md"
    render_speed(record, again)
    assert again.read_text() == text
    for picture in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (again.parent / picture).read_bytes() == (tmp_path / picture).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speed", "--threads", "0"], "0 is not a whole number of at least 1"),
        (["speed", "--only", "everything"], "everything"),
        (["selfcheck", "--threads", "0"], "0 is not a whole number of at least 1"),
    ],
)
def test_command_line_refuses_what_it_cannot_run(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@compiled
def test_only_runs_the_named_section(tmp_path):
    output = tmp_path / "results.md"
    result = run_bench("speed", "--quick", "--only", "threads", "--cache", tmp_path, "--output", output)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^## (.*)", output.read_text(), flags=re.MULTILINE) == ["Threads"]


def test_flops_are_those_of_the_cheaper_way():
    counts = csr_array(np.array([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]))
    dual_1, dual_2, primal_4 = 2 + 1 / 3, 8 + 8 / 3, 16 + 8 / 3  # d = 2 with n = 1, 2 and 4
    assert share.epoch_flops(counts, 2) == pytest.approx((primal_4 + dual_1) + (dual_2 + 3 * dual_1))


def test_timings_are_medians_of_rounds():
    ours, peer = timing([1.0, 2.0, 9.0], [1.0]), timing([8.0], [2.0, 0.5, 2.0])
    assert (ours.best, ours.median, ours.worst) == (1.0, 1.5, 9.0)
    assert ours.seconds_text() == "1.5 [1, 9]"
    assert timing([8.0]).seconds_text() == "8"  # no spread of one measurement
    assert ours.ratios(peer) == [4.0, 2.0]
    assert ours.ratio_text(peer) == "3.00 [2.00, 4.00]"
    assert ours.ratio_text(timing([8.0])) == "4.00"  # of the only round that both have
    assert timing([1.0, 5.0], [3.0, 2.0]).seconds_until(1) == [1.0, 3.0]
    assert timing([1.0, 5.0], [3.0, 2.0]).seconds_until(2) == [6.0, 5.0]
    with_setup = Timing("ours exact")
    for setup in (10.0, 20.0):
        with_setup.add({"seconds": [1.0, 5.0], "losses": [], "setups": [setup]})
    assert with_setup.seconds_until(1) == [11.0, 21.0]
    assert Timing.from_record(with_setup.record()).seconds_until(2) == [16.0, 26.0]


def test_slopes_are_exponents():
    slopes = growth.slopes([1, 2, 4], [timing([1.0]), timing([4.0]), timing([16.0])])
    assert slopes == ["", "2.00", "2.00 (fitted to all: 2.00)"]
    rounds = growth.slopes([1, 2], [timing([1.0], [2.0], [1.0]), timing([2.0], [8.0], [8.0])])
    assert rounds == ["", "3.00 (fitted to all: 2.00 [1.00, 3.00])"]
    assert growth.slopes([1], [timing([1.0])]) == ["-"]


def test_time_to_an_objective():
    first = timing([2.0, 2.0], losses=[12.0, 10.0])
    fast = timing([1.0] * 6, losses=[11.0, 9.0, 8.0, 7.0, 6.0, 5.0])
    never = timing([3.0, 3.0], losses=[12.0, 11.0])
    slow = timing([5.0], losses=[5.0])
    assert to_objective.table_row(fast, first)[1:] == ["6", "-", "-5.0e-01", "2", "2", "2.00", "-3.0e-01"]
    assert to_objective.table_row(never, first)[1:] == ["2", "-", "+1.0e-01", "never", "-", "-", "+2.0e-01"]
    assert to_objective.table_row(slow, first)[1:] == ["1", "-", "-5.0e-01", "1", "5", "0.80", "no epoch"]
    fast.setups, first.setups = [6.0], [1.0]  # of 4 epochs that were in time, none is left
    assert to_objective.table_row(fast, first)[1:] == ["6", "6", "-5.0e-01", "2", "8", "0.62", "no epoch"]


def test_a_contestant_that_fails_leaves_the_others(lab, monkeypatch):
    def run(job, *, timeout):
        if job["contestant"] == "ours exact":
            raise JobError("ours exact: out of memory")
        return {"seconds": [1.0], "losses": []}

    monkeypatch.setattr(lab, "run", run)
    jobs = [lab.fit_job(name, QUICK.dense, QUICK.epoch_objective, 4, 1) for name in ("ours exact", "ours cg 3")]
    failed, done = lab.race(jobs, "race")
    assert failed.failure == "ours exact: out of memory"
    assert epochs.seconds_and_ratio(done, failed) == ["1", "-"]
    assert epochs.seconds_and_ratio(failed, done) == ["ours exact: out of memory", "-"]


def test_a_failing_worker_says_who_and_why(lab):
    job = lab.fit_job("ours nothing", Shape(20, 10, 40), QUICK.epoch_objective, 4, 1)
    with pytest.raises(JobError, match="ours nothing: .*solver must be one of .* got 'nothing'"):
        lab.run(job)


def test_the_first_fit_finds_nothing_imported():
    """Its task times the import of the package."""
    code = "import sys, bench.worker, bench.speed.fits; print(*{'implicit_wmf', 'numpy', 'numba'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == ""


@needs_linux("asks /proc whether a process is alive")
def test_a_worker_that_hangs_is_killed_with_its_children(lab, tmp_path, monkeypatch):
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "hanging_worker.py").write_text(program)
    monkeypatch.setattr("bench.lab.WORKER", "hanging_worker")
    began = time.monotonic()
    with pytest.raises(JobError, match=r"^spark exact: killed, not done after 2 s$"):
        lab.run({"contestant": "spark exact"}, timeout=2.0, PYTHONPATH=str(tmp_path))
    assert time.monotonic() - began < 30
    child = int((tmp_path / "child").read_text())
    while is_alive(child):  # a killed process takes a moment to be gone
        assert time.monotonic() - began < 30
        time.sleep(0.05)


def test_a_race_gives_a_worker_no_longer_than_the_minutes_last(lab, monkeypatch):
    timeouts = []

    def run(job, *, timeout):
        timeouts.append(timeout)
        return {"seconds": [1.0], "losses": []}

    monkeypatch.setattr(lab, "run", run)
    job = {"contestant": "ours exact", "curve": 0}
    for left in (None, 500.0, 1.0):
        lab.deadline = None if left is None else time.monotonic() + left
        lab.race([job], "race")
    assert timeouts == [RACE_SECONDS, pytest.approx(500, abs=30), LAST_SECONDS]


def test_whole_fits_give_one_number_a_round_or_none():
    assert fits.difference([2.0, 2.0, 2.0], 3) == [2.0]
    with pytest.raises(ValueError, match="a fit of 4 epochs took no longer than one of 1"):
        fits.difference([-0.1] * 3, 3)


@pytest.mark.parametrize("contestant", ["ours exact", "implicit cg 3"])
@compiled
def test_setup_is_timed_apart_from_the_epochs(lab, contestant):
    if not without_missing([contestant]):
        pytest.skip("not installed")
    job = lab.fit_job(
        contestant, Shape(60, 40, 300), QUICK.epoch_objective, 4, 3, all_epochs=True, with_setup=True, curve=2
    )
    result = lab.run(job)
    assert len(result["seconds"]) == 3
    assert len(result["losses"]) == 2
    assert len(result["setups"]) == 1
    assert result["setups"][0] > 0


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
    counts = data.load(str(data.data_file(tmp_path, data.MOVIELENS)))
    assert counts.toarray().tolist() == [[0, 1], [1, 1]]


def test_absent_movielens_is_said(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path / "nowhere"))
    failed = {"data": "x", "objective": "y", "race": [Timing("ours exact", failure="out of memory").record()]}
    monkeypatch.setattr(to_objective, "_compare", lambda lab, plan, data, *_: {**failed, "data": str(data)})
    measured = to_objective.OBJECTIVE.measure(lab, FULL)
    assert [comparison["data"] for comparison in measured["comparisons"]] == [str(FULL.dense)] * 2
    page = Page(tmp_path / "results.md")
    to_objective.OBJECTIVE.render(page, measured)
    assert page.markdown.count("Nothing to compare with: out of memory") == len(FULL.target_objectives)
    assert "set IMPLICIT_WMF_DATA to a folder that holds ml-1m-ncf/train.parquet" in page.markdown


def test_full_plan_has_the_shapes_it_promises():
    assert [shape.interactions for shape in FULL.growth] == [n * 1_000_000 for n in (1, 2, 4, 8, 16)]
    density = {round(shape.interactions / shape.users, 1) for shape in FULL.growth}
    assert density == {72.4}
    assert str(FULL.big[0]) == "like MovieLens 20M: 138,493 x 26,744, 20,000,263"
    assert [shape.interactions for shape in FULL.public] == [20_000_263, 17_559_530, 48_373_586]


def test_a_plan_can_be_limited_to_some_numbers_of_factors():
    plan = FULL.only_factors([64, 512])
    assert (plan.exact_factors, plan.cg_factors, plan.share_factors) == ((64,), (64, 512), (64, 512))
    assert plan.growth == FULL.growth
    assert plan.name == "full, d = 64, 512 only"
