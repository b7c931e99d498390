"""What GitHub is told: the workflow, the forms of issues, and the hooks that run before a commit."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from benchmark import ROOT

yaml = pytest.importorskip("yaml")

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]-*.yml"))
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def workflow():
    return read(".github/workflows/checks.yml")


def commands(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_it_may_read_only_and_ends_in_time(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert all(0 < job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    events = workflow[True]  # YAML takes `on` for a truth value
    assert {"push", "pull_request"} <= set(events)


def test_every_system_and_python_is_tested(workflow):
    rows = workflow["jobs"]["tests"]["strategy"]["matrix"]["include"]
    met = {(row["system"].partition("-")[0], row["python"]) for row in rows}
    assert {"ubuntu", "macos", "windows"} == {system for system, _ in met}
    named = set(re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    gate = next(step["with"] for step in workflow["jobs"]["gate"]["steps"] if "setup-python" in step.get("uses", ""))
    assert {python for _, python in met} | {gate["python-version"]} == named
    assert all(row["bin"] == ("Scripts" if "windows" in row["system"] else "bin") for row in rows)


def test_the_tests_are_run_by_the_commands_of_the_readme(workflow):
    shown = re.findall(r"```sh\n(python3 -m venv .*)\n```", README)
    run = [text for text in commands(workflow["jobs"]["tests"]) if "venv" in text]
    assert [re.sub(r"^python ", "python3 ", text.replace("${{ matrix.bin }}", "bin")) for text in run] == shown
    assert len(shown) == 2


@pytest.mark.parametrize(("job", "script"), [("gate", ".ci/run"), ("docs", ".ci/docs")])
def test_scripts_are_there_and_can_be_run(workflow, job, script):
    assert commands(workflow["jobs"][job])[-1] == script
    assert (ROOT / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    if sys.platform != "win32":  # whose files have no such bit
        assert os.access(ROOT / script, os.X_OK)


def test_extras_that_are_installed_are_extras(workflow):
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for job in workflow["jobs"].values():
        for text in commands(job):
            for extras in re.findall(r"\.\[([\w,]+)\]", text):
                assert all(re.search(rf"^{extra} = \[", metadata, re.MULTILINE) for extra in extras.split(","))


def test_cached_kernels_are_those_of_the_very_sources(workflow):
    """Numba would run compiled code of other sources whose times and sizes are alike."""
    steps = [step for step in workflow["jobs"]["tests"]["steps"] if "actions/cache@" in step.get("uses", "")]
    for step in steps:
        assert "hashFiles('pyproject.toml', 'implicit_wmf/**/*.py')" in step["with"]["key"]
        assert "restore-keys" not in step["with"]
    assert len(steps) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="asks a POSIX shell")
def test_a_shell_reads_every_command(workflow):
    for job in workflow["jobs"].values():
        for text in commands(job):
            plain = re.sub(r"\$\{\{.*?\}\}", "x", text)
            subprocess.run(["sh", "-n", "-c", plain], check=True)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_what_github_reads(path):
    form = read(path)
    assert set(form) == {"name", "description", "labels", "body"}
    names = [part["id"] for part in form["body"]]
    assert len(set(names)) == len(names)
    for part in form["body"]:
        assert set(part) <= {"type", "id", "attributes", "validations"}
        assert part["type"] in KINDS
        assert part["attributes"]["label"].strip()
        assert part["type"] != "dropdown" or all(isinstance(text, str) for text in part["attributes"]["options"])
        assert set(part.get("validations", {})) <= {"required"}
    labels = [part["attributes"]["label"] for part in form["body"]]
    assert len(set(labels)) == len(labels)
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_there_is_a_form_for_each_kind_of_issue():
    assert [path.stem[2:] for path in FORMS] == ["bug", "wrong-result", "performance", "question"]
    assert len({read(path)["name"] for path in FORMS}) == 4
    assert read(".github/ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": False}


def test_the_command_that_a_form_asks_for_prints_versions():
    parts = {part["id"]: part for part in read(".github/ISSUE_TEMPLATE/1-bug.yml")["body"]}
    command = parts["versions"]["attributes"]["description"].partition(": ")[2]
    python, *arguments = shlex.split(command)
    assert python == "python"
    printed = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout
    assert re.search(r"implicit_wmf \d+\.\d+", printed)
    assert re.search(r"numba \d+\.\d+", printed)


def test_hooks_run_tools_of_the_dev_extra():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert len(set(entries)) == len(entries)
    tools = {entry.removeprefix("python -m ").split()[0] for entry in entries}
    extra = re.search(r"^dev = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.S | re.M)[1]
    packages = {"lint-imports": "import-linter"}
    assert {"ruff", "mypy", "codespell", "numpydoc", "lint-imports"} == tools
    assert all(f'"{packages.get(tool, tool)}==' in extra for tool in tools)
