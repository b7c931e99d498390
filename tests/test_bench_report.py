"""What the benchmark measured is kept in full, shown as it was, and drawn so that it can be read."""

import argparse
import importlib.util
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz

from implicit_wmf import __version__
from implicit_wmf.errors import InputError

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # bench is no part of the installed package; last, so that it shadows nothing

from bench import epochs, lists, plots, report, speed_command  # noqa: E402
from bench.data import data_file, load  # noqa: E402
from bench.lab import JobError, Lab, describe, missing_peers, without_missing  # noqa: E402
from bench.page import Page, Section, records_of, seconds_against, timings_of  # noqa: E402
from bench.plan import FULL, QUICK, SMALL  # noqa: E402
from bench.records import machine_record, read_json, write_json  # noqa: E402
from bench.shapes import LASTFM_360K, LIKE, MOVIELENS_20M, MSD, Shape  # noqa: E402
from bench.speed import DATA_SECTIONS, SECTIONS, run_sections  # noqa: E402
from bench.timing import Timing, spread  # noqa: E402

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
    lab, asked = Lab(1, 3, 1.0, tmp_path), []

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


def test_data_is_described_without_reading_it(tmp_path):
    shape = Shape(30, 20, 100, "like nothing")
    size = {"users": 30, "items": 20, "interactions": 100}
    assert describe(shape, data_file(tmp_path, shape)) == {"data": "like nothing", **size}
    assert describe("some/folder/file.npz", data_file(tmp_path, shape)) == {"data": "file.npz", **size}


def test_shrunk_shapes_keep_the_length_of_rows():
    for shape in (MOVIELENS_20M, LASTFM_360K, MSD):
        small = shape.shrunk(20)
        assert small.interactions / small.users == pytest.approx(shape.interactions / shape.users, rel=1e-3)
        assert small.interactions / small.items == pytest.approx(shape.interactions / shape.items, rel=1e-3)
        assert small.label == f"{shape.label}, 1/20"
    assert str(Shape(1000, 10, 2000).shrunk(10)) == "100 x 1, 200"


def test_all_plans_have_data_that_can_be_made():
    for plan in (FULL, SMALL, QUICK):
        shapes = [*plan.data, *plan.growth, *plan.public, *plan.big, *(case.shape for case in plan.lists)]
        for shape in shapes:
            assert shape.interactions <= shape.users * shape.items // 2, f"{plan.name}: {shape}"


def test_small_races_all_peers_and_full_limits_are_of_contestants():
    assert {name.split()[0] for name in (*SMALL.exact_peers, *SMALL.cg_peers)} == {
        "irspack", "implicit", "cmfrec", "spark",
    }  # fmt: skip
    for plan in (FULL, SMALL):
        contestants = {*plan.exact_peers, *plan.cg_peers, *plan.growth_contestants, *plan.public_contestants}
        assert {*plan.up_to, *plan.above, *plan.rounds_of} <= contestants
        assert max(shape.interactions for shape in SMALL.growth) <= 2_000_100


def test_whole_fits_are_timed_over_several_epochs_and_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.epochs.without_missing", list)
    shape = Shape(30, 20, 100)
    for plan in (FULL, SMALL):
        lab = Lab(1, plan.rounds, 1.0, tmp_path)
        names = ("spark exact nearest", "cmfrec exact", "irspack exact")
        spark, cmfrec, irspack = epochs._jobs(lab, plan, names, shape, 64, curve=7)
        assert (spark["epochs"] >= 5, spark["rounds"], spark["all_epochs"], spark["curve"]) == (True, 2, True, 0)
        assert (cmfrec["epochs"] >= 5, cmfrec["rounds"], cmfrec["all_epochs"]) == (True, plan.rounds, True)
        assert (irspack["all_epochs"], irspack["curve"]) == (False, 7)


def test_irspack_by_blocks_is_raced_where_there_are_several():
    for plan in (FULL, SMALL, QUICK):
        for factors in (16, 64, 65, 128):
            kept = plan.within_reach(("irspack iALS++",), factors)
            assert kept == (["irspack iALS++"] if factors > 64 else [])


def test_contestants_beyond_reach_are_left_out():
    plan = replace(QUICK, up_to={"b": 64}, above={"c": 64})
    assert plan.within_reach(("a", "b"), 64) == ["a", "b"]
    assert plan.within_reach(("a", "b"), 65) == ["a"]
    assert plan.within_reach(("a", "c"), 64) == ["a"]
    assert plan.within_reach(("a", "c"), 65) == ["a", "c"]


def test_a_plan_for_given_data():
    plan = SMALL.on_data("/some/where/plays.npz")
    assert plan.data == ("/some/where/plays.npz",)
    assert plan.name == "small, data plays.npz"
    assert plan.movielens_objectives == ()
    assert {name: FULL.on_data(name).data for name in LIKE} == {name: (shape,) for name, shape in LIKE.items()}
    assert set(DATA_SECTIONS) <= set(SECTIONS)


def test_synthetic_data_has_a_long_tail(tmp_path):
    shape = LASTFM_360K.shrunk(100)
    counts = load(str(data_file(tmp_path, shape)))
    assert (*counts.shape, counts.nnz) == (shape.users, shape.items, shape.interactions)
    popularity = np.sort(np.bincount(counts.indices, minlength=shape.items))[::-1]
    assert popularity[: shape.items // 10].sum() > 0.5 * counts.nnz
    assert np.median(popularity) < 0.5 * popularity.mean()


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
    lab = Lab(1, 1, 1.0, tmp_path)
    monkeypatch.setattr(lab, "run", lambda job: machine)

    def fail(lab, plan):
        raise JobError("no memory")

    sections = {
        "exact": Section(fail, None),
        "cg": Section(
            lambda lab, plan: {"seconds": [0.25]}, lambda page, record: page.text(f"took {record['seconds']}")
        ),
    }
    for module in ("bench.speed", "bench.report"):
        monkeypatch.setattr(sys.modules[module], "SECTIONS", sections)
    output = tmp_path / "out" / "results.md"
    made = report.Report(output)
    made.header(lab, QUICK)
    run_sections(lab, QUICK, made, ["exact", "cg"])
    text = output.read_text()
    assert "Section `exact` ended early: no memory" in text
    assert text.endswith("took [0.25]\n\n")
    assert capsys.readouterr().out == text
    record = read_json(output.with_suffix(".json"))
    assert record["sections"] == {"exact": {"failure": "no memory"}, "cg": {"seconds": [0.25]}}
    assert record["plan"] == "quick"
    assert set(record["section_seconds"]) == {"exact", "cg"}
    report.render(record, tmp_path / "again.md")
    assert (tmp_path / "again.md").read_text() == text.replace("results.json", "again.json")


def test_what_there_is_no_time_for_is_named(tmp_path, monkeypatch):
    machine = machine_record()
    lab = Lab(1, 3, 1.0, tmp_path)
    monkeypatch.setattr(lab, "run", lambda job: machine)

    def attempt(job):
        lab.deadline = 0.0  # long ago
        return {"seconds": [1.0], "losses": []}

    monkeypatch.setattr(lab, "_attempt", attempt)
    jobs = [{"contestant": name, "curve": 0} for name in ("ours exact", "irspack exact")]

    def measure(lab, plan):
        return {"races": [records_of(lab.race(jobs, title)) for title in ("first", "second")]}

    sections = {"exact": Section(measure, lambda page, record: None), "cg": Section(None, None)}
    for module in ("bench.speed", "bench.report"):
        monkeypatch.setattr(sys.modules[module], "SECTIONS", sections)
    output = tmp_path / "results.md"
    made = report.Report(output)
    made.header(lab, QUICK)
    run_sections(lab, QUICK, made, ["exact", "cg"])
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
    report.render(record, output)
    assert output.read_text() == text


def test_every_section_shows_races_that_had_no_time(tmp_path, monkeypatch):
    lab = Lab(1, 2, 1.0, tmp_path, deadline=0.0)
    monkeypatch.setattr(lab, "run", lambda job, **_: {"rates": [1.0]})
    monkeypatch.setattr("bench.lists._factors_file", lambda lab, case: tmp_path / "factors.npz")
    page = Page(tmp_path / "results.md")
    for name in ("exact", "share", "threads", "growth", "kl", "lists", "objective", "cg", "public"):
        SECTIONS[name].render(page, SECTIONS[name].measure(lab, QUICK))
    assert page.markdown.count("not run: the minutes were spent") >= 20


def test_reports_link_each_other_whatever_the_folder_holds(tmp_path):
    page = Page(tmp_path / "RESULTS.md")
    page.see_also()
    assert page.markdown == (
        "Other reports: [RESULTS-speed.md](RESULTS-speed.md), [RESULTS-speed-small.md](RESULTS-speed-small.md), "
        "[RESULTS-lists.md](RESULTS-lists.md).\n\n"
    )
    other = Page(tmp_path / "mine.md")
    other.see_also()
    assert other.markdown == ""


def test_factors_of_lists_are_those_of_this_code(tmp_path, monkeypatch):
    lab, jobs = Lab(1, 1, 1.0, tmp_path), []
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
    report.render(record, tmp_path / "results.md")
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


def test_sizes_of_matrices_are_those_of_the_file(tmp_path):
    path = tmp_path / "plays.npz"
    save_npz(path, csr_array(np.array([[1.0, 0, 2], [0, 0, 0]])))
    assert describe(str(path), path) == {"data": "plays.npz", "users": 2, "items": 3, "interactions": 2}


def parsed(add, *arguments):
    parser = argparse.ArgumentParser()
    add(parser)
    return parser.parse_args(list(map(str, arguments)))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "full"),
        (["--small"], "small"),
        (["--quick"], "quick"),
        (["--small", "--data", "like-msd"], "small, data like-msd"),
        (["--factors", 64, 128], "full, d = 64, 128 only"),
    ],
)
def test_options_choose_the_plan(arguments, name):
    assert speed_command.plan_of(parsed(speed_command.add_speed, *arguments)).name == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", 0], "0 is not a whole number of at least 1"),
        (["--small", "--quick"], "not allowed with argument"),
        (["--only", "everything"], "invalid choice: 'everything'"),
        (["--output", "x.json"], "x.json is the path of a report and must end in .md"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parsed(speed_command.add_speed, *arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "RESULTS-speed.md"),
        (["--small"], "RESULTS-speed-small.md"),
        (["--quick"], "RESULTS-speed-quick.md"),
        (["--only", "exact", "cg"], "RESULTS-speed-exact-cg.md"),
        (["--small", "--factors", 64, 128], "RESULTS-speed-small-d64-d128.md"),
        (["--data", "x/plays.npz"], "RESULTS-speed-plays.md"),
    ],
)
def test_parts_do_not_replace_the_report_of_the_whole(arguments, name):
    assert speed_command._file_name(parsed(speed_command.add_speed, *arguments)) == name


@pytest.mark.parametrize(
    ("arguments", "minutes"),
    [([], None), (["--small"], 9), (["--small", "--minutes", 2.5], 2.5), (["--minutes", 0], 0)],
)
def test_minutes_are_those_given(arguments, minutes, tmp_path, monkeypatch):
    labs = []
    monkeypatch.setattr(Lab, "run", lambda self, job: machine_record())
    monkeypatch.setattr(speed_command, "run_sections", lambda lab, *_: labs.append(lab))
    speed_command.run_speed(parsed(speed_command.add_speed, *arguments, "--output", tmp_path / "r.md"))
    deadline = labs[0].deadline
    assert (deadline is None) if minutes is None else deadline - time.monotonic() == pytest.approx(60 * minutes, abs=30)


def test_the_cache_is_the_users_own():
    assert Path.home() in speed_command.CACHE.parents or "XDG_CACHE_HOME" in os.environ


def test_data_that_is_not_there_ends_the_run_at_once(tmp_path):
    output = tmp_path / "results.md"
    arguments = ["--data", tmp_path / "none.npz", "--cache", tmp_path, "--output", output]
    with pytest.raises(InputError, match=r"none\.npz' is neither a file nor one of"):
        speed_command.run_speed(parsed(speed_command.add_speed, *arguments))
    assert not output.exists()


def test_given_data_run_the_sections_about_data(tmp_path, monkeypatch):
    save_npz(tmp_path / "plays.npz", csr_array(np.eye(4, 3)))
    seen = {}
    monkeypatch.setattr(Lab, "run", lambda self, job: machine_record())
    monkeypatch.setattr(
        speed_command, "run_sections", lambda lab, plan, report, names: seen.update(plan=plan, names=names)
    )
    arguments = [
        "--quick",
        "--data",
        tmp_path / "plays.npz",
        "--cache",
        tmp_path / "cache",
        "--output",
        tmp_path / "r.md",
    ]
    speed_command.run_speed(parsed(speed_command.add_speed, *arguments))
    assert seen["names"] == list(DATA_SECTIONS)
    assert seen["plan"].data == (str(tmp_path / "plays.npz"),)
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()


def test_a_record_is_rendered_again_by_command(tmp_path):
    record = {"benchmark": "speed", "plan": "p", "threads": 1, "rounds": 1, "missing": "", "machine": machine_record()}
    write_json(tmp_path / "r.json", {**record, "sections": {"compile": {"fits": []}}})
    speed_command.run_report(parsed(speed_command.add_report, tmp_path / "r.json"))
    assert "First fit of a fresh process" in (tmp_path / "r.md").read_text()
    speed_command.run_report(parsed(speed_command.add_report, tmp_path / "r.json", "--output", tmp_path / "x" / "y.md"))
    assert (tmp_path / "x" / "y.md").exists()
    write_json(tmp_path / "other.json", {"benchmark": "other"})
    with pytest.raises(InputError, match=r"other\.json is not a record of python -m bench speed"):
        speed_command.run_report(parsed(speed_command.add_report, tmp_path / "other.json"))


def only_these(monkeypatch, modules, java):
    find = importlib.util.find_spec
    peers = {"implicit", "irspack", "cmfrec", "pyspark"}
    monkeypatch.setattr(
        "bench.lab.importlib.util.find_spec",
        lambda name, package=None: (True if name in modules else None) if name in peers else find(name, package),
    )
    monkeypatch.setattr("bench.lab.shutil.which", lambda name, path=None: "java" if java else None)


def test_missing_peers_are_named_and_left_out(monkeypatch):
    everyone = ["ours exact", "irspack exact", "implicit cg 3", "cmfrec exact", "spark exact nearest", "KLMF float32"]
    only_these(monkeypatch, {"implicit", "irspack", "cmfrec", "pyspark"}, java=True)
    assert missing_peers() == ""
    assert without_missing(everyone) == everyone
    only_these(monkeypatch, {"implicit", "pyspark"}, java=False)
    assert without_missing(everyone) == ["ours exact", "implicit cg 3", "KLMF float32"]
    assert "Without irspack, cmfrec (not installed): pip install 'implicit_wmf[bench]'" in missing_peers()
    assert "Spark, which needs Java 17 or newer" in missing_peers()
    only_these(monkeypatch, set(), java=False)
    assert "pyspark" in missing_peers()
    assert "Java" not in missing_peers()
