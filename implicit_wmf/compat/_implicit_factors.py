"""Factors of users and items, and the questions they answer: nearest rows, best items, exact rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from .. import kernels, ranking
from .._asked import list_length, select_candidates
from ..config import WMFConfig
from ..errors import InputError, NotFittedError
from ..new_rows import RowSolver
from ..similarity import normalised
from ._implicit_data import ModelFitError, positions, stored_cells

Array = NDArray[Any]
T = TypeVar("T")


class _Side:
    """Factors of one side, and what is made from them: never from others, whatever another thread sets meanwhile."""

    def __init__(self, factors: Array) -> None:
        self.factors = kernels.jit.read_only(factors)
        self._made: dict[Any, Any] = {}

    def make(self, kind: Any, make: Callable[[], T]) -> T:
        """Keep what is made from these factors."""
        if kind not in self._made:
            self._made.setdefault(kind, make())
        made: T = self._made[kind]
        return made

    def rows(self, kind: str) -> Array:
        """Rows of kind "factors", or "unit": the same scaled to norm 1."""
        return self.factors if kind == "factors" else self.make(kind, lambda: normalised(self.factors))


class Factors:
    """Two read-only factor matrices, either of which may be missing; `dtype` and `_config` are the subclass's."""

    dtype: np.dtype[Any]

    def __init__(self) -> None:
        self._sides: dict[str, _Side | None] = {"user": None, "item": None}

    user_factors = property(lambda self: self._factors["user"], lambda self, new: self._set("user", new))
    item_factors = property(lambda self: self._factors["item"], lambda self, new: self._set("item", new))

    @property
    def _factors(self) -> dict[str, Array | None]:
        return {name: None if side is None else side.factors for name, side in self._sides.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was made from the factors."""
        state = self.__dict__ | {"_factors": self._factors}
        del state["_sides"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the factors read-only again, which a copy of an array is not."""
        factors = state.pop("_factors")
        self.__dict__ |= state
        self._sides = {}
        self._keep(**factors)

    def _config(self) -> WMFConfig:
        raise NotImplementedError

    def _fitted(self, side: str) -> _Side:
        fitted = self._sides[side]
        if fitted is None:
            raise NotFittedError(f"there are no {side}_factors yet: call fit, or set them")
        return fitted

    def _set(self, side: str, values: Any) -> None:
        factors = None if values is None else np.array(values, dtype=self.dtype, order="C")
        if factors is not None and (factors.ndim != 2 or not factors.size):
            raise InputError(f"{side}_factors must be an array of shape ({side}s, factors), got shape {factors.shape}")
        if factors is not None and not np.isfinite(factors).all():
            raise ModelFitError(f"{side}_factors hold a number that is not finite")
        self._keep(**{side: factors})

    def _keep(self, **factors: Array | None) -> None:
        """Take factors of one side or both at once, with nothing made from them yet."""
        self._sides = self._sides | {side: None if new is None else _Side(new) for side, new in factors.items()}

    def _solve(self, side: str, cells: csr_array) -> Array:
        """Solve rows of one side exactly against the other's factors."""
        other = self._fitted("item" if side == "user" else "user")
        fixed = other.factors
        config = replace(self._config(), factors=fixed.shape[1])
        if not cells.shape[0]:
            return np.empty((0, config.factors), fixed.dtype)
        kind = "solver", config.regularization, config.num_threads
        solver = other.make(kind, lambda: RowSolver(side, fixed, np.ones(len(fixed)), config))
        return solver.solve(stored_cells(cells), np.ones(cells.shape[0]))

    def _put(self, side: str, ids: ArrayLike, solved: Array) -> None:
        factors, rows = self._fitted(side).factors, positions(f"{side}ids", ids, 2**31)
        grown = np.zeros((max(len(factors), rows.max(initial=-1) + 1), factors.shape[1]), factors.dtype)
        grown[: len(factors)] = factors
        grown[rows] = solved
        self._keep(**{side: grown})

    def _similar(
        self, side: str, ids: Any, vectors: Array | None, N: int, among: ArrayLike | None, without: ArrayLike | None
    ) -> tuple[Array, Array]:
        unit = self._fitted(side).rows("unit")
        chosen = unit[positions(f"{side}id", ids, len(unit))] if vectors is None else normalised(vectors)
        return self._top(side, "unit", chosen, np.ndim(ids), N, among, without)

    def _top(
        self, side: str, kind: str, vectors: Array, dimensions: int, N: int, among: Any, without: Any, seen: Any = None
    ) -> tuple[Array, Array]:
        """Rank a side's rows of a kind: `among` these, or `without` these, or all."""
        fitted = self._fitted(side)
        factors = fitted.rows(kind)
        if vectors.shape[1] != factors.shape[1]:
            raise InputError(f"factors of users have length {vectors.shape[1]}, of items {factors.shape[1]}")
        if among is not None and without is not None and np.size(without):
            raise InputError(f"{side}s and filter_{side}s are both given; leave the latter out of the former")
        if among is None and (without is None or not np.size(without)):
            everything = np.arange(len(factors), dtype=np.int32)
            catalogue = fitted.make(f"{kind} catalogue", lambda: ranking.Catalogue(factors, everything))
        elif among is not None and not np.size(among):
            raise InputError(f"{side}s is empty; give at least one, or None for all")
        else:
            name, ids = (f"{side}s", among) if among is not None else (f"filter_{side}s", without)
            checked = positions(name, ids, len(factors))
            chosen = (checked, None) if among is not None else (None, checked)
            catalogue = ranking.Catalogue(factors, select_candidates(len(factors), *chosen))
        length, threads = list_length(N), self._config().num_threads
        ids, scores = ranking.recommend(vectors, catalogue, seen, N=length, num_threads=threads)
        scores[ids < 0] = np.finfo(scores.dtype).min
        ids = ids.astype(np.int64) if among is not None else ids
        return (ids, scores) if dimensions else (ids[0], scores[0])
