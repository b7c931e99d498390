"""Where labels go: beside what they name, apart from each other, the same way each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEP = 6.0  # points between places that are tried
_GAP = 5.0  # kept free around a label
_ON_A_MARK = 200.0  # to lie on a mark is as bad as to be this much further away
_ON_ALL_FAINT = 1200.0  # and on all faint points together
_ACROSS = 120.0  # and to have its line run through another label


def spread(wanted: Any, gap: float, low: float, high: float) -> Floats:
    """Move places on a line apart by at least `gap`, each as little as needed, within bounds where there is room.

    Neighbours that are too close become a group around their mean, until no two groups are (pool adjacent violators).

    Parameters
    ----------
    wanted : (n,) array of float
        Where each would best be.
    gap, low, high : float
        In the same units.

    Returns
    -------
    (n,) float64 array
        The places, in the order of `wanted`.
    """
    places = np.asarray(wanted, dtype=np.float64)
    order = np.argsort(places, kind="stable")
    groups: list[tuple[float, int]] = []  # first place, and how many
    for place in np.clip(places[order], low, high):
        first, size = float(place), 1
        while groups and groups[-1][0] + groups[-1][1] * gap > first:
            before, many = groups.pop()
            middle = (before * many + (first - many * gap) * size) / (many + size)
            size += many
            first = max(low, min(middle, high - (size - 1) * gap))
        groups.append((first, size))
    found = np.empty(places.size)
    found[order] = [first + step * gap for first, size in groups for step in range(size)]
    return found


def place(
    sizes: Sequence[tuple[float, float]],
    targets: Sequence[Floats],
    marks: Floats,
    faint: Floats,
    room: tuple[float, float],
) -> list[tuple[float, float] | None]:
    """Find places for blocks of text near what they are about.

    One block after another goes where it is nearest to its target, covers few marks, and its line to the target does
    not run through blocks that lie already. Several orders are tried, and the one is taken that places the most blocks,
    best.

    Parameters
    ----------
    sizes : sequence of (width, height)
        Of each block.
    targets : sequence of (2,) arrays
        What each is about.
    marks : (any, 2) array
        What should not be covered.
    faint : (any, 2) array
        What had better not be covered either.
    room : (width, height)
        Of the whole, from (0, 0).

    Returns
    -------
    list of (x, y) or None
        The lower left corner of each block; None where nothing is free that is large enough.
    """
    costs = []
    for size, target in zip(sizes, targets, strict=True):
        boxes = _boxes(*size, room)
        nearest = np.clip(target, boxes[:, :2], boxes[:, 2:])
        cost = np.hypot(*(nearest - target).T) + _ON_A_MARK * _covered(boxes, marks)
        costs.append((boxes, nearest, cost + _ON_ALL_FAINT / max(len(faint), 1) * _covered(boxes, faint)))
    turns = [np.roll(np.arange(len(sizes)), shift)[::way] for shift in range(len(sizes)) for way in (1, -1)]
    tried = [_place_in_order(order, costs, targets) for order in turns]
    _, _, lying = min(tried, key=lambda one: one[:2], default=(0, 0.0, {}))
    found = [lying.get(number) for number in range(len(sizes))]
    return [None if box is None else (float(box[0]), float(box[1])) for box in found]


def _place_in_order(
    order: Any, costs: Sequence[tuple[Floats, Floats, Floats]], targets: Sequence[Floats]
) -> tuple[int, float, dict[int, Floats]]:
    """Place one block after another; returns how many found no place, the cost, and the boxes."""
    lying: dict[int, Floats] = {}
    total = 0.0
    for number in order:
        boxes, nearest, cost = costs[number]
        for box in lying.values():
            across = _ACROSS * _crosses(nearest, targets[number], box)
            cost = np.where(_apart(boxes, box, _GAP), cost + across, np.inf)
        if cost.size and np.isfinite(cost.min()):
            lying[int(number)] = boxes[int(np.argmin(cost))]
            total += float(cost.min())
    return len(order) - len(lying), total, lying


def _boxes(width: float, height: float, room: tuple[float, float]) -> Floats:
    """All places for a block, (places, 4); inside a rim; none where it is larger than the room."""
    left, bottom = (
        np.arange(_GAP, whole - size - _GAP + 1e-9, _STEP) for size, whole in zip((width, height), room, strict=True)
    )
    corners = np.stack(np.meshgrid(left, bottom), axis=-1).reshape(-1, 2)
    return np.hstack([corners, corners + [width, height]])


def _apart(boxes: Floats, other: Floats, gap: float) -> NDArray[np.bool_]:
    apart: NDArray[np.bool_] = np.any((boxes[:, :2] >= other[2:] + gap) | (boxes[:, 2:] <= other[:2] - gap), axis=1)
    return apart


def _covered(boxes: Floats, marks: Floats) -> Floats:
    """How many marks each box covers, or nearly."""
    low, high = boxes[:, None, :2] - _GAP, boxes[:, None, 2:] + _GAP
    covered: Floats = np.all((marks >= low) & (marks <= high), axis=2).sum(axis=1).astype(np.float64)
    return covered


def _crosses(starts: Floats, end: Floats, box: Floats) -> Floats:
    """Whether lines from each start to the end run through a box, 0 or 1: by points on them."""
    points = starts[:, None] + (end - starts)[:, None] * np.linspace(0, 1, 12)[:, None]
    crossed: Floats = np.all((points > box[:2]) & (points < box[2:]), axis=2).any(axis=1).astype(np.float64)
    return crossed
