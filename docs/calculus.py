"""Build docs/calculus.md from the text of calculus.template.md and the checks of calculus_checks.py.

    python docs/calculus.py            writes the page
    python docs/calculus.py --check    fails if the page is not what would be written

A line `<!-- run: NAME -->` of the template stands for the body of the check NAME and what it printed,
`<!-- show: NAME -->` for a function's whole source.
"""

from __future__ import annotations

import argparse
import inspect
import io
import re
import textwrap
from contextlib import redirect_stdout
from pathlib import Path

import calculus_checks

TEMPLATE = Path(__file__).with_name("calculus.template.md")
PAGE = Path(__file__).with_name("calculus.md")


def render() -> str:
    """Run the checks and put them into the template."""
    return re.sub(r"<!-- (show|run): (\w+) -->\n", _section, TEMPLATE.read_text(encoding="utf-8"))


def _section(match: re.Match[str]) -> str:
    function = getattr(calculus_checks, match[2])
    source = inspect.getsource(function)
    if match[1] == "show":
        return f"```python\n{source}```\n"
    body = textwrap.dedent(source.split('"""', 2)[2]).strip("\n")
    # the formatter of the checks is that of the page's code too: two blank lines around definitions of the first level
    body = re.sub(r"\n\n(?=def |class )|(?<=\n) +\S.*\n\n(?=\S)", lambda gap: gap[0] + "\n", body)
    printed = io.StringIO()
    with redirect_stdout(printed):
        function()
    return f"```python\n{body}\n```\n\n```text\n{printed.getvalue()}```\n"


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description="Build docs/calculus.md.")
    parser.add_argument("--check", action="store_true", help="compare with the page instead of writing it")
    arguments = parser.parse_args()
    page = render()
    if not arguments.check:
        PAGE.write_text(page, encoding="utf-8", newline="\n")
    elif PAGE.read_text(encoding="utf-8") != page:
        raise SystemExit("docs/calculus.md is not what its source gives; run python docs/calculus.py")


if __name__ == "__main__":
    main()
