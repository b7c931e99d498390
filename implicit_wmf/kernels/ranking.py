"""The N best items of each user, exactly.

Users are scored a tile at a time against panels of as many items, in registers. A tile of scores is looked at, and
written to memory, only if some user's score reaches that user's threshold: the worst of the N best found so far. Items
come by falling norm, so that a panel whose norm times the user's (Cauchy and Schwarz) stays below the threshold ends
the search. Each score has the same bits whatever users and items it is made beside.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import simd
from .jit import VECTOR_BYTES, aligned, block_kernel, inner
from .selection import cut, lowest, write_best_first

# Panels that are transposed together and then meet all tiles of users: both stay in the second-level cache.
PANELS_AT_ONCE = 16
# A user's list is cut back to the N best when this many more have come together (or as many as N).
SPARE = 16
# Norms and scores are rounded in different ways; a bound must not be too low for that.
_MARGIN = 1e-4


class Panels(NamedTuple):
    """Items that may be recommended, in the order in which they are looked at: a panel of a tile's length at a time."""

    order: Any  # int32 (whole tiles), -1 for padding
    norms: Any  # float64 (panels): the largest of each panel and of all later ones
    factors: Any  # (items, d), in whole tiles


class Pools(NamedTuple):
    """What each user of a block has found so far: at least the N best, in no order."""

    scores: Any  # (users, N and some)
    items: Any  # int32, of the same shape
    lengths: Any  # int64 (users)


class Lanes(NamedTuple):
    """Users whose search goes on, in whole tiles; those whose search has ended make room for others."""

    vectors: Any  # (tiles, d, tile): transposed
    slots: Any  # int64 (users): which pool is the user's, -1 for padding
    norms: Any  # float64 (users)
    thresholds: Any  # (users): the worst score of the N best so far, inf for padding


class Scratch(NamedTuple):
    """Working memory of one thread."""

    pools: Pools
    users: Lanes
    panels: Any  # (PANELS_AT_ONCE, d, tile): transposed
    tile: Any  # (tile, tile): scores of a panel's items for a tile's users
    hits: Any  # uint64 (any): a bit for each score of the tile that reached its user's threshold
    tables: Any  # int64 (users + 1): where each user's table begins
    seen: Any  # int32: tables of the items to leave out, -1 for an empty place
    picks: Any  # int32 (tile)
    order: Any  # int32 (tile): a panel of a user's own items
    ones: Any  # (d)


def make_scratch(users: int, places: int, factors: Any, N: int) -> Scratch:
    """Allocate what blocks of up to so many users need, for lists of N of these items; `places` is of all tables."""
    dtype, width = factors.dtype, factors.shape[1]
    tile = VECTOR_BYTES // factors.itemsize
    tiles = -(-users // tile)
    capacity = N + max(N, SPARE)
    return Scratch(
        Pools(
            np.empty((tiles * tile, capacity), dtype),
            np.empty((tiles * tile, capacity), np.int32),
            np.empty(tiles * tile, np.int64),
        ),
        Lanes(
            aligned((tiles, width, tile), dtype),
            np.empty(tiles * tile, np.int64),
            np.empty(tiles * tile),
            aligned((tiles * tile,), dtype),
        ),
        panels=aligned((PANELS_AT_ONCE, width, tile), dtype),
        tile=aligned((tile, tile), dtype),
        hits=np.empty(tile * tile // 64, np.uint64),
        tables=np.zeros(tiles * tile + 1, np.int64),
        seen=np.empty(places, np.int32),
        picks=np.empty(tile, np.int32),
        order=np.empty(tile, np.int32),
        ones=np.ones(max(width, tile), dtype),
    )


@inner
def _place_of(item, mask):
    """Where an item belongs in a table of mask + 1 places (Fibonacci hashing)."""
    return ((np.int64(item) * 2654435769) >> 13) & mask


@inner
def _note_seen(cells, user, slot, scratch):
    """Make the user's table of items to leave out, of at least twice as many places, behind those of earlier slots."""
    count = cells.indptr[user + 1] - cells.indptr[user]
    size = 1
    while size < 2 * count:
        size *= 2
    first = scratch.tables[slot]
    scratch.tables[slot + 1] = first + size
    for place in range(first, first + size):
        scratch.seen[place] = -1
    for cell in range(cells.indptr[user], cells.indptr[user + 1]):
        item = cells.indices[cell]
        place = _place_of(item, size - 1)
        while scratch.seen[first + place] >= 0:
            place = (place + 1) & (size - 1)
        scratch.seen[first + place] = item


@inner
def _is_seen(item, slot, scratch):
    first = scratch.tables[slot]
    mask = scratch.tables[slot + 1] - first - 1
    place = _place_of(item, mask)
    while True:
        met = scratch.seen[first + place]
        if met < 0:
            return False
        if met == item:
            return True
        place = (place + 1) & mask


@inner
def _offer(score, item, lane, N, scratch):
    """Put an item into a user's pool, and raise the threshold where that shows what the N best are."""
    slot = scratch.users.slots[lane]
    pools = scratch.pools
    scores, items = pools.scores[slot], pools.items[slot]
    length = pools.lengths[slot]
    scores[length], items[length] = score, item
    length += 1
    if length == N:
        scratch.users.thresholds[lane] = lowest(scores, N)
    elif length == scores.size:
        scratch.users.thresholds[lane] = cut(scores, items, length, N)
        length = N
    pools.lengths[slot] = length


@inner
def _take_hits(order, first, t, N, scratch):
    """Offer the scores of a panel, whose items begin at `first` of the order, that reached their users' thresholds."""
    lanes = scratch.tile.shape[0]
    for word in range(scratch.hits.size):
        bits = scratch.hits[word]
        while bits != 0:
            r, c = divmod(word * 64 + simd.lowest_bit(bits), lanes)
            bits &= bits - np.uint64(1)
            item, lane = order[first + r], t * lanes + c
            slot = scratch.users.slots[lane]
            if item < 0 or slot < 0:  # padding, which an infinite score reaches
                continue
            # an earlier item of the panel may have raised the threshold since
            reached = scratch.tile[r, c] >= scratch.users.thresholds[lane]
            if reached and not _is_seen(item, slot, scratch):
                _offer(scratch.tile[r, c], item, lane, N, scratch)


@inner
def _load_rows(source, picks, ones, out):
    """out[:, c] = source[picks[c]]."""
    for k in range(0, out.shape[0], out.shape[1]):
        simd.gather_transposed(source, picks, 0, k, ones, ones, out)


@inner
def _load_users(start, stop, vectors, seen, t, scratch):
    """Transpose a tile of users, and begin their search."""
    lanes = scratch.tile.shape[0]
    for lane in range(t * lanes, (t + 1) * lanes):
        user = min(start + lane, stop - 1)
        scratch.picks[lane - t * lanes] = user
        scratch.users.slots[lane] = lane if start + lane < stop else -1
        scratch.users.thresholds[lane] = -np.inf if start + lane < stop else np.inf
        scratch.pools.lengths[lane] = 0
        if start + lane < stop:
            _note_seen(seen, user, lane, scratch)
        square = 0.0
        for k in range(vectors.shape[1]):
            square += np.float64(vectors[user, k]) * np.float64(vectors[user, k])
        scratch.users.norms[lane] = math.sqrt(square) * (1 + _MARGIN)
    _load_rows(vectors, scratch.picks, scratch.ones, scratch.users.vectors[t])


@inner
def _load_panel(order, first, factors, panel, scratch):
    """Transpose the items that begin at `first` of the order; padding takes any item."""
    for r in range(scratch.tile.shape[0]):
        scratch.picks[r] = max(order[first + r], 0)
    _load_rows(factors, scratch.picks, scratch.ones, scratch.panels[panel])


@inner
def _may_go_on(lane, norm, N, scratch):
    """Whether an item of this norm could still enter a user's list."""
    slot, users, pools = scratch.users.slots[lane], scratch.users, scratch.pools
    if slot < 0:
        return False
    if pools.lengths[slot] > N:  # what came since the last cut may have raised the threshold
        users.thresholds[lane] = cut(pools.scores[slot], pools.items[slot], pools.lengths[slot], N)
        pools.lengths[slot] = N
    return not users.norms[lane] * norm < users.thresholds[lane]


@inner
def _move_lane(users, source, target):
    """Give a user the place of one whose search has ended."""
    lanes = users.vectors.shape[2]
    for k in range(users.vectors.shape[1]):
        users.vectors[target // lanes, k, target % lanes] = users.vectors[source // lanes, k, source % lanes]
    users.slots[target] = users.slots[source]
    users.norms[target] = users.norms[source]
    users.thresholds[target] = users.thresholds[source]


@inner
def _close_ranks(tiles, norm, N, scratch):
    """Move users whose search goes on together, if that saves an eighth of the tiles; returns how many there are."""
    users, lanes = scratch.users, scratch.tile.shape[0]
    going_on = 0
    for lane in range(tiles * lanes):
        going_on += 1 if _may_go_on(lane, norm, N, scratch) else 0
    needed = (going_on + lanes - 1) // lanes
    if (tiles - needed) * 8 < tiles:
        return tiles
    target = 0
    for source in range(tiles * lanes):
        if _may_go_on(source, norm, N, scratch):
            if source > target:
                _move_lane(users, source, target)
            target += 1
    for lane in range(target, needed * lanes):
        users.slots[lane] = -1
        users.thresholds[lane] = np.inf
    return needed


@inner
def _score_panel(order, first, panel, t, N, scratch):
    """Score a loaded panel, whose items begin at `first` of the order, for a tile of users."""
    if simd.score_tile(
        scratch.users.vectors[t], scratch.panels[panel], scratch.panels.shape[1], scratch.users.thresholds,
        t * scratch.tile.shape[0], scratch.tile, scratch.hits,
    ):  # fmt: skip
        _take_hits(order, first, t, N, scratch)


@inner
def _write_list(slot, N, pools, ids, scores):
    """Write a pool's N best, best first, over a row of ids and scores."""
    length = pools.lengths[slot]
    best, items = pools.scores[slot], pools.items[slot]
    if length > N:
        cut(best, items, length, N)
        length = N
    write_best_first(best, items, length, scores, ids)


@block_kernel
def top_items(start, stop, vectors, items, seen, scratch, ids, scores):
    """Fill ids and scores (users, N) for users start to stop - 1 of `vectors`, best first.

    `seen` are the cells to leave out. Both ids and scores come filled with -1 and NaN, which is what lists that run
    short end in. `scratch` is for one thread at a time.
    """
    order, norms, factors = items
    lanes, N = scratch.tile.shape[0], ids.shape[1]
    tiles = (stop - start + lanes - 1) // lanes
    for t in range(tiles):
        _load_users(start, stop, vectors, seen, t, scratch)
    for begin in range(0, norms.size, PANELS_AT_ONCE):
        tiles = _close_ranks(tiles, norms[begin], N, scratch)
        if tiles == 0:
            break
        count = min(PANELS_AT_ONCE, norms.size - begin)
        for p in range(count):
            _load_panel(order, (begin + p) * lanes, factors, p, scratch)
        for t in range(tiles):
            for p in range(count):
                _score_panel(order, (begin + p) * lanes, p, t, N, scratch)
    for slot in range(stop - start):
        _write_list(slot, N, scratch.pools, ids[start + slot], scores[start + slot])


@block_kernel
def top_of_lists(start, stop, vectors, allowed, factors, seen, scratch, ids, scores):
    """Fill ids and scores as `top_items` does, of users who may have their own items only: the cells `allowed`."""
    lanes, N = scratch.tile.shape[0], ids.shape[1]
    order = scratch.order
    for user in range(start, stop):
        _load_users(user, user + 1, vectors, seen, 0, scratch)
        for first in range(allowed.indptr[user], allowed.indptr[user + 1], lanes):
            for r in range(lanes):
                cell = first + r
                order[r] = allowed.indices[cell] if cell < allowed.indptr[user + 1] else -1
            _load_panel(order, 0, factors, 0, scratch)
            _score_panel(order, 0, 0, 0, N, scratch)
        _write_list(0, N, scratch.pools, ids[user], scores[user])
