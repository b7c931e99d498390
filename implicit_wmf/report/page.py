"""The report as one HTML file that fetches nothing; what is given is plain text, and escaped here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple, TypeAlias

from .encoding import encode, printable
from .explorer import Explorer


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Facts(NamedTuple):
    """Short facts, each with its label."""

    rows: Sequence[tuple[str, str]]


class Table(NamedTuple):
    """A table; the first column names the rows, numbers in the others are ready to be read.

    Columns of words, by their places in `words`, begin at the left; those of numbers end at the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    words: Collection[int] = ()


class Picture(NamedTuple):
    """A picture, what it shows for those who cannot see it, and the words below it."""

    svg: bytes
    alt: str
    caption: str


Block: TypeAlias = Text | Facts | Table | Picture


class Section(NamedTuple):
    """A part of the page with its heading; an empty `intro` is left out."""

    title: str
    intro: str
    blocks: Sequence[Block]


_EXPLORER_TITLE = "Explore users and items"
_EXPLORER = Template("""<section id="explorer" aria-labelledby="explorer-title">
<h2 id="explorer-title">${title}</h2>
<noscript><p class="notice">To search for users and items, turn on JavaScript in the browser. It works without a network
connection. Everything else on this page is there without it.</p></noscript>
<p id="explorer-state" class="notice" role="status">Loading. If this does not go away, this browser is too old for the
search: open the file in a current Chrome, Edge, Firefox or Safari.</p>
<div id="explorer-app" hidden></div>
<script type="application/octet-stream;base64" id="explorer-data">${data}</script>
</section>""")


def render(title: str, subtitle: str, sections: Sequence[Section], explorer: Explorer | None = None) -> str:
    """Write the whole page.

    Parameters
    ----------
    title, subtitle : str
        Plain text, as all other strings: it is escaped here and nowhere else.
    sections : sequence of Section
        In the order of the page.
    explorer : Explorer, optional
        Users and items to look up, in a section after the first one, which says in short what there is.

    Returns
    -------
    str
        HTML that needs nothing but itself: its Content-Security-Policy allows the one script and the one style that
        are in it, by their hashes, pictures that are in it, and no connection.
    """
    style, script = _part("style.css"), _part("explorer.js")
    if explorer is None:
        script = ""
    links = [f'<li><a href="#part-{place}">{_text(one.title)}</a></li>' for place, one in enumerate(sections, start=1)]
    parts = [_section(place, section) for place, section in enumerate(sections, start=1)]
    if explorer is not None:
        links.insert(1, f'<li><a href="#explorer">{_EXPLORER_TITLE}</a></li>')
        parts.insert(1, _EXPLORER.substitute(title=_EXPLORER_TITLE, data=encode(explorer)))
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        title=_text(title),
        subtitle=_text(subtitle),
        style=style,
        script=script,
        contents="\n".join(links),
        sections="\n".join(parts),
    )


@cache
def _part(name: str) -> str:
    return files("implicit_wmf.report").joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}'"


def _text(text: str) -> str:
    return escape(printable(text)).replace(" %", "\u00a0%")  # which would look lost at the beginning of a line


def _section(place: int, section: Section) -> str:
    intro = f'<p dir="auto">{_text(section.intro)}</p>' if section.intro else ""
    blocks = "\n".join(_block(block) for block in section.blocks)
    heading = f'<h2 id="heading-{place}" dir="auto">{_text(section.title)}</h2>'
    return f'<section id="part-{place}" aria-labelledby="heading-{place}">\n{heading}\n{intro}\n{blocks}\n</section>'


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f'<p dir="auto">{_text(text)}</p>'
        case Facts(rows):
            facts = "".join(
                f'<div><dt>{_text(one)}</dt><dd dir="auto">{_text(value)}</dd></div>' for one, value in rows
            )
            return f'<dl class="facts">{facts}</dl>'
        case Table():
            return _table(block)
        case Picture(svg, alt, caption):
            source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"
            words = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
            return f'<figure><div class="card"><img src="{source}" alt="{_text(alt)}"></div>{words}</figure>'


def _table(table: Table) -> str:
    """Write a table in a frame of its own, which scrolls by keyboard too where the screen is narrow."""
    columns = [' class="words"' if place in table.words else "" for place in range(len(table.header))]
    header = "".join(
        f'<th scope="col"{kind}>{_text(one)}</th>' for one, kind in zip(table.header, columns, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row" dir="auto">{_text(first)}</th>'
        + "".join(
            f'<td{kind} data-label="{_text(label)}"><span>{_text(value)}</span></td>'
            for value, kind, label in zip(others, columns[1:], table.header[1:], strict=True)
        )
        + "</tr>"
        for first, *others in table.rows
    )
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    label = _text(table.caption or "Table")
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )
