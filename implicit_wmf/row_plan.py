"""Which rows of a side are solved exactly and which by conjugate gradients, and what that costs.

Times are estimates in nanoseconds of one core, measured on AVX-512 hardware; only their ratios matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import WMFConfig

Floats = NDArray[np.float64]

# "auto" stops a row's steps when residual' diag(A)^-1 residual has fallen to this part of what it began as, divided by
# the number of the sweep: at first about nine tenths of the way. Objective relative to exact rows after 15 epochs on
# MovieLens 1M, d = 64, and with 3 steps for every row instead: +8e-5, +6e-6 (ials, a0 = .3, lambda = .007, nu = 1);
# -7e-4, -3e-3 (a0 = .01); -1e-3, -2e-3 (linear, alpha = 40, lambda = 1); -5e-2, +7e-2 (ials, a0 = .003,
# lambda = .0003). Without the division a close fit (32 factors to a user of 30 cells) stays 8e-2 above.
TOLERANCE = 0.01
# A side that exact rows take this long for (nanoseconds of one core) gains nothing worth having from fewer of them.
_WORTHWHILE = 20e6
_FIRST_GUESS = 2.0  # steps a row, before any were counted
# Beginning costs this many steps; the last is half of one, because it needs no product.
_BEGIN = 1.2
_TILE = 16
_GROUPS = 33  # of rows by the binary logarithm of their number of cells


def exact_cost(cells: NDArray[Any], factors: int) -> Floats:
    """Time to solve rows of so many stored cells exactly: through n x n (without tiles if few) or d x d systems."""
    n, d = cells.astype(np.float64), float(factors)
    tiles = np.ceil(n / _TILE) * _TILE
    small = 60 + 0.27 * n * d + n**2 * (4.7 + 0.012 * d)
    dual = tiles * (10 + 0.48 * d + 0.0075 * tiles * d)
    primal = n * (0.15 * d + d**2 / 150) + d**3 / 400 + 20 * d
    return np.where(n <= 8 + d / 64, small, np.where(n <= d, dual, primal))


def step_cost(cells: NDArray[Any], factors: int) -> Floats:
    """Time of one step of conjugate gradients."""
    return np.asarray(30 + 0.35 * factors + cells * (1.2 + 0.07 * factors))


class SidePlan:
    """The plan for one side's rows, and what came of it.

    Attributes
    ----------
    steps : (rows,) uint16 array
        Handed to the kernel: the steps a row may take, 0 for exact; after the sweep, the steps it took.
    tolerance : float
        Where steps stop; 0 for a fixed number.
    work : (rows,) float64 array
        Time that each row should take.
    exact, mean_steps : float
        After the sweep: the share of rows that were solved exactly, and the mean steps of the others.
    """

    def __init__(self, row_sizes: NDArray[np.int64], config: WMFConfig) -> None:
        self._config = config
        # costs depend on the number of cells alone, of which there are few different ones
        sizes, place = np.unique(row_sizes, return_inverse=True)
        self._sizes, self._place = sizes, place.astype(np.int32)
        self._rows = np.bincount(self._place)
        self._group = np.frexp(sizes.astype(np.float64))[1]
        self._exact_cost, self._step_cost = (cost(sizes, config.factors) for cost in (exact_cost, step_cost))
        self._expected = np.full(_GROUPS, _FIRST_GUESS)
        self._sweeps = 0
        self.exact, self.mean_steps = 1.0, 0.0
        self.prepare()

    def prepare(self) -> None:
        """Choose for the sweep to come."""
        self.tolerance = TOLERANCE / max(1, self._sweeps) if self._config.solver == "auto" else 0.0
        iterated = (_BEGIN + self._likely_steps()) * self._step_cost
        allowed = np.where(iterated < self._exact_cost, self._allowed_steps(), 0)
        self._allowed_by_size = allowed.astype(np.uint16)
        self._allowed = self._allowed_by_size[self._place]
        self.steps = self._allowed.copy()
        self.work = np.minimum(iterated, self._exact_cost)[self._place]

    def _likely_steps(self) -> Floats:
        if self._config.solver == "cg":
            return np.full(self._sizes.shape, float(self._config.cg_steps))
        if self._config.solver == "exact" or self._rows @ self._exact_cost < _WORTHWHILE:
            return np.full(self._sizes.shape, np.inf)
        return np.asarray(self._expected[self._group])

    def _allowed_steps(self) -> Floats:
        """Allow a row the steps that take as long as solving it exactly."""
        if self._config.solver == "cg":
            return np.full(self._sizes.shape, float(self._config.cg_steps))
        return np.clip(np.ceil(self._exact_cost / self._step_cost), 1, 1000)

    @property
    def iterates(self) -> bool:
        """Whether any row is to be improved from what it is, rather than written afresh."""
        return bool(self._allowed_by_size.any())

    def learn(self) -> None:
        """Take in what the sweep took."""
        fell_back = np.flatnonzero(self.steps > self._allowed)
        tried = np.where(self._allowed_by_size > 0, self._rows, 0)
        total = np.bincount(self._place, self.steps, self._sizes.size)
        again = self._allowed[fell_back] - 1.0  # a row that fell back cost twice its allowance
        total += np.bincount(self._place[fell_back], again, self._sizes.size)
        rows, steps = (np.bincount(self._group, numbers, _GROUPS) for numbers in (tried, total))
        self._expected = np.where(rows > 0, steps / np.maximum(rows, 1), self._expected)
        self._sweeps += 1
        by_steps = tried.sum() - fell_back.size
        self.exact = 1.0 - float(by_steps / self.steps.size)
        taken = self.steps.sum(dtype=np.int64) - self.steps[fell_back].sum(dtype=np.int64)
        self.mean_steps = float(taken / by_steps) if by_steps else 0.0
