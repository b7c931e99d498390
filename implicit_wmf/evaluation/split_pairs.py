"""Splits of pairs, by chance or by their time: random, leave-one-out, and users held out altogether."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import parameters
from ..errors import InputError
from ..interactions import Interactions, as_interactions
from .split_parts import check_share, draw_within_users, keep_pairs, keep_users, pair_counts, share_of_each


def split_random(
    data: Any, *, test_fraction: float = 0.2, within_users: bool = False, random_state: Any = 0
) -> tuple[Interactions, Interactions]:
    """Split the pairs by chance, so that no pair is in both parts.

    Who took an item several times has it in one part with all that it counts for. Nothing keeps train from being
    later than test: where a model is to be judged on what comes next, use `split_by_time`.

    Parameters
    ----------
    data : Interactions, or matrix of shape (users, items)
        Every stored pair is drawn alike, whatever its value. A matrix is taken as `Interactions.from_matrix` does. Not
        changed.
    test_fraction : float
        Share of pairs to test on, between 0 and 1, rounded; at least one pair is in each part.
    within_users : bool
        Take the share of each user's pairs, instead of all pairs together: each user with two pairs or more then has
        at least one in each part, and a single pair stays in train.
    random_state : int, numpy.random.Generator or None
        Seed of the draw, by default always the same; None draws anew in each call.

    Returns
    -------
    train, test : Interactions
        Of one shape, with the same ids, values, and timestamps where the data hold them.

    Raises
    ------
    InputError
        If an argument is not what is said above, or there are not two pairs (of one user, within users).

    Examples
    --------
    >>> data = Interactions.from_triples([0, 0, 0, 0, 1], [0, 1, 2, 3, 0])
    >>> train, test = split_random(data, test_fraction=0.25, within_users=True, random_state=0)
    >>> train.matrix.sum(axis=1).tolist(), test.matrix.sum(axis=1).tolist()
    ([3.0, 1.0], [1.0, 0.0])
    """
    share = check_share("test_fraction", test_fraction, 0.2)
    parameters.truth("within_users", within_users)
    generator = _generator(random_state)
    data = as_interactions(data)
    if within_users:
        _check_divisible(data)
        in_test = draw_within_users(data, share_of_each(pair_counts(data), share), generator)
    else:
        if data.nnz < 2:
            raise InputError(f"data: a split needs two pairs at least, but {data!r} was given")
        in_test = generator.permutation(data.nnz) < share_of_each(np.array([data.nnz]), share)
    return keep_pairs(data, ~in_test), keep_pairs(data, in_test)


def leave_one_out(data: Any, *, pick: str | None = None, random_state: Any = 0) -> tuple[Interactions, Interactions]:
    """Test on one pair of each user, the last one in time or any; all others are for training.

    With ``pick="last"`` this is the split of He et al. 2017, "Neural collaborative filtering", section 4.1. Pairs are
    what is split: who takes the same item again has one pair, whose time is that of the last interaction, and if that
    pair is left out, nothing of it stays in train. A user's pairs in train are never later than the one in test.

    Parameters
    ----------
    data : Interactions, or matrix of shape (users, items)
        As in `split_random`.
    pick : {"last", "random"} or None
        Which pair of a user to leave out. None is ``"last"`` where the data hold timestamps, ``"random"`` elsewhere. Of
        several pairs at a user's last time, such as a basket, one is drawn: a fixed rule, such as the largest item
        index, would test on a few items again and again.
    random_state : int, numpy.random.Generator or None
        As in `split_random`. Where no user's last time is shared, the last pairs do not depend on it.

    Returns
    -------
    train, test : Interactions
        Of one shape, with the same ids, values, and timestamps where the data hold them. Test holds one pair of each
        user with two or more; users with a single pair have it in train.

    Raises
    ------
    InputError
        If an argument is not what is said above, the last pairs are asked for without timestamps, or no user has two
        pairs.

    Examples
    --------
    >>> data = Interactions.from_triples([0, 0, 0, 1], [0, 1, 2, 0], timestamps=[5, 9, 7, 1])
    >>> train, test = leave_one_out(data)
    >>> train.matrix.toarray().tolist(), test.matrix.toarray().tolist()
    ([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    """
    parameters.or_none(parameters.one_of("last", "random"))("pick", pick)
    generator = _generator(random_state)
    data = as_interactions(data)
    if pick == "last" and data.timestamps is None:
        raise InputError(
            "pick is 'last', but the data hold no timestamps; name their column, as in "
            "Interactions.from_frame(..., timestamp=...), or give pick='random'"
        )
    _check_divisible(data)
    moments = None if pick == "random" else data.timestamps
    in_test = _one_of_each(data, moments, generator)
    return keep_pairs(data, ~in_test), keep_pairs(data, in_test)


def split_users(
    data: Any,
    *,
    held_out_users: float = 0.1,
    fold_in_fraction: float = 0.8,
    min_items: int = 2,
    random_state: Any = 0,
) -> tuple[Interactions, Interactions, Interactions]:
    """Hold out users altogether, and divide their pairs into what a model may see of them and what it must find.

    This is strong generalization (Marlin 2004, "Collaborative filtering: a machine learning perspective") as Liang et
    al. 2018, "Variational autoencoders for collaborative filtering", section 4, use it: fit on train, fold the users
    of fold_in into the model, and compare their lists with targets. For users to validate on besides those to test
    on, split train once more.

    Parameters
    ----------
    data : Interactions, or matrix of shape (users, items)
        As in `split_random`.
    held_out_users : int or float
        How many users to hold out, drawn from those with at least `min_items` pairs: a whole number, or a share of them
        between 0 and 1, rounded and at least one.
    fold_in_fraction : float
        Share of a held-out user's pairs in fold_in, between 0 and 1, rounded; at least one of them is in each part.
    min_items : int
        Users with fewer pairs than this are never held out; at least 2. Liang et al. have 5.
    random_state : int, numpy.random.Generator or None
        As in `split_random`.

    Returns
    -------
    train : Interactions
        The other users, with all their pairs.
    fold_in, targets : Interactions
        The held-out users, in the order of the data; both of one shape, with the same ids. All three hold all items of
        the data, also those that only held-out users took, which Liang et al. leave out.

    Raises
    ------
    InputError
        If an argument is not what is said above, there are fewer users to hold out than asked for, or none of the
        others has a pair to train on.

    Examples
    --------
    >>> data = Interactions.from_triples([0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 2, 2], users=["ann", "bob", "cy"])
    >>> train, fold_in, targets = split_users(data, held_out_users=1, min_items=3, random_state=0)
    >>> list(train.users), list(fold_in.users), list(targets.users)
    (['ann', 'cy'], ['bob'], ['bob'])
    >>> fold_in.nnz, targets.nnz
    (2, 1)
    """
    share = check_share("fold_in_fraction", fold_in_fraction, 0.8)
    parameters.whole(2)("min_items", min_items)
    generator = _generator(random_state)
    data = as_interactions(data)
    held_out = _draw_users(pair_counts(data), held_out_users, min_items, generator)
    train, theirs = keep_users(data, ~held_out), keep_users(data, held_out)
    in_fold_in = draw_within_users(theirs, share_of_each(pair_counts(theirs), share), generator)
    return train, keep_pairs(theirs, in_fold_in), keep_pairs(theirs, ~in_fold_in)


def _generator(random_state: Any) -> np.random.Generator:
    parameters.random_state("random_state", random_state)
    return np.random.default_rng(random_state)


def _check_divisible(data: Interactions) -> None:
    """Refuse data in which no user has a pair for each of two parts."""
    most = int(pair_counts(data).max())
    if most < 2:
        raise InputError(
            f"test would be empty: none of the {data.shape[0]} users has two pairs; give more data, or use "
            "split_random without within_users"
        )


def _one_of_each(data: Interactions, moments: NDArray[Any] | None, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Draw one pair of each user with two or more, at the user's last moment if moments are given."""
    sizes = pair_counts(data)
    active = sizes > 0
    starts = data.matrix.indptr[:-1][active]
    # Drawn is a user's pair with the smallest number; those that may not be drawn get one above all others.
    numbers = generator.permutation(data.nnz)
    if moments is not None:
        last = np.repeat(np.maximum.reduceat(moments, starts), sizes[active])
        numbers[moments < last] = data.nnz
    smallest = np.minimum.reduceat(numbers, starts)
    smallest[sizes[active] < 2] = -1
    return np.asarray(numbers == np.repeat(smallest, sizes[active]))


def _draw_users(
    sizes: NDArray[np.int64], held_out_users: Any, min_items: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw the users to hold out, as booleans (users,)."""
    eligible = np.flatnonzero(sizes >= min_items)
    count = _user_count(held_out_users, eligible.size)
    if count > eligible.size:
        raise InputError(
            f"held_out_users is {held_out_users!r}, but of {sizes.size} users {eligible.size} have at least "
            f"{min_items} pairs (min_items); hold out fewer users, or give more data"
        )
    held_out = np.zeros(sizes.size, dtype=bool)
    held_out[generator.choice(eligible, count, replace=False)] = True
    if not sizes[~held_out].any():
        raise InputError(
            f"train would be empty: held_out_users is {held_out_users!r}, which leaves none of the {sizes.size} users "
            "with a pair to train on; hold out fewer"
        )
    return held_out


def _user_count(held_out_users: Any, eligible: int) -> int:
    """Read a number of users, or a share of them."""
    whole = isinstance(held_out_users, int | np.integer) and not isinstance(held_out_users, bool)
    if whole and held_out_users >= 1:
        return int(held_out_users)
    if isinstance(held_out_users, float | np.floating) and 0 < held_out_users < 1:
        return max(1, round(held_out_users * eligible))
    raise InputError(
        f"held_out_users is {held_out_users!r}; give a whole number of users, from 1 on, or a share of them between 0 "
        "and 1, such as 0.1"
    )
