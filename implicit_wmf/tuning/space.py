"""What is searched: ranges by name, and the hyper-parameters that a point of them stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._ids import plain
from .._words import nearest
from ..confidence import weigh
from ..config import WMFConfig
from ..errors import InputError
from ..interactions import Interactions
from ..weightings import WEIGHTINGS

RELATIVE = {
    "relative_regularization": "regularization",
    "relative_unobserved_weight": "unobserved_weight",
}
_NOT_SEARCHED = {
    "factors": "they are doubled from stage to stage up to config.factors",
    "iterations": "early stopping finds them, up to config.iterations",
    "random_state": "a lucky start is no setting",
    "num_threads": "they change nothing but the time",
}


@dataclass(frozen=True)
class Range:
    """Numbers from one to another.

    Parameters
    ----------
    low, high : float
        The ends, both included.
    log : bool
        Draw evenly in their logarithm, not in the numbers themselves.

    Raises
    ------
    InputError
        If the ends are not finite numbers with low < high, or low is not positive although `log` is set.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, self._end(getattr(self, name)))
        if not self.low < self.high:
            raise InputError(f"{self}: low must be less than high; for one value set it in config")
        if self.log and self.low <= 0:
            raise InputError(f"{self}: a logarithmic range must start above 0, got {self.low!r}")

    def _end(self, end: Any) -> float:
        """Return an end as a float, so that equal ranges are spelled alike in a study: from 1, 1.0 or np.float64(1)."""
        is_number = isinstance(end, int | float | np.number) and not isinstance(end, bool)
        try:
            value = float(end) if is_number and not isinstance(end, np.complexfloating) else math.nan
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise InputError(f"{self}: the ends must be finite numbers, got {end!r}")
        return value + 0.0  # -0.0 is 0.0


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Parameters
    ----------
    *values
        Words, numbers, True, False or None.

    Raises
    ------
    InputError
        If there are fewer than two, one is there twice, or one is of another kind.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", tuple(map(plain, values)))
        for value in self.values:
            if value is not None and not isinstance(value, str | bool | int | float):
                raise InputError(f"{self}: a choice is a word, a number, True, False or None, got {value!r}")
        if len(set(self.values)) < max(2, len(values)):
            raise InputError(f"{self}: give at least two different values; for one value set it in config")


Space = Mapping[str, Range | Choice]


def default_space(train: Interactions, config: WMFConfig | None = None) -> dict[str, Range | Choice]:
    """Choose what `tune` searches by default.

    ==========================  ===========================  ========================================================
    relative_regularization     3e-4 to 0.1, logarithmic     lambda* of Rendle et al. 2022, see `settings`
    relative_unobserved_weight  1e-3 to 3, logarithmic       a0 over the mean weight of an interaction
    regularization_exponent     0 to 1                       nu
    weighting                   all but raw                  only where counts differ and config's is not raw
    ==========================  ===========================  ========================================================

    Rendle et al. 2022, "Revisiting the Performance of iALS on Item Recommendation Benchmarks", name lambda and a0 as
    the two that matter most, to be searched together on logarithmic scales, and found .002 to .02 and .007 to .3 on
    their four data sets. `alpha` is left out because it is redundant, in every weighting: with alpha and a0 times c
    and lambda times c^(1 - nu) the whole objective is times c, and its minimum where it was. So is the weighting where
    all counts are equal.

    Parameters
    ----------
    train : Interactions
        What will be fitted: whether its counts differ.
    config : WMFConfig, optional
        What will not be searched: its weighting and the two sides' regularization; by default WMFConfig().

    Returns
    -------
    dict
        A new one; change it and give it to `tune` as its space. `Choice` and `Range` are the kinds of its values, and
        every hyper-parameter may be a name but factors, iterations, random_state and num_threads.
    """
    config = config or WMFConfig()
    space: dict[str, Range | Choice] = {}
    if config.user_regularization is None or config.item_regularization is None:
        space["relative_regularization"] = Range(3e-4, 0.1, log=True)
    space["relative_unobserved_weight"] = Range(1e-3, 3.0, log=True)
    space["regularization_exponent"] = Range(0.0, 1.0)
    sizes = np.abs(train.matrix.data)
    if not config.zeros_remove and sizes.size and sizes.min() < sizes.max():
        space["weighting"] = Choice(*WEIGHTINGS)
    return space


def check_space(space: Space, config: WMFConfig) -> None:
    """Refuse names and values that no fit would take, before the first of them is drawn."""
    known = [name for name in WMFConfig.names() if name not in _NOT_SEARCHED] + list(RELATIVE)
    for name, values in space.items():
        if name in _NOT_SEARCHED:
            raise InputError(f"space: {name} is not searched: {_NOT_SEARCHED[name]}")
        if name not in known:
            raise InputError(f"space: no hyper-parameter {name!r}{nearest(name, known)}")
        if RELATIVE.get(name) in space:
            raise InputError(f"space: {name} and {RELATIVE[name]} set the same thing; leave one of them out")
        _check_values(name, values)
    regularized = {"regularization", "relative_regularization"} & set(space)
    if regularized and config.user_regularization is not None and config.item_regularization is not None:
        raise InputError(
            f"space: {regularized.pop()} has no effect, because config sets user_regularization and "
            "item_regularization; leave it out or unset one of them"
        )
    if not space:
        raise InputError("space is empty; give at least one range, or None for the default space")


def _check_values(name: str, values: Any) -> None:
    """Refuse what is no range, or one with an end or a value that the hyper-parameter may not have."""
    if not isinstance(values, Range | Choice):
        raise InputError(f"space: {name} must be a Range or a Choice, got {values!r}")
    own = RELATIVE.get(name, name)
    spec = next(spec for spec in fields(WMFConfig) if spec.name == own)
    if isinstance(values, Range) and spec.type == "int":
        raise InputError(f"space: {name} is a whole number; list them in a Choice in place of {values}")
    for value in values.values if isinstance(values, Choice) else (values.low, values.high):
        try:
            spec.metadata["check"](own, value)
        except InputError as error:
            raise InputError(f"space: {error}") from error


def settings(config: WMFConfig, point: Mapping[str, Any], train: Interactions) -> WMFConfig:
    """Return the hyper-parameters that a point of the space stands for.

    The two relative names make scales alike, so that good values lie in the same region whatever the counts' size,
    the weighting and nu:

    * a0 = relative_unobserved_weight x (mean weight of a stored interaction);
    * lambda = relative_regularization x sum s / sum s^nu, the sums over all users and items, s a row's total weight.
      This is lambda* of Rendle et al. 2022 with the reference nu* = 1: the sum of all rows' penalties does not
      depend on nu.
    """
    own = {name: value for name, value in point.items() if name not in RELATIVE}
    found = replace(config, **own)
    if "relative_unobserved_weight" in point:
        found = replace(found, unobserved_weight=point["relative_unobserved_weight"] * mean_weight(found, train))
    if "relative_regularization" in point:
        scale = penalty_scale(found, train)
        found = replace(found, regularization=point["relative_regularization"] * scale)
    return found


def mean_weight(config: WMFConfig, train: Interactions) -> float:
    """Return what a stored interaction weighs on top of the background, the mean over those that weigh anything."""
    counts = np.abs(train.matrix.data.astype(np.float64))
    if not config.zeros_remove:
        counts = WEIGHTINGS[config.weighting](counts, np.zeros_like(counts), config)[0]
    positive = counts[counts > 0]
    return float(positive.mean()) if positive.size else 1.0


def penalty_scale(config: WMFConfig, train: Interactions) -> float:
    """Return sum s / sum s^nu over users and items, s the total weight of a row."""
    totals = _total_weights(config, train)
    totals = totals[totals > 0]
    if not totals.size:
        return 1.0
    return float(totals.sum() / (totals**config.regularization_exponent).sum())


def _total_weights(config: WMFConfig, train: Interactions) -> NDArray[np.float64]:
    """Total weight of each user and each item: the penalties of lambda = 1 and nu = 1."""
    unit = replace(
        config, regularization=1.0, user_regularization=None, item_regularization=None, regularization_exponent=1.0
    )
    problem = weigh(train.matrix, unit)
    sides = (problem.users.rows.regularization, problem.items.rows.regularization)
    return np.concatenate([np.asarray(side, dtype=np.float64) for side in sides])
