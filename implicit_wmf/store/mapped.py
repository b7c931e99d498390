"""A store as interactions whose matrix and ids stay on disk until they are used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._cells import index_dtype
from ..interactions import Interactions

if TYPE_CHECKING:
    from .store import Store


class MappedInteractions(Interactions):
    """Interactions of a verified store: not checked again, since that would read everything into memory."""

    def __init__(self, store: Store) -> None:
        object.__setattr__(self, "_store", store)

    _store: Store

    def __reduce__(self) -> tuple[Any, ...]:
        return _map_again, (self._store,)

    @cached_property
    def matrix(self) -> Any:
        """The cells, memory-mapped."""
        store = self._store
        values, indices, indptr = (store.array(f"user_{name}") for name in ("values", "indices", "indptr"))
        # scipy would copy the indices to the type of the pointers; beyond 2**31 pairs it has to
        indptr = indptr.astype(index_dtype(store.nnz))
        matrix = csr_array((values, indices, indptr), shape=store.shape, copy=False)
        matrix.has_canonical_format = True
        return matrix

    @property
    def users(self) -> pd.Index:
        """Raw ids, read when asked for."""
        return self._store.users

    @property
    def items(self) -> pd.Index:
        """Raw ids, read when asked for."""
        return self._store.items

    @cached_property
    def timestamps(self) -> NDArray[Any] | None:
        """Times, memory-mapped."""
        return self._store.array("user_timestamps") if self._store.has_timestamps else None

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return self._store.shape

    @property
    def nnz(self) -> int:
        """Pairs of user and item."""
        return self._store.nnz


def _map_again(store: Store) -> Interactions:
    return store.mapped_interactions()
