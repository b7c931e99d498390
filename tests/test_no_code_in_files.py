"""Nothing that the project reads can run code: no file of objects is read or written, no text is evaluated."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("implicit_wmf", "bench", "data_scripts", "docs", ".ci")
# Modules whose files, once read, run what their writer wanted.
MODULES = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "pickle5", "shelve", "torch", "yaml"}
BUILTINS = {"__import__", "compile", "eval", "exec"}
METHODS = {"read_pickle", "to_pickle", "unsafe_load"}
# NumPy's, which take objects unless they are told not to (older releases, and what writes).
ARRAYS = {"load", "save", "read_array", "write_array"}
NUMPY = {"np", "numpy", "format"}
WORDS = re.compile(r"\b(?:cloudpickle|dill|joblib|pickle|shelve|unpickle\w*|allow_pickle\s*=\s*True)\b")


# What builds the site runs the cells of the project's own notebooks, and reads nothing else.
RUNS_NOTEBOOKS = {"docs/_build/cells.py": {"compile", "eval", "exec"}}


def findings(source):
    """What in a program could run code of a file: line and reason of each."""
    tree = ast.parse(source)
    return sorted((line, reason) for node in ast.walk(tree) for line, reason in _of_node(node))


def _of_node(node):
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from ((node.lineno, name) for name in names if name.split(".")[0] in MODULES)
    if isinstance(node, ast.Attribute) and node.attr in METHODS:
        yield node.lineno, node.attr
    if isinstance(node, ast.Call):
        yield from _of_call(node)


def _of_call(node):
    if isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
        yield node.lineno, node.func.id
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    told = given.get("allow_pickle")
    refused = isinstance(told, ast.Constant) and told.value is False
    if told is not None and not refused:
        yield node.lineno, "allow_pickle"
    if _is_numpy(node.func) and told is None:
        yield node.lineno, f"{ast.unparse(node.func)} without allow_pickle=False"


def _is_numpy(function):
    if not isinstance(function, ast.Attribute) or function.attr not in ARRAYS:
        return False
    owner = function.value
    return (owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")) in NUMPY


def files(suffixes):
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    return [path for path in found if path.suffix in suffixes and "__pycache__" not in path.parts]


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        ("import pickle", ["pickle"]),
        ("import numpy, joblib.memory", ["joblib.memory"]),
        ("from marshal import loads", ["marshal"]),
        ("def f():\n    import yaml", ["yaml"]),
        ("eval(text)", ["eval"]),
        ("frame.to_pickle(path)", ["to_pickle"]),
        ("np.load(path)", ["np.load without allow_pickle=False"]),
        ("np.lib.format.write_array(file, array)", ["np.lib.format.write_array without allow_pickle=False"]),
        ("np.load(path, allow_pickle=True)", ["allow_pickle"]),
        ("np.save(path, array, allow_pickle=unsafe)", ["allow_pickle"]),
        (
            "np.load(path, allow_pickle=False)\nre.compile(text)\nmodel.load(path)\njson.load(file)",
            [],
        ),
    ],
)
def test_what_is_looked_for_is_found(source, reasons):
    assert [reason for _, reason in findings(source)] == reasons


def test_no_program_reads_or_writes_files_of_objects():
    programs = files({".py"})
    assert len(programs) > 100
    found = {path.relative_to(ROOT).as_posix(): findings(path.read_text(encoding="utf-8")) for path in programs}
    others = {path: {why for _, why in found[path]} - RUNS_NOTEBOOKS.get(path, set()) for path in found}
    assert {path: found[path] for path, reasons in others.items() if reasons} == {}


def test_no_page_tells_to():
    pages = [*files({".md", ".txt", ".json", ".toml", ".sh", ""}), *ROOT.glob("*.md"), ROOT / "pyproject.toml"]
    found = {str(path.relative_to(ROOT)): WORDS.findall(path.read_text(encoding="utf-8")) for path in pages}
    assert {path: words for path, words in found.items() if words} == {}
    assert WORDS.search("np.load(path, allow_pickle = True)")
