"""The worked examples run, and what they print is the page that lies beside them, of smaller data."""

import importlib.util
import os
from pathlib import Path

import pytest
from conftest import COMPILED

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))
NOTEBOOKS = {"retail", "peers", "targets"}  # test_notebooks.py
SERVICES = {"web_service", "reloading_service"}  # test_web_service.py
NEEDS = {"drug_target": "drug-target", "ratings": "ml-100k", "play_counts": "lastfm-2k", "co_purchases": ""}


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS) | NOTEBOOKS | SERVICES


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("name", NEEDS)
def test_an_example_prints_its_page(name, capsys):
    if NEEDS[name] and not (DATA / NEEDS[name]).is_dir():
        pytest.skip(f"no {NEEDS[name]} at {DATA}")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(quick=True)
    printed = capsys.readouterr().out.splitlines()
    page = (EXAMPLES / f"{name}.md").read_text(encoding="utf-8").splitlines()
    for lines in (printed, page):
        assert lines[0].startswith("# ")
        assert any(line.startswith("|--") or line.startswith("| --") or line.startswith("|:--") for line in lines)
    headings = [[line for line in lines if line.startswith("#")] for lines in (printed, page)]
    assert headings[0] == headings[1]
