"""The pages of the documentation and their code blocks."""

import io
import os
import re
import subprocess
import sys
import textwrap
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

from page_outputs import difference

DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\s`]*)(?P<rest>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
RUN = ("python", "sh")
FILE = re.compile(r"`([^`\s]+)` (?:begins|is):?$")  # what a sentence before a block says that it shows
SHOWN = ("text", "csv", "json", "ini", "toml", "yaml", "math", "mermaid")  # data, output and pictures: nothing to run


class Block(NamedTuple):
    """A fenced block: its language, text and line, and of one that shows output or a file's beginning, of what."""

    language: str
    text: str
    line: int
    output: bool = False
    file: str | None = None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in their order.

    One of text that follows a block that is run, with nothing between, is what that prints, unless it has a title. One
    after "`some.csv` begins" is the beginning of that file.
    """
    whole = page.read_text(encoding="utf-8")
    made: list[Block] = []
    end = 0
    for found in FENCE.finditer(whole):
        before = whole[end : found.start()].strip()
        follows = bool(made) and not before and made[-1].language in RUN
        output = follows and found["language"] == "text" and not found["rest"].strip()
        named = FILE.search(before)
        line = whole[: found.start()].count("\n") + 1
        text = textwrap.dedent(found["text"])
        made.append(Block(found["language"], text, line, output, named[1] if named else None))
        end = found.end()
    return made


def needs(page: Path) -> list[str]:
    """The modules that a page names in its front matter as `needs: one, two`."""
    return _front_matter(page).get("needs", "").replace(",", " ").split()


def system(page: Path) -> str | None:
    """The system that a page is for, as its front matter has it: `system: linux`; with `sh` blocks it is for `posix`.

    Tests know by `systems.SYSTEMS` whether they run on such a one. On Windows a `bash` may be there, but is as a rule
    that of another system inside, which knows nothing of this Python.
    """
    shell = any(block.language == "sh" for block in blocks(page))
    return _front_matter(page).get("system", "posix" if shell else None)


def _front_matter(page: Path) -> dict[str, str]:
    found = re.match(r"---\n(.*?)^---$", page.read_text(encoding="utf-8"), re.M | re.S)
    return dict(re.findall(r"^(\w+): *(.*)$", found[1], re.M)) if found else {}


def run_page(page: Path) -> dict[str, object]:
    """Run a page's blocks here and in order, Python in one namespace, which is returned, and `sh` as a shell does.

    What they print, and the files that they write, must be what the page shows of it.
    """
    names: dict[str, object] = {}
    printed = ""
    for block in blocks(page):
        place = f"{page.name}, line {block.line}"
        if block.language == "python":
            printed = _python(block, page, names)
        elif block.language == "sh":
            printed = _shell(block, place)
        elif block.output:
            assert not (found := difference(block.text, printed)), f"{place}: {found}"
        elif block.file:
            written = Path(block.file).read_text(encoding="utf-8")
            assert not (found := difference(f"{block.text}\n...", written)), f"{place}: {found}"
    return names


def _python(block: Block, page: Path, names: dict[str, object]) -> str:
    text = "\n" * block.line + block.text  # so that tracebacks name the line of the page
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, str(page), "exec"), names)
    return printed.getvalue()


def _shell(block: Block, place: str) -> str:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
