"""Types as users meet them: a program that is right, and one that is wrong line by line."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMPILED

from implicit_wmf import WMF

TYPED = Path(__file__).parent / "typed"


@pytest.fixture(scope="module")
def found(tmp_path_factory, pytestconfig):
    """What mypy says of both: codes by file and line. The package is followed as it is installed, not checked."""
    pytest.importorskip("mypy", reason="pip install 'implicit_wmf[dev]' adds mypy")
    kept = getattr(pytestconfig, "cache", None)
    cache = kept.mkdir("mypy") if kept else tmp_path_factory.mktemp("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--no-error-summary"]
    files = [str(TYPED / name) for name in ("consumer.py", "mistakes.py")]
    folder = tmp_path_factory.mktemp("elsewhere")
    run = subprocess.run(
        [*command, f"--cache-dir={cache}", "--config-file=", *files], cwd=folder, capture_output=True, text=True
    )
    assert run.stderr == ""
    errors = re.findall(r"^(.+?):(\d+): error: .+ \[(.+)\]$", run.stdout, flags=re.MULTILINE)
    assert len(errors) == run.stdout.count(" error: "), run.stdout
    return {(Path(file).name, int(line)): code for file, line, code in errors}


def test_a_program_that_is_right_has_no_errors(found):
    assert [place for place in found if place[0] != "mistakes.py"] == []


def test_mistakes_are_found_where_they_are(found):
    lines = (TYPED / "mistakes.py").read_text().splitlines()
    expected = {number: line.split("# error: ")[1] for number, line in enumerate(lines, 1) if "# error: " in line}
    assert len(expected) > 15
    assert {line: code for (file, line), code in found.items() if file == "mistakes.py"} == expected


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_the_program_runs(tmp_path):
    pytest.importorskip("optuna")
    runpy.run_path(str(TYPED / "consumer.py"))["main"](tmp_path)
    assert WMF.load(tmp_path / "model").history  # what it says it stored
