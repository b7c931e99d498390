"""What every contestant can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

SEED = 1
Factors = tuple[np.ndarray, np.ndarray]
AfterEpoch = Callable[[np.ndarray, np.ndarray], None]


class CannotExpressError(ValueError):
    """A peer has no parameters that mean this objective."""


class Point(NamedTuple):
    """Where a fit stands after some epochs, and the `seconds` that it took, without what was done between epochs."""

    epoch: int
    seconds: float
    users: np.ndarray
    items: np.ndarray


class Contestant(Protocol):
    """One solver with its settings and data."""

    def seconds(self, epochs: int) -> list[float]:
        """Wall time of each of the first epochs."""

    def losses(self, epochs: int) -> list[float]:
        """Our exact objective after each of them."""

    def factors(self, epochs: int) -> Factors:
        """User and item factors after them."""

    def curve(self, epochs: Sequence[int], began: float | None = None) -> list[Point]:
        """Factors after each of these numbers of epochs, which rise, with the seconds that it took to get there.

        Seconds count from `began`, a reading of time.perf_counter from before the contestant was made, so that its own
        copies and conversions count for everybody alike; by default from the beginning of the fit's first epoch.
        """
