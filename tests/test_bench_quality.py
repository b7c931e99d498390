"""The quality benchmark measures what it says, keeps to its time, and shows all that it measured."""

import argparse
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from benchmark import ROOT, work_here
from conftest import COMPILED

from bench.__main__ import main
from bench.lab import JobError, Lab, without_missing
from bench.quality import command, fits
from bench.quality.data import NCF, RETAIL, Source
from bench.quality.report import render_quality
from bench.records import write_json
from implicit_wmf.errors import InputError

compiled = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")


def options(*words):
    parser = argparse.ArgumentParser()
    command.add_quality(parser)
    return parser.parse_args(words)


@pytest.fixture
def lab():
    return Lab(threads=1, rounds=3)


def test_columns_without_a_time_are_refused():
    with pytest.raises(InputError, match="--user: columns are named, user and item too, for a table split by --time"):
        command._source(options("--data", "events.csv", "--user", "who"))
    with pytest.raises(InputError, match="--timestamp"):
        command._source(options("--data", RETAIL, "--timestamp", "day"))
    source = command._source(options("--data", "e.csv", "--user", "u", "--item", "i", "--timestamp", "t"))
    assert source == Source("e.csv", "u", "i", None, "t")


def test_one_round_has_ours_for_every_size_and_peers_where_they_race(monkeypatch):
    monkeypatch.setattr(command, "without_missing", lambda names: [n for n in names if n.startswith("irspack")])
    jobs = command.plan_jobs(options("--factors", "8", "16", "--race", "16"))
    assert [(job["factors"], job["contestant"], job["curve"]) for job in jobs] == [
        (8, "ours auto", False),
        (16, "ours auto", True),
        (16, "ours exact", True),
        (16, "irspack exact", True),
        (16, "irspack cg 3", True),
    ]
    assert len(command.plan_jobs(options("--factors", "8", "--race"))) == 1
    assert raced("--factors", "8") == {8}
    assert raced("--factors", "8", "--race", "16") == {16}
    assert raced() == {64, 128}
    assert {job["factors"] for job in command.plan_jobs(options())} == set(command.NCF_FACTORS)


def raced(*words):
    return {job["factors"] for job in command.plan_jobs(options(*words)) if job["contestant"].startswith("irspack")}


def contestants_at(d, *words):
    return [job["contestant"] for job in command.plan_jobs(options("--factors", str(d), *words))]


def test_slow_and_senseless_contestants_are_left_out_by_size(monkeypatch):
    monkeypatch.setattr(command, "without_missing", lambda names: names)
    assert set(command.PEERS) - set(contestants_at(64)) == {"irspack iALS++"}
    assert set(command.PEERS) - set(contestants_at(128)) == {"cmfrec exact nearest", "spark exact nearest"}
    assert contestants_at(128, "--only", "spark")[2:] == ["spark exact nearest"]


def test_a_race_of_nobody_is_refused(monkeypatch):
    monkeypatch.setattr(command, "without_missing", lambda names: [n for n in names if n.startswith("irspack")])
    monkeypatch.setattr(command, "missing_peers", lambda: "Install them.")
    with pytest.raises(InputError, match=r"--only: spark cannot run here\. Install them\."):
        command.plan_jobs(options("--only", "spark", "irspack"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "'0' is no number of minutes above 0"),
        (["--minutes", "-1"], "'-1' is no number of minutes above 0"),
        (["--minutes", "nan"], "'nan' is no number of minutes above 0"),
        (["--only", "typo"], "invalid choice: 'typo'"),
        (["--output", "quality.json"], "must end in .md"),
    ],
)
def test_options_that_mean_nothing_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        options(*words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (1.0, [1.0, 0.3, 3.0]),
        (0.1, [1.0, 0.3, 0.1, 0.03]),
        (3.0, [1.0, 0.3, 3.0, 10.0]),
        (0.01, [1.0, 0.3, 0.1, 0.03, 0.01]),
        (10.0, [1.0, 0.3, 3.0, 10.0]),
    ],
)
def test_strength_is_climbed_to(best, tried):
    grid = fits.STRENGTH_FACTORS
    values = fits.climb(grid, 1.0, lambda factor: -abs(np.log(factor / best)))
    assert list(values) == tried
    assert max(values, key=values.get) == best


def test_strengths_are_chosen_for_the_nearest_alone(lab, monkeypatch):
    def run(lab, job):
        assert job["task"] == "quality.fits.strength"
        if job["contestant"].startswith("spark"):
            raise JobError("spark: no memory")
        return {"strength_factor": 0.3, "tried": [], "part": "a part", "metric": "ndcg@10"}

    monkeypatch.setattr(command, "_run", run)
    names = ["ours auto", "irspack exact", "implicit cg 3 nearest", "spark exact nearest"]
    jobs = [{"contestant": name, "factors": 8, "task": "fit", "strength_factor": 1.0} for name in names]
    found = command.choose_strengths(lab, jobs)
    assert [job["strength_factor"] for job in jobs] == [1.0, 1.0, 0.3, 1.0]
    assert [entry["contestant"] for entry in found] == names
    assert [entry.get("failure") for entry in found] == [None, None, None, "spark: no memory"]


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("baseline: implicit_wmf.errors.InputError: no such a.b: file", "baseline: InputError: no such a.b: file"),
        ("spark: ValueError: of x.y: 3", "spark: ValueError: of x.y: 3"),
        ("spark: java.lang.OutOfMemoryError", "spark: OutOfMemoryError"),
        ("spark: exit status 1", "spark: exit status 1"),
    ],
)
def test_errors_are_told_without_modules(lab, monkeypatch, told, known):
    def run(job, **options):
        raise JobError(told)

    monkeypatch.setattr(lab, "run", run)
    with pytest.raises(JobError) as caught:
        command._run(lab, {"task": "baseline"})
    assert str(caught.value) == known


def fake_clock(monkeypatch, durations, curve_seconds=0.0):
    """Let jobs take the seconds that are named for their contestants, and curves some more; rounds keep the order."""
    clock = [0.0]

    def run(lab, job):
        clock[0] += durations[job["contestant"]] + curve_seconds * job["curve"]
        if job["contestant"] == "broken":
            raise JobError("broken: out of memory")
        return {"seconds": 1.0, "points": [1] if job["curve"] else [], "curve_seconds": curve_seconds * job["curve"]}

    monkeypatch.setattr(command.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(command, "_run", run)
    monkeypatch.setattr(command.random.Random, "shuffle", lambda self, some: None)
    return [{"contestant": name, "factors": 8, "strength_factor": 1.0, "curve": True} for name in durations]


def test_rounds_have_seeds_and_leave_out_what_fails_or_takes_long(lab, monkeypatch):
    jobs = fake_clock(monkeypatch, {"ours auto": 50.0, "irspack exact": 2.0, "spark exact": 21.0, "broken": 1.0}, 30.0)
    runs = []
    assert len(list(command.run_rounds(lab, jobs, runs, deadline=3600))) == 3
    assert [(run["contestant"], run["seed"]) for run in runs] == [
        ("ours auto", 0), ("irspack exact", 0), ("spark exact", 0), ("broken", 0), ("ours auto", 1),
        ("irspack exact", 1), ("ours auto", 2), ("irspack exact", 2),
    ]  # fmt: skip
    assert [run["failure"] for run in runs[:4]] == [None, None, None, "broken: out of memory"]
    assert [bool(run.get("points")) for run in runs] == [True, True, True, False, False, False, False, False]


def test_no_round_begins_that_would_end_too_late(lab, monkeypatch):
    jobs = fake_clock(monkeypatch, {"ours auto": 10.0, "irspack exact": 10.0, "spark exact": 100.0})
    runs = []
    # the first round takes 120 s and the next, without Spark, 20 s each: a third would end at 160 s
    assert len(list(command.run_rounds(lab, jobs, runs, deadline=144))) == 2
    assert [run["seed"] for run in runs] == [0, 0, 0, 1, 1]


def test_ours_go_on_alone_when_a_whole_round_takes_too_long(lab, monkeypatch):
    jobs = fake_clock(monkeypatch, {"ours auto": 10.0, "irspack exact": 10.0, "spark exact": 100.0})
    runs = []
    assert len(list(command.run_rounds(lab, jobs, runs, deadline=153))) == 3
    assert [(run["contestant"], run["seed"]) for run in runs[5:]] == [("ours auto", 2)]


def test_the_slowest_peers_are_left_out_of_a_round_that_takes_too_long(lab, monkeypatch):
    jobs = fake_clock(monkeypatch, {"irspack exact": 15.0, "ours auto": 10.0, "implicit cg 3": 5.0})
    runs = []
    # 30 s a round; of the 16 s that are left for the third, ours take 10
    assert len(list(command.run_rounds(lab, jobs, runs, deadline=76))) == 3
    assert [run["contestant"] for run in runs[6:]] == ["ours auto", "implicit cg 3"]


def test_the_first_round_runs_whatever_the_time(lab, monkeypatch):
    jobs = fake_clock(monkeypatch, {"ours auto": 10.0})
    runs = []
    assert len(list(command.run_rounds(lab, jobs, runs, deadline=-1.0))) == 1
    assert len(runs) == 1


def test_rounds_have_orders_of_their_own(lab, monkeypatch):
    monkeypatch.setattr(command, "_run", lambda lab, job: {})
    jobs = [{"contestant": f"ours {n}", "factors": 8, "strength_factor": 1.0, "curve": False} for n in range(8)]
    orders = []
    for _ in range(2):
        runs = []
        list(command.run_rounds(lab, jobs, runs, deadline=float("inf")))
        orders.append([[run["contestant"] for run in runs if run["seed"] == seed] for seed in range(3)])
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders[0]}) == 3
    assert all(sorted(order) == sorted(job["contestant"] for job in jobs) for order in orders[0])


def run(contestant, factors, seed, hit, seconds, **others):
    metrics = [
        {"metric": name, "value": hit / times, "standard_error": 0.006 / times, "users": 5}
        for name, times in (("hit@10", 1), ("ndcg@10", 2))
    ]
    points = [{"epoch": epoch, "seconds": epoch * 1.0, "hit@10": hit, "ndcg@10": hit / 2} for epoch in (1, 2)]
    return {"contestant": contestant, "factors": factors, "seed": seed, "failure": None, "metrics": metrics,
            "seconds": seconds, "points": points, "job_seconds": 9.0} | others  # fmt: skip


@pytest.fixture
def record():
    machine = {"measured": "2020-01-02T", "cpu": "CPU", "cores": 2, "system": "Linux", "python": "3", "packages": {},
               "java": None}  # fmt: skip
    objective = {"alpha": 1.0, "regularization": 0.007, "weighting": "ials", "unobserved_weight": 0.3,
                 "regularization_exponent": 1.0}  # fmt: skip
    popular = [{"metric": "hit@10", "value": 0.45}, {"metric": "ndcg@10", "value": 0.25}]
    others = [{"metric": "hit@10", "value": 0.47}, {"metric": "ndcg@10", "value": 0.26}]
    names = ["ours auto", "irspack exact", "implicit cg 3 nearest", "spark exact nearest"]
    contestants = [{"contestant": name, "factors": 64} for name in names] + [{"contestant": "ours auto", "factors": 96}]
    contestants[2] |= {"strength_factor": 0.3, "part": "a part", "metric": "ndcg@10"}
    contestants[2]["tried"] = [{"strength_factor": factor, "value": 0.1} for factor in (1.0, 0.3, 0.1)]
    contestants[3] |= {"failure": "spark: no memory"}
    # not in the order of the plan
    runs = [run("implicit cg 3 nearest", 64, 0, 0.60, 6.0)]
    runs += [run("irspack exact", 64, 0, 0.60, 6.0), run("ours auto", 64, 0, 0.70, 2.0)]
    runs += [run("ours auto", 64, 1, 0.72, 4.0), run("irspack exact", 64, 1, 0.64, 8.0)]
    runs += [run("ours auto", 96, 0, 0.5, 2.0)]
    runs += [
        {
            "contestant": "spark exact nearest",
            "factors": 64,
            "seed": 0,
            "failure": "spark: no memory",
            "job_seconds": 1.0,
        }
    ]
    return {"benchmark": "quality", "data": Source(NCF).settings(), "threads": 2, "rounds": 3, "epochs": 12,
            "missing": "", "machine": machine, "objective": objective, "choice": None, "runs": runs, "patience": 20.0,
            "contestants": contestants,
            "baseline": {"metrics": popular, "ties": {"pessimistic": popular, "optimistic": others},
                         "protocol": "Protocol.", "left_out": {},
                         "train": {"users": 5, "items": 4, "interactions": 9}}}  # fmt: skip


def rows_of(text):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_report_shows_means_medians_and_ratios_within_rounds(record, tmp_path):
    render_quality(record, tmp_path / "quality.md")
    text = (tmp_path / "quality.md").read_text()
    rows = rows_of(text)
    both = ["0.7100 [0.7000, 0.7200]", "0.3550 [0.3500, 0.3600]", "3 [2, 4]"]
    assert ["64", "0.7217", "0.4444", *both] in rows
    assert ["96", "0.7298", "0.4504", "0.5000", "0.2500", "2"] in rows
    race = rows[rows.index(next(row for row in rows if row[0] == "contestant")) + 2 :]
    figures = ["0.6200 [0.6000, 0.6400]", "0.3100 [0.3000, 0.3200]", "7 [6, 8]"]
    assert race == [
        ["ours auto", "-", *both, "1.00 [1.00, 1.00]", "2"],
        ["irspack exact", "-", *figures, "2.50 [2.00, 3.00]", "2"],  # 6 / 2 and 8 / 4
        ["implicit cg 3 nearest", "x 0.3", "0.6000", "0.3000", "6", "3.00", "1"],
        ["spark exact nearest", "x 1, not chosen", "spark: no memory", "-", "-", "-", "1"],
    ]
    del record["contestants"][2]["tried"][2]
    render_quality(record, tmp_path / "quality.md")
    assert "| x 0.3 (edge of those tried) |" in (tmp_path / "quality.md").read_text()
    assert "standard error of 0.0060 of hit@10, 0.0030 of ndcg@10 (5 users, d = 64)" in text
    assert "2 of 3 rounds (time was up)" in text
    assert "ties optimistic, hit@10 0.4700, ndcg@10 0.2600; ties pessimistic, hit@10 0.4500, ndcg@10 0.2500." in text
    assert "of fits of as many epochs on a part." in text
    assert "took over 20 s in the first round" in text
    assert text.count("## Contestants") == 1  # only ours ran at 96
    assert "Most-popular: " not in text


def test_report_of_other_data_says_how_settings_were_chosen(record, tmp_path):
    record["data"] = Source("plays.csv").settings()
    others = [{}, {"regularization": 0.01}, {"regularization": 0.001}, {"unobserved_weight": 0.5}]
    tried = [{"metric": "ndcg@10", "value": 0.1, "objective": record["objective"] | other} for other in others]
    record["choice"] = {"factors": 32, "epochs": 8, "tried": tried, "part": "a tenth"}
    render_quality(record, tmp_path / "quality.md")
    text = (tmp_path / "quality.md").read_text()
    assert "Chosen from 4 by ndcg@10 of ours (d = 32, 8 epochs) on a tenth. The winner lies on the edge" in text
    assert "edge of what was tried (alpha0 = 0.3): a better one may lie beyond." in text
    assert "Most-popular: hit@10 0.4500, ndcg@10 0.2500." in text
    assert "published" not in text.lower()
    record["choice"]["tried"].append(tried[0] | {"objective": record["objective"] | {"unobserved_weight": 0.1}})
    render_quality(record, tmp_path / "quality.md")
    assert "edge" not in (tmp_path / "quality.md").read_text()


def test_the_report_of_a_record_is_made_again_where_asked(record, tmp_path):
    render_quality(record, tmp_path / "quality.md")
    write_json(tmp_path / "kept.json", record)
    main(["report", str(tmp_path / "kept.json"), "--output", str(tmp_path / "there" / "quality.md")])
    assert (tmp_path / "there" / "quality.md").read_text() == (tmp_path / "quality.md").read_text()
    assert not (tmp_path / "kept.md").exists()


def test_report_has_a_plot_of_the_curves(record, tmp_path):
    pytest.importorskip("matplotlib")
    render_quality(record, tmp_path / "quality.md")
    assert "(plots/quality-ndcg-10-64.png)" in (tmp_path / "quality.md").read_text()
    assert (tmp_path / "plots" / "quality-ndcg-10-64.png").stat().st_size > 1000


@compiled
def test_command_measures_a_file_and_writes_record_and_report(tmp_path, monkeypatch, capsys):
    work_here(monkeypatch)
    monkeypatch.setattr(fits, "FITTING_SECONDS", 0.05)
    generator = np.random.default_rng(0)
    rows, columns = np.nonzero(generator.random((60, 40)) < 0.3)
    pd.DataFrame({"user": rows, "item": columns}).to_csv(tmp_path / "pairs.csv", index=False)
    output = tmp_path / "out" / "quality.md"
    peers = [name for name in command.PEERS if name.startswith(("irspack", "implicit")) and name != "irspack iALS++"]
    peers = without_missing(peers)
    only = ["--only", *{name.split()[0] for name in peers}] if peers else []
    words = ["--data", tmp_path / "pairs.csv", "--factors", 8, "--rounds", 1, "--epochs", 2, *only]
    main(["quality", *map(str, words), "--cache", str(tmp_path / "cache"), "--output", str(output)])
    record = json.loads(output.with_suffix(".json").read_text())
    names = ["ours auto", "ours exact", *peers]
    assert sorted(run["contestant"] for run in record["runs"]) == sorted(names)
    assert [found["contestant"] for found in record["contestants"]] == names
    for found in record["contestants"]:
        assert ("tried" in found) == found["contestant"].endswith("nearest")
    assert str(tmp_path) not in output.with_suffix(".json").read_text()
    assert record["data"]["data"] == "pairs.csv"
    assert len(record["choice"]["tried"]) == 9
    best = max(record["choice"]["tried"], key=lambda tried: tried["value"])
    assert record["objective"] == best["objective"]
    for measured in record["runs"]:
        assert measured["failure"] is None
        assert sum(measured["fits"]) > 0.03  # of the .05 s, a fit more or less
        assert [point["epoch"] for point in measured["points"]] == [1, 2]
        assert measured["points"][-1]["ndcg@20"] == pytest.approx(measured["metrics"][1]["value"], abs=1e-6)
    text = output.read_text()
    assert text == capsys.readouterr().out
    assert re.search(r"^\| ours exact +\| - +\| 0\.\d{4}", text, flags=re.MULTILINE)
    output.unlink()
    main(["report", str(output.with_suffix(".json"))])
    assert output.read_text() == text


def test_command_says_in_a_line_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "bench", "quality", "--data", "nothing.csv", "--output", tmp_path / "q.md"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "'nothing.csv' is neither a file nor one of" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "q.md").exists()
