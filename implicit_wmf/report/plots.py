"""The pictures of data, models and their lists, each drawn into axes that are given or made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError
from . import numbers
from .figures import (
    BLUE,
    FAINT,
    GREY,
    LINE,
    STYLES,
    VERMILION,
    axes_size,
    every,
    few_ticks,
    ground,
    legend,
    name_axes,
    percent,
    prepare,
    printable,
    short,
    ticks_at,
    whole_ticks,
    write,
)
from .history_plots import plot_objective as plot_objective
from .history_plots import plot_validation as plot_validation
from .labels import spread
from .map_plot import plot_item_map as plot_item_map

_IN_A_ROW = 7  # labels of groups: more would run into each other


def plot_metric(table: Any, metric: str = "recall", *, ax: Any = None) -> Any:
    """Draw a metric of several models against the length of the lists, with its intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        What `compare` or `evaluate` of `implicit_wmf.evaluation` returned, of the metric at one or several lengths k,
        such as ``metrics=["recall@5", "recall@10", "recall@20"]``.
    metric : str
        Its name, without ``@k``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With a curve for each model, the first one thicker, and a band for its interval (low to high); where only one
        length was measured, with a line for each model and its interval on it. The axis of values begins at 0.

    Raises
    ------
    InputError
        If the table has no such metric; names those it has.
    MissingExtraError
        If matplotlib is not installed.
    """
    curves = numbers.metric_curves(table, metric)
    lengths = sorted({int(k) for curve in curves.values() for k in curve["k"]})
    if len(lengths) == 1 and len(curves) > 1:
        return _plot_models(curves, f"{metric}@{lengths[0]}", ax)
    ax = prepare(ax)
    handles = []
    for number, curve in enumerate(curves.values()):
        colour, marker, dash = STYLES[number % len(STYLES)]
        k = curve["k"].to_numpy(float)
        ax.fill_between(k, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
        (line,) = ax.plot(
            k, curve["value"], color=colour, marker=marker, linestyle=dash, markersize=5.5,
            linewidth=2.6 if number == 0 else 1.6, zorder=3 if number == 0 else 2,
        )  # fmt: skip
        handles.append(line)
    if len(lengths) > 2 and lengths[-1] > 5 * lengths[0]:
        ax.set_xscale("log")
    ticks_at(ax.xaxis, *_thinned(lengths, ax.get_xscale() == "log"))
    _from_zero(ax.set_ylim, curves)
    few_ticks(ax.yaxis, short)
    name_axes(ax, "k, the length of the lists", f"{metric}@k")
    if any(curves):
        legend(ax, handles, list(curves))
    return ax


def _thinned(lengths: Sequence[int], logarithmic: bool) -> tuple[list[int], list[str]]:
    """Leave out the ticks that would run into the one before; the last one stays."""
    where = np.log(lengths) if logarithmic else np.asarray(lengths, dtype=float)
    least = 0.07 * (where[-1] - where[0])
    kept = [len(lengths) - 1]
    for index in range(len(lengths) - 2, -1, -1):
        if where[kept[-1]] - where[index] >= least:
            kept.append(index)
    return [lengths[index] for index in kept[::-1]], [f"{lengths[index]}" for index in kept[::-1]]


def _from_zero(set_limits: Any, curves: dict[str, pd.DataFrame]) -> None:
    """Begin an axis of values at 0; metrics such as a rank may be any number, none of them is below 0."""
    tables = pd.concat(curves.values())
    highest = float(np.nanmax(tables[["value", "high"]].to_numpy(float)))
    set_limits(0, 1.06 * highest if highest > 0 else 1)


def _plot_models(curves: dict[str, pd.DataFrame], name: str, ax: Any) -> Any:
    """Draw one value a model, with its interval, the first model on top."""
    ax = prepare(ax, height=1.1 + 0.42 * len(curves), grid="x")
    for number, curve in enumerate(curves.values()):
        colour, marker, _ = STYLES[number % len(STYLES)]
        value, low, high = (float(curve[column].iloc[0]) for column in ("value", "low", "high"))
        ax.plot([low, high], [number, number], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
        ax.plot([value], [number], color=colour, marker=marker, markersize=10 if number == 0 else 8)
        shown = short(value) if value >= 1000 else f"{value:#.3g}".rstrip(".")
        write(ax, shown, (value, number), (0, 8), ha="center", va="bottom", bbox=ground())
    ticks_at(ax.yaxis, range(len(curves)), [printable(one, 24) for one in curves])
    ax.set_ylim(len(curves) - 0.5, -0.8)
    _from_zero(ax.set_xlim, curves)
    few_ticks(ax.xaxis, short)
    name_axes(ax, name, "")
    return ax


def plot_popularity(interactions: Any, *, ax: Any = None) -> Any:
    """Draw the long tail of the data: which share of all pairs the most popular items have.

    Parameters
    ----------
    interactions : Interactions, or matrix of shape (users, items)
        What the model was fitted to; a pair is a user and an item with a positive value.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With the curve (the Lorenz curve, from the most popular item on), the top 1 %, 10 % and 50 % of the items marked
        on it, and the straight line that it would be if all items were equally popular.

    Raises
    ------
    InputError
        If there is no pair.
    MissingExtraError
        If matplotlib is not installed.
    """
    counts = _some_pairs(interactions)
    ax = prepare(ax, height=3.3)
    items = counts.size
    sizes = np.unique(np.rint(np.linspace(0, items, min(items, 1000) + 1)).astype(np.int64))
    sizes = np.union1d(sizes, np.arange(min(items, 1000) // 10 + 1))  # the steep part
    even = ax.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.plot(sizes / items, numbers.head_shares(counts, sizes), color=BLUE, linewidth=2.6, clip_on=False)
    legend(ax, even, ["if all were equally popular"])
    tops = sorted({numbers.top_items(items), max(1, items // 10), max(1, items // 2)})
    marked = numbers.head_shares(counts, tops)
    width, height = axes_size(ax)
    lines = spread([-(share * height) for share in marked], 1.2 * LINE, -height, 0)
    for top, share, line in zip(tops, marked, lines, strict=True):
        ax.plot([top / items], [share], color=VERMILION, marker="o", markersize=7, clip_on=False, zorder=4)
        write(
            ax, f"{top_words(top, items)}: {percent(share)}", (top / items, share),
            (10, -line - share * height - 0.7 * LINE), va="center", bbox=ground(),
        )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1))
    for axis in (ax.xaxis, ax.yaxis):
        ticks_at(axis, [0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    name_axes(ax, "share of the items, the most popular first", "share of all pairs")
    return ax


def top_words(top: int, items: int) -> str:
    """Say which of so many items the most popular ones are: "top item", or their share."""
    return "top item" if top == 1 else f"top {percent(round(top / items, 2))}"


def _some_pairs(interactions: Any) -> NDArray[np.int64]:
    counts = numbers.popularity(interactions)
    if not counts.any():
        raise InputError("interactions: no value is positive, so that no item has a user; give what users took")
    return counts


def plot_exposure(interactions: Any, lists: Any, *, ax: Any = None) -> Any:
    """Draw what lists show of popular and of rare items, beside what people take.

    Parameters
    ----------
    interactions : Interactions, or matrix of shape (users, items)
        What the model was fitted to. Its items are cut by popularity into ten groups of about equal shares of all pairs
        (:func:`implicit_wmf.report.numbers.popularity_groups`).
    lists : (users, N) array of int, or mapping of str to such arrays
        Positions of items as `recommend` returns them, -1 where a list has ended; several by name, such as
        ``{"WMF": ids, "most popular": others}``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With a bar for each group's share of the pairs and a line for its share of the places in lists: below the bars
        at the right means that rare items are shown less than people take them.

    Raises
    ------
    InputError
        If there is no pair, or an id in a list is no item.
    MissingExtraError
        If matplotlib is not installed.
    """
    counts = _some_pairs(interactions)
    shown = numbers.named_lists(lists, counts.size)
    groups = numbers.popularity_groups(counts)
    sizes = np.bincount(groups)
    ax = prepare(ax, height=3.5, grid="y")
    places = np.arange(sizes.size)
    bars = ax.bar(places, np.bincount(groups, counts) / counts.sum(), color=FAINT, edgecolor=GREY, width=0.8)
    handles, names = [bars], ["what people take"]
    for number, (name, listed) in enumerate(shown.items()):
        colour, marker, dash = STYLES[number % len(STYLES)]
        shares = np.bincount(groups, listed) / max(int(listed.sum()), 1)
        (line,) = ax.plot(
            places, shares, color=colour, marker=marker, linestyle=dash, markersize=6.5, clip_on=False,
            linewidth=2.6 if number == 0 else 1.8,
        )  # fmt: skip
        handles.append(line)
        names.append(name if listed.any() else f"{printable(name, 20)} (nothing listed)")
    ax.set_ylim(bottom=0)
    few_ticks(ax.yaxis, percent)
    labels = [f"{size}" if size < 1000 else short(float(f"{size:.2g}")) for size in sizes]
    if len(labels) > _IN_A_ROW:
        labels[1::2] = [f"\n{label}" for label in labels[1::2]]
    ticks_at(ax.xaxis, places.tolist(), labels)
    name_axes(ax, "items in each group, popular to rare", "share")
    legend(ax, handles, names)
    return ax


def plot_spectrum(model: Any, *, ax: Any = None) -> Any:
    """Draw the eigenvalues of both Gram matrices, as shares, and name their effective ranks.

    The Gram matrices are W'W of the users' factors and H'H of the items' (d x d); their eigenvalues are how much of the
    factors lies in each of d directions.

    Parameters
    ----------
    model : fitted estimator with user_factors and item_factors
        Such as :class:`implicit_wmf.WMF`; memory-mapped factors are read in blocks.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With a falling curve for users and one for items (one for both where they are the same factors). Directions of
        share 0 have no point. The effective rank is that of :func:`implicit_wmf.report.numbers.spectrum`.

    Raises
    ------
    InputError
        If the model has no factors, or they cannot be squared.
    MissingExtraError
        If matplotlib is not installed.
    """
    users, items = (numbers.factors_of(model, side) for side in ("user", "item"))
    sides = {"users and items": users} if users is items else {"users": users, "items": items}
    ax = prepare(ax)
    handles: list[Any] = []
    names = []
    lowest = 1.0
    for (side, factors), (colour, marker, dash) in zip(sides.items(), STYLES, strict=False):
        values, rank = numbers.spectrum(factors)
        shares = values / (values.sum() or 1)
        directions = np.arange(1, values.size + 1)
        (line,) = ax.plot(
            directions, np.where(shares > 0, shares, np.nan), color=colour, marker=marker, linestyle=dash,
            markersize=4.5, linewidth=2, markevery=(len(handles) * every(values.size) // 2, every(values.size)),
        )  # fmt: skip
        handles.append(line)
        names.append(f"{side}: effective rank {rank:.1f} of {values.size}")
        lowest = min([lowest, *shares[shares > 0]])
    ax.set_yscale("log")
    ax.set_ylim(lowest / 1.5, 1.3)
    few_ticks(ax.yaxis, percent)
    whole_ticks(ax.xaxis)
    name_axes(ax, "direction, the largest first", "share of the whole")
    legend(ax, handles, names)
    return ax
