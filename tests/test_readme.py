"""What the pages show runs as it stands there."""

import re
import shlex

import pytest
import typer
from benchmark import ROOT
from conftest import COMPILED

from bench.__main__ import make_parser
from implicit_wmf.cli import app

README, CONTRIBUTING = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "CONTRIBUTING.md"))


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_python_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 12
    exec(compile(example, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert shown.count("12347") == 5
    assert (tmp_path / "retail-model" / "model.json").exists()


def test_two_commands_do_the_set_up():
    commands = re.findall(r"```sh\n(.*?)\n```", README)
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv ") for command in commands)
    assert commands[0].endswith("demo")
    assert commands[1].endswith("pytest -q")


def test_the_commands_shown_exist_with_their_options():
    commands = typer.main.get_command(app).commands
    shown = re.findall(r"^implicit-wmf (\w+)(.*)$", README, re.MULTILINE)
    assert {name for name, _ in shown} == set(commands)
    for name, rest in shown:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", rest)) <= known, name


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_the_benchmarks_shown_are_commands_with_their_options(page):
    shown = re.findall(r"^python -m bench (.*)$|`python -m bench ([^`]+)`", page, re.MULTILINE)
    assert len(shown) >= 2
    for parts in shown:
        make_parser().parse_args(shlex.split("".join(parts), comments=True))


# Made when the site is built, which checks links to these too; test_figures.py knows the pictures.
COMMAND_LINE, FIGURES = (ROOT.resolve() / "docs" / name for name in ("reference/command_line.md", "figures"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    links = [(page.parent / link).resolve() for link in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", prose)]
    assert [link for link in links if not (link.exists() or link == COMMAND_LINE or link.parent == FIGURES)] == []
