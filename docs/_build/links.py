"""Pages from outside docs/ on the site, and links as the repository resolves them turned into links of the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
# The README is not on the site; what its sections are about is.
README = {
    "README.md": "index.md",
    "README.md#start": "start.md",
    "README.md#the-objective": "explanation/objective.md",
    "README.md#is-it-good": "how_to/evaluation.md",
    "README.md#from-the-command-line": "reference/command_line.md",
    "README.md#compared-with-others": "benchmarks.md",
}
CODE_OR_LINK = re.compile(
    r"(?P<code>^ *(?P<fence>`{3,}).*?^ *(?P=fence) *$|`[^`\n]+`)"
    r"|(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def shown() -> dict[str, str]:
    """List what the site shows of the repository outside docs/: path there to path on the site."""
    pages = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
    reports = {f"bench/{path.name}": report_page(path.stem) for path in (ROOT / "bench").glob("RESULTS*.md")}
    plots = {f"bench/plots/{path.name}": f"benchmarks/plots/{path.name}" for path in ROOT.glob("bench/plots/*.png")}
    return {path: page for path, page in {**pages, **reports, **plots}.items() if (ROOT / path).is_file()}


def report_page(stem: str) -> str:
    """Tell where the report RESULTS-NAME is on the site; the one without a name is of quality."""
    return f"benchmarks/{stem.removeprefix('RESULTS').lstrip('-') or 'quality'}.md"


def rewrite(text: str, origin: str, page: str, pages: dict[str, str]) -> str:
    """Turn the links of a page that is at `origin` in the repository into those of `page` on the site.

    Files that the site does not show become their names: the repository has no public address to link to. What is
    nowhere stays as it is, for MkDocs to complain of. Code is left alone.
    """

    def one(found: re.Match[str]) -> str:
        if found["code"] or re.match(r"[a-z]+:|#|/|<", found["target"]):
            return found[0]
        target, hash_mark, anchor = found["target"].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if path + hash_mark + anchor in README:
            path, hash_mark, anchor = path + hash_mark + anchor, "", ""
        if path in pages:
            relative = posixpath.relpath(pages[path], posixpath.dirname(page) or ".")
            return f"{found['mark']}[{found['text']}]({relative}{hash_mark}{anchor})"
        return _named(found["text"], path) if (ROOT / path).exists() else found[0]

    return CODE_OR_LINK.sub(one, text)


def _named(text: str, path: str) -> str:
    bare = text.strip("`")
    if path.endswith(bare.rstrip("/")):
        return f"`{bare}`"
    return f"{text} (`{path}`)"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and pictures from outside docs/."""
    for path, page in shown().items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn the page's links into those of the site."""
    outside = shown()
    origins = {file.src_uri: f"docs/{file.src_uri}" for file in files if not file.inclusion.is_excluded()}
    origins |= {site: path for path, site in outside.items()}
    pages = {origin: site for site, origin in origins.items()}
    pages |= {path.removesuffix(".md") + ".py": site for path, site in pages.items() if _is_notebook(path)}
    return rewrite(markdown, origins[page.file.src_uri], page.file.src_uri, pages | README)


def _is_notebook(path: str) -> bool:
    return path.endswith(".md") and not (ROOT / path).exists() and (ROOT / path).with_suffix(".py").is_file()
