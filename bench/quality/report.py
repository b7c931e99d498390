"""The page of a quality record: tables and plots, from what was measured alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from ..objective import Objective
from ..page import Page, spread
from ..plots import Points
from ..records import Record, read_json, versions
from ..scaling.report import spark_section
from .data import NCF

OURS = "ours auto"
# HR@10 and NDCG@10 of iALS by Google Research's code on this very split, the last epoch of 10 to 12. How many runs they
# are of is not known.
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
    names = [row["metric"] for row in record["baseline"]["metrics"]]
    page.see_also()
    groups = _by_contestant(record)
    if record["data"]["data"] == NCF:
        _published(page, record, names, groups)
    else:
        page.text(f"Most-popular: {_values(record['baseline']['metrics'])}.")
        _by_factors(page, names, groups)
    races = sorted({d for d, contestant in groups if contestant != OURS})
    for d in races:
        contestants = {contestant: runs for (size, contestant), runs in groups.items() if size == d}
        strengths = {found["contestant"]: found for found in record["contestants"] if found["factors"] == d}
        _race(page, d, names, contestants, strengths)
    if races:
        _about_races(page, record)
    _spark(page)
    page.save()


def _spark(page: Page) -> None:
    """Add the comparison with Spark of ``python -m bench scaling``, if its record is beside this one."""
    scaling = page.path.with_name("RESULTS-scaling.json")
    if page.path.name == "RESULTS.md" and scaling.exists():
        record = read_json(scaling)
        if "spark" in record:
            spark_section(page, record["spark"])


def _by_contestant(record: Record) -> dict[tuple[int, str], list[Record]]:
    """Group runs by number of factors and contestant, in the order of the plan; within a round it was another one."""
    groups: dict[tuple[int, str], list[Record]] = {
        (planned["factors"], planned["contestant"]): [] for planned in record["contestants"]
    }
    for run in record["runs"]:
        groups[run["factors"], run["contestant"]].append(run)
    return {key: runs for key, runs in groups.items() if runs}


def _header(page: Page, record: Record) -> None:
    machine, train = record["machine"], record["baseline"]["train"]
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
                f"{machine['python']}, {versions(machine)}" + (f", {machine['java']}." if machine["java"] else "."),
                f"* Objective: {Objective(**record['objective'])}; {record['epochs']} epochs, none chosen by the test "
                "part. " + _choice(record),
                f"* {_rounds(record)}, each with its own seed of the starting factors and its own order of the "
                f"contestants; each job in a fresh process, {record['threads']} threads. Seconds are those of a whole "
                "fit, from counts to factors, after an untimed first epoch on the same data: the median of as many "
                "fits as take about two seconds. Figures are the median [least, most] of the rounds for seconds and "
                "the mean [least, most] for metrics.",
            ]
        ),
    )
    page.missing(record["missing"])


def _rounds(record: Record) -> str:
    done = len({run["seed"] for run in record["runs"]})
    wanted = record["rounds"]
    return f"{done} interleaved rounds" if done == wanted else f"{done} of {wanted} rounds (time was up)"


def _choice(record: Record) -> str:
    choice = record["choice"]
    if choice is None:
        return (
            "Published for d = 192, how they were chosen is not said; the settings of the other sizes are not given, "
            "so these are used for all."
        )
    metric = choice["tried"][0]["metric"]
    return (
        f"Chosen from {len(choice['tried'])} by {metric} of ours (d = {choice['factors']}, {choice['epochs']} epochs) "
        f"on {choice['part']}. {_edge(choice['tried'], record['objective'])}"
    ).rstrip()


def _edge(tried: list[Record], best: Record) -> str:
    """Say which settings of the winner are the least or the greatest of those tried."""
    at_edge = []
    for name, label in (("unobserved_weight", "alpha0"), ("regularization", "lambda")):
        values = {entry["objective"][name] for entry in tried}
        if len(values) > 1 and best[name] in (min(values), max(values)):
            at_edge.append(f"{label} = {best[name]:g}")
    if not at_edge:
        return ""
    return f"The winner lies on the edge of what was tried ({', '.join(at_edge)}): a better one may lie beyond."


def _published(page: Page, record: Record, names: list[str], groups: dict[tuple[int, str], list[Record]]) -> None:
    ties = "; ".join(f"ties {rule}, {_values(rows)}" for rule, rows in reversed(record["baseline"]["ties"].items()))
    page.text(
        "## Beside the published numbers",
        f"Most-popular is published as {_pair(PUBLISHED_POPULAR)}, which is what it comes to where ties count for it. "
        f"Measured here: {ties}.",
        "Published for iALS: Google Research's code on this very split, HR@10 and NDCG@10 of the last epoch of 10 to "
        "12; of how many runs is not known.",
    )
    rows = []
    for (d, contestant), runs in groups.items():
        if contestant == OURS:
            published = [f"{value:.4f}" for value in PUBLISHED.get(d, ())] or ["-", "-"]
            rows.append([d, *published, *_figures(runs, names)])
    page.table(["d", "published HR@10", "published NDCG@10", *(f"ours, {name}" for name in names), "fit s"], rows)
    page.text(*_errors(groups, names))


def _errors(groups: dict[tuple[int, str], list[Record]], names: list[str]) -> list[str]:
    """Say how far the users at hand decide: for all alike, so that it is no measure of differences."""
    done = [run for (_, contestant), runs in groups.items() if contestant == OURS for run in runs if not run["failure"]]
    if not done:
        return []
    table = {row["metric"]: row for row in done[0]["metrics"]}
    errors = ", ".join(f"{table[name]['standard_error']:.4f} of {name}" for name in names)
    return [
        f"Other users of the same kind would move each of our figures by a standard error of {errors} "
        f"({table[names[0]]['users']:,} users, d = {done[0]['factors']}). All figures are of the same users, so "
        "differences between them are known better than that; what seeds do is in the brackets."
    ]


def _by_factors(page: Page, names: list[str], groups: dict[tuple[int, str], list[Record]]) -> None:
    page.text("## Numbers of factors")
    rows = [[d, *_figures(runs, names)] for (d, contestant), runs in groups.items() if contestant == OURS]
    page.table(["d", *(f"ours, {name}" for name in names), "fit s"], rows)


def _race(
    page: Page, d: int, names: list[str], contestants: dict[str, list[Record]], strengths: dict[str, Record]
) -> None:
    page.text(f"## Contestants, d = {d}")
    ours = contestants[OURS]
    rows = [
        [name, _strength(strengths[name]), *_figures(runs, names), _ratio(runs, ours), len(runs)]
        for name, runs in contestants.items()
    ]
    page.table(["contestant", "strength", *names, "fit s", f"times {OURS}", "rounds"], rows)
    metric = names[-1]
    curves = {name: _curve(runs, metric) for name, runs in contestants.items()}
    page.curves(
        f"{metric.replace('@', '-')}-{d}", curves, title=f"{metric} against seconds, d = {d}",
        xlabel="seconds since the counts were given", ylabel=metric, logx=True,
    )  # fmt: skip


def _strength(found: Record) -> str:
    """Show the chosen factor of a nearest contestant's strength."""
    if "failure" in found:
        return "x 1, not chosen"
    if "strength_factor" not in found:
        return "-"
    factors = [tried["strength_factor"] for tried in found["tried"]]
    edge = " (edge of those tried)" if found["strength_factor"] in (min(factors), max(factors)) else ""
    return f"x {found['strength_factor']:g}{edge}"


def _about_races(page: Page, record: Record) -> None:
    """Say by which rules contestants are in the tables, and what the curves are."""
    parts = {found["part"] for found in record["contestants"] if "part" in found}
    nearest = (
        "* `nearest`: the contestant cannot express the objective. implicit and cmfrec have one penalty for all rows, "
        "Spark one that grows with the row's cells alone. "
    )
    if parts:
        nearest += (
            "Their strength starts from where the sums of penalties are those of the objective, which says nothing of "
            f"what it is worth; it is chosen for each by {record['baseline']['metrics'][-1]['metric']} of fits of as "
            f"many epochs on {' and '.join(sorted(parts))}. `strength` is the factor chosen, the JSON has what was "
            "tried. Their other settings are those of the objective. "
        )
    page.text(
        "## About the contestants",
        "\n".join(
            [
                nearest + "The others minimise the same objective from the same start (`python -m bench selfcheck` "
                "checks both). cmfrec and Spark start from factors of their own.",
                "* irspack's iALS++ solves 64 factors at a time, its default, so that it is another solver than its "
                "exact one beyond d = 64 only. cmfrec exact and Spark take too long for this run beyond d = 64 and are "
                "left out there, unless `--only` names them.",
                f"* A peer whose job took over {record['patience']:g} s in the first round, without choosing its "
                "strength and without its curve, is not repeated, and a round for which the time is short goes on "
                "without the slowest peers; `rounds` says how many there are.",
                f"* `times {OURS}` is the ratio of seconds in the same round, median [least, most].",
                "* Curves are of seed 0 and start with the timing of a whole fit, before the contestant has seen the "
                "counts: a point is its own conversions and the epochs until then, without what was done between "
                "epochs. cmfrec and Spark do not tell of their epochs: each of their points is a whole fit.",
            ]
        ),
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
    """Seconds over those of ours in the same round."""
    seconds = {run["seed"]: run["seconds"] for run in ours if not run["failure"]}
    ratios = [run["seconds"] / seconds[run["seed"]] for run in runs if not run["failure"] and run["seed"] in seconds]
    return spread(ratios, ".2f") if ratios else "-"


def _values(rows: list[Record]) -> str:
    return ", ".join(f"{row['metric']} {row['value']:.4f}" for row in rows)


def _curve(runs: list[Record], metric: str) -> Points:
    points = runs[0].get("points", [])
    return [point["seconds"] for point in points], [point[metric] for point in points]


def _pair(values: tuple[float, float]) -> str:
    return " / ".join(f"{value:.4f}" for value in values)
