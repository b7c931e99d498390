"""The measure of the tests finds what made-up tests find, miss and never come back from."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys

import pytest
from benchmark import ROOT

from bench import mutants
from bench.__main__ import main

forked = pytest.mark.skipif(
    importlib.util.find_spec("cosmic_ray") is None or not hasattr(os, "fork"),
    reason="cosmic-ray is for developers, and mutants are forked",
)

MODULE = """
from __future__ import annotations

from typing import Literal

level: Literal[1] | None = None


def countdown(start: Literal[3], *, floor=0) -> Literal[3]:
    steps = 0
    while start > floor and steps < 1e9:
        start -= 1
        steps += 1
    return steps


def unseen(number):
    return not number
"""
TESTS = """
from counting import countdown


def test_countdown():
    assert countdown(3) == 3
"""
# the package's own tables are of no use here
START = """
from bench import mutants

mutants.PACKAGE, mutants.SUITES = ".", {"counting": "counting"}
mutants.PRELOADED, mutants.SLOW, mutants.LEAST_SECONDS = ["pytest", "hypothesis"], [], 2.0
mutants.OPERATORS = ["ReplaceUnaryOperator_Delete_Not", "ReplaceBinaryOperator_Mul_Add", "NumberReplacer"]
mutants.main()
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "counting.py").write_text(MODULE)
    (tmp_path / "tests" / "test_counting.py").write_text(TESTS)
    return tmp_path


def run(project, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{project}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", START, "-o", "found.jsonl", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def read(project):
    return [json.loads(line) for line in (project / "found.jsonl").read_text().splitlines()]


@forked
def test_mutants_are_killed_survive_or_never_end(project):
    result = run(project)
    assert result.returncode == 0, result.stderr
    found = {}
    for mutant in read(project):
        found.setdefault((mutant["operator"], mutant["line"]), []).append(mutant["outcome"])
    # neither annotations nor the star of a signature are mutated, nor a limit as large as that of line 11
    assert {place: sorted(outcomes) for place, outcomes in found.items()} == {
        ("NumberReplacer", 9): ["killed", "killed"],
        ("NumberReplacer", 10): ["killed", "killed"],
        ("NumberReplacer", 12): ["killed", "timeout"],
        ("NumberReplacer", 13): ["killed", "killed"],
        ("ReplaceUnaryOperator_Delete_Not", 18): ["survived"],
    }
    assert [mutant["diff"].count("\n+    return  number\n") for mutant in read(project) if "diff" in mutant] == [1]
    assert result.stdout.splitlines()[-1].split() == ["all", "9", "of", "9", "7", "1", "1", "88.9%"]
    assert (project / "counting.py").read_text() == MODULE


@forked
def test_what_an_interrupted_run_has_found_is_kept_and_survivors_meet_new_tests(project):
    module, tests = project / "counting.py", project / "tests" / "test_counting.py"
    module.write_text("def countdown(start):\n    return start * 2 - 3\n")
    tests.write_text("from counting import countdown\n\n\ndef test_anything():\n    countdown(1)\n")
    assert run(project).returncode == 0
    first = read(project)
    assert {mutant["outcome"] for mutant in first} == {"survived"}
    output = project / "found.jsonl"
    output.write_text(output.read_text()[:-20])
    assert run(project).returncode == 0
    again = read(project)
    assert again[:-1] == first[:-1]
    assert {**again[-1], "seconds": 0} == {**first[-1], "seconds": 0}
    tests.write_text("from counting import countdown\n\n\ndef test_twice():\n    assert countdown(4) == 5\n")
    assert run(project).returncode == 0
    assert {mutant["outcome"] for mutant in read(project)[len(first) :]} == {"killed"}
    (project / "tests" / "shared.py").write_text("# another state\n")
    length = len(read(project))
    assert run(project).returncode == 0
    assert len(read(project)) == length  # who was killed is not tested again


@forked
def test_tests_that_fail_without_a_mutant_are_refused(project):
    (project / "counting.py").write_text(MODULE.replace("steps = 0", "steps = 7"))
    result = run(project)
    assert result.returncode == 1
    assert "the tests of counting.py fail without a mutant; mend them first" in result.stderr
    assert "assert 10 == 3" in result.stderr
    assert not (project / "found.jsonl").exists()


@forked
def test_survivors_meet_what_tests_share_again(project):
    (project / "counting.py").write_text("def countdown(start):\n    return not start\n")
    (project / "tests" / "conftest.py").write_text("ASKED = None\n")
    tests = "from conftest import ASKED\nfrom counting import countdown\n\n\ndef test_asked():\n"
    (project / "tests" / "test_counting.py").write_text(f"{tests}    assert ASKED is None or not countdown(ASKED)\n")
    for asked, outcomes in ((None, ["survived"]), (None, ["survived"]), (1, ["survived", "killed"])):
        (project / "tests" / "conftest.py").write_text(f"ASKED = {asked}\n")
        assert run(project).returncode == 0
        assert [mutant["outcome"] for mutant in read(project)] == outcomes


@pytest.fixture
def begun(monkeypatch):
    """What the process is replaced by: words and environment."""
    calls = []
    monkeypatch.setattr(os, "execve", lambda program, words, environment: calls.append((words, environment)))
    monkeypatch.setattr(mutants, "find_spec", lambda name: name)
    return calls


def test_the_process_that_forks_is_asked_for_the_same(begun):
    main(["mutants", "--module", "confidence", "kernels/rows", "implicit_wmf/ranking.py", "--sample", "3", "-o", "a b"])
    main(["mutants", "--seed", "7", "--jobs", "1"])
    parser = argparse.ArgumentParser()
    mutants.add_mutants(parser)
    some, whole = (vars(parser.parse_args(words[3:])) for words, _ in begun)
    assert some["module"] == ["confidence", "kernels/rows", "ranking"]
    assert [some["sample"], str(some["output"])] == [3, "a b"]
    assert whole == {**vars(parser.parse_args([])), "seed": 7, "jobs": 1}
    for words, environment in begun:
        assert words[:3] == [sys.executable, "-m", "bench.mutants"]
        assert environment["NUMBA_DISABLE_JIT"] == "1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "0"], "--jobs: 0 is not a whole number of at least 1"),
        (["--sample", "-1"], "--sample: -1 is not a whole number of at least 1"),
        (["--module", "cli"], "--module: invalid choice: 'cli'"),
    ],
)
def test_options_that_mean_nothing_are_refused(begun, words, message, capsys):
    with pytest.raises(SystemExit):
        main(["mutants", *words])
    assert message in capsys.readouterr().err
    assert not begun


def test_without_cosmic_ray_one_line_says_what_adds_it(begun, monkeypatch):
    monkeypatch.setattr(mutants, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"^bench: .* needs cosmic-ray, .* pip install 'implicit_wmf\[dev\]'$"):
        main(["mutants"])
    assert not begun


def test_what_the_tables_name_is_there():
    for name, tests in mutants.SUITES.items():
        assert (ROOT / mutants.PACKAGE / f"{name}.py").exists()
        assert all((ROOT / "tests" / f"test_{test}.py").exists() for test in tests.split())
    for file, test in (slow.split("::") for slow in mutants.SLOW):
        assert f"def {test.removesuffix('[')}(" in (ROOT / file).read_text()
