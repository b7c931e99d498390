"""Figures and notebooks of the site: drawn and run before the build, and kept until what they are made from changes."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "build" / "docs"  # not in the repository
FIGURES = ROOT / "docs" / "figures.py"
CELLS = Path(__file__).with_name("cells.py")
LIBRARIES = ("numpy", "scipy", "numba", "pandas", "matplotlib", "implicit", "irspack")
log = logging.getLogger("mkdocs.hooks.pictures")


def notebooks() -> list[Path]:
    """List the scripts of docs/examples in percent format."""
    scripts = sorted((ROOT / "docs" / "examples").glob("*.py"))
    return [script for script in scripts if "\n# %%" in "\n" + script.read_text(encoding="utf-8")]


def made(name: str, command: list[Path]) -> list[Path]:
    """List the files that the Python script `command`, its arguments and a folder at the end, has written there.

    It is run only if something that it depends on changed since. A failure is a warning, which ends a strict build.
    """
    folder = KEPT / f"{name}-{_fingerprint(command)}"
    if not folder.is_dir():
        _run(name, command, folder)
    return sorted(folder.glob("*"))


def _run(name: str, command: list[Path], folder: Path) -> None:
    for old in KEPT.glob(f"{name}-*"):
        shutil.rmtree(old)
    log.info("running %s", name)
    unfinished = KEPT / f"unfinished-{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    words = [sys.executable, *map(str, command), str(unfinished)]
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"MPLBACKEND": "agg"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        log.warning("%s failed:\n%s\n%s", name, done.stdout[-2000:], done.stderr[-4000:])
    else:
        unfinished.rename(folder)


def _fingerprint(command: list[Path]) -> str:
    """Sum up what the result depends on: scripts, the package with its data, libraries, and data that cells read."""
    package = [
        path for path in (ROOT / "implicit_wmf").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    sources = {*command, CELLS, *package, *(ROOT / "docs" / "examples").glob("*.py")}
    found = hashlib.sha256(repr([sys.version, *map(_version, LIBRARIES), *map(_state, _data())]).encode())
    for path in sorted(sources):
        found.update(f"\0{path}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # then the cells say so
        return None


def _data() -> list[Path]:
    """List the files outside the repository that targets.py looks for."""
    named = os.environ.get("IMPLICIT_WMF_DATA")
    folders = [Path(named)] if named else [place / "shared" / "data" for place in ROOT.parents]
    return sorted(path for folder in folders for path in folder.glob("drug-target/*"))


def _state(path: Path) -> tuple[str, int, int]:
    about = path.stat()
    return str(path), about.st_size, about.st_mtime_ns


def on_files(files: Any, config: Any) -> Any:
    """Add figures/*.svg, and a page and its pictures for each notebook."""
    sections = {"figures": made("figures", [FIGURES])}
    sections["examples"] = [path for script in notebooks() for path in made(script.stem, [CELLS, script])]
    for section, paths in sections.items():
        for path in paths:
            files.append(File.generated(config, f"{section}/{path.name}", abs_src_path=str(path)))
    return files
