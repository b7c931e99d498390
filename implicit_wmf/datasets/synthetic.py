"""Synthetic interactions of any size, with the skew of real data and a planted low-rank structure."""

from __future__ import annotations

from collections.abc import Iterator
from operator import index

import numpy as np
import scipy.sparse

from .._cells import index_dtype
from ..errors import InputError

# With these and 16 factors, 20 million cells of 138,493 x 26,744 (the size of MovieLens 20M) come out as users of 11
# to 5,516 items, median 54, and items of 0 to 53,349 users, median 143, the first 1 % of them in 28 % of the cells.
ACTIVITY_EXPONENT = 1.0
POPULARITY_EXPONENT = 1.5
SHIFT = 0.005
# Recall@20 on 3,000 x 2,000 with 150,000 cells and 8 factors, half of the cells held out: the true probabilities
# .59, popularity .40, a truncated SVD of the other half .48. With 2.0 and 1.5 it was .52, .45 and .35: too little to
# find.
USER_SCALE = 3.0
ITEM_SCALE = 2.5
COUNT_EXPONENT = 2.0

# Temporaries stay near 100 MB whatever the size of the result.
BLOCK_CELLS = 1 << 20
REJECTION_ROUNDS = 4


def synthetic(
    users: int,
    items: int,
    interactions: int,
    factors: int = 16,
    random_state: int | np.random.Generator | None = None,
) -> scipy.sparse.csr_array:
    """Return random counts, users x items, in which a factorization has something to find.

    * **Skew.** Users have an activity proportional to ``(rank + 0.005 * users) ** -1``, items a popularity
      proportional to ``(rank + 0.005 * items) ** -1.5`` (Zipf-Mandelbrot), both in random order: the most active user
      takes about 38 times as many items as the average one. The `interactions` fall on users by a multinomial draw
      over activity; no user takes more than half of the items, rounded up: what is beyond falls on the others.
    * **Structure.** With user and item factors u and v drawn from a standard normal distribution, user i takes item
      j with probability p_ij proportional to ``sum_k theta_ik phi_kj``: the user's tastes are
      ``theta_i = softmax(3 u_i)``, and taste k spreads over items as ``phi_kj = popularity_j exp(2.5 v_jk)``,
      normalised over j. The matrix p has rank `factors`. A user's items are drawn from p_i without replacement.
    * **Counts.** Independent of the above, ``P(count >= c) = c ** -2``: 3 of 4 cells hold a 1, the mean is 1.64.

    Users and items without any interaction are possible; every index exists all the same. Beyond the result, memory
    holds 16 bytes for each of ``factors * items`` and about 100 MB of temporaries.

    Parameters
    ----------
    users, items : int
        The shape of the result, each at least 1.
    interactions : int
        Stored cells, matched exactly; from 0 to half of ``users * items``.
    factors : int, default 16
        The rank of the planted structure, at least 1. With 1 all users share one taste.
    random_state : int, numpy.random.Generator or None, default None
        The same integer gives the same result; None draws afresh.

    Returns
    -------
    scipy.sparse.csr_array of shape (users, items)
        float32 counts of at least 1 and int32 indices (int64 from 2**31 interactions on), canonical: sorted, without
        duplicates.

    Raises
    ------
    InputError
        If a number is not a whole one or out of its range, or `random_state` is of another kind.

    Examples
    --------
    >>> from implicit_wmf.datasets import synthetic
    >>> counts = synthetic(1000, 200, 12_000, factors=8, random_state=0)
    >>> counts.shape, counts.nnz
    ((1000, 200), 12000)
    """
    users = _checked("users", users, least=1)
    items = _checked("items", items, least=1)
    factors = _checked("factors", factors, least=1)
    interactions = _checked("interactions", interactions, least=0)
    if interactions > users * items // 2:
        raise InputError(
            f"interactions is {interactions}, more than half of the {users} x {items} cells; "
            f"give at most {users * items // 2}, or more users or items."
        )
    rng = _generator(random_state)
    indptr = np.zeros(users + 1, dtype=np.int64)
    index_type = index_dtype(interactions)
    indices = np.empty(interactions, dtype=index_type)
    for start, degrees, chosen in sample_blocks(rng, (users, items), interactions, factors):
        np.cumsum(degrees, out=indptr[start + 1 : start + 1 + len(degrees)])
        indptr[start + 1 : start + 1 + len(degrees)] += indptr[start]
        indices[indptr[start] : indptr[start + len(degrees)]] = chosen
    counts = draw_counts(rng, interactions)
    matrix = scipy.sparse.csr_array((counts, indices, indptr.astype(index_type)), shape=(users, items))
    matrix.has_canonical_format = True
    return matrix


def sample_blocks(
    rng: np.random.Generator, shape: tuple[int, int], interactions: int, factors: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the cells of `synthetic`, which checks the arguments, by blocks of consecutive users in order.

    Yields
    ------
    start : int
        The block's first user.
    degrees : (users of the block,) array of int64
        How many items each has.
    chosen : (sum of degrees,) array of int64
        Their items, rising within a user.
    """
    users, items = shape
    degrees = _degrees(rng, _zipf(rng, users, ACTIVITY_EXPONENT), interactions, most=(items + 1) // 2)
    phi = _item_tastes(rng, _zipf(rng, items, POPULARITY_EXPONENT), factors)
    item_cdf = _row_cdf(phi)
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    for start, stop in _blocks(indptr, factors):
        theta = _user_tastes(rng, stop - start, factors)
        yield start, degrees[start:stop], _sample_block(rng, degrees[start:stop], theta, phi, item_cdf)


def _checked(name: str, value: int, *, least: int) -> int:
    """Return the value as an int, or say which argument is not a whole number of at least `least`."""
    try:
        whole = index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; give a whole number of at least {least}.") from None
    if isinstance(value, bool) or whole < least:
        raise InputError(f"{name} is {value!r}; give a whole number of at least {least}.")
    return whole


def _generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    return np.random.default_rng(_checked("random_state", random_state, least=0))


def _zipf(rng: np.random.Generator, n: int, exponent: float) -> np.ndarray:
    """Return Zipf-Mandelbrot shares in random order, summing to 1."""
    weight = (np.arange(1, n + 1) + SHIFT * n) ** -exponent
    shares: np.ndarray = rng.permutation(weight / weight.sum())
    return shares


def _degrees(rng: np.random.Generator, activity: np.ndarray, interactions: int, *, most: int) -> np.ndarray:
    """Return each user's number of items, at most `most`, summing to `interactions`."""
    degrees = rng.multinomial(interactions, activity)
    while (excess := int(np.maximum(degrees - most, 0).sum())) > 0:
        degrees = np.minimum(degrees, most)
        room = np.where(degrees < most, activity, 0.0)
        degrees += rng.multinomial(excess, room / room.sum())
    return degrees


def _item_tastes(rng: np.random.Generator, popularity: np.ndarray, factors: int) -> np.ndarray:
    """Return phi, factors x items: each taste's distribution over items."""
    spread = popularity * np.exp(ITEM_SCALE * rng.standard_normal((factors, len(popularity))))
    phi: np.ndarray = spread / spread.sum(axis=1, keepdims=True)
    return phi


def _user_tastes(rng: np.random.Generator, users: int, factors: int) -> np.ndarray:
    """Return theta, users x factors: each user's distribution over tastes."""
    theta: np.ndarray = np.exp(USER_SCALE * rng.standard_normal((users, factors)))
    theta /= theta.sum(axis=1, keepdims=True)
    return theta


def draw_counts(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n float32 counts by inversion of P(count >= c) = c ** -COUNT_EXPONENT."""
    counts = np.empty(n, dtype=np.float32)
    for start in range(0, n, BLOCK_CELLS):
        block = counts[start : start + BLOCK_CELLS]
        block[:] = np.floor((1.0 - rng.random(len(block))) ** (-1.0 / COUNT_EXPONENT))
    return counts


def _blocks(indptr: np.ndarray, factors: int) -> list[tuple[int, int]]:
    """Return ranges of users whose cells and tastes together are about BLOCK_CELLS numbers."""
    work = indptr + factors * np.arange(len(indptr))
    bounds = np.searchsorted(work, np.arange(0, work[-1], BLOCK_CELLS))
    edges = np.unique(np.append(bounds, len(indptr) - 1))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _sample_block(
    rng: np.random.Generator, degrees: np.ndarray, theta: np.ndarray, phi: np.ndarray, item_cdf: np.ndarray
) -> np.ndarray:
    """Return a block's items, user by user in ascending order, drawn without replacement.

    Drawing with replacement and dropping repeats gives the law of drawing without, as long as it is the first
    distinct draws that are kept. Users still short after a few rounds (a heavy user must hit rare items) get the
    rest from an exponential race over all items, which has the same law.
    """
    items = phi.shape[1]
    taste_cdf = _row_cdf(theta)
    cells = np.empty(0, dtype=np.int64)
    missing = degrees
    for _ in range(REJECTION_ROUNDS):
        drawn = np.repeat(np.arange(len(degrees)), missing + missing // 4 + 2 * (missing > 0))
        drawn_items = _draw(rng, item_cdf, _draw(rng, taste_cdf, drawn, len(phi)), items)
        cells = _first_distinct(np.concatenate([cells, drawn * items + drawn_items]), items, degrees)
        missing = degrees - np.bincount(cells // items, minlength=len(degrees))
    raced = _race(rng, cells, missing, theta, phi)
    chosen: np.ndarray = np.sort(np.concatenate([cells, raced])) % items
    return chosen


def _row_cdf(rows: np.ndarray) -> np.ndarray:
    """Return the rows' cumulative sums, row r shifted by r, flat: ascending, so that one search serves all rows."""
    cdf: np.ndarray = (np.cumsum(rows, axis=1) + np.arange(len(rows))[:, None]).ravel()
    return cdf


def _draw(rng: np.random.Generator, cdf: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    """Return one column for each row asked for; a sum rounded below 1 may lead to column 0, a 1e-16 chance."""
    columns: np.ndarray = np.searchsorted(cdf, rows + rng.random(len(rows)), side="right") % width
    return columns


def _first_distinct(cells: np.ndarray, items: int, degrees: np.ndarray) -> np.ndarray:
    """Return each user's first `degrees` distinct cells (user * items + item) in the order of drawing."""
    _, first = np.unique(cells, return_index=True)
    cells = cells[np.sort(first)]
    user = cells // items
    order = np.argsort(user, kind="stable")
    cells, user = cells[order], user[order]
    starts = np.searchsorted(user, np.arange(len(degrees)))
    kept: np.ndarray = cells[np.arange(len(cells)) - starts[user] < degrees[user]]
    return kept


def _race(
    rng: np.random.Generator, cells: np.ndarray, missing: np.ndarray, theta: np.ndarray, phi: np.ndarray
) -> np.ndarray:
    """Return the missing cells: of the items a user has not got, those whose exponential clocks ring first."""
    items = phi.shape[1]
    # The cells ascend by user only, which is all that finding the users' bounds needs.
    bounds = np.searchsorted(cells, np.arange(len(missing) + 1) * items)
    raced = [np.empty(0, dtype=np.int64)]
    for user in np.flatnonzero(missing):
        clock = rng.standard_exponential(items) / (theta[user] @ phi)
        clock[cells[bounds[user] : bounds[user + 1]] - user * items] = np.inf
        raced.append(user * items + np.argpartition(clock, missing[user] - 1)[: missing[user]])
    return np.concatenate(raced)
