"""Parts of a batch job: the lists of some users as a Parquet file, with raw ids."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .. import kernels, ranking
from .._arrow import parquet_files
from .._compiling import aligned_copy
from .._csr import kernel_cells
from ..ranking import Catalogue

Array = NDArray[Any]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Part:
    """Some users, and all that their lists depend on beside what is the same for everyone: sent to other processes."""

    ids: Any  # Arrow array: raw id of each user
    vectors: Array  # (users, d), whose products with the items' are the scores
    seen: Any  # kernels.cells.Cells of the items to leave out for each user, or None
    own: Any  # kernels.cells.Cells of the only items of each user; None for those of the catalogue

    @classmethod
    def of(cls, ids: Any, vectors: Array, seen: csr_array | None, own: csr_array | None) -> Part:
        """Make a part of matrices, whose values are left out: nobody looks at them."""
        cells = (None if matrix is None else kernel_cells(matrix) for matrix in (seen, own))
        return cls(ids, vectors, *cells)

    @property
    def nbytes(self) -> int:
        """Size of its arrays."""
        arrays = [array for cells in (self.seen, self.own) if cells is not None for array in cells]
        return sum(int(one.nbytes) for one in (self.ids, self.vectors, *arrays))

    def first(self) -> Part:
        """Return the part of the first user, of nobody where there is none."""
        return replace(
            self, ids=self.ids.slice(0, 1), vectors=self.vectors[:1], seen=_first(self.seen), own=_first(self.own)
        )

    def aligned(self) -> Part:
        """Copy the arrays of a part that came over the network to where kernels want them."""
        seen, own = (cells and kernels.cells.Cells(*map(aligned_copy, cells)) for cells in (self.seen, self.own))
        return replace(self, vectors=aligned_copy(self.vectors), seen=seen, own=own)


def _first(cells: Any) -> Any:
    """Return the first row of cells."""
    if cells is None:
        return None
    indptr = cells.indptr[:2]
    return kernels.cells.Cells(indptr, cells.indices[: indptr[-1]])


class MadePart(NamedTuple):
    """The file of a part, and what it says about the job."""

    content: Any  # bytes of Parquet
    items: Ids  # positions of the items that are in a list, ascending
    record: dict[str, int]


class ListParts:
    """Makes the files of parts, from what is the same for all of them; other processes make the same bytes of it.

    Parameters
    ----------
    vectors : (items, d) array
        Whose products with the users' are the scores.
    candidates : (candidates,) int32 array or None
        Items that may be recommended, ascending; by default all.
    ids : pyarrow array
        Raw id of each item.
    N : int
        Length of the lists.
    num_threads : int or None
        By default as many as the caller of `make` says.
    """

    def __init__(self, vectors: Array, candidates: Ids | None, ids: Any, N: int, num_threads: int | None) -> None:
        self._given = vectors, candidates, ids, N, num_threads
        self._catalogue: Catalogue | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave behind what was prepared, which is larger than what it is made from."""
        return _received, self._given

    @property
    def nbytes(self) -> int:
        """Size of what all parts need."""
        vectors, candidates, ids, _, _ = self._given
        return int(vectors.nbytes + ids.nbytes + (0 if candidates is None else candidates.nbytes))

    def make(self, part: Part, num_threads: int | None = None) -> MadePart:
        """Rank for the users of a part, and encode their lists.

        Parameters
        ----------
        part : Part
        num_threads : int, optional
            For lists that name no number; by default every core.
        """
        ids, scores = self.rank(part, num_threads)
        lengths = np.count_nonzero(ids >= 0, axis=1)
        record = {
            "users": len(ids),
            "short_users": int((lengths < self._given[3]).sum()),
            "recommendations": int(lengths.sum()),
        }
        return MadePart(self._encode(part.ids, ids, scores), self._listed(ids), record)

    def rank(self, part: Part, num_threads: int | None = None) -> tuple[Ids, Array]:
        """Make lists of positions, (users, N), as `ranking.recommend`; N is the catalogue's size if that is smaller."""
        vectors, candidates, _, N, threads = self._given
        with self._lock:  # two at once would get in each other's way: each takes all threads
            if self._catalogue is None:
                everything = np.arange(len(vectors), dtype=np.int32)
                self._catalogue = Catalogue(vectors, everything if candidates is None else candidates)
            return ranking.recommend(
                part.vectors, self._catalogue, part.seen, N=min(N, len(vectors)), allowed=part.own,
                num_threads=threads or num_threads,
            )  # fmt: skip

    def _listed(self, ids: Ids) -> Ids:
        listed = np.zeros(len(self._given[0]), dtype=bool)
        listed[ids[ids >= 0]] = True
        return np.flatnonzero(listed).astype(np.int32)

    def _encode(self, users: Any, ids: Ids, scores: Array) -> Any:
        """Return the bytes of a Parquet file with columns user, item, rank (from 1) and score."""
        pyarrow, parquet = parquet_files("Writing Parquet files")
        found = ids >= 0
        places, ranks = np.nonzero(found)
        columns = {
            "user": users.take(pyarrow.array(places)),
            "item": self._given[2].take(pyarrow.array(ids[found])),
            "rank": pyarrow.array(ranks + 1),
            "score": pyarrow.array(scores[found]),
        }
        content = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.table(columns), content)
        return content.getvalue()


def _received(vectors: Array, *others: Any) -> ListParts:
    """Make `ListParts` of what came over the network."""
    return ListParts(aligned_copy(vectors), *others)
