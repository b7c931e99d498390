"""docs/calculus.md is what its text and checks give, and what it shows can be run as it stands there."""

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "calculus.md").read_text(encoding="utf-8")
TEMPLATE = (DOCS / "calculus.template.md").read_text(encoding="utf-8")


@pytest.fixture
def calculus(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import calculus

    return calculus


def test_the_page_is_up_to_date(calculus):
    assert calculus.render() == PAGE


def test_every_check_is_on_the_page():
    source = (DOCS / "calculus_checks.py").read_text(encoding="utf-8")
    functions = re.findall(r"^def (\w+)", source, re.MULTILINE)
    assert functions == re.findall(r"^<!-- (?:run|show): (\w+) -->$", TEMPLATE, re.MULTILINE)


def test_what_is_shown_prints_what_is_shown():
    session, shown, printed = {}, [], []
    for kind, text in re.findall(r"```(python|text)\n(.*?)```\n", PAGE, re.DOTALL):
        if kind == "text":
            shown.append(text)
            continue
        output = io.StringIO()
        with redirect_stdout(output):
            exec(compile(text, "calculus.md", "exec"), session)
        printed += [output.getvalue()] if output.getvalue() else []
    assert printed == shown
    assert len(shown) == TEMPLATE.count("<!-- run: ")


def test_a_right_formula_agrees_and_a_wrong_one_fails(calculus, capsys):
    checks = calculus.calculus_checks
    X = np.random.default_rng(0).standard_normal((3, 4))
    gradient = checks.differences(lambda X: (X**3).sum(), X)
    checks.agrees("right", 3 * X**2, gradient)
    checks.fails("wrong", 2 * X**2, gradient)
    assert capsys.readouterr().out.splitlines() == [
        "right: relative deviation below 1e-07",
        "wrong: FAILS, relative deviation 0.33",
    ]
    with pytest.raises(AssertionError, match="wrong"):
        checks.agrees("wrong", 2 * X**2, gradient)
    with pytest.raises(AssertionError, match="right"):
        checks.fails("right", 3 * X**2, gradient)
    with pytest.raises(AssertionError):
        checks.agrees("a row would be broadcast", gradient[:1], gradient)


def test_check_refuses_a_page_that_drifted(calculus, monkeypatch, tmp_path):
    page = tmp_path / "calculus.md"
    monkeypatch.setattr(calculus, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["calculus.py"])
    calculus.main()
    assert page.read_bytes() == (DOCS / "calculus.md").read_bytes()
    monkeypatch.setattr(sys, "argv", ["calculus.py", "--check"])
    calculus.main()
    page.write_text(PAGE.replace("FAILS", "holds"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"run python docs/calculus\.py"):
        calculus.main()
