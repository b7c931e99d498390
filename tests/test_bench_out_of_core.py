"""The out-of-core benchmark measures what it says, and kill -9 leaves the old or the new."""

import random
import signal
import sys

import benchmark  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from systems import SIGNALS, needs_linux

from bench.__main__ import main
from bench.kills.command import kill_at_steps, kill_loop
from bench.kills.scenarios import SCENARIOS, Broken, Scenario
from bench.out_of_core import command
from bench.out_of_core.report import bars, render_out_of_core
from bench.records import machine_record, read_json
from bench.watching import run_to_end
from implicit_wmf.errors import InputError

compiled = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
MB = 1 << 20


def python(code):
    return [sys.executable, "-c", code]


class TestWatching:
    def test_output_exit_code_and_place(self, tmp_path):
        ended = run_to_end(python("import os, sys; print(os.getcwd()); sys.exit('no')"), cwd=tmp_path)
        assert (ended.exit_code, ended.output) == (1, f"{tmp_path}\nno\n")
        code = python("import os; print(os.environ['X'])")
        assert run_to_end(code, cwd=tmp_path, environment={"X": "y"}).output == "y\n"

    @needs_linux("reads /proc")
    def test_memory_of_its_own_is_told_from_files(self, tmp_path):
        held = "import time; x = bytearray(100 << 20); time.sleep(0.3)"
        (tmp_path / "file").write_bytes(bytes(80 * MB))
        seen = (
            "import mmap, time; f = open('file', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); "
            "sum(m[::4096]); time.sleep(0.3)"
        )
        codes = ("import mmap, time; time.sleep(0.2)", held, seen)
        small, own, mapped = (run_to_end(python(code), cwd=tmp_path) for code in codes)
        assert 95 * MB < own.anonymous - small.anonymous < 110 * MB
        assert own.mapped - small.mapped < 10 * MB
        assert 75 * MB < mapped.mapped - small.mapped < 90 * MB
        assert own.peak >= own.anonymous
        assert "output" not in own.figures

    @SIGNALS
    def test_it_is_killed_when_asked(self, tmp_path):
        ended = run_to_end(python("import time; time.sleep(60)"), cwd=tmp_path, kill_when=lambda seconds: seconds > 0.1)
        assert ended.exit_code == -signal.SIGKILL
        assert 0.1 < ended.seconds < 30

    def test_it_does_not_outlive_an_error(self, tmp_path):
        def fail(seconds):
            if (tmp_path / "begun").exists():
                raise KeyboardInterrupt
            return False

        code = "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(2); pathlib.Path('done').touch()"
        with pytest.raises(KeyboardInterrupt):
            run_to_end(python(code), cwd=tmp_path, kill_when=fail)
        assert not (tmp_path / "done").exists()


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for number in range(3):
        table = pd.DataFrame({"user": generator.integers(80, size=500), "item": generator.integers(40, size=500)})
        table.assign(value=1.5).to_parquet(tmp_path / "data" / f"part-{number}.parquet")
    return tmp_path / "data"


def test_sizes_are_whole_files_in_their_order(data):
    names = [path.name for path in command.files_of(data, 501)]
    assert names == ["part-0.parquet", "part-1.parquet"]
    assert sum(command.files_of(data, 1500).values()) == 1500
    with pytest.raises(InputError, match=r"has 1,500 lines in Parquet files where 1,501 are asked for; ask for fewer"):
        command.files_of(data, 1501)


@compiled
def test_a_small_run_measures_and_compares(data, tmp_path, capsys):
    report = tmp_path / "report.md"
    words = ["out-of-core", "--data", data, "--lines", 500, 1500, "--factors", 4, "-o", report, "--folder", tmp_path]
    main(list(map(str, words)))
    assert report.read_text().strip() in capsys.readouterr().out
    record = read_json(report.with_suffix(".json"))
    assert [run["lines"] for run in record["runs"]] == [500, 1500]
    for run in record["runs"]:
        assert run["store"]["users"] == 80
        assert len(run["fit"]["history"]) == len(run["in_memory"]["history"]) == 2
        assert run["fit"]["history"][-1]["loss"] == pytest.approx(run["in_memory"]["history"][-1]["loss"], rel=5e-4)
        assert all(run[step]["peak"] > 50 * MB for step in ("prepare", "fit", "in_memory"))
    assert str(tmp_path) not in report.with_suffix(".json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "report.json", "report.md"]


def record_of(**changes):
    """A record of two sizes, as large as they are meant to be."""

    def run(lines, prepare, fit, loss):
        step = {"exit_code": 0, "seconds": 10.0, "anonymous": 10**9, "mapped": 10**8}
        history = [{"epoch": 1, "loss": 3.0, "seconds": 2.0}, {"epoch": 2, "loss": loss, "seconds": 1.0}]
        store = {"users": 9, "items": 5, "pairs": 20, "shards": 2, "bytes": 10**9, "largest_shard_bytes": 10**8}
        steps = {"prepare": step | {"peak": prepare}, "fit": step | {"peak": fit, "history": history}}
        in_memory = step | {"peak": 9 * 10**9, "history": [history[0], history[1] | {"loss": 2.0}]}
        return {"lines": lines, "store": store, **steps, "in_memory": in_memory}

    figures = {"prepare": 29 * 10**8, "fit": 39 * 10**8, "loss": 2.0009} | changes
    first = run(50, 28 * 10**8, 38 * 10**8, 2.0)
    return {
        "benchmark": "out-of-core", "data": "lines", "factors": 64, "epochs": 2, "solver": "auto",
        "memory_limit": "4GB", "machine": machine_record(), "runs": [first, run(100, **figures)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"prepare": 3_000_000_001}, ["prepare, 100 lines: peak", "prepare: growth of the peak from 50 to 100 lines"]),
        ({"fit": 3_965_000_000}, ["fit: growth of the peak from 50 to 100 lines"]),
        ({"fit": 4_010_000_000}, ["fit, 100 lines: peak", "fit: growth of the peak from 50 to 100 lines"]),
        ({"loss": 2.0011}, ["fit, 100 lines: loss beside that in memory"]),
        ({"loss": 1.9989}, ["fit, 100 lines: loss beside that in memory"]),
        ({"loss": float("nan")}, ["fit, 100 lines: loss beside that in memory"]),
    ],
)
def test_what_is_missed_is_said(change, missed, tmp_path):
    record = record_of(**change)
    assert [bar.name for bar in bars(record) if not bar.kept] == missed
    render_out_of_core(record, tmp_path / "report.md")
    assert {2.0009: "+0.0450%", 2.0011: "+0.0550%", 1.9989: "-0.0550%"}.get(change.get("loss", 2.0009), "nan%") in (
        tmp_path / "report.md"
    ).read_text()
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.rstrip(" |").endswith("NO")] == missed
    assert sum(line.rstrip(" |").endswith(" yes") for line in lines) == 8 - len(missed)


@pytest.mark.parametrize(
    "name", [name if name == "fit-store" else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]
)
def test_kill_9_leaves_the_old_or_the_new(name, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.kills.command.ENDLESS_SECONDS", 1.0)
    (tmp_path / "work").mkdir()
    outcomes = kill_loop(SCENARIOS[name](tmp_path / "work", 3_000), 3, random.Random(0))
    assert sum(outcomes.values()) == 3


def test_kill_9_before_any_step_leaves_the_old_or_the_new(tmp_path, capsys):
    kill_at_steps(tmp_path, every=5)
    counts = [int(line.split()[-2]) for line in capsys.readouterr().out.splitlines()]
    assert len(counts) == 6
    assert min(counts) > 5


PUT = """
import os, pathlib, sys, time
def put(text):
    part, place = pathlib.Path("part"), pathlib.Path("place")
    part.mkdir(exist_ok=True)
    (part / "text").write_text(text)
    if place.exists():
        os.replace(part / "text", place / "text")
        part.rmdir()
    else:
        part.rename(place)
def first():
    seen = pathlib.Path("../seen")
    return not seen.exists() and (seen.touch() or True)
"""
FAULTY = {
    "cannot be opened": "put('half'); time.sleep(9)",
    "neither the old nor the new": "put('third'); time.sleep(9)",
    "left is left over": "put('new'); pathlib.Path('left').mkdir(exist_ok=True); time.sleep(0.3)",
    "text are not those of a run left alone": "put('new' if first() else 'old'); time.sleep(0.3)",
    "ended with exit code 1": "put('new') if first() else sys.exit(1); time.sleep(0.3)",
}


@pytest.mark.parametrize("message", FAULTY)
def test_what_is_broken_is_noticed(message, tmp_path):
    """Commands that leave something else when they are killed, or end otherwise when they are run again."""

    def read(path):
        text = (path / "text").read_text()
        if text == "half":
            raise InputError("half a file")
        return {"text": text}

    (tmp_path / "work").mkdir()
    endless = "sleep(9)" in FAULTY[message]
    codes = [FAULTY[message], "put('old')", "put('new')" if endless else FAULTY[message]]
    commands = (python(PUT + code) for code in codes)
    scenario = Scenario("faulty", tmp_path / "work", *commands, "place", read, endless=endless)
    with pytest.raises(Broken, match=message):
        kill_loop(scenario, 10, random.Random(0))
