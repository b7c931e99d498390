"""The named schemes: from counts to confidence and preference, and from activity to the background."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .config import WMFConfig

Floats = NDArray[np.float64]
# a weighting: counts r >= 0 and background of each stored cell -> (confidence, preference of a positive count)
Weighting = Callable[[Floats, Floats, WMFConfig], tuple[Floats, Floats | float]]
# a background scheme: positive cells of each row and number of columns -> factor of each row, up to scale
Scheme = Callable[[Floats, int, WMFConfig], Floats]


def _linear(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, float]:
    """Hu, Koren and Volinsky 2008, section 4, where the background is 1."""
    return background + config.alpha * counts, 1.0


def _log(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, float]:
    """Hu, Koren and Volinsky 2008, equation 6."""
    return background + config.alpha * np.log1p(counts / config.log_epsilon), 1.0


def _ials(counts: Floats, background: Floats, config: WMFConfig) -> tuple[Floats, Floats]:
    """Rendle et al. 2022, equation 2: alpha (1 - p)^2 for a stored cell, on top of the background's p^2."""
    confidence = background + config.alpha * (counts != 0)
    return confidence, np.divide(config.alpha, confidence, out=np.zeros_like(confidence), where=confidence > 0)


# "raw" is not among them: its counts are confidences, which need no scheme
WEIGHTINGS: dict[str, Weighting] = {"linear": _linear, "log": _log, "ials": _ials}


def _uniform(activity: Floats, columns: int, config: WMFConfig) -> Floats:
    return np.ones_like(activity)


def _activity(activity: Floats, columns: int, config: WMFConfig) -> Floats:
    """Pan et al. 2008, user-oriented weighting: proportional to the number of positive cells."""
    return activity


def _absence(activity: Floats, columns: int, config: WMFConfig) -> Floats:
    """Pan et al. 2008, item-oriented weighting: proportional to the number of cells that are not positive."""
    return columns - activity


def _popularity(activity: Floats, columns: int, config: WMFConfig) -> Floats:
    """He et al. 2016, equation 8: activity to a power, of which they found 1/2 to be best."""
    return np.asarray(activity**config.popularity_exponent)


BACKGROUNDS: dict[str, Scheme] = {
    "uniform": _uniform,
    "user": _activity,
    "item": _absence,
    "popularity": _popularity,
}
