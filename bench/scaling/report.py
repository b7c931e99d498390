"""The page of a scaling record: worker processes of one machine, a larger cluster on paper, and Spark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from ..page import Page, spread
from ..records import Record, versions
from .paper import (
    Constants,
    Machines,
    Problem,
    constants,
    epoch_seconds,
    moved_bytes,
    spark_block_bytes,
    spark_bytes,
)
from .spark import CONTESTANT

OVERHEAD, SPEED_UP, TIMES_SPARK = 0.15, 1.7, 10.0
PACKAGES = ("numpy", "scipy", "numba", "dask", "distributed", "pyspark")
LARGE = Problem(users=100e6, items=1e6, cells=10e9, factors=128, steps=3)
NODES, SHARDS = 16, 64
CORES = (16, 32, 64)
NETWORKS = (10, 25)  # Gbit/s


class Bar(NamedTuple):
    """Something measured, and what it is to be: at most that, or at least."""

    name: str
    measured: float
    bound: float
    form: str  # of both
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def row(self) -> list[str]:
        """Return the bar's line of the table."""
        asked = f"at {'least' if self.at_least else 'most'} {self.form.format(self.bound)}"
        return [self.name, self.form.format(self.measured), asked, "yes" if self.kept else "NO"]


def bars(record: Record) -> list[Bar]:
    """List what a record is held to."""
    return [*_bars_of_workers(record.get("workers")), *_bars_of_spark(record.get("spark"))]


def _bars_of_workers(part: Record | None) -> Iterator[Bar]:
    if part is None:
        return
    runs = part["runs"]
    yield Bar("fits with other factors than the first", len(_hashes(runs)) - 1, 0, "{}")
    if "1" in runs:
        yield Bar("1 worker: time above that of no cluster", median(_ratios(runs, "0", "1")) - 1, OVERHEAD, "{:.1%}")
    if "1" in runs and "2" in runs:
        yield Bar("2 workers: speed of 1", median(_ratios(runs, "2", "1")), SPEED_UP, "{:.2f}", at_least=True)


def _bars_of_spark(part: Record | None) -> Iterator[Bar]:
    if part is not None and CONTESTANT in part["runs"]:
        for name in part["runs"]:
            if name != CONTESTANT:
                times = median(_ratios(part["runs"], name, CONTESTANT))
                yield Bar(f"{name}: speed of Spark", times, TIMES_SPARK, "{:.1f}", at_least=True)


def _hashes(runs: dict[str, list[Record]]) -> set[str]:
    return {run["sha256"] for rounds in runs.values() for run in rounds}


def _seconds(run: Record) -> float:
    """Seconds an epoch: the median of those after the first, which also compiles, weighs cells and opens shards."""
    return median(run["seconds"][1:] or run["seconds"])


def _ratios(runs: dict[str, list[Record]], fast: str, slow: str) -> list[float]:
    """How many times as long the second one's epochs take, in each round."""
    return [_seconds(there) / _seconds(here) for here, there in zip(runs[fast], runs[slow], strict=True)]


def render_scaling(record: Record, path: Path) -> None:
    """Write the report of a record of ``python -m bench scaling``, as far as it was measured."""
    page = Page(path)
    json_name = path.with_suffix(".json").name
    page.text(
        "# Scaling",
        f"Written by `python -m bench scaling`; [{json_name}]({json_name}) has every number measured.",
    )
    page.see_also()
    found = bars(record)
    if found:
        page.text("## What it is held to")
        page.table(["", "measured", "asked for", "kept"], [bar.row() for bar in found])
    for name, render in (("workers", _workers), ("spark", spark_section), ("constants", _paper)):
        if name in record:
            render(page, record[name])
    page.save()


def _measured(part: Record) -> str:
    machine = part["machine"]
    return (
        f"Measured on {machine['measured'][:10]}: {machine['cpu']}, {machine['usable_cores']} cores, "
        f"{machine['system']}; Python {machine['python']}, {versions(machine, PACKAGES)}."
    )


def _data(part: Record) -> str:
    store = part["store"]
    return (
        f"{store['pairs']:,} interactions of {store['users']:,} users and {store['items']:,} items, of "
        f"`data_scripts/synthetic_interactions.py`, in {store['shards']} shards; d = {part['factors']}, "
        f'{part["epochs"]} epochs, `solver="{part["solver"]}"`'
    )


def _workers(page: Page, part: Record) -> None:
    cores, rounds = part["machine"]["usable_cores"], len(part["runs"]["0"])
    most = max(map(int, part["runs"]))
    shared = f" With {most} workers on {cores} cores, some share one." if most > cores else ""
    page.text(
        "## Workers on one machine",
        _measured(part),
        f"{_data(part)}. Each worker is a process of one thread, kept to a core of its own.{shared} The client and the "
        f"scheduler run on the same {cores} cores and take time from the workers, as they would not on machines of "
        "their own. `no cluster` is the same fit by this process alone, one thread on one core. Seconds an epoch have "
        f"the loss in them and are medians of the epochs after the first, [least, most] of {rounds} interleaved "
        "rounds; ratios are taken within each round.",
    )
    page.table(
        ["workers", "s an epoch", "time of no cluster", "speed of 1 worker", "MB moved", "by the formula", "factors"],
        [_worker_row(name, part) for name in part["runs"]],
    )


def _worker_row(name: str, part: Record) -> list[str]:
    runs = part["runs"]
    first = runs["0"][0]
    same = all(run["sha256"] == first["sha256"] for run in runs[name])
    speed = spread(_ratios(runs, name, "1"), ".2f") if "1" in runs else "-"
    return [
        name if name != "0" else "no cluster",
        spread([_seconds(run) for run in runs[name]]),
        spread(_ratios(runs, "0", name), ".2f"),
        speed,
        f"{mean(runs[name][0]['moved'][1:]) / 1e6:.1f}",
        f"{mean(_formula(runs[name][0], part, int(name))) / 1e6:.1f}",
        "the same bits" if same else "OTHERS",
    ]


def _formula(run: Record, part: Record, workers: int) -> list[float]:
    """Bytes of each epoch after the first by `moved_bytes`, from the steps that were taken."""
    store = part["store"]
    return [
        moved_bytes(
            Problem(store["users"], store["items"], store["pairs"], part["factors"], steps), workers, exact=exact
        )
        for steps, exact in zip(run["item_steps"][1:], run["exact_items"][1:], strict=True)
    ]


def spark_section(page: Page, part: Record) -> None:
    """Add the comparison with Spark; RESULTS.md has it as well."""
    objective = ", ".join(f"{name} = {value:g}" for name, value in part["objective"].items())
    rounds = len(next(iter(part["runs"].values())))
    page.text(
        "## Against Spark MLlib's ALS",
        _measured(part) + (f" {part['machine']['java']}." if part["machine"]["java"] else ""),
        f"{_data(part)} for ours; weighting linear, {objective}. All on {part['cores']} cores: ours on the store by "
        f"one process of {part['cores']} threads and by {part['cores']} Dask workers of one, Spark in local mode with "
        f"as many threads and blocks, its ratings cached in memory. {rounds} interleaved rounds, each fit in a process "
        "of its own. Ours tells its epochs, of which those after the first count; Spark's are (a whole fit - a fit of "
        "one epoch) / (epochs - 1), after a fit that is not timed. No loss is computed meanwhile. Spark solves every "
        "row by Cholesky, starts from factors of its own and weighs penalties by the length of rows; it gets the "
        "strength whose penalties have the same sum. The objective is ours for all, computed afterwards in float64; "
        "`of cells` is its part without penalties, which Spark's has as well.",
    )
    page.missing(part["missing"])
    runs = part["runs"]
    rows = []
    for name, rounds_of in runs.items():
        times = spread(_ratios(runs, name, CONTESTANT), ".1f") if CONTESTANT in runs else "-"
        judged = [f"{rounds_of[0][value]:.6g}" for value in ("objective", "of_cells")]
        rows.append([name, spread([_seconds(run) for run in rounds_of]), times, *judged])
    page.table(["contestant", "s an epoch", "speed of Spark", "objective", "of cells"], rows)


def _paper(page: Page, part: Record) -> None:
    known, large, sizes = constants(part), LARGE, part["sizes"][-1]["row_sizes"]
    page.text(
        "## A larger cluster, on paper",
        _measured(part),
        f"{large.users / 1e6:,.0f} million users x {large.items / 1e6:,.0f} million items, {large.cells / 1e9:,.0f} "
        f"billion interactions, d = {large.factors}, {large.steps:g} steps an item, on {NODES} nodes, {SHARDS} shards: "
        "nobody has run this. Seconds of each pass are taken to be straight lines in cells and in items, through fits "
        f"of {_sizes_text(part)} on all {part['threads']} cores here; formulas and assumptions are in "
        "`bench/scaling/paper.py`: cores as fast as here, nothing overlaps, the network at its nominal speed or, if "
        "that is slower, at what Dask gets through between two processes here "
        f"({known.sending / 1e9:.2f} GB/s), parts added at {known.adding / 1e9:.1f} GB/s.",
    )
    page.table(["", "ns of a core a cell", "ns of a core an item"], _constant_rows(known))
    page.text("Seconds an epoch:")
    page.table(["cores a node", "Gbit/s", *_first_estimate(known), "all"], _estimates(known))
    page.text(
        "Bytes moved an epoch, beside the published design of Spark's ALS (Meng et al. 2016, and the comments of "
        "MLlib's `ALS.scala`). It hashes users and items into blocks; in each half-epoch each "
        "row of one side, float32, goes to every block of the other side in which it has a cell, once. How many those "
        "are is computed for cells that fall on blocks by chance and rows as long as those measured, users of "
        f"{large.cells / large.users:.0f} interactions on average. Every rating is kept twice, by user and by item "
        "(Zhou et al. 2008), as a shard of ours does. A block needs the rows that it was sent all at once, hence the "
        "last column. Where both "
        f"blocks are on one node nothing goes over the network: of {NODES} nodes, 1 in {NODES}.",
    )
    page.table(["", "GB an epoch", "GB a block needs"], _moved_rows(large, sizes))
    page.text(
        "Ours grows with the items and the workers, whatever the users are; Spark's with the rows of both sides and "
        "the blocks that need them."
    )


def _sizes_text(part: Record) -> str:
    cells = " and ".join(f"{size['cells'] / 1e6:,.3g}" for size in part["sizes"])
    return f"{cells} million interactions of {part['items']:,} items at d = {part['factors']}"


def _constant_rows(known: Constants) -> list[list[str]]:
    rows = [[name, f"{1e9 * known.cell[name]:.3g}", f"{1e9 * known.item[name]:.3g}"] for name in known.cell]
    return [*rows, ["client, all its cores", "-", f"{1e9 * known.client_item:.3g}"]]


def _machines(cores: int, network: float) -> Machines:
    return Machines(NODES, cores, SHARDS, network * 1e9 / 8)


def _first_estimate(known: Constants) -> dict[str, float]:
    return epoch_seconds(known, LARGE, _machines(CORES[0], NETWORKS[0]))


def _estimates(known: Constants) -> Iterator[list[str]]:
    for cores in CORES:
        for network in NETWORKS:
            seconds = epoch_seconds(known, LARGE, _machines(cores, network)).values()
            yield [str(cores), str(network), *(f"{second:.1f}" for second in seconds), f"{sum(seconds):.0f}"]


def _moved_rows(large: Problem, sizes: Record) -> Iterator[list[str]]:
    gigabytes = "{:,.0f}".format
    yield [f"ours, {large.steps:g} steps an item", gigabytes(moved_bytes(large, NODES) / 1e9), "-"]
    yield ["ours, items exactly", gigabytes(moved_bytes(large, NODES, exact=1.0) / 1e9), "-"]
    for blocks, which in ((NODES, "one a node"), (NODES * CORES[1], f"one a core of {CORES[1]}")):
        shuffled = spark_bytes(large, blocks, sizes["users"], sizes["items"])
        block = spark_block_bytes(large, blocks, sizes["users"])
        yield [f"Spark, {blocks} blocks, {which}", gigabytes(shuffled / 1e9), gigabytes(block / 1e9)]
