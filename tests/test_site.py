"""The documentation's site: every page is in its navigation, and what its build makes of links, cells and roles."""

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS

import implicit_wmf
from implicit_wmf.cli import app

ROOT = DOCS.parent
PARTS = ("datasets", "evaluation", "factorizers", "objectives", "report", "store", "tables", "tuning")
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
NUMBER = r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?"


def hook(name, *needs):
    """A module of the build, by its file: the folder is no package."""
    for need in needs:
        pytest.importorskip(need)
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / "_build" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nav():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r"- (?:.*: )?(\S+\.md)$", text[text.index("\nnav:") :], re.MULTILINE)


def test_the_navigation_has_every_page_once():
    written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if ".template" not in page.name}
    notebooks = {
        f"examples/{page.stem}.md" for page in (DOCS / "examples").glob("*.py") if "\n# %%" in page.read_text()
    }
    outside = {"changelog.md", "contributing.md", "reference/command_line.md"}
    reports = {f"benchmarks/{page.stem[8:] or 'quality'}.md" for page in (ROOT / "bench").glob("RESULTS*.md")}
    assert sorted(nav()) == sorted(written | notebooks | outside | reports)


def test_the_navigation_calls_pages_what_they_call_themselves():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r'- "?([^"\n]+?)"?: (\S+\.md)$', text[text.index("\nnav:") :], re.MULTILINE)
    outside = {"changelog.md": ROOT / "CHANGELOG.md", "contributing.md": ROOT / "CONTRIBUTING.md"}
    files = {title: outside.get(page, DOCS / page) for title, page in named if title != "Home"}
    headings = {title: heading(path).lower() for title, path in files.items() if path.exists()}
    assert len(headings) >= 40
    assert [title for title in headings if title.lower() not in headings[title]] == []


def heading(page):
    return re.search(r"^# (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)[1]


def test_the_reference_has_every_public_name():
    parts = [implicit_wmf, *(getattr(implicit_wmf, name) for name in PARTS)]
    names = {name for part in parts for name in part.__all__} - {"METRICS", "READABLE"}  # in the text
    entries = set(re.findall(r"^::: implicit_wmf\.[\w.]+\.(\w+)$", REFERENCE, re.MULTILINE))
    assert names - entries == set()


def test_every_entry_of_the_reference_is_where_it_says():
    entries = re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE)
    modules = {path for path in entries if path.split(".")[-1].islower() and is_module(path)}
    assert {path.rsplit(".")[-1] for path in modules} == {"implicit", "objectives", "report", "weightings"}
    for path in set(entries) - modules:
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        assert found.__module__ == module or name in sys.modules[module].__all__, path


def is_module(path):
    try:
        return importlib.util.find_spec(path) is not None
    except ModuleNotFoundError:  # of a part of something that is no package
        return False


PAGES = {"docs/how_to/a.md": "how_to/a.md", "docs/b.md": "b.md", "bench/RESULTS.md": "benchmarks/quality.md"}


@pytest.mark.parametrize(
    ("text", "origin", "page", "expected"),
    [
        ("[b](../b.md#c)", "docs/how_to/a.md", "how_to/a.md", "[b](../b.md#c)"),
        ("[r](../../bench/RESULTS.md)", "docs/how_to/a.md", "how_to/a.md", "[r](../benchmarks/quality.md)"),
        ("[two\nlines](docs/b.md)", "CHANGELOG.md", "changelog.md", "[two\nlines](b.md)"),
        ("[start](../README.md#start)", "docs/b.md", "b.md", "[start](start.md)"),
        ("[model.py](../implicit_wmf/model.py)", "docs/b.md", "b.md", "`model.py`"),
        ("[the model](../implicit_wmf/model.py)", "docs/b.md", "b.md", "the model (`implicit_wmf/model.py`)"),
        ("[gone](gone.md)", "docs/b.md", "b.md", "[gone](gone.md)"),
        ("[out](https://example.org/b.md)", "docs/b.md", "b.md", "[out](https://example.org/b.md)"),
        ("[here](#part)", "docs/b.md", "b.md", "[here](#part)"),
        ("`[b](../b.md)`", "CHANGELOG.md", "changelog.md", "`[b](../b.md)`"),
        ("```text\n[b](docs/b.md)\n```", "CHANGELOG.md", "changelog.md", "```text\n[b](docs/b.md)\n```"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(text, origin, page, expected):
    links = hook("links", "mkdocs")
    assert links.rewrite(text, origin, page, PAGES | links.README | {"docs/start.md": "start.md"}) == expected


def test_a_notebook_becomes_a_page(tmp_path):
    script = tmp_path / "small.py"
    script.write_text(
        "# ---\n# jupyter: {}\n# ---\n\n# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 2\nprint('two')\nx + 1\n"
        "\n# %%\nimport pandas as pd\n\npd.Series([1], name='<script>')\n\n# %%\nassert __name__ == '__main__'\n"
    )
    command = [sys.executable, DOCS / "_build" / "cells.py", script, tmp_path / "out"]
    subprocess.run(command, check=True)
    page = (tmp_path / "out" / "small.md").read_text()
    assert page.startswith("# Title\n\nText.\n\n````python\nx = 2\nprint('two')\nx + 1\n````\n\n````text\ntwo\n````")
    assert "````text\n3\n````" in page
    assert "&lt;script&gt;" in page and "<script>" not in page.replace("name='<script>'", "")


def test_a_cell_that_fails_names_its_line(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("# %%\nx = 1\n\n# %%\n\nx / 0\n")
    done = subprocess.run(
        [sys.executable, DOCS / "_build" / "cells.py", script, tmp_path / "out"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert re.search(r'broken\.py", line 6.*ZeroDivisionError', done.stderr, re.DOTALL)


def test_roles_and_defaults_of_the_sources():
    sources = hook("sources", "griffe")
    text = sources.linked("See :meth:`score` and :class:`~implicit_wmf.WMF`.", "implicit_wmf.model.WMF")
    assert text == (
        'See <autoref identifier="implicit_wmf.model.WMF.score" optional><code>score</code></autoref> and '
        '<autoref identifier="implicit_wmf.WMF" optional><code>WMF</code></autoref>.'
    )
    assert sources.valued("WMFConfig.weighting", "implicit_wmf.model") == "'linear'"
    assert sources.valued("None", "implicit_wmf.model") == "None"


def test_formulas_are_mathml_or_an_error():
    formulas = hook("formulas", "mkdocs", "math_core", "pymdownx")
    markdown = pytest.importorskip("markdown")
    page = markdown.markdown(r"For $a_i$, `$b$` and 5 $ or 6 $.", extensions=[formulas.Formulas()])
    assert page.count("<math") == 1 and "<msub><mi>a</mi><mi>i</mi></msub>" in page and "<code>$b$</code>" in page
    with pytest.raises(Exception, match=r"\\nonsense"):
        formulas.convert(r"\nonsense{a}", displayed=True)


def test_the_page_of_the_command_line_has_every_option():
    command_line = hook("command_line", "mkdocs")
    page, typer = command_line.page(), pytest.importorskip("typer")
    for name, command in typer.main.get_command(app).commands.items():
        section = page[page.index(f"\n## {name}\n") :].split("\n## ")[1]
        options = {option for one in command.params for option in one.opts if one.param_type_name == "option"}
        assert {option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", section)} == set()


def sections():
    """The sections of docs/benchmarks.md that take their figures from a report, and that report."""
    for text in (DOCS / "benchmarks.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        if found := re.search(r"\.\./bench/(\S+?\.md)", text):
            yield pytest.param(text, (ROOT / "bench" / found[1]).read_text(encoding="utf-8"), id=text.split("\n")[0])


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| --")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("section", "report"), list(sections()))
def test_figures_of_the_benchmarks_are_those_of_the_reports(section, report):
    known = [set(row) for row in rows(report)]
    assert [row for row in rows(section) if not any(set(row) <= one for one in known)] == []
    prose = "\n".join(line for line in section.splitlines() if not line.startswith("|"))
    claimed = set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)", re.sub(r"\(\.\./\S+\)", "", prose)))
    assert claimed - set(re.findall(NUMBER, report)) == set()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html#part">', None),
        ('<a href="#here"><p id="here">', None),
        ('<a href="https://example.org/">', None),
        ('<img src="gone.png">', "index.html: gone.png leads nowhere"),
        ('<a href="other.html#parts">', "index.html: other.html#parts leads nowhere"),
        ('<script src="https://example.org/a.js">', "index.html: https://example.org/a.js is loaded from elsewhere"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "//example.org/a.css is loaded from elsewhere"),
        ('<img src="a.png" srcset="a.png, a.png 2x">', None),
        ('<img src="a.png" srcset="a.png, gone.png 2x">', "gone.png leads nowhere"),
        ('<source srcset="https://example.org/a.png 480w">', "https://example.org/a.png is loaded from elsewhere"),
        ('<video poster="https://example.org/a.png">', "https://example.org/a.png is loaded from elsewhere"),
        ('<object data="gone.svg"></object>', "gone.svg leads nowhere"),
        ('<p style="background: url(//example.org/a.png)">', "//example.org/a.png is loaded from elsewhere"),
        ("<style>p { background: url('gone.png') }</style>", "gone.png leads nowhere"),
        ("<pre>p { background: url('gone.png') }</pre>", None),
    ],
)
def test_what_is_wrong_with_a_site_is_found(body, fault, tmp_path):
    (tmp_path / "index.html").write_text(body)
    (tmp_path / "other.html").write_text('<p id="part">')
    (tmp_path / "a.png").touch()
    found = hook("check_site").faults(tmp_path)
    assert len(found) == (fault is not None) and (not found or found[0].endswith(fault))


@pytest.mark.parametrize(("address", "faults"), [("https://example.org/sub/", 0), ("", 1)])
def test_a_site_may_be_built_for_a_part_of_another(address, faults, tmp_path, monkeypatch):
    monkeypatch.setenv("SITE_URL", address)
    (tmp_path / "404.html").write_text('<a href="/sub/404.html">')
    assert len(hook("check_site").faults(tmp_path)) == faults


@pytest.mark.parametrize(
    ("sheet", "fault"),
    [
        ("@import 'more.css'; p { background: url( \"../a.png#part\" ) }", None),
        ("p { background: url(data:image/png;base64,AAAA) } /* url(gone.png) */", None),
        ("@import 'gone.css';", "gone.css leads nowhere"),
        ('@import url("https://example.org/a.css");', "https://example.org/a.css is loaded from elsewhere"),
        ("@font-face { src: local(A), url(//example.org/a.woff2) }", "//example.org/a.woff2 is loaded from elsewhere"),
        ("p { background: URL(a.png) }", "a.png leads nowhere"),
    ],
)
def test_what_is_wrong_with_a_style_sheet_is_found(sheet, fault, tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "styles" / "more.css").touch()
    (tmp_path / "styles" / "site.css").write_text(sheet)
    place = str(Path("styles") / "site.css")
    assert hook("check_site").faults(tmp_path) == ([f"{place}: {fault}"] if fault else [])


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """The module that draws and runs, of a repository of its own with the files that what it makes depends on."""
    pictures = hook("pictures", "mkdocs")
    root = tmp_path / "one" / "repository"
    for name in ("implicit_wmf/report/style.css", "implicit_wmf/shop.npz", "docs/examples/part.py", "docs/figures.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    monkeypatch.setattr(pictures, "ROOT", root)
    monkeypatch.delenv("IMPLICIT_WMF_DATA", raising=False)
    return pictures


@pytest.mark.parametrize(
    "name",
    [
        "implicit_wmf/report/style.css",
        "implicit_wmf/shop.npz",
        "implicit_wmf/new.py",
        "docs/examples/part.py",
        "docs/figures.py",
        "../shared/data/drug-target/table.txt",
    ],
)
def test_pictures_are_made_again_when_a_file_changes(name, sources):
    command = [sources.ROOT / "docs" / "figures.py"]
    before = sources._fingerprint(command)
    (sources.ROOT / "implicit_wmf" / "__pycache__").mkdir()
    (sources.ROOT / "implicit_wmf" / "__pycache__" / "new.pyc").touch()
    assert sources._fingerprint(command) == before
    (sources.ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    (sources.ROOT / name).write_text("2")
    assert sources._fingerprint(command) != before


def test_pictures_are_made_again_with_another_release_of_a_library(sources, monkeypatch):
    command = [sources.ROOT / "docs" / "figures.py"]
    before = sources._fingerprint(command)
    monkeypatch.setattr(sources, "version", lambda library: "999")
    assert sources._fingerprint(command) != before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permission")
def test_the_script_of_the_gate_can_be_run():
    assert (ROOT / ".ci" / "docs").stat().st_mode & 0o100
