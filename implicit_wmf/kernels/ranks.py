"""Ranks of wanted items in the whole catalogue: how many candidates score higher than each, and how many the same.

Scores are made by `simd.score_tile`, as those of lists are, with users and items in each other's place, which changes
no bit: each is the same sum in the same order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import simd
from .jit import VECTOR_BYTES, aligned, block_kernel, inner

# Panels of items whose scores are counted together: loops over one tile's scores would mostly begin and end.
PANELS_AT_ONCE = 16


class Scratch(NamedTuple):
    """Working memory of one thread."""

    users: Any  # (tiles, d, tile): transposed
    panels: Any  # (PANELS_AT_ONCE, d, tile): transposed
    tile: Any  # (tile, tile): scores of a tile's users for a panel's items
    scores: Any  # (tile, PANELS_AT_ONCE * tile): of several panels
    hits: Any  # uint64 (any): what `score_tile` writes and nobody reads
    thresholds: Any  # (tile): -inf
    picks: Any  # int32 (tile)
    places: Any  # int64 (users): next cell to leave out
    ones: Any  # (d)


def make_scratch(users: int, factors: Any) -> Scratch:
    """Allocate what blocks of up to so many users need."""
    dtype, width = factors.dtype, factors.shape[1]
    tile = VECTOR_BYTES // factors.itemsize
    tiles = -(-users // tile)
    return Scratch(
        users=aligned((tiles, width, tile), dtype),
        panels=aligned((PANELS_AT_ONCE, width, tile), dtype),
        tile=aligned((tile, tile), dtype),
        scores=aligned((tile, PANELS_AT_ONCE * tile), dtype),
        hits=np.empty(tile * tile // 64, np.uint64),
        thresholds=np.full(tile, -np.inf, dtype),
        picks=np.empty(tile, np.int32),
        places=np.empty(tiles * tile, np.int64),
        ones=np.ones(max(width, tile), dtype),
    )


@inner
def _load_panel(source, picks, ones, out):
    """out[:, c] = source[picks[c]]."""
    for k in range(0, out.shape[0], out.shape[1]):
        simd.gather_transposed(source, picks, 0, k, ones, ones, out)


@inner
def _load_users(start, stop, vectors, seen, scratch):
    """Transpose the block's users, and begin at the first of their cells; padding repeats the last user."""
    lanes = scratch.tile.shape[0]
    for t in range((stop - start + lanes - 1) // lanes):
        for lane in range(lanes):
            user = min(start + t * lanes + lane, stop - 1)
            scratch.picks[lane] = user
            scratch.places[t * lanes + lane] = seen.indptr[user]
        _load_panel(vectors, scratch.picks, scratch.ones, scratch.users[t])


@inner
def _score_panel(t, panel, scratch):
    """Score a loaded panel for a tile of users; NaN all over where no score is a number."""
    if not simd.score_tile(
        scratch.panels[panel], scratch.users[t], scratch.panels.shape[1], scratch.thresholds, 0,
        scratch.tile, scratch.hits,
    ):  # fmt: skip
        for r in range(scratch.tile.shape[0]):
            for c in range(scratch.tile.shape[1]):
                scratch.tile[r, c] = np.nan


@inner
def _score_wanted(start, stop, wanted, factors, scratch, scores):
    """Write the score of each wanted item, the block's users' taken together."""
    lanes = scratch.tile.shape[0]
    for t in range((stop - start + lanes - 1) // lanes):
        user = start + t * lanes
        last = wanted.indptr[min(user + lanes, stop)]
        for first in range(wanted.indptr[user], last, lanes):
            for c in range(lanes):
                scratch.picks[c] = wanted.indices[min(first + c, last - 1)]
            _load_panel(factors, scratch.picks, scratch.ones, scratch.panels[0])
            _score_panel(t, 0, scratch)
            for cell in range(first, min(first + lanes, last)):
                while cell >= wanted.indptr[user + 1]:
                    user += 1
                scores[cell] = scratch.tile[user - start - t * lanes, cell - first]


@inner
def _score_items(first, count, t, scratch):
    """Put a tile of users' scores of `count` items, whose panels are loaded, side by side."""
    lanes = scratch.tile.shape[0]
    for panel in range((count + lanes - 1) // lanes):
        _score_panel(t, panel, scratch)
        for r in range(lanes):
            for c in range(lanes):
                scratch.scores[r, panel * lanes + c] = scratch.tile[r, c]


@inner
def _leave_out(row, first, count, place, cells, end):
    """Make scores of the cells among the items first to first + count - 1 NaN; returns the next cell."""
    while place < end and cells[place] < first + count:
        row[cells[place] - first] = np.nan
        place += 1
    return place


@inner
def _count(row, count, score, cell, higher, equal):
    """Add how many of the scores in a row are higher than a wanted item's, and how many the same; NaN is neither."""
    above = same = 0
    for c in range(count):
        above += 1 if row[c] > score else 0
        same += 1 if row[c] == score else 0
    higher[cell] += above
    equal[cell] += same


@block_kernel
def rank_wanted(start, stop, vectors, factors, wanted, seen, scratch, out):
    """Score and rank the wanted items of users start to stop - 1 of `vectors` among all items but the seen ones.

    `out` are three arrays of a place a wanted cell: scores, and, added to what is there, the numbers of candidates of
    higher and of the same score, the wanted item itself among the latter.
    """
    scores, higher, equal = out
    lanes = scratch.tile.shape[0]
    _load_users(start, stop, vectors, seen, scratch)
    _score_wanted(start, stop, wanted, factors, scratch, scores)
    for first in range(0, factors.shape[0], PANELS_AT_ONCE * lanes):
        count = min(PANELS_AT_ONCE * lanes, factors.shape[0] - first)
        for panel in range((count + lanes - 1) // lanes):
            for c in range(lanes):
                scratch.picks[c] = min(first + panel * lanes + c, factors.shape[0] - 1)
            _load_panel(factors, scratch.picks, scratch.ones, scratch.panels[panel])
        for user in range(start, stop):
            slot = user - start
            if slot % lanes == 0:
                _score_items(first, count, slot // lanes, scratch)
            row = scratch.scores[slot % lanes]
            end = seen.indptr[user + 1]
            scratch.places[slot] = _leave_out(row, first, count, scratch.places[slot], seen.indices, end)
            for cell in range(wanted.indptr[user], wanted.indptr[user + 1]):
                _count(row, count, scores[cell], cell, higher, equal)


@block_kernel
def rank_in_rows(start, stop, rows, wanted, higher, equal):
    """Rank the wanted items of users start to stop - 1 by their rows of scores; NaN is no candidate."""
    for user in range(start, stop):
        for cell in range(wanted.indptr[user], wanted.indptr[user + 1]):
            _count(rows[user], rows.shape[1], rows[user, wanted.indices[cell]], cell, higher, equal)
