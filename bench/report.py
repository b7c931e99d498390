"""RESULTS.md, written as the measurements come in, and the same on the terminal."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from .lab import Lab, missing_peers
from .plan import Plan

PACKAGES = ("numpy", "scipy", "numba", "irspack", "implicit")


class Report:
    """Appends Markdown to a file; a run that is interrupted keeps what it has measured."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def text(self, *lines: str) -> None:
        """Add paragraphs."""
        with self._path.open("a", encoding="utf-8") as file:
            for line in lines:
                print(line, end="\n\n", flush=True)
                file.write(line + "\n\n")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table whose columns are padded, so that it reads well on a terminal too."""
        cells = [list(header), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
        cells.insert(1, ["-" * width for width in widths])
        padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells)
        self.text("\n".join("| " + " | ".join(row) + " |" for row in padded))

    def header(self, lab: Lab, plan: Plan) -> None:
        """Say on what machine, with which versions and settings this was measured."""
        libraries = lab.run({"task": "blas"})["libraries"]
        self.text(
            "# Speed",
            f"Written by `python -m bench speed` ({plan.name} plan) on {datetime.date.today().isoformat()}.",
            "\n".join(
                [
                    f"* Machine: {_cpu_model()}, {os.cpu_count()} cores, last-level cache {_cache_text()}, "
                    f"{platform.system()} {platform.machine()}.",
                    f"* Python {platform.python_version()}, {', '.join(_version(name) for name in PACKAGES)}.",
                    f"* Threads of every contestant: {lab.threads}. Interleaved rounds: {lab.rounds}. Each "
                    "measurement in a fresh process, float32.",
                    f"* BLAS as the workers see it: {'; '.join(_library(*library) for library in libraries)}; "
                    f"OPENBLAS_CORETYPE {os.environ.get('OPENBLAS_CORETYPE', 'not set')}. BLAS has 1 thread "
                    "(implicit's own advice) except for the sgemm rate.",
                    "* Seconds an epoch: the median of a process's epochs after a warm-up epoch on the same data, so "
                    "neither compilation nor the first touch of memory counts. `best` is the fastest epoch of all "
                    "rounds, `median` the median of the rounds; ratios are taken within each round, and the median of "
                    "those is shown.",
                    "* Every contestant minimises the same objective from the same starting factors "
                    "(`python -m bench selfcheck` checks it); objectives are computed by this package in float64.",
                ]
            ),
        )
        if missing_peers():
            self.text(missing_peers())


def _library(api: str, version: str, architecture: str, threads: str) -> str:
    return f"{api} {version}, {architecture} kernels, {threads} thread{'s' if threads != '1' else ''}"


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} not installed"


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def last_level_cache() -> int | None:
    """Size in bytes, None where the system does not tell."""
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return int(folders[-1].read_text().strip().removesuffix("K")) * 1024 if folders else None


def _cache_text() -> str:
    size = last_level_cache()
    return "unknown" if size is None else f"{size / 2**20:.0f} MiB"
