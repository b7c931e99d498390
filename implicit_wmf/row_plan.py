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
_TILE, _FEW_CELLS = 16, 8  # as in the kernels
_GROUPS = 33  # of rows by the binary logarithm of their number of cells


def exact_cost(cells: NDArray[Any], factors: int) -> Floats:
    """Time to solve rows of so many stored cells exactly: by plain loops, through n x n, or through d x d systems."""
    n, d = cells.astype(np.float64), float(factors)
    tiles = np.ceil(n / _TILE) * _TILE
    loops = 60 + 0.45 * n * d + 6 * n**2
    dual = tiles * (10 + 0.48 * d + 0.0075 * tiles * d)
    primal = n * (0.15 * d + d**2 / 150) + d**3 / 400 + 20 * d
    return np.where(n <= _FEW_CELLS, loops, np.where(n <= d, dual, primal))


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
        self._sizes = row_sizes
        self._group = np.frexp(row_sizes.astype(np.float64))[1].astype(np.uint8)
        self._expected = np.full(_GROUPS, _FIRST_GUESS)
        self._sweeps = 0
        self.exact, self.mean_steps = 1.0, 0.0
        self.prepare()

    def prepare(self) -> None:
        """Choose for the sweep to come."""
        self.tolerance = TOLERANCE / max(1, self._sweeps) if self._config.solver == "auto" else 0.0
        exact, step = (cost(self._sizes, self._config.factors) for cost in (exact_cost, step_cost))
        likely = self._likely_steps(exact)
        allowed = self._allowed_steps(exact, step)
        iterated = (_BEGIN + likely) * step
        self._allowed = np.where(iterated < exact, allowed, 0).astype(np.uint16)
        self.steps = self._allowed.copy()
        self.work = np.minimum(iterated, exact)

    def _likely_steps(self, exact: Floats) -> Floats:
        if self._config.solver == "cg":
            return np.full(exact.shape, float(self._config.cg_steps))
        if self._config.solver == "exact" or exact.sum() < _WORTHWHILE:
            return np.full(exact.shape, np.inf)
        return np.asarray(self._expected[self._group])

    def _allowed_steps(self, exact: Floats, step: Floats) -> Floats:
        """Allow a row the steps that take as long as solving it exactly."""
        if self._config.solver == "cg":
            return np.full(exact.shape, float(self._config.cg_steps))
        return np.clip(np.ceil(exact / step), 1, 1000)

    @property
    def iterates(self) -> bool:
        """Whether any row is to be improved from what it is, rather than written afresh."""
        return bool(self._allowed.any())

    def learn(self) -> None:
        """Take in what the sweep took."""
        iterated = self._allowed > 0
        fell_back = self.steps > self._allowed
        counted = np.where(fell_back, 2 * self._allowed, self.steps)  # a row that fell back cost twice its allowance
        rows = np.bincount(self._group[iterated], minlength=_GROUPS)
        total = np.bincount(self._group[iterated], counted[iterated], minlength=_GROUPS)
        self._sweeps += 1
        self._expected = np.where(rows > 0, total / np.maximum(rows, 1), self._expected)
        by_steps = iterated & ~fell_back
        self.exact = float(1 - by_steps.mean())
        self.mean_steps = float(self.steps[by_steps].mean()) if by_steps.any() else 0.0
