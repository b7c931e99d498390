"""Our objective in the terms of programs whose background is 1, whose preference is 1 and whose penalty is one number.

An objective may be divided by a number, and the factors may be stretched, without another minimum. So with a stored
cell's confidence a0 + alpha r (linear), dividing by a0 leaves the background 1 and a weight of alpha r / a0 above it.
With the ials weighting a stored cell has confidence a0 + alpha and preference p = alpha / (a0 + alpha): ours are the
factors of preference 1 and a penalty 1 / p times as strong, times sqrt(p). User and item penalties that differ become
their geometric mean, with users and items stretched against each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from ..objective import Objective
from .contestant import CannotExpressError


@dataclass(frozen=True)
class Plain:
    """Minimise sum C (P - w.h)^2 + penalties, C = 1 + weight and P = 1 in stored cells, C = 1 and P = 0 in others.

    `weights` is csr (users, items) float32; the penalties are one number a row, float64. Our factors are these times
    `scale`, on either side.
    """

    weights: scipy.sparse.csr_matrix
    user_penalties: np.ndarray
    item_penalties: np.ndarray
    scale: float


@dataclass(frozen=True)
class Strength:
    """One strength for both sides, and what our factors are of the peer's."""

    value: float
    user_scale: float
    item_scale: float


def to_plain(counts: scipy.sparse.csr_array, objective: Objective, peer: str) -> Plain:
    """Translate; CannotExpressError in the name of `peer` where no division or stretching leads there."""
    a0, alpha = objective.unobserved_weight, objective.alpha
    if objective.weighting not in ("linear", "ials") or a0 == 0:
        raise cannot_express(peer, objective)
    weights = scipy.sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    if objective.weighting == "ials":
        weights.data[:] = 1
    users, items = (
        _penalties(np.asarray(weights.sum(axis=side)).ravel(), side, counts.shape, objective) for side in (1, 0)
    )
    weights.data *= np.float32(alpha / a0)
    preference = alpha / (a0 + alpha) if objective.weighting == "ials" else 1.0
    divisor = a0 * preference
    return Plain(weights, users / divisor, items / divisor, float(np.sqrt(preference)))


def _penalties(sums: np.ndarray, side: int, shape: tuple[int, int], objective: Objective) -> np.ndarray:
    """Regularization times the row's total confidence to the power nu (Rendle et al. 2022)."""
    total = objective.unobserved_weight * shape[side] + objective.alpha * sums.astype(float)
    return np.asarray(objective.regularization * total**objective.regularization_exponent)


def one_strength(
    plain: Plain, user_units: np.ndarray, item_units: np.ndarray, *, nearest: bool, peer: str, objective: Objective
) -> Strength:
    """Find s so that s times a row's units is its penalty, up to stretching users against items.

    Units are all 1, or the numbers of cells that Spark multiplies by. Rows without units count nowhere: they are solved
    as zero. Where penalties and units are not proportional there is no such s; `nearest` then takes the s whose
    penalties have the right sum on each side. That is a place to start a search from, no more: on MovieLens 1M, Spark
    at .3 of it comes to better metrics.
    """
    sides = []
    for penalties, units in ((plain.user_penalties, user_units), (plain.item_penalties, item_units)):
        known = units > 0
        ratios = penalties[known] / units[known]
        if not nearest and ratios.size and np.ptp(ratios) > 1e-6 * ratios.max():
            raise cannot_express(peer, objective)
        sides.append(penalties[known].sum() / units[known].sum())
    users, items = sides
    stretch = (items / users) ** 0.25 if users > 0 and items > 0 else 1.0
    return Strength(float(np.sqrt(users * items)), plain.scale * stretch, plain.scale / stretch)


def cannot_express(peer: str, objective: Objective) -> CannotExpressError:
    """Make the error that names the peer."""
    return CannotExpressError(f"{peer} has no way to express {objective}")
