"""What the cells of a shard weigh: computed once in a fit, and found again in every pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .. import kernels
from ..store import Shard, Store
from .scratch import Scratch

_ARRAYS = ("values", "targets")  # of kernels.rows.Rows: a number of each cell, or one for all
_OF_THE_SHARD, _ON_DISK = "of the shard", "on disk"


class CellNumbers:
    """Numbers of all cells of a store on disk: weights and targets of both sides, as far as they are kept."""

    def __init__(self, store: Store, dtype: np.dtype[Any]) -> None:
        self._cells, self._dtype, self._folder = store.nnz, dtype, store.path.parent
        self._files: dict[str, Scratch] = {}

    def of_shard(self, name: str, shard: Shard) -> Any:
        """Map those of a shard under a name, as zeros if they were never written."""
        if name not in self._files:
            self._files[name] = Scratch((self._cells,), self._dtype, self._folder, "the cells' weights")
        return self._files[name].rows(shard.cells.start, shard.cells.stop)


class ShardWeights:
    """The rows of a shard's sides, without what can be mapped again."""

    def __init__(self, shard: Shard, numbers: CellNumbers) -> None:
        self._shard, self._numbers = shard, numbers
        self._sides: dict[str, Any] = {}

    def keep(self, side: str, rows: Any, matrix: csr_array) -> None:
        """Take the rows of a side, made from this matrix of the shard's; those of other cells are not kept."""
        if rows.indices.size != matrix.nnz:
            return
        for name in _ARRAYS:
            array = getattr(rows, name)
            if np.shares_memory(array, matrix.data):
                rows = rows._replace(**{name: _OF_THE_SHARD})
            elif array.size == matrix.nnz and array.size > 1:
                self._numbers.of_shard(f"{side} {name}", self._shard)[:] = array
                rows = rows._replace(**{name: _ON_DISK})
        self._sides[side] = rows._replace(indices=None, indptr=None)

    def rows(self, side: str, matrix: csr_array) -> Any:
        """Return the rows of a side, or None if they were not kept."""
        rows = self._sides.get(side)
        if rows is None:
            return None
        places = {"indptr": matrix.indptr.astype(np.int64), "indices": kernels.jit.read_only(matrix.indices)}
        numbers = {name: self._find(side, name, getattr(rows, name), matrix) for name in _ARRAYS}
        return rows._replace(**places, **numbers)

    def _find(self, side: str, name: str, kept: Any, matrix: csr_array) -> Any:
        if isinstance(kept, str):
            kept = matrix.data if kept == _OF_THE_SHARD else self._numbers.of_shard(f"{side} {name}", self._shard)
        return kernels.jit.read_only(kept)
