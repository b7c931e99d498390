"""The map of items as numbers: a few items with their neighbours, and a plane in which they come apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..similarity import normalised
from ..threads import single_threaded_blas

Array = NDArray[np.float32] | NDArray[np.float64]
Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

_ROWS = 1 << 14  # at a time, in float64
_POPULAR = 100  # anchors are chosen among so many
_FLAT = 1e-6  # of differences of vectors of length 1: smaller ones are rounding
_ALIKE = 0.2  # of the direction in which groups differ most: along those of less they are not pulled apart


class ItemMap(NamedTuple):
    """Where items lie.

    Attributes
    ----------
    groups : list of (1 + neighbours,) int64 arrays
        An item and those nearest to it by cosine, the nearest first.
    places : list of (1 + neighbours, 2) float64 arrays
        Their places.
    others : (shown, 2) float64 array
        The places of all items, or of some thousands spread over their positions; items of zeros are left out.
    """

    groups: list[Whole]
    places: list[Floats]
    others: Floats


def map_items(factors: Array, anchors: Whole, neighbours: int, shown: int = 3000) -> ItemMap:
    """Find the neighbours of items, and the places of all in a plane.

    Items are taken as vectors of length 1, so that those of high cosine lie near each other, and mapped linearly, so
    that the means of the groups come to the corners of a regular polygon: by least squares, and without the directions
    in which they hardly differ, so that groups that are alike stay together. One or two groups are seen in the plane in
    which their means, and then all items, differ most (principal components; Pearson 1901, "On lines and planes of
    closest fit to systems of points in space").

    Parameters
    ----------
    factors : (items, d) array of float32 or float64
        May be memory-mapped: it is read in blocks.
    anchors : (groups,) int64 array
        The items whose neighbours are shown.
    neighbours : int
        How many, at most.
    shown : int
        How many others, at most.

    Returns
    -------
    ItemMap
        The groups and all places.
    """
    groups = nearest_items(factors, anchors, neighbours)
    centre, plane = _plane(factors, groups)
    sample = np.unique(np.arange(min(shown, len(factors))) * len(factors) // min(shown, len(factors)))
    others = _unit(factors[sample])
    others = others[others.any(axis=1)]
    places = [(_unit(factors[group]) - centre) @ plane for group in groups]
    return ItemMap(groups, places, (others - centre) @ plane)


def far_apart(factors: Array, popularity: Whole, count: int) -> Whole:
    """Choose popular items that are unlike each other.

    The first is the most popular one, each further one that of the hundred most popular whose cosine with its most
    alike among those chosen is lowest (Gonzalez 1985, "Clustering to minimize the maximum intercluster distance").
    Items of zeros are not chosen; ties go to the more popular one, and then to the smaller position.

    Parameters
    ----------
    factors : (items, d) array of float32 or float64
        Of all items.
    popularity : (items,) int64 array
        How many users have each.
    count : int
        How many to choose; fewer where there are no more.

    Returns
    -------
    (chosen,) int64 array
        Their positions.
    """
    order = np.argsort(-popularity, kind="stable")[: 10 * _POPULAR]
    vectors = _unit(factors[order])
    kept = np.flatnonzero(vectors.any(axis=1))[:_POPULAR]
    order, vectors = order[kept], vectors[kept]
    chosen: list[int] = []
    alike = np.full(order.size, -np.inf)
    while len(chosen) < min(count, order.size):
        alike[chosen] = np.inf
        chosen.append(int(np.argmin(alike)))
        alike = np.maximum(alike, vectors @ vectors[chosen[-1]])
    return order[chosen].astype(np.int64)


def nearest_items(factors: Array, anchors: Whole, neighbours: int) -> list[Whole]:
    """Find the items nearest to each anchor by cosine, the anchor itself first; ties go to the smaller position.

    Items of zeros, which are like no other, have and are no neighbours.
    """
    wanted = _unit(factors[anchors])
    cosines = np.full((len(factors), len(anchors)), -np.inf)
    for rows, vectors in _blocks(factors):
        live = vectors.any(axis=1)
        cosines[rows][live] = vectors[live] @ wanted.T
    cosines[:, ~wanted.any(axis=1)] = -np.inf
    groups = []
    for anchor, column in zip(anchors, cosines.T, strict=True):
        column[anchor] = np.inf
        best = np.argsort(-column, kind="stable")[: neighbours + 1]
        groups.append(best[column[best] > -np.inf].astype(np.int64))
    return groups


def _unit(factors: Array) -> Floats:
    return normalised(np.asarray(factors)).astype(np.float64)


def _blocks(factors: Array) -> Iterator[tuple[slice, Floats]]:
    """Go through the items' unit vectors, some thousands at a time."""
    for begin in range(0, len(factors), _ROWS):
        rows = slice(begin, begin + _ROWS)
        yield rows, _unit(factors[rows])


def _plane(factors: Array, groups: list[Whole]) -> tuple[Floats, Floats]:
    """Return the middle of the picture (d,), and the map to the plane (d, 2), of zeros where there is no direction."""
    means = np.stack([_unit(factors[group]).mean(axis=0) for group in groups])
    centre = means.mean(axis=0)
    _, sizes, directions = np.linalg.svd(means - centre, full_matrices=False)
    found = directions[: int(np.sum(sizes[:2] > _FLAT))]
    if len(found) < 2:
        found = np.vstack([found, _principal(factors, found)])[:2]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    plane = np.zeros((factors.shape[1], 2))
    plane[:, : len(found)] = (found * np.where(largest < 0, -1, 1)).T  # a sign that does not hang on rounding
    if len(groups) > 2 and np.sum(sizes > _FLAT) > 1:
        plane = np.linalg.pinv(means - centre, rcond=_ALIKE) @ _corners((means - centre) @ plane)
    return centre, plane


def _corners(places: Floats) -> Floats:
    """Corners of a regular polygon, one for each place, in the order of their directions from the middle."""
    order = np.argsort(np.arctan2(places[:, 1], places[:, 0]), kind="stable")
    angles = np.empty(len(places))
    angles[order] = 2 * np.pi * (np.arange(len(places)) + 0.5) / len(places)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _principal(factors: Array, taken: Floats) -> Floats:
    """Directions (at most 2, d) in which all items differ most, at right angles to those that are taken."""
    width = factors.shape[1]
    total, products, count = np.zeros(width), np.zeros((width, width)), 0
    with single_threaded_blas():
        for _, vectors in _blocks(factors):
            vectors = vectors[vectors.any(axis=1)]
            total += vectors.sum(axis=0)
            products += vectors.T @ vectors
            count += len(vectors)
    spread = products / max(count, 1) - np.outer(total, total) / max(count, 1) ** 2
    free = np.eye(width) - taken.T @ taken
    values, vectors = np.linalg.eigh(free @ spread @ free)
    return vectors[:, ::-1].T[: min(2, width - len(taken))]
