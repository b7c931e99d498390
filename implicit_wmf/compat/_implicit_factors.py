"""Factors of users and items, and the questions they answer: nearest rows, best items, exact rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from .. import kernels, ranking
from ..config import WMFConfig
from ..errors import InputError, NotFittedError
from ..new_rows import RowSolver
from ._implicit_data import ModelFitError, positions, stored_cells

Array = NDArray[Any]
T = TypeVar("T")


class Factors:
    """Two read-only factor matrices, either of which may be missing; `dtype` and `_config` are the subclass's."""

    dtype: np.dtype[Any]

    def __init__(self) -> None:
        self._factors: dict[str, Array | None] = {"user": None, "item": None}
        self._made: dict[Any, Any] = {}  # from the factors of a side, until they change

    user_factors = property(lambda self: self._factors["user"], lambda self, new: self._set("user", new))
    item_factors = property(lambda self: self._factors["item"], lambda self, new: self._set("item", new))

    def _config(self) -> WMFConfig:
        raise NotImplementedError

    def _fitted(self, side: str) -> Array:
        factors = self._factors[side]
        if factors is None:
            raise NotFittedError(f"there are no {side}_factors yet: call fit, or set them")
        return factors

    def _set(self, side: str, values: Any) -> None:
        factors = None if values is None else np.array(values, dtype=self.dtype, order="C")
        if factors is not None and (factors.ndim != 2 or not factors.size):
            raise InputError(f"{side}_factors must be an array of shape ({side}s, factors), got shape {factors.shape}")
        if factors is not None and not np.isfinite(factors).all():
            raise ModelFitError(f"{side}_factors hold a number that is not finite")
        self._keep(**{side: factors})

    def _keep(self, **factors: Array | None) -> None:
        """Take factors of one side or both, and forget what was made from the former."""
        self._factors |= {side: None if new is None else kernels.jit.read_only(new) for side, new in factors.items()}
        self._made = {key: made for key, made in self._made.items() if key[0] not in factors}

    def _make(self, side: str, kind: Any, make: Callable[[], T]) -> T:
        """Keep what is made from one side's factors until they change."""
        if (side, kind) not in self._made:
            self._made[side, kind] = make()
        made: T = self._made[side, kind]
        return made

    def _solve(self, side: str, cells: csr_array) -> Array:
        """Solve rows of one side exactly against the other's factors."""
        other = "item" if side == "user" else "user"
        fixed = self._fitted(other)
        config = replace(self._config(), factors=fixed.shape[1])
        if not cells.shape[0]:
            return np.empty((0, config.factors), fixed.dtype)
        kind = "solver", config.regularization, config.num_threads
        solver = self._make(other, kind, lambda: RowSolver(side, fixed, np.ones(len(fixed)), config))
        return solver.solve(stored_cells(cells), np.ones(cells.shape[0]))

    def _put(self, side: str, ids: ArrayLike, solved: Array) -> None:
        factors, rows = self._fitted(side), positions(f"{side}ids", ids, 2**31)
        grown = np.zeros((max(len(factors), rows.max(initial=-1) + 1), factors.shape[1]), factors.dtype)
        grown[: len(factors)] = factors
        grown[rows] = solved
        self._keep(**{side: grown})

    def _rows(self, side: str, kind: str) -> Array:
        """Rows of kind "factors", or "unit": the same scaled to norm 1."""
        factors = self._fitted(side)
        return factors if kind == "factors" else self._make(side, kind, lambda: _unit(factors))

    def _similar(
        self, side: str, ids: Any, vectors: Array | None, N: int, among: ArrayLike | None, without: ArrayLike | None
    ) -> tuple[Array, Array]:
        unit = self._rows(side, "unit")
        chosen = unit[positions(f"{side}id", ids, len(unit))] if vectors is None else _unit(vectors)
        return self._top(side, "unit", chosen, np.ndim(ids), N, among, without)

    def _top(
        self, side: str, kind: str, vectors: Array, dimensions: int, N: int, among: Any, without: Any, seen: Any = None
    ) -> tuple[Array, Array]:
        """Rank a side's rows of a kind: `among` these, or `without` these, or all."""
        factors = self._rows(side, kind)
        if vectors.shape[1] != factors.shape[1]:
            raise InputError(f"factors of users have length {vectors.shape[1]}, of items {factors.shape[1]}")
        if among is not None and without is not None and np.size(without):
            raise InputError(f"{side}s and filter_{side}s are both given; leave the latter out of the former")
        if among is None and (without is None or not np.size(without)):
            everything = np.arange(len(factors), dtype=np.int32)
            catalogue = self._make(side, f"{kind} catalogue", lambda: ranking.Catalogue(factors, everything))
        elif among is not None and not np.size(among):
            raise InputError(f"{side}s is empty; give at least one, or None for all")
        else:
            name, ids = (f"{side}s", among) if among is not None else (f"filter_{side}s", without)
            checked = positions(name, ids, len(factors))
            chosen = (checked, None) if among is not None else (None, checked)
            catalogue = ranking.Catalogue(factors, ranking.select_candidates(len(factors), *chosen))
        length, threads = ranking.list_length(N), self._config().num_threads
        ids, scores = ranking.recommend(vectors, catalogue, seen, N=length, num_threads=threads)
        scores[ids < 0] = np.finfo(scores.dtype).min
        ids = ids.astype(np.int64) if among is not None else ids
        return (ids, scores) if dimensions else (ids[0], scores[0])


def _unit(factors: Array) -> Array:
    norms = np.linalg.norm(factors, axis=1, keepdims=True)
    return np.asarray(factors / np.where(norms == 0, 1, norms))
