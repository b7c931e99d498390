"""The notebooks, which are scripts in percent format, run to their end and are notebooks."""

import ast
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import COMPILED
from test_examples import DATA, EXAMPLES, NOTEBOOKS

NEEDS = {
    "retail": ("matplotlib", "optuna", "pyarrow"),
    "peers": ("matplotlib",),
    "targets": ("matplotlib",),
}
# of a class of irspack's own
OTHERS_WARNINGS = ("-W", "ignore:Support for class-based:DeprecationWarning")
MARKER = re.compile(r"# %%( \[markdown\])?")


def cells(name):
    """Kind and text of each cell; nothing stands before the first."""
    head, *parts = re.split(r"^(# %%.*)\n", (EXAMPLES / f"{name}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert head == ""
    markers, texts = parts[::2], parts[1::2]
    assert [marker for marker in markers if not MARKER.fullmatch(marker)] == []
    return [("markdown" if "markdown" in marker else "code", text) for marker, text in zip(markers, texts, strict=True)]


def code(name):
    return "\n".join(text for kind, text in cells(name) if kind == "code")


def run(name, folder, **variables):
    """Run as anybody would, in an empty folder with a folder for temporary files; gives back what was printed."""
    temporary = folder / "temporary"
    work = folder / "work"
    temporary.mkdir()
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", *OTHERS_WARNINGS, str(EXAMPLES / f"{name}.py")],
        cwd=work,
        env={**os.environ, "TMPDIR": str(temporary), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(work.iterdir()) == []  # it writes into temporary folders only, and removes them
    assert list(temporary.iterdir()) == []
    return done.stdout


def test_every_notebook_says_what_it_needs():
    assert set(NEEDS) == NOTEBOOKS


@pytest.mark.parametrize("name", NEEDS)
def test_cells_alternate_between_prose_and_code_that_python_reads(name):
    found = cells(name)
    assert found[0][0] == "markdown"
    assert found[0][1].startswith("# # ")
    for kind, text in found:
        lines = [line for line in text.splitlines() if line.strip()]
        assert lines
        if kind == "markdown":
            assert all(line == "#" or line.startswith("# ") for line in lines), lines
        else:
            ast.parse(text)
    assert sum(kind == "markdown" for kind, _ in found) >= len(found) / 3


@pytest.mark.parametrize("name", NEEDS)
def test_jupytext_reads_the_same_cells(name):
    jupytext = pytest.importorskip("jupytext")
    notebook = jupytext.read(EXAMPLES / f"{name}.py", fmt="py:percent")
    assert [cell.cell_type for cell in notebook.cells] == [kind for kind, _ in cells(name)]
    shown = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert shown[0].splitlines()[-1] == "%matplotlib inline"  # pictures show, and a script is left alone


@pytest.mark.parametrize("name", NEEDS)
def test_no_cell_asks_where_its_file_is_and_the_last_one_checks_something(name):
    assert "__file__" not in code(name)  # a notebook has none
    last = ast.parse(cells(name)[-1][1])
    assert any(isinstance(node, ast.Assert) for node in ast.walk(last))


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_retail_goes_from_purchases_to_a_report(tmp_path):
    for module in NEEDS["retail"]:
        pytest.importorskip(module)
    printed = run("retail", tmp_path)
    assert "Interactions(5849 users x 4612 items, 479415 pairs)" in printed
    assert "5,849 customers, 58,490 lines" in printed
    assert re.search(r"a report of \d+\.\d MB", printed)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_peers_are_compared_or_left_out(tmp_path):
    pytest.importorskip("matplotlib")
    printed = run("peers", tmp_path)
    for peer in ("implicit", "irspack"):
        assert re.search(rf"^{peer} (\d|is not installed and left out$)", printed, re.MULTILINE)
    assert "above the smallest" in printed


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("folder", [DATA, EXAMPLES / "no such folder"], ids=["published", "drawn"])
def test_targets_run_with_the_published_table_and_without(tmp_path, folder):
    pytest.importorskip("matplotlib")
    published = (folder / "drug-target" / "nr_admat_dgc.txt").is_file()
    printed = run("targets", tmp_path, IMPLICIT_WMF_DATA=str(folder.resolve()))
    first = "nuclear receptors, as published" if published else "no file found: a table drawn at random, not measured"
    assert printed.startswith(f"{first}\n26 targets x 54 drugs\n")
    assert ("90 interactions, 6.4% of all pairs" in printed) == published  # the figures of drug_target.md


def test_the_area_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    (text,) = [text for kind, text in cells("targets") if kind == "code" and "def area(" in text]
    (definition,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    names = {"np": np}
    exec(compile(ast.Module([definition], []), "targets.py", "exec"), names)
    generator = np.random.default_rng(0)
    for size in (5, 40, 300):
        labels = (generator.random(size) < 0.3).astype(float)
        labels[0] = 1.0
        scores = generator.integers(0, 7, size) / 7  # with ties
        assert names["area"](labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores))
