"""Checking a gradient against finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .cells import Floats


class Objective(Protocol):
    """What can be checked: a value, and a gradient with one array a factor."""

    def value(self, *factors: Any) -> float:
        """Compute the objective."""

    def gradient(self, *factors: Any) -> tuple[Floats, ...]:
        """One array a factor, each of its factor's shape."""


@dataclass(frozen=True)
class GradientCheck:
    """How far a gradient is from finite differences.

    `absolute` is the largest deviation of an entry, `relative` that over the largest entry of the gradient, and `where`
    the entry it was met at: (number of the factor, row, column).
    """

    absolute: float
    relative: float
    where: tuple[int, int, int]


def check_gradient(objective: Objective, point: Sequence[ArrayLike], *, step: float | None = None) -> GradientCheck:
    """Compare an objective's gradient with central differences of fourth order, entry by entry.

    Parameters
    ----------
    objective : object with value(*factors) and gradient(*factors)
        Of this package or your own.
    point : sequence of 2-D arrays
        The factors to check at.
    step : float, optional
        Of the differences, times max(1, |entry|); by default the fifth root of the precision, which balances the error
        of the difference (of order step^4) and rounding (of order precision / step).

    Returns
    -------
    GradientCheck
    """
    factors = [np.array(factor, dtype=np.float64) for factor in point]
    gradients = objective.gradient(*factors)
    size = step or float(np.finfo(np.float64).eps ** 0.2)
    largest = max(float(np.abs(gradient).max()) for gradient in gradients)
    worst, where = -1.0, (0, 0, 0)
    for number, (factor, gradient) in enumerate(zip(factors, gradients, strict=True)):
        for row, column in np.ndindex(*factor.shape):
            deviation = abs(_difference(objective, factors, factor, (row, column), size) - gradient[row, column])
            if not deviation <= worst:
                worst, where = float(deviation), (number, row, column)
    return GradientCheck(worst, worst / largest if largest > 0 else worst, where)


def _difference(objective: Objective, factors: list[Any], factor: Any, at: tuple[int, int], size: float) -> float:
    """Fourth-order central difference: four values cancel the error of order step^2."""
    entry = factor[at]
    step = size * max(1.0, abs(entry))
    values = []
    for shift in (-2 * step, -step, step, 2 * step):
        factor[at] = entry + shift
        values.append(objective.value(*factors))
    factor[at] = entry
    return float((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step))
