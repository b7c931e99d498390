"""What the benchmark measured is kept in full, shown as it was, and drawn so that it can be read."""

import json
import os
from pathlib import Path

import benchmark  # noqa: F401
import numpy as np
import pytest

from bench import plots
from bench.__main__ import main
from bench.lab import JobError
from bench.page import Page, spread
from bench.records import machine_record, read_json, write_json
from bench.speed import command, lists, report
from bench.speed.lab import SpeedLab
from bench.speed.plan import QUICK
from bench.speed.section import Section, records_of, seconds_against, timings_of
from bench.speed.sections import SECTIONS
from bench.speed.timing import Timing
from implicit_wmf import __version__
from implicit_wmf.errors import InputError

with_matplotlib = pytest.mark.skipif(not plots.available(), reason="pip install 'implicit_wmf[bench]' adds matplotlib")


def timing(contestant, seconds, **setting):
    return Timing(contestant, setting, [[seconds]])


def test_a_record_comes_back_as_it_was(tmp_path):
    record = {"benchmark": "speed", "seconds": [[0.1, 2e-9], [3.0]], "none": None, "text": 'a "[\n 1 ]" ä', "empty": []}
    path = tmp_path / "new" / "record.json"
    write_json(path, record)
    assert read_json(path) == record
    assert os.listdir(path.parent) == ["record.json"]


def test_records_hold_numpy_paths_and_what_json_cannot(tmp_path):
    path = tmp_path / "record.json"
    losses = [1.5, float("nan"), float("inf"), np.float32("-inf")]
    write_json(path, {"benchmark": "x", "losses": losses, "n": np.int64(3), "row": np.arange(2), "path": Path("a/b")})
    assert json.loads(path.read_text()) == {
        "benchmark": "x", "losses": [1.5, None, None, None], "n": 3, "row": [0, 1], "path": "a/b",
    }  # fmt: skip


def test_what_is_flat_takes_one_line(tmp_path):
    path = tmp_path / "record.json"
    setting = {"data": "a  b\n c", "d": 8}
    write_json(path, {"benchmark": "x", "rounds": [[1, 2, 3], [4.5]], "names": ["a", "b"], "setting": setting})
    assert read_json(path)["setting"] == setting
    assert [line.strip() for line in path.read_text().splitlines()] == [
        "{", '"benchmark": "x",', '"rounds": [', "[1, 2, 3],", "[4.5]", "],", '"names": [', '"a",', '"b"', "],",
        r'"setting": {"data": "a  b\n c", "d": 8}', "}",
    ]  # fmt: skip


def test_an_interrupted_write_leaves_the_old_record(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"benchmark": "old"})
    with pytest.raises(TypeError):
        write_json(path, {"benchmark": object()})
    assert read_json(path) == {"benchmark": "old"}


@pytest.mark.parametrize("text", [None, "", "{", '{"benchmark": '])
def test_what_is_no_json_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"record\.json cannot be read as a record of the benchmark"):
        read_json(path)


@pytest.mark.parametrize("text", ["[1]", "{}", "3"])
def test_json_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"record\.json is no record of the benchmark.*give the RESULTS\.json"):
        read_json(path)


def test_the_machine_is_described(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine = machine_record()
    assert machine["cores"] == os.cpu_count()
    assert machine["packages"]["numpy"] == np.__version__
    assert set(machine["packages"]) >= {"implicit_wmf", "numba", "implicit", "irspack", "cmfrec", "pyspark"}
    assert machine["environment"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert machine["environment"]["OMP_NUM_THREADS"] is None
    assert all(library["threads"] >= 1 for library in machine["blas"])
    assert machine["cpu"]
    json.dumps(machine, allow_nan=False)


def test_timings_keep_every_number():
    made = Timing("ours exact", {"data": "x", "factors": 8}, [[1.0, 2.0], [3.0]], [5.0, 4.0])
    assert Timing.from_record(json.loads(json.dumps(made.record()))) == made
    diverged = Timing.from_record({**made.record(), "losses": [5.0, None]})
    assert np.isnan(diverged.losses[1])


def test_a_contestant_of_one_round_or_that_failed_is_not_asked_again(tmp_path, monkeypatch):
    lab, asked = SpeedLab(1, 3, 1.0, tmp_path), []

    def attempt(job):
        asked.append((job["contestant"], job["curve"]))
        failure = {"failure": "boom"} if job["contestant"] == "bad" else {}
        return {"seconds": [1.0] * (not failure), "losses": [], **failure}

    monkeypatch.setattr(lab, "_attempt", attempt)
    jobs = [{"contestant": "ours exact", "curve": 2}, {"contestant": "slow", "curve": 2, "rounds": 1}]
    timings = lab.race([*jobs, {"contestant": "bad", "curve": 0}], "race")
    assert asked == [("ours exact", 2), ("slow", 2), ("bad", 0), ("ours exact", 0), ("ours exact", 0)]
    assert [len(each.rounds) for each in timings] == [3, 1, 1]
    assert timings[0].ratio_text(timings[1]) == "1.00"
    assert timings[2].failure == "boom"


def test_seconds_against_a_size_leave_failures_out():
    timings = [timing("a", 1.0, factors=8), timing("b", 5.0, factors=8), timing("a", 3.0, factors=16)]
    timings.append(Timing("b", {"factors": 16}, [[]], failure="boom"))
    assert seconds_against(timings, "factors") == {"a": ([8, 16], [1.0, 3.0]), "b": ([8], [5.0])}
    assert timings_of(records_of(timings)) == timings


@pytest.mark.parametrize(("values", "text"), [([2.0], "2"), ([1.0, 3.0, 2.0], "2 [1, 3]"), ([0.12345], "0.123")])
def test_spreads(values, text):
    assert spread(values) == text


def test_a_section_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    machine = machine_record()
    lab = SpeedLab(1, 1, 1.0, tmp_path)
    monkeypatch.setattr(lab, "run", lambda job: machine)

    def fail(lab, plan):
        raise JobError("no memory")

    sections = {
        "exact": Section(fail, None),
        "cg": Section(
            lambda lab, plan: {"seconds": [0.25]}, lambda page, record: page.text(f"took {record['seconds']}")
        ),
    }
    for module in (command, report):
        monkeypatch.setattr(module, "SECTIONS", sections)
    output = tmp_path / "out" / "results.md"
    made = report.Report(output)
    made.header(lab, QUICK)
    command.run_sections(lab, QUICK, made, ["exact", "cg"])
    text = output.read_text()
    assert "Section `exact` ended early: no memory" in text
    assert text.endswith("took [0.25]\n\n")
    assert capsys.readouterr().out == text
    record = read_json(output.with_suffix(".json"))
    assert record["sections"] == {"exact": {"failure": "no memory"}, "cg": {"seconds": [0.25]}}
    assert record["plan"] == "quick"
    assert set(record["section_seconds"]) == {"exact", "cg"}
    report.render_speed(record, tmp_path / "again.md")
    assert (tmp_path / "again.md").read_text() == text.replace("results.json", "again.json")


def test_what_there_is_no_time_for_is_named(tmp_path, monkeypatch):
    machine = machine_record()
    lab = SpeedLab(1, 3, 1.0, tmp_path)
    monkeypatch.setattr(lab, "run", lambda job: machine)

    def attempt(job):
        lab.deadline = 0.0  # long ago
        return {"seconds": [1.0], "losses": []}

    monkeypatch.setattr(lab, "_attempt", attempt)
    jobs = [{"contestant": name, "curve": 0} for name in ("ours exact", "irspack exact")]

    def measure(lab, plan):
        return {"races": [records_of(lab.race(jobs, title)) for title in ("first", "second")]}

    sections = {"exact": Section(measure, lambda page, record: None), "cg": Section(None, None)}
    for module in (command, report):
        monkeypatch.setattr(module, "SECTIONS", sections)
    output = tmp_path / "results.md"
    made = report.Report(output)
    made.header(lab, QUICK)
    command.run_sections(lab, QUICK, made, ["exact", "cg"])
    record = read_json(output.with_suffix(".json"))
    assert record["left_out"] == ["2 of 3 rounds of first", "3 of 3 rounds of second", "section `cg`"]
    first, second = map(timings_of, record["sections"]["exact"]["races"])
    assert [(len(each.rounds), each.failure) for each in first] == [(1, "")] * 2
    assert {each.failure for each in second} == {"not run: the minutes were spent"}
    text = output.read_text()
    assert text.endswith(
        "## Left out\n\nThe minutes given were spent before:\n\n* 2 of 3 rounds of first\n"
        "* 3 of 3 rounds of second\n* section `cg`\n\n"
    )
    report.render_speed(record, output)
    assert output.read_text() == text


def test_every_section_shows_races_that_had_no_time(tmp_path, monkeypatch):
    lab = SpeedLab(1, 2, 1.0, tmp_path, deadline=0.0)
    monkeypatch.setattr(lab, "run", lambda job, **_: {"rates": [1.0]})
    monkeypatch.setattr("bench.speed.lists._factors_file", lambda lab, case: tmp_path / "factors.npz")
    page = Page(tmp_path / "results.md")
    for name in ("exact", "share", "threads", "growth", "kl", "lists", "objective", "cg", "public"):
        SECTIONS[name].render(page, SECTIONS[name].measure(lab, QUICK))
    assert page.markdown.count("not run: the minutes were spent") >= 20


def test_reports_link_each_other_whatever_the_folder_holds(tmp_path):
    page = Page(tmp_path / "RESULTS.md")
    page.see_also()
    assert page.markdown == (
        "Other reports: [RESULTS-speed.md](RESULTS-speed.md), [RESULTS-speed-small.md](RESULTS-speed-small.md), "
        "[RESULTS-lists.md](RESULTS-lists.md), [RESULTS-out-of-core.md](RESULTS-out-of-core.md), "
        "[RESULTS-scaling.md](RESULTS-scaling.md).\n\n"
    )
    other = Page(tmp_path / "mine.md")
    other.see_also()
    assert other.markdown == ""


def test_factors_of_lists_are_those_of_this_code(tmp_path, monkeypatch):
    lab, jobs = SpeedLab(1, 1, 1.0, tmp_path), []
    monkeypatch.setattr(lab, "run", lambda job: jobs.append(job) or True)
    path = lists._factors_file(lab, QUICK.lists[0])
    assert str(path) == jobs[0]["output"]
    assert __version__ in path.name
    path.touch()
    assert lists._factors_file(lab, QUICK.lists[0]) == path
    assert len(jobs) == 1
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "other.py").touch()
    monkeypatch.setattr("implicit_wmf.__file__", str(tmp_path / "package" / "__init__.py"))
    assert lists._factors_file(lab, QUICK.lists[0]) != path


def test_without_matplotlib_there_are_tables_and_a_hint(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "available", lambda: False)
    page = Page(tmp_path / "results.md")
    page.curves("x", {"a": ([1], [2])}, title="t", xlabel="x", ylabel="y")
    assert page.markdown == ""
    record = {"plan": "p", "threads": 1, "rounds": 1, "missing": "", "machine": machine_record(), "sections": {}}
    report.render_speed(record, tmp_path / "results.md")
    assert "no plots. pip install 'implicit_wmf[bench]' adds it" in (tmp_path / "results.md").read_text()
    assert not (tmp_path / "plots").exists()


@with_matplotlib
def test_pages_show_the_plot_beside_them(tmp_path):
    page = Page(tmp_path / "new" / "RESULTS.md")
    page.curves("growth", {"ours exact": ([1, 2], [3.0, 4.0])}, title="Growth", xlabel="x", ylabel="y")
    page.curves("nothing", {"ours exact": ([], [])}, title="Nothing", xlabel="x", ylabel="y")
    assert page.markdown == "![Growth](plots/RESULTS-growth.png)\n\n"
    assert (tmp_path / "new" / "plots" / "RESULTS-growth.png").read_bytes()[:4] == b"\x89PNG"


@with_matplotlib
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plots_are_small_and_the_same_each_time(tmp_path, suffix):
    names = ["ours exact", "ours cg 2", "ours cg 3", "ours auto", "irspack exact", "irspack cg 3", "implicit cg 3"]
    curves = {name: ([16, 64, 512], [number, 3 * number, 40 * number]) for number, name in enumerate(names, start=1)}
    options = {"xlabel": "d", "ylabel": "s", "title": "Growth", "logx": True, "logy": True, "slopes": True}
    paths = [tmp_path / folder / f"plot{suffix}" for folder in "ab"]
    assert [plots.plot_curves(path, curves, **options) for path in paths] == [True, True]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size < 100_000


@with_matplotlib
def test_plots_name_slopes_and_drop_what_axes_cannot_show(tmp_path):
    path = tmp_path / "plot.svg"
    curves = {
        "quadratic": ([1, 2, 4, 8], [3, 12, 48, None]),
        "one": ([1, 2], [0.0, 5.0]),
        "diverged": ([1], [float("nan")]),
    }
    assert plots.plot_curves(path, curves, xlabel="x", ylabel="y", title="t", logx=True, logy=True, slopes=True)
    text = path.read_text()
    assert "quadratic, slope 2.00" in text
    assert ">one<" in text  # of one point left no slope can be told


def test_fitted_slopes_are_exponents():
    sizes = np.array([3.0, 10, 50, 80])
    assert plots.fitted_slope(sizes, 7 * sizes**1.25) == pytest.approx(1.25)
    assert np.isnan(plots.fitted_slope([2.0, 2.0], [1.0, 3.0]))


def test_contestants_look_different_and_the_same_everywhere():
    names = [
        "ours exact", "ours cg 2", "ours cg 3", "ours auto", "irspack exact", "irspack cg 3", "irspack iALS++",
        "implicit exact", "implicit cg 3", "cmfrec exact", "cmfrec cg 3 nearest", "spark exact nearest",
    ]  # fmt: skip
    styles = [tuple(plots.style(name, number).values()) for number, name in enumerate(names)]
    assert len(set(styles)) == len(names)
    assert plots.style("ours exact, d = 64") == plots.style("ours exact", 5)
    assert plots.style("published", 0) != plots.style("most popular", 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.05"), (512, "512"), (1337, "1337"), (20_000, "20k"), (1.5e6, "1.5M"), (2e9, "2G"), (0, "0")],
)
def test_axes_have_short_numbers(value, text):
    assert plots.short(value) == text


def test_a_record_is_rendered_again_by_command(tmp_path):
    record = {"benchmark": "speed", "plan": "p", "threads": 1, "rounds": 1, "missing": "", "machine": machine_record()}
    write_json(tmp_path / "r.json", {**record, "sections": {"compile": {"fits": []}}})
    main(["report", str(tmp_path / "r.json")])
    assert "First fit of a fresh process" in (tmp_path / "r.md").read_text()
    main(["report", str(tmp_path / "r.json"), "--output", str(tmp_path / "x" / "y.md")])
    assert (tmp_path / "x" / "y.md").exists()
    write_json(tmp_path / "other.json", {"benchmark": "other"})
    message = r"^bench: .*other\.json is not a record of python -m bench speed or quality or out-of-core or scaling$"
    with pytest.raises(SystemExit, match=message):
        main(["report", str(tmp_path / "other.json")])
