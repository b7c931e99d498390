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
_FEW = 2  # groups, of which no polygon can be made
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
    likeness : list of float
        Of each group the mean cosine of its neighbours with its item; NaN without neighbours.
    chance : float
        What the mean of these would be among as many items without any groups (:func:`by_chance`).
    """

    groups: list[Whole]
    places: list[Floats]
    others: Floats
    likeness: list[float]
    chance: float


def map_items(factors: Array, anchors: Whole, neighbours: int, shown: int = 3000) -> ItemMap:
    """Find the neighbours of items, and the places of all in a plane.

    Items are taken as vectors of length 1 and mapped linearly, so that the means of the groups come to the corners of a
    regular polygon: by least squares, and without the directions in which they hardly differ. The groups are so drawn
    apart whether or not the model holds them apart; how much it does, `likeness` and `chance` say. One or two groups
    are seen in the plane in which all items differ most (principal components; Pearson 1901, "On lines and planes of
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
    mean, covariance = _moments(factors)
    centre, plane = _plane(factors, groups) if len(groups) > _FEW else (mean, _principal(covariance))
    sample = np.unique(np.arange(min(shown, len(factors))) * len(factors) // min(shown, len(factors)))
    others = _unit(factors[sample])
    others = others[others.any(axis=1)]
    places = [(_unit(factors[group]) - centre) @ plane for group in groups]
    likeness = [_likeness(_unit(factors[group])) for group in groups]
    chance = by_chance(_unit(factors[anchors]), mean, covariance, len(factors), neighbours)
    return ItemMap(groups, places, (others - centre) @ plane, likeness, chance)


def by_chance(wanted: Floats, mean: Floats, covariance: Floats, items: int, neighbours: int) -> float:
    """Find how alike the nearest items would be if the items came in no groups.

    The nearest of many items are alike even in noise, the more so the fewer factors there are. So as many random items
    are drawn, normally distributed with the mean and the covariance of the model's, and the nearest of those are taken.

    Parameters
    ----------
    wanted : (groups, d) float64 array
        Vectors of length 1 whose neighbours are looked for; those of zeros have none.
    mean : (d,) float64 array
    covariance : (d, d) float64 array
        Of the items' vectors of length 1.
    items : int
        How many to draw; the same ones each time.
    neighbours : int
        How many of the nearest to take.

    Returns
    -------
    float
        Their mean cosine; NaN where there are none.
    """
    wanted, most = wanted[wanted.any(axis=1)], min(neighbours, items - 1)
    if most < 1 or not len(wanted):
        return np.nan
    values, vectors = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    generator = np.random.default_rng(0)
    best = np.full((most, len(wanted)), -np.inf)
    with single_threaded_blas():
        for begin in range(0, items, _ROWS):
            drawn = mean + generator.standard_normal((min(_ROWS, items - begin), len(mean))) @ root
            best = np.sort(np.vstack([best, _unit(drawn) @ wanted.T]), axis=0)[-most:]
    return float(best.mean())


def _likeness(group: Floats) -> float:
    """Mean cosine of the first vector with the others."""
    return float(np.mean(group[1:] @ group[0])) if len(group) > 1 else np.nan


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
    """Return the middle of the groups (d,), and the map (d, 2) that takes their means to the corners of a polygon."""
    means = np.stack([_unit(factors[group]).mean(axis=0) for group in groups])
    centre = means.mean(axis=0)
    angles = 2 * np.pi * (np.arange(len(groups)) + 0.5) / len(groups)
    corners = np.column_stack([np.cos(angles), np.sin(angles)])
    return centre, np.linalg.pinv(means - centre, rcond=_ALIKE) @ corners


def _principal(covariance: Floats) -> Floats:
    """Return the map (d, 2) to the plane in which all items differ most."""
    found = np.linalg.eigh(covariance)[1][:, ::-1][:, :2]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0)
    plane = np.zeros((len(covariance), 2))
    plane[:, : found.shape[1]] = found * np.where(largest < 0, -1, 1)  # a sign that does not hang on rounding
    return plane


def _moments(factors: Array) -> tuple[Floats, Floats]:
    """Mean (d,) and covariance (d, d) of the items' unit vectors, without items of zeros."""
    width = factors.shape[1]
    total, products, count = np.zeros(width), np.zeros((width, width)), 0
    with single_threaded_blas():
        for _, vectors in _blocks(factors):
            vectors = vectors[vectors.any(axis=1)]
            total += vectors.sum(axis=0)
            products += vectors.T @ vectors
            count += len(vectors)
    mean = total / max(count, 1)
    return mean, products / max(count, 1) - np.outer(mean, mean)
