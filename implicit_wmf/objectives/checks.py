"""Checking a gradient against finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .inputs import Floats, check_matrix, check_shape


class Objective(Protocol):
    """What can be checked: a value, and a gradient with one array a factor."""

    def value(self, *factors: Any) -> float:
        """Compute the objective."""

    def gradient(self, *factors: Any) -> tuple[Floats, ...]:
        """One array a factor, each of its factor's shape."""


@dataclass(frozen=True)
class GradientCheck:
    """How far a gradient is from finite differences.

    `absolute` is the largest deviation of an entry, `relative` that over the largest entry of the gradient and of the
    differences, and `where` the entry it was met at: (number of the factor, row, column). A gradient or a value that is
    not finite makes them NaN or infinite, which no tolerance admits.
    """

    absolute: float
    relative: float
    where: tuple[int, int, int]


def check_gradient(objective: Objective, point: Sequence[ArrayLike], *, step: float | None = None) -> GradientCheck:
    """Compare an objective's gradient with central differences of fourth order, entry by entry.

    Parameters
    ----------
    objective : object with value(*factors) and gradient(*factors)
        Of this package or your own; it is given float64 arrays, and the value is computed four times an entry.
    point : sequence of 2-D arrays
        The factors to check at. Keep them two steps inside where the objective is defined: a divergence refuses
        negative entries.
    step : float, optional
        Of the differences, times max(1, |entry|); by default the fifth root of the precision, 7.4e-4, which balances
        the error of the difference (of order step^4) and rounding (of order precision / step).

    Returns
    -------
    GradientCheck

    Raises
    ------
    InputError
        For a step that is not positive, factors that are not finite matrices, and a gradient that does not have one
        array a factor of the factor's own shape.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.objectives import WeightedSquares, check_gradient
    >>> objective = WeightedSquares(np.eye(3, 4), np.full((3, 4), 2.0))
    >>> check_gradient(objective, [np.full((3, 2), 0.1), np.full((4, 2), 0.3)]).relative < 1e-7
    True
    """
    size = float(np.finfo(np.float64).eps ** 0.2) if step is None else step
    if not 0 < size < np.inf:
        raise InputError(f"step must be positive and finite, got {step!r}")
    factors = [check_matrix(f"point[{number}]", factor).copy() for number, factor in enumerate(point)]
    gradients = _gradients(objective, factors)
    differences = [_differences(objective, factors, factor, size) for factor in factors]
    deviations = [np.abs(one - other) for one, other in zip(differences, gradients, strict=True)]
    # max and argmax take NaN for the largest, so that one is never passed over
    number = int(np.argmax([deviation.max() for deviation in deviations]))
    row, column = divmod(int(np.argmax(deviations[number])), factors[number].shape[1])
    absolute = float(deviations[number][row, column])
    largest = float(np.max([np.abs(array).max() for array in (*gradients, *differences)]))
    # infinite over infinite would be NaN, as it should
    return GradientCheck(absolute, absolute if largest == 0 else absolute / largest, (number, row, column))


def _gradients(objective: Objective, factors: list[Floats]) -> list[Floats]:
    gradients = [np.asarray(gradient) for gradient in objective.gradient(*factors)]
    if not factors or len(gradients) != len(factors):
        raise InputError(f"the gradient has {len(gradients)} arrays for {len(factors)} factors; give one for each")
    for number, (gradient, factor) in enumerate(zip(gradients, factors, strict=True)):
        check_shape(f"gradient[{number}]", gradient.shape, factor.shape)
    return gradients


def _differences(objective: Objective, factors: list[Floats], factor: Floats, size: float) -> Floats:
    """Fourth-order central differences by each entry: four values cancel the error of order step^2."""
    differences = np.empty_like(factor)
    for at in np.ndindex(*factor.shape):
        entry = float(factor[at])
        step = size * max(1.0, abs(entry))
        values = []
        for shift in (-2, -1, 1, 2):
            factor[at] = entry + shift * step
            values.append(float(objective.value(*factors)))
        factor[at] = entry
        differences[at] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return differences
