"""A speed run's JSON and Markdown: what was measured, written after each section, and the page made from it."""

from __future__ import annotations

from pathlib import Path

from ..lab import missing_peers
from ..page import Page
from ..records import Record, versions, write_json
from .lab import SpeedLab
from .plan import Plan
from .sections import SECTIONS
from .timing import EXPLANATION


class Report:
    """A run of the benchmark on its way to paper; an interrupted one keeps the sections that ended.

    `path` is that of the Markdown; the record of every number goes to the same name with .json.
    """

    def __init__(self, path: Path) -> None:
        self.record: Record = {}
        self._page = Page(path)
        self._shown = 0

    def header(self, lab: SpeedLab, plan: Plan) -> None:
        """Note on what machine, with which versions and settings this is measured."""
        self.record = {
            "benchmark": "speed",
            "plan": plan.name,
            "threads": lab.threads,
            "rounds": lab.rounds,
            "budget_seconds": lab.budget,
            "missing": missing_peers(),
            # as a worker sees it, where the measurements are made
            "machine": lab.run({"task": "records.machine"}),
            "left_out": [],
            "section_seconds": {},
            "sections": {},
        }
        _header(self._page, self.record)
        self._save()

    def add(self, name: str, measured: Record, seconds: float) -> None:
        """Keep what a section measured and how long it took to, and show it."""
        self.record["sections"][name] = measured
        self.record["section_seconds"][name] = round(seconds, 1)
        _section(self._page, name, measured)
        self._save()

    def leave_out(self, parts: list[str]) -> None:
        """Note at the end what there was no time for."""
        self.record["left_out"] = parts
        _left_out(self._page, self.record)
        self._save()

    def _save(self) -> None:
        write_json(self._page.path.with_suffix(".json"), self.record)
        self._page.save()
        print(self._page.markdown[self._shown :], end="", flush=True)
        self._shown = len(self._page.markdown)


def render_speed(record: Record, path: Path) -> None:
    """Write the report of a record again, as it was written when it was measured; plots go beside it.

    Parameters
    ----------
    record : dict
        What `bench.records.read_json` reads.
    path : pathlib.Path
        The Markdown file.
    """
    page = Page(path)
    _header(page, record)
    for name, measured in record["sections"].items():
        _section(page, name, measured)
    _left_out(page, record)
    page.save()


def _left_out(page: Page, record: Record) -> None:
    if record.get("left_out"):
        page.text(
            "## Left out", "The minutes given were spent before:", "\n".join(f"* {part}" for part in record["left_out"])
        )


def _section(page: Page, name: str, measured: Record) -> None:
    if "failure" in measured:
        page.text(f"Section `{name}` ended early: {measured['failure']}")
    else:
        SECTIONS[name].render(page, measured)


def _header(page: Page, record: Record) -> None:
    machine = record["machine"]
    page.text(
        "# Speed",
        f"Written by `python -m bench speed` ({record['plan']} plan) on {machine['measured'][:10]}; "
        f"[{page.path.with_suffix('.json').name}]({page.path.with_suffix('.json').name}) has every number measured.",
        "\n".join(
            [
                f"* Machine: {machine['cpu']}, {machine['cores']} cores, last-level cache "
                f"{_mebibytes(machine['last_level_cache_bytes'])}, {machine['system']}.",
                f"* Python {machine['python']}, {versions(machine)}.",
                f"* Threads of every contestant: {record['threads']}. Interleaved rounds: {record['rounds']}, unless a "
                "section says otherwise. Each measurement in a fresh process, float32.",
                f"* BLAS as the workers see it: {'; '.join(_library(library) for library in machine['blas'])}; "
                f"OPENBLAS_CORETYPE {machine['environment']['OPENBLAS_CORETYPE'] or 'not set'}. BLAS has 1 thread "
                "(implicit's own advice) except for the sgemm rate.",
                "* Seconds an epoch are taken after a warm-up epoch on the same data, so neither compilation nor the "
                f"first touch of memory counts. {EXPLANATION}",
                "* The contestants minimise the same objective (`python -m bench selfcheck` checks it), from the same "
                "starting factors where they take any. Those named `nearest` do not, since they cannot express it: "
                "Spark's penalties grow with the rows (and it solves in float64), and `cmfrec cg 3 nearest` solves "
                "confidence 2 + x and preference x / (2 + x) where 1 + x and 1 are meant, x being a cell's weight. "
                "They solve as many systems of the same size. Objectives are computed by this package in float64.",
            ]
        ),
    )
    page.missing(record["missing"])


def _library(library: Record) -> str:
    threads = library["threads"]
    return (
        f"{library['library']} {library['version']}, {library['kernels']} kernels, "
        f"{threads} thread{'s' if threads != 1 else ''}"
    )


def _mebibytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:.0f} MiB"
