"""Which rows of a side are solved exactly and which by conjugate gradients, and what that costs.

Times are estimates in nanoseconds of one core, measured on AVX-512 hardware. Which way is cheaper depends on their
ratios alone; `_WORTHWHILE` and the length of the blocks that rows are solved in need no more than their magnitude.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels

Floats = NDArray[np.float64]

# "auto" stops a row's steps when residual' diag(A)^-1 residual has fallen to this part of what it began as, divided by
# the number of sweeps done: at first about nine tenths of the way. Objective relative to exact rows after 15 epochs on
# MovieLens 1M, d = 64, and with 3 steps for every row instead: +8e-5, +6e-6 (ials, a0 = .3, lambda = .007, nu = 1);
# -7e-4, -3e-3 (a0 = .01); -1e-3, -2e-3 (linear, alpha = 40, lambda = 1); -5e-2, +7e-2 (ials, a0 = .003,
# lambda = .0003): where 3 steps do, both do; where they do not, only this does. Without the division a close fit (32
# factors to a user of 30 cells) stays 8e-2 above exact rows, with it 2e-2.
TOLERANCE = 0.01
# A side that exact rows take this long for (nanoseconds of one core) gains nothing worth having from fewer of them.
_WORTHWHILE = 20e6
_FIRST_GUESS = 2.0  # steps a row, before any were counted
# Beginning costs this many steps; the last is half of one, because it needs no product.
_BEGIN = 1.2
_TILE = 16
_GROUPS = 33  # of rows by the binary logarithm of their number of cells
LEARNED = _GROUPS + 1  # numbers that a plan learns
NOTHING_LEARNED: Floats = np.zeros(0)


def exact_cost(cells: NDArray[Any], width: int, dual: NDArray[np.bool_]) -> Floats:
    """Time to solve rows of so many stored cells exactly: through n x n (without tiles if few) or d x d systems.

    `width` is d in whole tiles, `dual` whether the n x n systems may be had. Limits are those of the kernels.
    """
    n, d = cells.astype(np.float64), float(width)
    tiles = np.ceil(n / _TILE) * _TILE
    small = 60 + 0.27 * n * d + n**2 * (4.7 + 0.012 * d)
    through_cells = np.where(n <= 8 + width // 64, small, tiles * (10 + 0.48 * d + 0.0075 * tiles * d))
    return np.where(dual & (n <= d), through_cells, n * (0.15 * d + d**2 / 150) + d**3 / 400 + 20 * d)


def step_cost(cells: NDArray[Any], width: int) -> Floats:
    """Time of one step of conjugate gradients."""
    return np.asarray(30 + 0.35 * width + cells * (1.2 + 0.07 * width))


class SidePlan:
    """The plan for one side's rows, and what came of it.

    Parameters
    ----------
    row_sizes : (rows,) int64 array
        Stored cells of each row.
    kinds : (rows,) uint8 array
        Of kernels.rows.
    factors : int
    dtype : dtype of the factors
    solver, cg_steps : as for WMF
    learned : (LEARNED,) or (0,) float64 array
        What a plan of the same rows had learned, whose choices this one goes on making; empty for a new beginning.

    Attributes
    ----------
    steps : (rows,) uint16 array
        Handed to the kernel: the steps a row may take, 0 for exact; the kernel turns it into the steps it took.
    tolerance : float
        Where steps stop; 0 for a fixed number.
    work : (rows,) float64 array
        Time that each row should take.
    exact, mean_steps : float
        Of the last sweep: the share of the rows with targets that were solved exactly, the mean steps of the others.
    """

    def __init__(
        self,
        row_sizes: NDArray[np.int64],
        kinds: NDArray[np.uint8],
        factors: int,
        dtype: np.dtype[Any],
        *,
        solver: str = "exact",
        cg_steps: int = 0,
        learned: Floats = NOTHING_LEARNED,
    ) -> None:
        self._solver, self._cg_steps = solver, float(cg_steps)
        # costs depend on the number of cells and the kind alone, of which there are few different pairs
        pairs, place = np.unique(row_sizes * 4 + kinds, return_inverse=True)
        sizes, kind = np.divmod(pairs, 4)
        self._place = place.astype(np.int32)
        self._rows = np.bincount(self._place)
        self._empty = kind == kernels.rows.EMPTY
        self._group = np.frexp(sizes.astype(np.float64))[1]
        tile = kernels.jit.VECTOR_BYTES // dtype.itemsize
        width = -(-factors // tile) * tile
        self._exact_cost = exact_cost(sizes, width, kind == kernels.rows.ANY)
        self._step_cost = step_cost(sizes, width)
        self._expected = learned[1:].copy() if learned.size else np.full(_GROUPS, _FIRST_GUESS)
        self._sweeps = int(learned[0]) if learned.size else 0
        self.exact, self.mean_steps = 1.0, 0.0
        self._prepare()

    def _prepare(self) -> None:
        """Choose for the sweep to come."""
        self.tolerance = TOLERANCE / max(1, self._sweeps) if self._solver == "auto" else 0.0
        iterated = (_BEGIN + self._likely_steps()) * self._step_cost
        allowed = np.where((iterated < self._exact_cost) & ~self._empty, self._allowed_steps(), 0)
        self._allowed_by_pair = allowed.astype(np.uint16)
        self._allowed = self._allowed_by_pair[self._place]
        self.steps = self._allowed.copy()
        self.work = np.minimum(iterated, self._exact_cost)[self._place]

    def _likely_steps(self) -> Floats:
        if self._solver == "cg":
            return np.full(self._rows.shape, self._cg_steps)
        if self._solver == "exact" or self._rows @ self._exact_cost < _WORTHWHILE:
            return np.full(self._rows.shape, np.inf)
        return np.asarray(self._expected[self._group])

    def _allowed_steps(self) -> Floats:
        """Allow a row the steps that take as long as solving it exactly."""
        if self._solver == "cg":
            return np.full(self._rows.shape, self._cg_steps)
        return np.clip(np.ceil(self._exact_cost / self._step_cost), 1, 1000)

    @property
    def iterates(self) -> bool:
        """Whether any row is to be improved from what it is, rather than written afresh."""
        return bool(self._allowed_by_pair.any())

    def learn(self) -> None:
        """Take in what the sweep took, and choose for the next."""
        fell_back = np.flatnonzero(self.steps > self._allowed)
        tried = np.where(self._allowed_by_pair > 0, self._rows, 0)
        total = np.bincount(self._place, self.steps, self._rows.size)
        again = self._allowed[fell_back] - 1.0  # a row that fell back cost twice its allowance
        total += np.bincount(self._place[fell_back], again, self._rows.size)
        rows, steps = (np.bincount(self._group, numbers, _GROUPS) for numbers in (tried, total))
        self._expected = np.where(rows > 0, steps / np.maximum(rows, 1), self._expected)
        by_steps = int(tried.sum()) - fell_back.size
        solved = int(self._rows[~self._empty].sum())
        taken = int(self.steps.sum(dtype=np.int64) - self.steps[fell_back].sum(dtype=np.int64))
        self.exact = 1 - by_steps / solved if solved else 1.0
        self.mean_steps = taken / by_steps if by_steps else 0.0
        self._sweeps += 1
        self._prepare()

    def learned(self) -> Floats:
        """Return what choices rest on, (LEARNED,): the number of sweeps, and the steps that rows of a size took."""
        return np.concatenate([[self._sweeps], self._expected])
