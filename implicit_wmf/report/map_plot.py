"""The map of items as a picture: faint points for all, and a few groups of neighbours with their names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._asked import check_positions
from ..errors import InputError
from . import numbers
from .figures import (
    BLACK,
    FAINT,
    GREY,
    LINE,
    STYLES,
    axes_size,
    can_show,
    ground,
    name_axes,
    prepare,
    printable,
    text_width,
    write,
)
from .item_map import ItemMap, far_apart, map_items
from .labels import place
from .names import name_items, spell_ids

Floats = NDArray[np.float64]

_ANCHORS = 5
_MOST_ANCHORS, _MOST_NEIGHBOURS = len(STYLES), 10  # more than this no picture tells apart, or has room for
_LETTERS = 19  # of a name
_HEIGHT, _TALL = 6.2, 8.4  # inches
_RIM = 5.0  # points before names, for a bar of their group's colour


def plot_item_map(model: Any, names: Any = None, *, items: Any = None, neighbours: int = 4, ax: Any = None) -> Any:
    """Draw a few groups of items that the model holds alike, apart on purpose, with their names; all others are faint.

    Parameters
    ----------
    model : fitted estimator with item_factors and interactions
        Such as :class:`implicit_wmf.WMF`.
    names : mapping or pandas.Series of raw item id to str, optional
        What to call items. Where there is no name, or the fonts have less than half of its letters, the id is shown.
    items : (any,) array of int, optional
        Positions of the items whose neighbours to show, at most 7; by default 5 popular ones that are unlike each
        other (:func:`implicit_wmf.report.item_map.far_apart`).
    neighbours : int
        How many of each, at most 10: those of the highest cosine, as `similar_items` finds them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default new axes of a figure of their own.

    Returns
    -------
    matplotlib.axes.Axes
        With a faint point for each item (of more than 3,000, for as many), and a colour and a mark for each group,
        beside it the mean cosine of its neighbours with its item, and the names: first the item, then its neighbours,
        the nearest first. The groups are drawn apart whether or not the model holds them apart, and distances mean
        nothing. Below it is written what that cosine would be by chance
        (:func:`implicit_wmf.report.item_map.by_chance`): a model of noise has no group that is much above it.

    Raises
    ------
    InputError
        If the model has no factors of items, a position is none, or there are too many.
    MissingExtraError
        If matplotlib is not installed.
    """
    factors = numbers.factors_of(model, "item")
    whole = isinstance(neighbours, int | np.integer) and not isinstance(neighbours, bool)
    if not whole or not 0 <= neighbours <= _MOST_NEIGHBOURS:
        raise InputError(f"neighbours is {neighbours!r}; give a whole number from 0 to {_MOST_NEIGHBOURS}")
    anchors = _anchors(model, factors, items)
    found = map_items(factors, anchors, int(neighbours))
    texts = _texts(model, names, found)
    own = ax is None
    ax = prepare(ax, height=_HEIGHT if len(texts) <= _ANCHORS else _TALL, grid="")
    ax.set(xticks=[], yticks=[])
    if np.isfinite(found.chance):
        chance = f"by chance the nearest would have {found.chance:.2f}"
        name_axes(ax, f"alike: mean cosine with the large mark;\n{chance}", "")
    ax.spines[["left", "bottom"]].set_color(FAINT)
    _set_limits(ax, found)
    ax.scatter(*found.others.T, s=5, color=GREY, alpha=0.3, linewidths=0, rasterized=True)
    for number, places in enumerate(found.places):
        colour, marker, _ = STYLES[number % len(STYLES)]
        how = {"color": colour, "marker": marker, "edgecolors": "white", "linewidths": 0.6, "zorder": 4}
        ax.scatter(*places[1:].T, s=34, **how)
        ax.scatter(*places[:1].T, s=110, **how | {"edgecolors": BLACK, "linewidths": 1.2, "zorder": 5})
    if own:
        ax.figure.draw_without_rendering()  # which lays out: labels are placed by the size that axes will have
    _write_names(ax, found, texts)
    return ax


def _anchors(model: Any, factors: Any, items: Any) -> NDArray[np.int64]:
    if items is None:
        chosen = far_apart(factors, numbers.popularity(model.interactions), _ANCHORS)
        return chosen if chosen.size else np.zeros(1, np.int64)  # all are of zeros
    anchors = check_positions("items", items, len(factors))
    if not 1 <= anchors.size <= _MOST_ANCHORS:
        raise InputError(f"items holds {anchors.size} positions; give 1 to {_MOST_ANCHORS}, whose names have room")
    return anchors


def _texts(model: Any, names: Any, found: ItemMap) -> list[list[str]]:
    """Write the lines of each group: how alike it is, and the names of its items."""
    items = model.interactions.items
    ids = spell_ids(items)
    called = name_items(names, items, ids)
    texts = []
    for group, likeness in zip(found.groups, found.likeness, strict=True):
        lines = [called[item] if can_show(called[item]) else ids[item] for item in group]
        heading = [f"alike: {likeness:.2f}"] if np.isfinite(likeness) else []
        texts.append([*heading, *(printable(line, _LETTERS) for line in lines)])
    return texts


def _set_limits(ax: Any, found: ItemMap) -> None:
    """Show all points, and leave room for names around them."""
    points = np.vstack([found.others, *found.places])
    low, high = points.min(axis=0), points.max(axis=0)
    rim = 0.1 * np.where(high > low, high - low, 1)
    ax.set(xlim=(low[0] - rim[0], high[0] + rim[0]), ylim=(low[1] - rim[1], high[1] + rim[1]))


def _write_names(ax: Any, found: ItemMap, texts: list[list[str]]) -> None:
    """Write a block of names near each group, with a bar of its colour, and draw a line from there to its item."""
    room = np.array(axes_size(ax))

    def to_points(places: Floats) -> Floats:
        there: Floats = ax.transAxes.inverted().transform(ax.transData.transform(places)) * room
        return there

    def to_data(points: Any) -> Floats:
        there: Floats = ax.transData.inverted().transform(ax.transAxes.transform(np.asarray(points) / room))
        return there

    groups = [to_points(places) for places in found.places]
    texts, sizes, corners = _placed(texts, groups, to_points(found.others[:: len(found.others) // 300 + 1]), room)
    for number, (lines, size, corner) in enumerate(zip(texts, sizes, corners, strict=True)):
        if corner is None:
            continue
        how = {"color": STYLES[number % len(STYLES)][0], "scalex": False, "scaley": False}
        low, anchor = np.array(corner), groups[number][0]
        edge = np.clip(anchor, low, low + size)
        ax.plot(*to_data([edge, anchor]).T, linewidth=1.2, zorder=3, **how)
        ax.plot(*to_data([low, low + [0, size[1]]]).T, linewidth=3, solid_capstyle="butt", zorder=6, **how)
        left = to_data([low + [_RIM, size[1]]])[0]
        for row, line in enumerate(lines):
            write(ax, line, left, (0, -(row + 0.5) * LINE), va="center", ha="left", bbox=ground(), zorder=6)


def _placed(
    texts: list[list[str]], groups: list[Floats], others: Floats, room: Floats
) -> tuple[list[list[str]], list[tuple[float, float]], list[tuple[float, float] | None]]:
    """Find places for all names; where there is no room for them, for the first few of each group."""
    for most in (_MOST_NEIGHBOURS + 2, 4, 2):
        texts = [lines[:most] for lines in texts]
        sizes = [(_RIM + max(map(text_width, lines)), len(lines) * LINE) for lines in texts]
        corners = place(sizes, [points[0] for points in groups], np.vstack(groups), others, (room[0], room[1]))
        if all(corners):
            break
    return texts, sizes, corners
