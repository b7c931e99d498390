"""The page of an out-of-core record: what was measured, and what it is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..page import Page
from ..records import Record, versions

PREPARE_BYTES, FIT_BYTES = 3_000_000_000, 4_000_000_000
LOSS_SHARE = 5e-4
# Two runs of the same command on the same data differ by tens of megabytes: threads, and what allocators keep.
WHIMS = 64_000_000
PACKAGES = ("numpy", "scipy", "numba", "duckdb", "pyarrow")


class Bar(NamedTuple):
    """Something measured, and the most that it may be."""

    name: str
    measured: float
    most: float
    form: str  # of both

    @property
    def kept(self) -> bool:
        """Whether it is no more than that."""
        return self.measured <= self.most

    def row(self) -> list[str]:
        """Return the bar's line of the table."""
        return [self.name, self.form.format(self.measured), self.form.format(self.most), "yes" if self.kept else "NO"]


def bars(record: Record) -> list[Bar]:
    """List what a record is held to."""
    return [*_bars_of_runs(record), *_bars_of_growth(record)]


def _bars_of_runs(record: Record) -> Iterator[Bar]:
    for run in record["runs"]:
        size = f"{run['lines']:,} lines"
        yield Bar(f"prepare, {size}: peak", run["prepare"]["peak"] / 1e9, PREPARE_BYTES / 1e9, "{:.2f} GB")
        yield Bar(f"fit, {size}: peak", run["fit"]["peak"] / 1e9, FIT_BYTES / 1e9, "{:.2f} GB")
        if run["in_memory"]:
            yield Bar(f"fit, {size}: loss beside that in memory", abs(_excess(run)), LOSS_SHARE, "{:.4%}")


def _bars_of_growth(record: Record) -> Iterator[Bar]:
    """Hold the growth of peaks to a shard, to what more items take, and to what differs without a reason."""
    runs = record["runs"]
    if len(runs) < 2:
        return
    first, last = runs[0], runs[-1]
    items = (last["store"]["items"] - first["store"]["items"]) * record["factors"] * 4
    share = (last["store"]["largest_shard_bytes"] + max(0, items) + WHIMS) / 1e6
    for step in ("prepare", "fit"):
        growth = (last[step]["peak"] - first[step]["peak"]) / 1e6
        name = f"{step}: growth of the peak from {first['lines']:,} to {last['lines']:,} lines"
        yield Bar(name, growth, share, "{:.0f} MB")


def _excess(run: Record) -> float:
    """How far the loss is above that of the fit in memory after as many epochs, as a share of it."""
    ours, theirs = (run[fit]["history"][-1]["loss"] for fit in ("fit", "in_memory"))
    return float(ours / theirs - 1)


def render_out_of_core(record: Record, path: Path) -> None:
    """Write the report of a record of ``python -m bench out-of-core``."""
    page = Page(path)
    machine = record["machine"]
    json_name = path.with_suffix(".json").name
    page.text(
        "# Out of core",
        f"Written by `python -m bench out-of-core` on {machine['measured'][:10]}; [{json_name}]({json_name}) has every "
        "number measured.",
        "\n".join(
            [
                f"* Machine: {machine['cpu']}, {machine['usable_cores']} cores, {machine['system']}; Python "
                f"{machine['python']}, {versions(machine, PACKAGES)}.",
                f"* Data: {record['data']}, of `data_scripts/synthetic_interactions.py` unless it was replaced.",
                "* Each command in a process of its own, from its start to its end. `peak` is the most memory that was "
                "resident (`ru_maxrss`); of it, `own` is the most that was the process's own and `mapped` the most "
                "that was files, which the system takes back when it needs the room; both were looked up every 10 ms, "
                "not necessarily at the same moment. GB are 10^9 bytes.",
            ]
        ),
    )
    page.see_also()
    _bars(page, record)
    _prepare(page, record)
    _fit(page, record)
    page.save()


def _bars(page: Page, record: Record) -> None:
    page.text(
        "## What it is held to",
        f"A peak may grow by the bytes of the largest shard, by the factors of more items, and by {WHIMS / 1e6:.0f} "
        "MB, by which two runs on the same data may differ.",
    )
    page.table(["", "measured", "at most", "kept"], [bar.row() for bar in bars(record)])


def _prepare(page: Page, record: Record) -> None:
    page.text("## `implicit-wmf prepare`", "With its default limit of memory.")
    rows = []
    for run in record["runs"]:
        store, step = run["store"], run["prepare"]
        counts = [f"{store[name]:,}" for name in ("users", "items", "pairs", "shards")]
        speed = [f"{step['seconds']:.0f}", f"{run['lines'] / step['seconds']:,.0f}"]
        rows.append([f"{run['lines']:,}", *counts, f"{store['bytes'] / 1e9:.2f}", *speed, *_memory(step)])
    header = ["lines", "users", "items", "pairs", "shards", "store GB", "s", "lines a second", *_MEMORY]
    page.table(header, rows)


def _fit(page: Page, record: Record) -> None:
    page.text(
        "## `implicit-wmf fit` of the store",
        f"d = {record['factors']}, {record['epochs']} epochs, `--solver {record['solver']}`, `--memory-limit "
        f"{record['memory_limit']}`. `s` is the whole command, which verifies the store and saves the model; `s an "
        "epoch` has the loss in it. In memory: the same data, settings and seed, read from the store, and no model "
        "saved. Out of core every user is solved exactly; in memory `auto` takes few steps for most, so that its loss "
        "after few epochs may be the higher one. `above` says by how much the store's last loss is above it.",
    )
    rows = []
    for run in record["runs"]:
        above = f"{_excess(run):+.4%}" if run["in_memory"] else "-"
        for name, step, excess in (("store", run["fit"], above), ("in memory", run["in_memory"], "")):
            if step:
                losses = [f"{epoch['loss']:.8g}" for epoch in step["history"]]
                seconds = [f"{epoch['seconds']:.1f}" for epoch in step["history"]]
                rows.append(
                    [f"{run['lines']:,}", name, f"{step['seconds']:.0f}", ", ".join(seconds), ", ".join(losses)]
                    + [excess, *_memory(step)]
                )
    page.table(["lines", "fit", "s", "s an epoch", "loss", "above", *_MEMORY], rows)


_MEMORY = ("peak GB", "own GB", "mapped GB")


def _memory(step: Record) -> list[str]:
    return [f"{step[name] / 1e9:.2f}" for name in ("peak", "anonymous", "mapped")]
