"""Negatives drawn for held-out positives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import parameters
from ..errors import InputError
from ..interactions import Interactions
from .split import check_same_ids, new_pairs

Positions = NDArray[np.int64]


class SampledCases(NamedTuple):
    """Held-out positives with their negatives, as `evaluate_sampled` takes them."""

    users: Positions  # (cases,)
    positives: Positions  # (cases,)
    negatives: Positions  # (cases, n)


def draw_negatives(
    train: Interactions,
    test: Interactions,
    n: int = 99,
    *,
    popularity_exponent: float = 0.0,
    random_state: Any = None,
) -> SampledCases:
    """Draw for each held-out pair items that its user has neither in train nor in test, each at most once.

    With `leave_one_out` this makes the cases of He et al. 2017, "Neural collaborative filtering", section 4.1.

    Parameters
    ----------
    train, test
        Interactions of one shape with the same ids. Each pair of test with a positive value that train does not store
        is a case of its own.
    n
        How many negatives a case gets.
    popularity_exponent
        0: all items are as likely. Otherwise an item is drawn with a chance in proportion to its number of users in
        train, to this power, among those that are left; items that nobody has in train never are.
    random_state
        Seed, or a NumPy Generator; None for other draws each time. With one seed and the same data the draws are the
        same.

    Returns
    -------
    SampledCases
        ``users``, ``positives`` (cases,) and ``negatives`` (cases, n), int64, by user and then item: ready for
        ``evaluate_sampled(model, *cases)``.

    Raises
    ------
    InputError
        If train and test differ in shape or ids, there is no case, or a user has fewer than `n` items to draw from;
        names the user.

    Examples
    --------
    >>> import numpy as np
    >>> train = Interactions.from_triples(np.array([0, 1]), np.array([0, 3]), shape=(2, 4))
    >>> test = Interactions.from_triples(np.array([0, 1]), np.array([1, 0]), shape=(2, 4))
    >>> cases = draw_negatives(train, test, 2, random_state=0)
    >>> cases.positives.tolist(), np.sort(cases.negatives, axis=1).tolist()
    ([1, 0], [[2, 3], [1, 2]])
    """
    parameters.whole(1)("n", n)
    parameters.number(0)("popularity_exponent", popularity_exponent)
    parameters.random_state("random_state", random_state)
    check_same_ids(train, test)
    generator = np.random.default_rng(random_state)
    users, positives = _cases(train, test)
    weights = _weights(train, popularity_exponent)
    negatives = np.empty((users.size, n), np.int64)
    allowed, user = np.empty(0, np.int64), -1
    for case in range(users.size):
        if users[case] != user:
            user = users[case]
            allowed = _allowed(train, test, user, weights)
            if allowed.size < n:
                raise InputError(
                    f"n is {n}, but user {user} ({train.users[user]!r}) has only {allowed.size} items to draw from; "
                    "draw fewer, or leave the user out"
                )
        negatives[case] = allowed[_draw(allowed.size, n, None if weights is None else weights[allowed], generator)]
    return SampledCases(users, positives, negatives)


def _cases(train: Interactions, test: Interactions) -> tuple[Positions, Positions]:
    """Return the users and items of the pairs to be found."""
    matrix = new_pairs(test, train).matrix
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    positive = matrix.data > 0
    if not positive.any():
        raise InputError("test holds no pair of positive value that train does not store, so there is nothing to find")
    return rows[positive], matrix.indices[positive].astype(np.int64)


def _weights(train: Interactions, exponent: float) -> NDArray[np.float64] | None:
    """Return how likely each item is to be drawn, but for a factor; None where all are alike."""
    if exponent == 0:
        return None
    matrix = train.matrix
    taken = np.bincount(matrix.indices[matrix.data > 0], minlength=matrix.shape[1])
    return np.asarray((taken / max(int(taken.max()), 1)) ** exponent)


def _allowed(train: Interactions, test: Interactions, user: int, weights: NDArray[np.float64] | None) -> Positions:
    """Return the items that may be drawn for a user."""
    free = np.ones(train.shape[1], dtype=bool) if weights is None else weights > 0
    for part in (train.matrix, test.matrix):
        free[part.indices[part.indptr[user] : part.indptr[user + 1]]] = False
    return np.flatnonzero(free)


def _draw(count: int, n: int, weights: NDArray[np.float64] | None, generator: np.random.Generator) -> Positions:
    """Draw n of so many places, without replacement.

    The n first of exponential times whose rates are the weights are distributed as draws one after the other
    (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir").
    """
    if weights is None:
        return generator.choice(count, n, replace=False, shuffle=False)
    with np.errstate(over="ignore"):  # an infinite time is never among the first
        times = generator.standard_exponential(count) / weights
    return np.argpartition(times, n - 1)[:n]
