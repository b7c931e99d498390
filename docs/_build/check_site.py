"""Check a built site: python docs/_build/check_site.py FOLDER.

Every link within it must lead to a file, and to a part of it that is there. No page and no style sheet may load
anything from elsewhere. Links to elsewhere are not followed.
"""

from __future__ import annotations

import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {  # what has to be there for the page to be whole
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("video", "poster"),
    ("audio", "src"),
    ("embed", "src"),
    ("track", "src"),
    ("input", "src"),
    ("object", "data"),
    ("image", "href"),
    ("use", "href"),
}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}  # what <link> may say without asking for it
STYLE = re.compile(
    r"/\*.*?\*/"
    r"|@import\s+(?P<quote>[\"'])(?P<named>.*?)(?P=quote)"
    r"|url\(\s*(?P<mark>[\"']?)(?P<address>.*?)(?P=mark)\s*\)",
    re.DOTALL | re.IGNORECASE,
)


class Page(HTMLParser):
    """The ids of a page, its links, and the addresses that it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one element has."""
        given = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]
        self.loads += [given[name] for name in given if (tag, name) in LOADED]
        self.loads += [one.split()[0] for one in given.get("srcset", "").split(",") if one.strip()]
        self.loads += addresses(given.get("style", ""))
        if tag == "link" and given.get("rel") not in NOT_LOADED:
            self.loads.append(given.get("href", ""))

    def handle_data(self, data: str) -> None:
        """Note what a style within the page loads."""
        if self.in_style:
            self.loads += addresses(data)

    def handle_endtag(self, tag: str) -> None:
        """Leave a style."""
        self.in_style = False


def addresses(style: str) -> list[str]:
    """List what a style sheet imports and loads."""
    found = (match["named"] or match["address"] for match in STYLE.finditer(style))
    return [address for address in found if address]


def faults(site: Path) -> list[str]:
    """List what is wrong, a line each, file by file."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    asked = {path: (page.loads, page.loads + page.links) for path, page in pages.items()}
    for path in sorted(site.rglob("*.css")):
        loads = addresses(path.read_text(encoding="utf-8"))
        asked[path] = (loads, loads)
    found = []
    for path, (loads, links) in asked.items():
        wrong = [f"{link} is loaded from elsewhere" for link in loads if urlsplit(link).netloc]
        wrong += [f"{link} leads nowhere" for link in links if _is_broken(link, path, site, pages)]
        found += [f"{path.relative_to(site)}: {fault}" for fault in dict.fromkeys(wrong)]
    return found


def _is_broken(link: str, path: Path, site: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    under = urlsplit(os.environ.get("SITE_URL", "")).path.rstrip("/")  # what 404.html was built with
    where = unquote(parts.path.removeprefix(under))
    target = path if not where else (site / where[1:] if where.startswith("/") else path.parent / where).resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor and anchor != "__top" and target in pages and anchor not in pages[target].ids)


def main() -> None:
    """Check the site named on the command line; exit code 1 if something is wrong."""
    site = Path(sys.argv[1])
    if not (site / "index.html").is_file():
        raise SystemExit(f"{site} has no index.html: build the site first")
    if found := faults(site):
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
