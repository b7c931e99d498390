"""The named schemes: from counts to confidence and preference, and from activity to the background.

A stored count r has, by the `weighting` of :class:`~implicit_wmf.WMF`,

========  ==========================================  =====================================================
linear    C = background + alpha r, P = 1             Hu, Koren and Volinsky 2008, section 4
log       C = background + alpha log(1 + r / eps),    Hu, Koren and Volinsky 2008, equation 6
          P = 1
ials      alpha (1 - w.h)^2 on top of the background  Rendle et al. 2022, "Revisiting the Performance of iALS on
          (w.h)^2: C = background + alpha,            Item Recommendation Benchmarks", equation 2
          P = alpha / C
raw       C = r, P = 1; a stored 0 removes the cell
========  ==========================================  =====================================================

A negative count is a known negative: P = 0, with the weight of abs(r). The background of cell (i, j) is a0 a_i b_j with
a and b of mean 1: uniform, or by the scheme that `user_background` and `item_background` name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Settings(Protocol):
    """The hyper-parameters that schemes look at."""

    @property
    def alpha(self) -> float:
        """Weight of an interaction."""

    @property
    def log_epsilon(self) -> float:
        """Scale of the log weighting."""

    @property
    def popularity_exponent(self) -> float:
        """Power of an item's number of users."""


# a weighting: counts r >= 0 and background of each stored cell -> (confidence, preference of a positive count)
Weighting = Callable[[Floats, Floats, Settings], tuple[Floats, Floats | float]]
# a background scheme: positive cells of each row and number of columns -> factor of each row, up to scale
Scheme = Callable[[Floats, int, Settings], Floats]


def _linear(counts: Floats, background: Floats, config: Settings) -> tuple[Floats, float]:
    """Hu, Koren and Volinsky 2008, section 4, where the background is 1."""
    return background + config.alpha * counts, 1.0


def _log(counts: Floats, background: Floats, config: Settings) -> tuple[Floats, float]:
    """Hu, Koren and Volinsky 2008, equation 6."""
    return background + config.alpha * np.log1p(counts / config.log_epsilon), 1.0


def _ials(counts: Floats, background: Floats, config: Settings) -> tuple[Floats, Floats]:
    """Rendle et al. 2022, equation 2: alpha (1 - p)^2 for a stored cell, on top of the background's p^2."""
    confidence = background + config.alpha * (counts != 0)
    return confidence, np.divide(config.alpha, confidence, out=np.zeros_like(confidence), where=confidence > 0)


WEIGHTINGS: dict[str, Weighting] = {"linear": _linear, "log": _log, "ials": _ials}
RAW = "raw"  # not among them: its counts are confidences, which need no scheme


def _uniform(activity: Floats, columns: int, config: Settings) -> Floats:
    return np.ones_like(activity)


def _activity(activity: Floats, columns: int, config: Settings) -> Floats:
    """Pan et al. 2008, user-oriented weighting: proportional to the number of positive cells."""
    return activity


def _absence(activity: Floats, columns: int, config: Settings) -> Floats:
    """Pan et al. 2008, item-oriented weighting: proportional to the number of cells that are not positive."""
    return columns - activity


def _popularity(activity: Floats, columns: int, config: Settings) -> Floats:
    """He et al. 2016, equation 8: activity to a power, of which they found 1/2 to be best."""
    return np.asarray(activity**config.popularity_exponent)


BACKGROUNDS: dict[str, dict[str, Scheme]] = {
    "user_background": {"uniform": _uniform, "user": _activity},
    "item_background": {"uniform": _uniform, "item": _absence, "popularity": _popularity},
}
