"""The page of a quality record: tables and plots, from what was measured alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean, median

from . import plots
from .page import Page
from .plan import Objective
from .quality_data import NCF
from .records import Record
from .timing import spread

OURS = "ours auto"
SHOWN_PACKAGES = ("numpy", "scipy", "numba", "implicit", "irspack", "cmfrec", "pyspark")
# HR@10 and NDCG@10 of iALS by Google Research's code on this split, after 10 to 12 epochs: they go with Rendle et al.
# 2022, "Revisiting the performance of iALS on item recommendation benchmarks".
PUBLISHED = {
    32: (0.7003, 0.4257),
    64: (0.7217, 0.4444),
    96: (0.7298, 0.4504),
    128: (0.7318, 0.4531),
    192: (0.7280, 0.4524),
    384: (0.7308, 0.4544),
}
PUBLISHED_POPULAR = (0.4538, 0.2545)


def render_quality(record: Record, path: Path) -> None:
    """Write the report of a record of ``python -m bench quality``; plots go beside it."""
    page = Page(path)
    _header(page, record)
    popular = record["baseline"]["metrics"]
    names = [row["metric"] for row in popular]
    page.text("Most-popular: " + ", ".join(f"{row['metric']} {row['value']:.4f}" for row in popular) + ".")
    groups = _by_contestant(record["runs"])
    if record["data"]["data"] == NCF:
        _published(page, names, groups)
    else:
        _by_factors(page, names, groups)
    races = sorted({d for d, contestant in groups if contestant != OURS})
    for d in races:
        _race(page, d, names, {contestant: runs for (size, contestant), runs in groups.items() if size == d})
    page.save()


def _by_contestant(runs: list[Record]) -> dict[tuple[int, str], list[Record]]:
    """Group runs by number of factors and contestant, in the order of the first round."""
    order = list(dict.fromkeys((run["factors"], run["contestant"]) for run in runs))
    kept = sorted(runs, key=lambda run: order.index((run["factors"], run["contestant"])))
    return {key: list(group) for key, group in groupby(kept, key=lambda run: (run["factors"], run["contestant"]))}


def _header(page: Page, record: Record) -> None:
    machine, train = record["machine"], record["baseline"]["train"]
    versions = ", ".join(f"{name} {machine['packages'].get(name) or 'not installed'}" for name in SHOWN_PACKAGES)
    json_name = page.path.with_suffix(".json").name
    page.text(
        "# Quality",
        f"Written by `python -m bench quality --data {Path(record['data']['data']).name}` on "
        f"{machine['measured'][:10]}; [{json_name}]({json_name}) has every number measured.",
        f"{record['baseline']['protocol']} Training data: {train['users']:,} users x {train['items']:,} items, "
        f"{train['interactions']:,} interactions.",
        "\n".join(
            [
                f"* Machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}; Python "
                f"{machine['python']}, {versions}" + (f", {machine['java']}." if machine["java"] else "."),
                f"* Objective: {Objective(**record['objective'])}; {record['epochs']} epochs, none chosen by the test "
                "part. " + _choice(record),
                f"* {_rounds(record)}, each with its own seed of the starting factors; each fit in "
                f"a fresh process, {record['threads']} threads. Seconds are those of a whole fit, from counts to "
                "factors, after an untimed first epoch on the same data; figures are the median [least, most] of the "
                "rounds for seconds and the mean [least, most] for metrics.",
                "* `nearest`: the contestant cannot express the objective. implicit and cmfrec have one penalty for "
                "all rows, Spark one that grows with the row's cells alone; their strength is such that the sums of "
                "penalties are those of the objective. The others minimise the same objective from the same start "
                "(`python -m bench selfcheck` checks both). cmfrec and Spark start from factors of their own.",
            ]
        ),
    )
    page.text(*filter(None, [record["missing"], "" if plots.available() else plots.INSTALL]))


def _rounds(record: Record) -> str:
    done = len({run["seed"] for run in record["runs"]})
    wanted = record["rounds"]
    return f"{done} interleaved rounds" if done == wanted else f"{done} of {wanted} rounds (time was up)"


def _choice(record: Record) -> str:
    choice = record["choice"]
    if choice is None:
        return "Published for d = 192; the settings of the other sizes are not given, so these are used for all."
    metric = choice["tried"][0]["metric"]
    return (
        f"Chosen from {len(choice['tried'])} by {metric} of ours (d = {choice['factors']}, {choice['epochs']} epochs) "
        "on a tenth of each user's training pairs."
    )


def _published(page: Page, names: list[str], groups: dict[tuple[int, str], list[Record]]) -> None:
    page.text(
        "## Beside the published numbers",
        f"Most-popular is published as {_pair(PUBLISHED_POPULAR)}. Published for iALS: Google Research's code on this "
        "very split, last epoch of 10 to 12.",
    )
    rows = []
    for (d, contestant), runs in groups.items():
        if contestant == OURS:
            published = [f"{value:.4f}" for value in PUBLISHED.get(d, ())] or ["-", "-"]
            rows.append([d, *published, *_figures(runs, names)])
    page.table(["d", "published HR@10", "published NDCG@10", *(f"ours, {name}" for name in names), "fit s"], rows)


def _by_factors(page: Page, names: list[str], groups: dict[tuple[int, str], list[Record]]) -> None:
    page.text("## Numbers of factors")
    rows = [[d, *_figures(runs, names)] for (d, contestant), runs in groups.items() if contestant == OURS]
    page.table(["d", *(f"ours, {name}" for name in names), "fit s"], rows)


def _race(page: Page, d: int, names: list[str], contestants: dict[str, list[Record]]) -> None:
    page.text(f"## Contestants, d = {d}")
    ours = contestants[OURS]
    rows = [[name, *_figures(runs, names), _ratio(runs, ours), len(runs)] for name, runs in contestants.items()]
    page.table(["contestant", *names, "fit s", f"times {OURS}", "rounds"], rows)
    intervals = [_interval(name, runs, names) for name, runs in contestants.items()]
    page.text("Bootstrap intervals over users (95 %), seed 0:")
    page.table(["contestant", *names], intervals)
    metric = names[-1]
    curves = {name: _curve(runs, metric) for name, runs in contestants.items()}
    page.curves(
        f"{metric.replace('@', '-')}-{d}", curves, title=f"{metric} against seconds, d = {d}",
        xlabel="seconds since the fit began", ylabel=metric, logx=True,
    )  # fmt: skip
    page.text(
        "In the JSON, a point an epoch, of seed 0, its seconds those of the epochs until then. cmfrec and Spark do not "
        "tell of their epochs: each of their points is a whole fit."
    )


def _figures(runs: list[Record], names: list[str]) -> list[str]:
    """Mean metrics and median seconds, or why there are none."""
    done = [run for run in runs if not run["failure"]]
    if not done:
        return [str(runs[0]["failure"]), *["-"] * len(names)]
    tables = [{row["metric"]: row["value"] for row in run["metrics"]} for run in done]
    return [*(_mean([table[name] for table in tables]) for name in names), spread([run["seconds"] for run in done])]


def _mean(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} [{min(values):.4f}, {max(values):.4f}]"


def _ratio(runs: list[Record], ours: list[Record]) -> str:
    """Seconds over those of ours in the same round, the median of the rounds."""
    seconds = {run["seed"]: run["seconds"] for run in ours if not run["failure"]}
    ratios = [run["seconds"] / seconds[run["seed"]] for run in runs if not run["failure"] and run["seed"] in seconds]
    return f"{median(ratios):.2f}" if ratios else "-"


def _interval(name: str, runs: list[Record], names: list[str]) -> list[str]:
    if runs[0]["failure"]:
        return [name, *["-"] * len(names)]
    table = {row["metric"]: row for row in runs[0]["metrics"]}
    return [name, *(f"{table[metric]['low']:.4f} to {table[metric]['high']:.4f}" for metric in names)]


def _curve(runs: list[Record], metric: str) -> plots.Points:
    points = runs[0].get("points", [])
    return [point["seconds"] for point in points], [point[metric] for point in points]


def _pair(values: tuple[float, float]) -> str:
    return " / ".join(f"{value:.4f}" for value in values)
