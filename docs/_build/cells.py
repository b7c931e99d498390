"""Run a script in percent format cell by cell: python docs/_build/cells.py SCRIPT FOLDER.

Writes FOLDER/NAME.md with text, code and output, and the pictures beside it.
"""

from __future__ import annotations

import ast
import html
import io
import re
import sys
import textwrap
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

MAGIC = re.compile(r"^# %[a-z].*\n?", re.MULTILINE)  # for Jupyter alone
MARK = re.compile(r"^# %%(?P<rest>.*)$", re.MULTILINE)


class Cell(NamedTuple):
    """A cell: whether it is prose, its text, and the line of the script that it begins on."""

    prose: bool
    text: str
    line: int


def cells(script: str) -> list[Cell]:
    """Take a script apart; what stands before the first mark is Jupytext's and left out."""
    marks = list(MARK.finditer(script))
    ends = [mark.start() for mark in marks[1:]] + [len(script)]
    return [
        _cell("[markdown]" in mark["rest"], script[mark.end() + 1 : end], script[: mark.end()].count("\n") + 1)
        for mark, end in zip(marks, ends, strict=True)
    ]


def _cell(prose: bool, text: str, line: int) -> Cell:
    if prose:
        return Cell(True, re.sub(r"^# ?", "", text, flags=re.MULTILINE).strip(), line)
    code = text.lstrip("\n")
    return Cell(False, code.rstrip("\n"), line + len(text) - len(code))


class Notebook:
    """A script under execution, with the page that comes of it."""

    def __init__(self, script: Path, folder: Path) -> None:
        self.script, self.folder = script, folder
        self.names: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
        self.blocks: list[str] = []
        self.pictures = 0

    def run(self) -> str:
        """Run all cells and return the page."""
        for cell in cells(self.script.read_text(encoding="utf-8")):
            if cell.prose:
                self.blocks.append(cell.text)
            elif cell.text:
                self.blocks.append(_fenced("python", MAGIC.sub("", cell.text).strip("\n")))
                self._execute(cell)
        return "\n\n".join(self.blocks) + "\n"

    def _execute(self, cell: Cell) -> None:
        body = ast.parse("\n" * cell.line + cell.text, str(self.script)).body  # tracebacks name the script's lines
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(ast.Module(body, []), str(self.script), "exec"), self.names)
            value = last and eval(compile(ast.Expression(last.value), str(self.script), "eval"), self.names)
        if printed.getvalue().strip():
            self.blocks.append(_fenced("text", printed.getvalue().rstrip()))
        if value is not None:
            self.blocks.append(self._shown(value))

    def _shown(self, value: Any) -> str:
        figure = getattr(value, "figure", None) or value
        if hasattr(figure, "savefig"):
            self.pictures += 1
            name = f"{self.script.stem}-{self.pictures}.svg"
            figure.savefig(self.folder / name, format="svg", bbox_inches="tight")
            return f"![{html.escape(_title(figure))}]({name})"
        if hasattr(value, "to_frame"):
            value = value.to_frame()
        if hasattr(value, "to_html"):
            return f'<div class="output">\n{value.to_html(border=0)}\n</div>'
        return _fenced("text", repr(value))


def _title(figure: Any) -> str:
    words = [axes.get_title() or axes.get_ylabel() for axes in figure.axes]
    return " ".join(", ".join(filter(None, words)).split()) or "figure"


def _fenced(language: str, text: str) -> str:
    return f"````{language}\n{textwrap.dedent(text)}\n````"


def main() -> None:
    """Run the script named on the command line."""
    script, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{script.stem}.md").write_text(Notebook(script, folder).run(), encoding="utf-8")


if __name__ == "__main__":
    main()
