"""What CONTRIBUTING.md shows of the code is in the code, and what it names is there."""

import re

import pytest
from benchmark import ROOT
from systems import needs_posix

from implicit_wmf.config import WMFConfig
from implicit_wmf.evaluation import METRICS
from implicit_wmf.weightings import WEIGHTINGS

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)]+\.py)\)")
DEFINITION = re.compile(r"^ *def (test_\w+)\(", re.MULTILINE)
PROSE, EXCERPTS = (re.split(r"```python\n(.*?)```\n", PAGE, flags=re.DOTALL)[first::2] for first in (0, 1))


def source_of(position):
    """The file that was linked to last before an excerpt."""
    return LINK.findall("".join(PROSE[: position + 1]))[-1]


def test_a_weighting_a_metric_and_a_solver_are_shown():
    assert [source_of(position) for position in range(len(EXCERPTS))] == [
        "implicit_wmf/weightings.py",
        "implicit_wmf/weightings.py",
        "tests/reference.py",
        "implicit_wmf/evaluation/metrics.py",
        "tests/test_metrics.py",
        "implicit_wmf/kernels/solve.py",
        "implicit_wmf/row_plan.py",
        "implicit_wmf/config.py",
    ]
    assert "log" in WEIGHTINGS
    assert "ndcg" in METRICS
    assert WMFConfig(solver="cg").solver == "cg"


@pytest.mark.parametrize("position", range(len(EXCERPTS)))
def test_an_excerpt_stands_in_the_file_named_before_it(position):
    """Line for line; `...` stands for lines left out."""
    source, rest = (ROOT / source_of(position)).read_text(encoding="utf-8"), 0
    for piece in re.split(r"^\.\.\.\n", EXCERPTS[position], flags=re.MULTILINE):
        assert piece.strip()
        assert f"\n{piece}" in source[rest:]
        rest = source.index(f"\n{piece}", rest) + len(piece)


def test_the_tests_that_it_names_are_there():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined = {name for file in (ROOT / "tests").glob("test_*.py") for name in DEFINITION.findall(file.read_text())}
    assert len(named) >= 9
    assert named <= defined


@needs_posix("keeps no permission to execute")
def test_the_scripts_and_options_of_its_commands_are_there():
    shown = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    scripts = re.findall(r"(?<![\w/])\.ci/\w+", shown)
    assert set(scripts) == {".ci/run", ".ci/docs"}
    assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts)
    assert all((ROOT / file).is_file() for file in re.findall(r"tests/\w+\.py", shown))


def test_it_can_be_read_at_one_sitting():
    assert PAGE.count("\n") <= 250
