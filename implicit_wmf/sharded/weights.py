"""What the cells of a shard weigh: computed once in a fit, and found again in every pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .. import kernels
from ..store import Shard
from .scratch import Scratch

_ARRAYS = ("values", "targets")  # of kernels.rows.Rows: a number of each cell, or one for all
_OF_THE_SHARD, _ON_DISK = range(2)
_NONE = np.zeros(0, np.uint8), np.zeros(0), np.zeros(0)


class CellNumbers:
    """Numbers of a range of a store's cells on disk: weights and targets of both sides, as far as they are kept."""

    def __init__(self, cells: slice, dtype: np.dtype[Any], folder: Path) -> None:
        self._cells, self._dtype, self._folder = cells, dtype, folder
        self._files: dict[str, Scratch] = {}

    def of_shard(self, name: str, shard: Shard) -> Any:
        """Map those of a shard under a name, as zeros if they were never written."""
        if name not in self._files:
            count = self._cells.stop - self._cells.start
            self._files[name] = Scratch((count,), self._dtype, self._folder, "the cells' weights")
        own, first = shard.cells, self._cells.start
        return self._files[name].rows(own.start - first, own.stop - first)


class ShardWeights:
    """The rows of a shard's sides, without what can be mapped again.

    Attributes
    ----------
    bare_items : (items,) array of bool, or None
        Items whose cells have confidences in place of weights; see `confidence.choose_bare`.
    """

    def __init__(self, shard: Shard, numbers: CellNumbers) -> None:
        self._shard, self._numbers = shard, numbers
        self._sides: dict[str, tuple[Any, dict[str, int]]] = {}
        self.bare_items: NDArray[np.bool_] | None = None

    def keep(self, side: str, rows: Any, matrix: csr_array) -> None:
        """Take the rows of a side, made from this matrix of the shard's; those of other cells are not kept.

        Of items, which all shards have, no more is kept than the cells have.
        """
        if rows.indices.size != matrix.nnz:
            return
        places = {}
        for name in _ARRAYS:
            array = getattr(rows, name)
            if np.shares_memory(array, matrix.data):
                places[name] = _OF_THE_SHARD
            elif array.size == matrix.nnz and array.size > 1:
                self._numbers.of_shard(f"{side} {name}", self._shard)[:] = array
                places[name] = _ON_DISK
        rows = rows._replace(indices=None, indptr=None, **dict.fromkeys(places))
        if side == "item":
            rows = rows._replace(**dict(zip(("kinds", "background", "regularization"), _NONE, strict=True)))
        self._sides[side] = rows, places

    def rows(self, side: str, matrix: csr_array) -> Any:
        """Return the rows of a side, or None if they were not kept."""
        if side not in self._sides:
            return None
        rows, places = self._sides[side]
        arrays = {"indptr": matrix.indptr.astype(np.int64), "indices": matrix.indices}
        for name, place in places.items():
            on_disk = place == _ON_DISK
            arrays[name] = self._numbers.of_shard(f"{side} {name}", self._shard) if on_disk else matrix.data
        read_only = {name: kernels.jit.read_only(array) for name, array in arrays.items() if name != "indptr"}
        return rows._replace(indptr=arrays["indptr"], **read_only)
