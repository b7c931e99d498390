"""Negatives drawn for held-out positives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .. import kernels, parameters
from .._csr import join_cells, kernel_cells, positive_in_columns, rows_of_cells
from .._ids import plain
from ..errors import InputError
from ..interactions import Interactions, as_interactions
from .hits import run_in_blocks
from .list_checks import Positions
from .measuring import targets_of


class SampledCases(NamedTuple):
    """Held-out positives with their negatives, as `evaluate_sampled` takes them.

    Attributes
    ----------
    users, positives : (cases,) int64 arrays
        The row of each case, and the item to be found.
    negatives : (cases, n) int64 array
        Items that the user does not have.
    """

    users: Positions
    positives: Positions
    negatives: Positions


def draw_negatives(
    train: Any,
    test: Any,
    n: int = 99,
    *,
    popularity_exponent: float = 0.0,
    random_state: Any = 0,
) -> SampledCases:
    """Draw for each held-out pair items that its user has neither in train nor in test, each at most once.

    With `leave_one_out` this makes the cases of He et al. 2017, "Neural collaborative filtering", section 4.1.

    Parameters
    ----------
    train, test : Interactions, or matrices of shape (users, items)
        Of one shape, with the same ids where both have any. Each pair of test with a positive value that train does
        not store is a case of its own.
    n : int
        How many negatives a case gets.
    popularity_exponent : float
        0: all items are as likely. Otherwise an item is drawn with a chance in proportion to its number of users in
        train, to this power, among those that are left; items that nobody has in train never are.
    random_state : int, numpy.random.Generator or None
        Seed, by default always the same, or a NumPy Generator; None for other draws each time. With one seed and the
        same data the draws are the same.

    Returns
    -------
    SampledCases
        By user and then item: ready for ``evaluate_sampled(model, *cases)``.

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
    train, test = as_interactions(train, "train"), as_interactions(test, "test")
    users, positives = _cases(train, test)
    weights, taken = _weights(train, popularity_exponent), join_cells(train.matrix, test.matrix)
    _check_enough(train, users, weights, taken, n)
    generator = np.random.default_rng(random_state)
    return SampledCases(users, positives, _draw(users, taken, weights, n, generator))


def _cases(train: Interactions, test: Interactions) -> tuple[Positions, Positions]:
    """Return the users and items of the pairs to be found."""
    targets = targets_of(train, test)
    if not targets.nnz:
        raise InputError("test holds no pair of positive value that train does not store, so there is nothing to find")
    users = rows_of_cells(targets.indptr)
    return users, targets.indices.astype(np.int64)


def _weights(train: Interactions, exponent: float) -> NDArray[np.float64]:
    """Return how likely each item is to be drawn, but for a factor."""
    matrix = train.matrix
    if exponent == 0:
        return np.ones(matrix.shape[1])
    taken = positive_in_columns(matrix)
    return np.asarray((taken / max(int(taken.max()), 1)) ** exponent)


def _check_enough(
    train: Interactions, users: Positions, weights: NDArray[np.float64], taken: csr_array, n: int
) -> None:
    """Refuse a user with fewer items to draw from than are to be drawn."""
    rows = rows_of_cells(taken.indptr)
    held = np.bincount(rows[weights[taken.indices] > 0], minlength=taken.shape[0])
    left = np.count_nonzero(weights) - held[users]
    few = np.flatnonzero(left < n)
    if few.size:
        user = users[few[0]]
        raise InputError(
            f"n is {n}, but user {user} ({plain(train.users[user])!r}) has only {left[few[0]]} items to draw from; "
            "draw fewer, or leave the user out"
        )


def _draw(
    users: Positions, taken: csr_array, weights: NDArray[np.float64], n: int, generator: np.random.Generator
) -> Positions:
    """Draw n items for each case, on several threads."""
    negatives = np.empty((users.size, n), np.int64)
    states = generator.integers(1, kernels.negatives.SEEDS, (users.size, 2))
    cells, sums = kernel_cells(taken), np.cumsum(weights)
    spare: list[Positions] = []  # marks, as many as threads in the end

    def draw(start: int, stop: int) -> None:
        try:
            marks = spare.pop()
        except IndexError:
            marks = np.zeros(weights.size, np.int64)
        kernels.negatives.draw_unseen(start, stop, users, cells, weights, sums, states, marks, negatives)
        spare.append(marks)

    run_in_blocks(draw, users.size)
    return negatives
