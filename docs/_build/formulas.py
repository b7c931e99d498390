"""Formulas as MathML, made here and shown by the browser: $...$ in a line, and fenced blocks of `math`."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError
from pymdownx.superfences import SuperFencesException

IN_LINE = r"(?<![\\\w$])\$(?![\s$])([^$`]+?)(?<!\s)\$(?![\w$])"
LONG = 40  # letters of LaTeX: a telephone may have to scroll it
CONVERTER = LatexToMathML(fancy_error=False)


def convert(formula: str, *, displayed: bool) -> str:
    """Make MathML of LaTeX.

    Raises
    ------
    PluginError
        If the formula is not understood; it ends the build.
    """
    try:
        return CONVERTER.convert_with_local_state(formula.strip(), displaystyle=displayed)
    except LatexError as error:
        raise PluginError(f"the formula {formula.strip()!r} is not understood: {error}") from error


class _InLine(InlineProcessor):
    def handleMatch(self, m: Any, data: str) -> tuple[str | Element, int, int]:  # noqa: N802
        formula = convert(m[1], displayed=False)
        if len(m[1]) > LONG:
            formula = f'<span class="long-formula">{formula}</span>'
        return self.md.htmlStash.store(formula), m.start(0), m.end(0)


class Formulas(Extension):
    """Python-Markdown extension for $...$."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register it above backslashes and emphasis (180 and below), and below code (190)."""
        md.inlinePatterns.register(_InLine(IN_LINE, md), "formula", 185)


def displayed(source: str, language: str, css_class: str, options: Any, md: Markdown, **_: Any) -> str:
    """Format a fenced block; the signature is that of pymdownx.superfences."""
    try:
        return f'<div class="formula" tabindex="0">{convert(source, displayed=True)}</div>'
    except PluginError as error:  # any other error would show the block as code
        raise SuperFencesException(str(error)) from error


def on_config(config: Any) -> Any:
    """Add both to the site's Markdown."""
    config.markdown_extensions.append(Formulas())
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    if not any(fence["name"] == "math" for fence in fences):
        fences.append({"name": "math", "class": "formula", "format": displayed})
    return config
