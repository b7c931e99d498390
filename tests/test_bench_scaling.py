"""The scaling benchmark measures what it says, and its formulas come to what is worked out by hand."""

from pathlib import Path

import benchmark
import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED

from bench.__main__ import main
from bench.quality.report import render_quality
from bench.records import machine_record, read_json, write_json
from bench.scaling import command
from bench.scaling.constants import _by_epoch
from bench.scaling.paper import (
    PASSES,
    Constants,
    Machines,
    Problem,
    constants,
    distinct_blocks,
    epoch_seconds,
    moved_bytes,
    spark_block_bytes,
    spark_bytes,
)
from bench.scaling.report import bars, render_scaling
from bench.scaling.spark import CONTESTANT
from implicit_wmf.datasets import synthetic

compiled = pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")

# 10 rows of 13 numbers, which take 16 of 4 bytes: 640 bytes
TINY = Problem(users=8, items=10, cells=48, factors=13, steps=3)


def test_bytes_that_an_epoch_moves():
    # users' solve 640; start 3 x 640 and 10 numbers of 8 bytes; 3 steps of 2 x 640 and 80; a basis of 13 x 13 x 4 and
    # two Gram matrices of 13 x 13 x 8 bytes; 10 x 13 x 4 for the loss
    by_steps = 640 + 1920 + 80 + 3 * (1280 + 80) + 676 + 2 * 1352 + 520
    assert moved_bytes(TINY, 1) == by_steps
    assert moved_bytes(TINY, 5) == 5 * by_steps
    assert moved_bytes(TINY, 1, loss=False) == by_steps - 1352 - 520
    # 10 systems of 16 x 32 and right-hand sides of 16 numbers, of 4 bytes
    exactly = 640 + 80 + 10 * (16 * 32 + 16) * 4 + 676 + 2 * 1352 + 520
    assert moved_bytes(TINY, 1, exact=1.0) == exactly
    assert moved_bytes(TINY, 1, exact=0.5) == (by_steps + exactly) / 2


def test_blocks_of_spark_that_need_a_row():
    assert distinct_blocks([0], 4) == 0
    assert distinct_blocks([1], 4) == pytest.approx(1)
    assert distinct_blocks([2], 4) == pytest.approx(1 / 4 * 1 + 3 / 4 * 2)
    assert distinct_blocks([3], 2) == pytest.approx(1 / 4 * 1 + 3 / 4 * 2)
    assert distinct_blocks([0, 1, 10**6], 4) == pytest.approx((0 + 1 + 4) / 3)
    generator = np.random.default_rng(0)
    drawn = [len(np.unique(generator.integers(16, size=20))) for _ in range(4000)]
    assert distinct_blocks([20], 16) == pytest.approx(np.mean(drawn), rel=0.01)


def test_bytes_that_spark_shuffles():
    # of 8 users half have 1 interaction and half 2; every one of 10 items has 2
    users, items = 8 * (1 + 1.75) / 2, 10 * 1.75
    assert spark_bytes(TINY, 4, [1, 2], [2]) == pytest.approx((users + items) * 13 * 4)
    assert spark_block_bytes(TINY, 4, [1, 2]) == pytest.approx(users / 4 * 13 * 4)
    assert spark_block_bytes(TINY, 1, [1, 2]) == pytest.approx(8 * 13 * 4)


def test_seconds_of_an_epoch():
    cell, item = (dict(zip(PASSES, numbers, strict=True)) for numbers in ([1, 2, 3, 4, 5], [0.1, 0.2, 0.3, 0.4, 0.5]))
    known = Constants(cell, item, client_item=0.25, adding=64, sending=320)
    # a node has 12 of 48 cells and 2 of 8 shards, so 10 items twice, and 2 cores; a matrix is 640 bytes
    machines = Machines(nodes=4, cores=2, shards=8, network=160)
    seconds = epoch_seconds(known, TINY, machines)
    # the client sends a matrix to one, which takes 4 s; it sends to 2, one of the three to the last: 4 + 2 x 8 s
    down, up = 4 * (1 + 2 + 2), 4 * (2 + 1)
    assert seconds == pytest.approx(
        {
            "users": (12 * 3 + 20 * 0.3) / 2,
            "items": (12 * 3 + 20 * 0.3 + 3 * (12 * 4 + 20 * 0.4)) / 2,
            "loss": (12 * 5 + 20 * 0.5) / 2,
            "adding": 5 * (1 + 2) * 10,  # a shard to another, and two rounds of pairs
            "network": 6 * down + 5 * up,
            "client": 2.5,
        }
    )
    faster = epoch_seconds(known, TINY, Machines(nodes=4, cores=2, shards=8, network=1e9))
    assert faster["network"] == pytest.approx(seconds["network"] / 2)  # what Dask gets through
    alone = epoch_seconds(known, TINY, Machines(nodes=1, cores=2, shards=2, network=160))
    assert alone["network"] == 6 * 4 + 5 * 4
    assert alone["adding"] == 5 * 10


def sizes_of(*seconds):
    """Records of 100 and 300 cells whose passes take these seconds at best."""
    return [
        {"users": cells, "cells": cells, "row_sizes": {"users": [100], "items": [7]},
         "passes": {name: [second + 1, second] for name in (*PASSES, "client")}}
        for cells, second in zip((100, 300), seconds, strict=True)
    ]  # fmt: skip


def constants_record(*seconds):
    return {
        "items": 10, "factors": 8, "steps": 3, "threads": 2, "sizes": sizes_of(*seconds), "add_bytes_a_second": 2e9,
        "send_bytes_a_second": 1e9,
    }  # fmt: skip


def test_constants_are_lines_through_two_sizes():
    known = constants(constants_record(3.0, 7.0))
    # of 2 threads: 6 s and 14 s, 8 s for 200 cells, and 2 s at none
    assert known.cell == pytest.approx({name: 0.04 for name in PASSES} | {"multiply_items": 0.04 / 3})
    assert known.item == pytest.approx({name: 0.2 for name in PASSES} | {"multiply_items": 0.2 / 3})
    assert known.client_item == pytest.approx(0.3)
    assert (known.adding, known.sending) == (2e9, 1e9)
    assert constants(constants_record(3.0, 2.0)).cell["sum_loss"] == 0
    assert constants(constants_record(1.0, 9.0)).item["sum_loss"] == 0


def test_passes_are_those_of_their_epoch():
    passes = [("weigh_users", 9.0)]
    for epoch in (5.0, 1.0, 2.0):
        passes += [("solve_users", epoch), ("multiply_items", 0.25), ("multiply_items", epoch), ("make_systems", 0.5)]
    found = _by_epoch(passes, [20.0, 5.0, 8.0])
    assert found["solve_users"] == [1.0, 2.0]
    assert found["multiply_items"] == [1.25, 2.25]
    assert found["client"] == [5 - 1 - 1.25 - 0.5, 8 - 2 - 2.25 - 0.5]


def run_of(seconds, sha256="a", **judged):
    moved = {"moved": [0, 10, 12], "item_steps": [3, 3, 3], "exact_items": [0, 0, 0], "losses": [3, 2, 1]}
    return {"seconds": seconds, "sha256": sha256, **moved, **judged}


def record_of(one=1.1, two=0.6, sha256="a", spark=12.0):
    """A record of two rounds, the second with epochs twice as long; first epochs do not count."""

    def rounds(second, **others):
        return [run_of([9.0, times * second, times * second], **others) for times in (1, 2)]

    store = {"users": 900, "items": 50, "pairs": 20_000, "shards": 4}
    about = {"epochs": 3, "factors": 64, "solver": "auto", "store": store, "machine": machine_record()}
    judged = {"objective": 12.5, "of_cells": 12.25}
    return {
        "benchmark": "scaling",
        "workers": about | {"runs": {"0": rounds(1.0), "1": rounds(one), "2": rounds(two, sha256=sha256)}},
        "constants": constants_record(3.0, 7.0) | {"machine": machine_record()},
        "spark": about | {
            "objective": command.OBJECTIVE, "missing": "", "cores": 2,
            "runs": {"ours, one process": rounds(1.0, **judged), CONTESTANT: [run_of([spark], **judged)] * 2},
        },
    }  # fmt: skip


def cells_of(lines):
    """The cells of the tables' rows by the first of them."""
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return {first: others for first, *others in table}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, ["ours, one process: speed of Spark"]),
        ({"spark": 14.0}, []),  # 14 and 7 times: 10.5
        ({"spark": 14.0, "one": 1.16}, ["1 worker: time above that of no cluster"]),
        ({"spark": 14.0, "two": 0.66}, ["2 workers: speed of 1"]),
        ({"spark": 14.0, "sha256": "b"}, ["fits with other factors than the first"]),
    ],
)
def test_what_is_missed_is_said(change, missed, tmp_path):
    record = record_of(**change)
    assert [bar.name for bar in bars(record) if not bar.kept] == missed
    render_scaling(record, tmp_path / "report.md")
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.rstrip(" |").endswith("NO")] == missed
    assert cells_of(lines)["2"][-1] == ("OTHERS" if "sha256" in change else "the same bits")


def test_the_page_shows_what_was_measured(tmp_path):
    render_scaling(record_of(spark=14.0), tmp_path / "report.md")
    rows = cells_of((tmp_path / "report.md").read_text().splitlines())
    assert rows["2"][:4] == ["0.9 [0.6, 1.2]", "0.60 [0.60, 0.60]", "1.83 [1.83, 1.83]", "0.0"]
    assert rows["ours, one process"] == ["1.5 [1, 2]", "10.5 [7.0, 14.0]", "12.5", "12.25"]
    # 11 matrices of 512 MB, 4 times a million numbers of 8 bytes, and small ones, for each of 16 workers: 90.6
    assert rows["ours, 3 steps an item"][0] == "91"
    # 1e8 x 512 bytes x 16 (1 - (15/16)^100) and 1e6 x 512 x 16 (1 - (15/16)^7) bytes
    assert rows["Spark, 16 blocks, one a node"] == ["821", "51"]


def test_a_part_that_was_not_measured_is_left_out(tmp_path):
    record = {name: part for name, part in record_of().items() if name != "workers"}
    render_scaling(record, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert "## Workers on one machine" not in text
    assert "## Against Spark" in text


def test_the_page_of_quality_has_the_comparison_with_spark(tmp_path):
    quality = read_json(benchmark.ROOT / "bench" / "RESULTS.json")
    write_json(tmp_path / "RESULTS-scaling.json", record_of())
    for name, has in (("RESULTS.md", True), ("RESULTS-quality-other.md", False)):
        render_quality(quality, tmp_path / name)
        assert ("| ours, one process " in (tmp_path / name).read_text()) is has


@pytest.fixture
def data(tmp_path):
    """Of 3,000 items, whose factors are too large to go along with a call."""
    counts = synthetic(200, 3000, 20_000, random_state=0).tocoo()
    (tmp_path / "data").mkdir()
    table = pd.DataFrame({"user": counts.row, "item": counts.col, "value": counts.data})
    table.to_parquet(tmp_path / "data" / "part.parquet")
    return tmp_path / "data"


@compiled
def test_a_small_run_measures_and_keeps_the_parts_that_are_not_measured(data, tmp_path, capsys):
    pytest.importorskip("distributed")
    report = tmp_path / "report.md"
    write_json(report.with_suffix(".json"), {"benchmark": "scaling", "spark": record_of()["spark"]})
    kept = read_json(report.with_suffix(".json"))["spark"]
    words = ["scaling", "--data", data, "--small", "--workers", 2, "--solver", "cg", "--only", "workers", "constants"]
    with pytest.raises(SystemExit, match="1"):  # Spark's kept seconds miss a bar
        main(list(map(str, [*words, "-o", report, "--folder", tmp_path])))
    assert report.read_text().strip() in capsys.readouterr().out
    record = read_json(report.with_suffix(".json"))
    assert record["spark"] == kept
    assert [size["cells"] for size in record["constants"]["sizes"]] == [2000, 4000]
    assert record["constants"]["send_bytes_a_second"] > 0
    assert str(tmp_path) not in report.with_suffix(".json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "report.json", "report.md"]

    runs, store = record["workers"]["runs"], record["workers"]["store"]
    assert runs.keys() == {"0", "2"}
    (serial,), (cluster,) = runs["0"], runs["2"]
    assert cluster["sha256"] == serial["sha256"]
    assert cluster["losses"] == serial["losses"]
    assert serial["moved"] == [0, 0, 0]
    # less what goes along with calls: numbers of items, and matrices of d x d
    problem = Problem(200, store["items"], 20_000, record["workers"]["factors"], steps=3)
    formula = moved_bytes(problem, 2, exact=cluster["exact_items"][-1])
    assert cluster["moved"][-1] == pytest.approx(formula, rel=0.06)


def test_what_is_asked_for_is_what_is_planned(data, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        command, "PARTS", {"workers": lambda plan, store, solver: seen.append((plan, store, solver)) or {}}
    )
    monkeypatch.setattr(command, "bars", lambda record: [])
    monkeypatch.setattr(command, "render_scaling", lambda record, path: path.write_text("page"))
    words = ["scaling", "--data", data, "--interactions", 1000, "--rounds", 2, "--solver", "exact", "--shards", 3]
    main(list(map(str, [*words, "-o", tmp_path / "page.md", "--folder", tmp_path])))
    ((plan, store, solver),) = seen
    assert (plan.interactions, plan.rounds, plan.epochs, plan.workers) == (1000, 2, 5, (1, 2, 4))
    assert (len(store.shards), solver) == (3, "exact")
    assert not Path(store.path).exists()
