"""check_gradient on gradients that are known to be right or wrong."""

import numpy as np
import pytest

from implicit_wmf import InputError
from implicit_wmf.objectives import check_gradient


class Quadratic:
    """|X|^2 + |Y|^2 with a gradient to spoil."""

    def __init__(self, *gradients):
        self._gradients = gradients

    def value(self, *factors):
        return sum(float((factor**2).sum()) for factor in factors)

    def gradient(self, *factors):
        return tuple(spoil(2 * factor) for spoil, factor in zip(self._gradients, factors, strict=False))


def add(row, column, amount):
    def spoil(gradient):
        gradient[row, column] += amount
        return gradient

    return spoil


def keep(gradient):
    return gradient


POINT = [np.arange(6.0).reshape(3, 2), np.ones((2, 2))]


def test_check_gradient_finds_what_is_wrong():
    found = check_gradient(Quadratic(add(1, 0, 0.5), keep), POINT)
    assert found.absolute == pytest.approx(0.5, rel=1e-6)
    assert found.relative == pytest.approx(0.05, rel=1e-6)
    assert found.where == (0, 1, 0)
    assert check_gradient(Quadratic(keep, add(1, 1, -0.5)), POINT).where == (1, 1, 1)


def test_check_gradient_never_passes_over_nan():
    found = check_gradient(Quadratic(keep, add(0, 1, np.nan)), POINT)
    assert np.isnan(found.absolute) and np.isnan(found.relative) and found.where == (1, 0, 1)
    assert check_gradient(Quadratic(add(0, 0, np.inf), keep), POINT).absolute == np.inf


def test_check_gradient_of_a_gradient_of_zeros_is_relative_to_the_differences():
    tiny = [1e-9 * factor for factor in POINT]
    assert check_gradient(Quadratic(lambda g: 0 * g, lambda g: 0 * g), tiny).relative == pytest.approx(1, rel=1e-3)


def test_check_gradient_leaves_the_point_alone():
    point = [factor.copy() for factor in POINT]
    for factor in point:
        factor.flags.writeable = False
    assert check_gradient(Quadratic(keep, keep), point).relative < 1e-10


@pytest.mark.parametrize(
    ("gradients", "options", "message"),
    [
        ((np.ravel, keep), {}, r"gradient\[0\] has shape \(6,\); \(3, 2\) is needed"),
        ((keep,), {}, "the gradient has 1 arrays for 2 factors"),
        ((keep, keep), {"step": 0.0}, "step must be positive and finite, got 0.0"),
        ((keep, keep), {"point": [np.ones((3, 2)), [[np.nan]]]}, r"point\[1\] is nan at row 0, column 0"),
        ((), {"point": []}, "the gradient has 0 arrays for 0 factors"),
    ],
)
def test_check_gradient_refuses_what_cannot_be_compared(gradients, options, message):
    with pytest.raises(InputError, match=message):
        check_gradient(Quadratic(*gradients), **{"point": POINT, **options})
