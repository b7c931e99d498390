"""Draws of items that a user does not have, without replacement."""

from __future__ import annotations

from .jit import block_kernel, inner

# Two multiplicative congruential generators whose difference is uniform, of period 2.3e18: L'Ecuyer 1988, "Efficient
# and portable combined random number generators", figure 3. In int64 they never overflow, compiled or interpreted.
_FACTORS = (40014, 40692)
SEEDS = (2147483563, 2147483399)  # each of a case's two numbers is from 1 to one less than these


@inner
def _uniform(state):
    """Draw a number above 0 and below 1, in steps of 2^-31, and advance the state."""
    state[0] = state[0] * _FACTORS[0] % SEEDS[0]
    state[1] = state[1] * _FACTORS[1] % SEEDS[1]
    difference = state[0] - state[1]
    if difference < 1:
        difference += SEEDS[0] - 1
    return difference / SEEDS[0]


@inner
def _place_of(wanted, sums):
    """Find the first place whose sum is more than what is wanted."""
    low, high = 0, sums.size - 1
    while low < high:
        middle = (low + high) // 2
        if sums[middle] > wanted:
            high = middle
        else:
            low = middle + 1
    return low


@inner
def _draw_left(weights, marks, user, case, state):
    """Draw one of the items that are left, by looking at all of them."""
    total = 0.0
    for item in range(weights.size):
        if marks[item] != user and marks[item] != case:
            total += weights[item]
    wanted, passed, last = _uniform(state) * total, 0.0, -1
    for item in range(weights.size):
        if marks[item] != user and marks[item] != case and weights[item] > 0:
            last = item
            passed += weights[item]
            if passed > wanted:
                break
    return last


@block_kernel
def draw_unseen(start, stop, users, cells, weights, sums, states, marks, out):
    """Draw items for the cases start to stop - 1 in proportion to their weights, among those that are left.

    What is drawn again, or is one of the user's `cells`, is passed over; after as many such draws as there are items
    those that are left are looked at. `sums` are the running sums of the weights. `marks`, (items,), are 0 at first,
    and one thread's own: -1 - user for a user's cells, 1 + case for what was drawn. Each case has its own of the states
    (cases, 2), so that blocks change nothing. Each user has as many items left as `out`, (cases, n), takes.
    """
    for case in range(start, stop):
        user, state = -1 - users[case], states[case]
        if case == start or users[case] != users[case - 1]:
            for cell in range(cells.indptr[users[case]], cells.indptr[users[case] + 1]):
                marks[cells.indices[cell]] = user
        for place in range(out.shape[1]):
            item = -1
            for _ in range(weights.size):
                item = _place_of(_uniform(state) * sums[-1], sums)
                if marks[item] != user and marks[item] != 1 + case and weights[item] > 0:
                    break
                item = -1
            if item < 0:
                item = _draw_left(weights, marks, user, 1 + case, state)
            marks[item] = 1 + case
            out[case, place] = item
