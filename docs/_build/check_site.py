"""Check a built site: python docs/_build/check_site.py FOLDER.

Every link within it must lead to a file, and to a part of it that is there. No page may load anything from elsewhere.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script", "img", "iframe", "source", "video", "audio", "embed"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}  # what <link> may say without asking for it


class Page(HTMLParser):
    """The ids of a page, its links, and the addresses that it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one element has."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        for name in ("href", "src"):
            if name in given:
                self.links.append(given[name])
        if tag in LOADED:
            self.loads.append(given.get("src", ""))
        elif tag == "link" and given.get("rel") not in NOT_LOADED:
            self.loads.append(given.get("href", ""))


def faults(site: Path) -> list[str]:
    """List what is wrong, a line each, page by page."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        wrong = [f"{link} is loaded from elsewhere" for link in page.loads if urlsplit(link).netloc]
        wrong += [f"{link} leads nowhere" for link in page.links if _is_broken(link, path, site.resolve(), pages)]
        found += [f"{path.relative_to(site.resolve())}: {fault}" for fault in dict.fromkeys(wrong)]
    return found


def _is_broken(link: str, path: Path, site: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    where = unquote(parts.path)
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
