"""Exact solutions of new rows against fitted factors.

The other side's factors are rotated to the eigenbasis of their Gram matrix, as in training, and the solved rows back.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from . import kernels
from .confidence import SIDES, StoredCells, background_scale, stored_cells, weigh_rows
from .config import WMFConfig
from .errors import InputError
from .persistence import SavedModel
from .row_plan import SidePlan
from .threads import single_threaded_blas
from .training import BLAS_ROWS, rotate, solve_side, to_eigenbasis
from .weightings import BACKGROUNDS, Floats, Scheme

Array = NDArray[Any]

# Where cells are few, or fewer than one in so many columns, only their columns are rotated: to find them is a sort.
_SPARSE = 8


class RowSolver:
    """Exact solutions of one side's rows against the other side's factors, which are prepared once.

    Parameters
    ----------
    side : {"user", "item"}
        Whose rows are solved.
    fixed : (columns, d) array
        Factors of the other side.
    column_scale : (columns,) float64 array
        Background factors of the other side, of mean 1.
    config : WMFConfig
    """

    def __init__(self, side: str, fixed: Array, column_scale: Floats, config: WMFConfig) -> None:
        self._side, self._config = side, config
        self._fixed = fixed
        self._column_scale = column_scale
        self._whole: Array | None = None  # all columns, rotated, once they were needed
        with single_threaded_blas():
            self._vectors, self._spectrum = to_eigenbasis(fixed, column_scale, config.num_threads)

    def solve(self, stored: StoredCells, row_scale: Floats) -> Array:
        """Solve rows with background factors `row_scale`, which are relative to the fitted rows' mean.

        Raises
        ------
        InputError
            If a confidence overflows the precision of the factors, or a row has no finite solution; names the row.
        """
        side = weigh_rows(self._side, stored, row_scale, self._column_scale, self._config)
        # to find the BLAS libraries takes longer than one user's solution, whose products BLAS does not share out
        few = max(len(row_scale), side.rows.indices.size) <= BLAS_ROWS
        with nullcontext() if few else single_threaded_blas():
            fixed, rows = self._rotated(side.rows)
            plan = SidePlan(side.row_sizes, side.rows.kinds, self._config.factors, fixed.dtype)
            solved: Array = kernels.jit.aligned((len(row_scale), self._fixed.shape[1]), fixed.dtype)
            failed = solve_side(rows, plan, fixed, self._spectrum, solved, self._config.num_threads)
            if failed >= 0:
                strength = self._config.regularizations[SIDES.index(self._side)]
                raise InputError(
                    f"row {failed} has no finite solution in {solved.dtype}: scale its values to moderate sizes, or "
                    f"fit with more regularization (now {strength:g}) or dtype='float64'"
                )
            rotate(solved, solved, self._vectors.T, self._config)
        return solved

    def _rotated(self, rows: Any) -> tuple[Array, Any]:
        """Rotate the columns that the rows touch, which the rows then index, or all of them, once."""
        cells = rows.indices.size
        if self._whole is None and (cells <= BLAS_ROWS or cells * _SPARSE < len(self._fixed)):
            touched, indices = np.unique(rows.indices, return_inverse=True)
            return self._turned(self._fixed[touched]), rows._replace(
                indices=kernels.jit.read_only(indices.astype(np.int32))
            )
        if self._whole is None:
            self._whole = self._turned(self._fixed)
        return self._whole, rows

    def _turned(self, fixed: Array) -> Array:
        rotated = kernels.jit.aligned(fixed.shape, fixed.dtype)
        rotate(fixed, rotated, self._vectors, self._config)
        tiles: Array = kernels.jit.whole_tiles(rotated)
        return tiles


def background_scales(stored: StoredCells, config: WMFConfig) -> tuple[Floats, Floats]:
    """Background factors a of the users and b of the items, each of mean 1."""
    users, items = (background_scale(f"{side}_background", _rows_of(side, stored, config), config) for side in SIDES)
    return users, items


def _rows_of(side: str, stored: StoredCells, config: WMFConfig) -> StoredCells:
    """Return the side's rows as far as its background is made of them: without cells where it is not."""
    if side == "user":
        return stored
    if _named_scheme(side, config) is None:
        return StoredCells(csr_array(stored.matrix.shape[::-1]))
    return stored.transposed()


def _named_scheme(side: str, config: WMFConfig) -> Scheme | None:
    """Return the scheme that makes the side's background of its rows, if one does."""
    name = f"{side}_background"
    background = getattr(config, name)
    return BACKGROUNDS[name][background] if isinstance(background, str) and background != "uniform" else None


@dataclass(frozen=True)
class FittedSide:
    """What folding in rows of one side needs of a fitted model."""

    solver: RowSolver
    scheme: Scheme | None  # of the side's background, if it differs from row to row
    mean: float  # of what the scheme makes of the fitted rows
    columns: int
    config: WMFConfig

    @classmethod
    def of(cls, side: str, state: SavedModel) -> FittedSide:
        """Prepare one side of a model."""
        config, other = state.config, SIDES[1 - SIDES.index(side)]
        stored = stored_cells(state.interactions.matrix, state.confidence, config)
        scales = dict(zip(SIDES, background_scales(stored, config), strict=True))
        fixed = state.item_factors if side == "user" else state.user_factors
        scheme, mean = _named_scheme(side, config), 1.0
        if scheme is not None:
            mean = float(scheme(_rows_of(side, stored, config).activity(), len(fixed), config).mean())
        return cls(RowSolver(side, fixed, scales[other], config), scheme, mean, len(fixed), config)

    def fold_in(self, stored: StoredCells) -> Array:
        """Solve new rows."""
        scale = np.ones(stored.matrix.shape[0])
        if self.scheme is not None:
            scale = np.asarray(self.scheme(stored.activity(), self.columns, self.config) / self.mean)
        return self.solver.solve(stored, scale)
