"""Shards of a store: what is mapped and verified at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._cells import checked_csr
from .damage import UnreadableError, telling_damage

if TYPE_CHECKING:
    from .store import Store

# Files of which each shard has rows; of the others every shard needs all.
SHARED_OUT = (
    "user_indptr", "user_indices", "user_values", "user_timestamps", "user_positive",
    "item_indptr", "item_indices", "item_values",
)  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """A range of consecutive users, with their cells by user and by item, memory-mapped when they are asked for.

    Attributes
    ----------
    store : Store
    number : int
        Its place among the store's shards.
    start, stop : int
        Its users are start to stop - 1.
    """

    store: Store
    number: int
    start: int
    stop: int

    @property
    def nnz(self) -> int:
        """Number of its cells."""
        cells = self.cells
        return int(cells.stop - cells.start)

    @property
    def users(self) -> slice:
        """Positions of its users."""
        return slice(self.start, self.stop)

    @property
    def cells(self) -> slice:
        """Where its cells are among those of the store."""
        first, last = (
            int(self.store.array("user_indptr", slice(user, user + 1))[0]) for user in (self.start, self.stop)
        )
        return slice(first, last)

    def by_user(self) -> csr_array:
        """Map its cells, a row each of its users.

        Returns
        -------
        csr_array of shape (its users, items)
        """
        indptr = self.store.array("user_indptr", slice(self.start, self.stop + 1))
        return self._matrix("user", indptr - indptr[0], (self.stop - self.start, self.store.shape[1]))

    def by_item(self) -> csr_array:
        """Map its cells, a row each item.

        Returns
        -------
        csr_array of shape (items, its users)
        """
        indptr = self.store.array("item_indptr", slice(self.number, self.number + 1))[0]
        return self._matrix("item", indptr, (self.store.shape[1], self.stop - self.start))

    def verify(self) -> dict[str, tuple[int, int]]:
        """Read its part of the files, and check its cells; its part of their checksums is for `Store.verify_shards`.

        Several machines may share the reading of a store so, and whoever has all parts knows whether it is as it was
        written.

        Returns
        -------
        dict of str to (int, int)
            By name of a file, the bytes of the shard's rows in it and their CRC-32. Rows of consecutive shards follow
            each other: of ``user_indptr``, where its users end, and the 0 before all others is in the first shard's.

        Raises
        ------
        InputError
            If what it has are no cells of its users and the store's items, or it cannot be read.
        """
        with telling_damage(self.store.location):
            self._check_pointers()
            parts = {name: self.store.checksum(name, rows) for name, rows in self._rows().items()}
            self._check_cells()
        return parts

    def _rows(self) -> dict[str, slice]:
        """Rows that it has in each file, by the name of the array."""
        cells = self.cells
        rows = dict.fromkeys(SHARED_OUT, cells) | {
            "user_indptr": slice(self.start + (self.number > 0), self.stop + 1),
            "user_positive": self.users,
            "item_indptr": slice(self.number, self.number + 1),
        }
        if not self.store.has_timestamps:
            del rows["user_timestamps"]
        return rows

    def _check_pointers(self) -> None:
        """Raise ValueError where cells would be others than the shard's, before any is looked for."""
        pointers = self.store.array("user_indptr", slice(self.start, self.stop + 1))
        if pointers[0] < 0 or pointers[-1] > self.store.nnz or (pointers[1:] < pointers[:-1]).any():
            raise ValueError(f"user_indptr.npy does not rise from 0 to {self.store.nnz}, {self._named}")
        pointers = self.store.array("item_indptr", slice(self.number, self.number + 1))[0]
        if pointers[0] != 0 or pointers[-1] != self.nnz or (pointers[1:] < pointers[:-1]).any():
            raise ValueError(f"item_indptr.npy does not rise from 0 to {self.nnz}, {self._named}")

    def _check_cells(self) -> None:
        for side, matrix in (("user", self.by_user), ("item", self.by_item)):
            try:
                checked_csr(matrix())
            except UnreadableError:
                raise
            except ValueError as error:
                files = ", ".join(f"{side}_{part}.npy" for part in ("indptr", "indices", "values"))
                raise ValueError(f"one of {files} is wrong, {self._named} ({error})") from error

    @property
    def _named(self) -> str:
        return f"of users {self.start} to {self.stop - 1}"

    def _matrix(self, side: str, indptr: NDArray[Any], shape: tuple[int, int]) -> csr_array:
        data, indices = (self.store.array(f"{side}_{part}", self.cells) for part in ("values", "indices"))
        # scipy would copy the indices to the type of the pointers, and ranges of an array that is much longer
        matrix = csr_array((data, indices, indptr.astype(np.int32)), shape=shape, copy=False)
        matrix.has_canonical_format = True
        return matrix
