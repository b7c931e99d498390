"""The pages of the documentation and their code blocks."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent.parent / "docs"
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\s`]*)[^\n`]*\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
RUN = ("python", "sh")
SHOWN = ("text", "csv", "json", "ini", "toml", "yaml", "math", "mermaid")  # data, output and pictures: nothing to run


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page that it begins on."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    whole = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], textwrap.dedent(found["text"]), whole[: found.start()].count("\n") + 1)
        for found in FENCE.finditer(whole)
    ]


def needs(page: Path) -> list[str]:
    """The modules that a page names in its front matter as `needs: one, two`."""
    found = re.match(r"---\n(?:.*\n)*?needs: *(.*)\n(?:.*\n)*?---\n", page.read_text(encoding="utf-8"))
    return found[1].replace(",", " ").split() if found else []


def run_page(page: Path) -> dict[str, object]:
    """Run a page's blocks here and in order, Python in one namespace, which is returned, and `sh` as a shell does."""
    names: dict[str, object] = {}
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for block in blocks(page):
        place = f"{page.name}, line {block.line}"
        if block.language == "python":
            text = "\n" * block.line + block.text  # so that tracebacks name the line of the page
            exec(compile(text, str(page), "exec"), names)
        elif block.language == "sh":
            command = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return names
