"""The measure of the tests finds what made-up tests find, miss and never come back from."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("cosmic_ray") is None, reason="cosmic-ray is for developers"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants are forked"),
]

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

mutants.SUITES = {"counting.py": "counting"}
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
    tests.write_text(tests.read_text() + "# another state\n")
    length = len(read(project))
    assert run(project).returncode == 0
    assert len(read(project)) == length  # who was killed is not tested again


def test_tests_that_fail_without_a_mutant_are_refused(project):
    (project / "counting.py").write_text(MODULE.replace("steps = 0", "steps = 7"))
    result = run(project)
    assert result.returncode == 1
    assert "the tests of counting.py fail without a mutant; mend them first" in result.stderr
    assert "assert 10 == 3" in result.stderr
    assert not (project / "found.jsonl").exists()
