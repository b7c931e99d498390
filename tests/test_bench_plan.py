"""What is asked of the speed benchmark: plans, sizes of data, options of the command, peers that are there."""

import argparse
import importlib.util
import os
import time
from dataclasses import replace
from pathlib import Path

import benchmark  # noqa: F401
import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz

from bench import options
from bench.data import data_file, load
from bench.lab import missing_peers, without_missing
from bench.records import machine_record
from bench.shapes import LASTFM_360K, LIKE, MOVIELENS_20M, MSD, Shape
from bench.speed import command, epochs
from bench.speed.lab import SpeedLab, describe
from bench.speed.plan import FULL, QUICK, SMALL
from bench.speed.sections import DATA_SECTIONS, SECTIONS
from implicit_wmf.errors import InputError


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
    monkeypatch.setattr("bench.speed.epochs.without_missing", list)
    shape = Shape(30, 20, 100)
    for plan in (FULL, SMALL):
        lab = SpeedLab(1, plan.rounds, 1.0, tmp_path)
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
    assert command.plan_of(parsed(command.add_speed, *arguments)).name == name


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
        parsed(command.add_speed, *arguments)
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
    assert command._file_name(parsed(command.add_speed, *arguments)) == name


@pytest.mark.parametrize(
    ("arguments", "minutes"),
    [([], None), (["--small"], 9), (["--small", "--minutes", 2.5], 2.5), (["--minutes", 0], 0)],
)
def test_minutes_are_those_given(arguments, minutes, tmp_path, monkeypatch):
    labs = []
    monkeypatch.setattr(SpeedLab, "run", lambda self, job: machine_record())
    monkeypatch.setattr(command, "run_sections", lambda lab, *_: labs.append(lab))
    command.run_speed(parsed(command.add_speed, *arguments, "--output", tmp_path / "r.md"))
    deadline = labs[0].deadline
    assert (deadline is None) if minutes is None else deadline - time.monotonic() == pytest.approx(60 * minutes, abs=30)


def test_the_cache_is_the_users_own():
    assert Path.home() in options.CACHE.parents or "XDG_CACHE_HOME" in os.environ


def test_data_that_is_not_there_ends_the_run_at_once(tmp_path):
    output = tmp_path / "results.md"
    arguments = ["--data", tmp_path / "none.npz", "--cache", tmp_path, "--output", output]
    with pytest.raises(InputError, match=r"none\.npz' is neither a file nor one of"):
        command.run_speed(parsed(command.add_speed, *arguments))
    assert not output.exists()


def test_given_data_run_the_sections_about_data(tmp_path, monkeypatch):
    save_npz(tmp_path / "plays.npz", csr_array(np.eye(4, 3)))
    seen = {}
    monkeypatch.setattr(SpeedLab, "run", lambda self, job: machine_record())
    monkeypatch.setattr(command, "run_sections", lambda lab, plan, report, names: seen.update(plan=plan, names=names))
    arguments = [
        "--quick",
        "--data",
        tmp_path / "plays.npz",
        "--cache",
        tmp_path / "cache",
        "--output",
        tmp_path / "r.md",
    ]
    command.run_speed(parsed(command.add_speed, *arguments))
    assert seen["names"] == list(DATA_SECTIONS)
    assert seen["plan"].data == (str(tmp_path / "plays.npz"),)
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()


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
