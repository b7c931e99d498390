"""Reading a store: shape and shards from its manifest, everything else mapped or read when it is asked for.

The folder holds ``manifest.json`` (what follows, with sizes and checksums), ``users.parquet`` and ``items.parquet`` (a
column ``id`` in the order of positions), and plain ``.npy`` files:

====================  ==================  ============================================================================
user_indptr           int64 (users + 1)   where each user's cells begin
user_indices          int32 (cells)       their items, rising
user_values           float32 (cells)
user_timestamps       (cells)             time of a pair's last interaction; only where there were times
item_indptr           int64 (shards,      the same cells once more, each shard's by item, counted from the shard's
                      items + 1)          first cell
item_indices          int32 (cells)       positions of the users within their shard, rising
item_values           float32 (cells)
user_positive         int64 (users)       numbers of positive cells
item_positive         int64 (items)
====================  ==================  ============================================================================
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._arrow import arrow_to_pandas, parquet_files
from .._cells import checked_csr, index_dtype
from .._folders import current_folder
from .._manifests import is_manifest, read_manifest
from .._stored_arrays import OpenFile
from ..errors import InputError
from ..interactions import Interactions
from ..parameters import as_path
from .format import FORMAT, FORMAT_VERSION, IDS, MANIFEST, PathLike


def is_store(path: PathLike) -> bool:
    """Whether a store of any version, whole or damaged, is there.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bool
    """
    return is_manifest(current_folder(as_path("path", path)) / MANIFEST, FORMAT)


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
        first, last = self.store.array("user_indptr")[[self.start, self.stop]].tolist()
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

    def _matrix(self, side: str, indptr: NDArray[Any], shape: tuple[int, int]) -> csr_array:
        data, indices = (self.store.array(f"{side}_{part}", self.cells) for part in ("values", "indices"))
        # scipy would copy the indices to the type of the pointers, and ranges of an array that is much longer
        matrix = csr_array((data, indices, indptr.astype(np.int32)), shape=shape, copy=False)
        matrix.has_canonical_format = True
        return matrix


class Store:
    """Interactions on disk, made by `prepare` or `write_store`; opening one reads little more than its manifest.

    Its files stay open: it is the same store when another one has taken its place, or it was removed.

    Attributes
    ----------
    path : Path
        Its folder, absolute.
    shape : (int, int)
        Users and items.
    nnz : int
        Pairs of user and item.
    shards : tuple of Shard
        Ranges of consecutive users.
    source : dict
        What it was made from, and how.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from implicit_wmf import Interactions
    >>> from implicit_wmf.store import Store, write_store
    >>> folder = Path(tempfile.mkdtemp()) / "tea"
    >>> data = Interactions.from_triples([0, 0, 1, 0], [2, 0, 1, 2], [1.0, 5.0, 2.0, 3.0])
    >>> write_store(folder, data, shards=2)
    Store(2 users x 3 items, 3 pairs, 2 shards)
    >>> Store.open(folder).shards[0].by_user().toarray()
    array([[5., 0., 4.]], dtype=float32)
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self._manifest = manifest
        users, items = manifest["shape"]
        self.shape: tuple[int, int] = (int(users), int(items))
        self.nnz = int(manifest["cells"])
        edges = manifest["shards"]
        self.shards = tuple(Shard(self, number, *edges[number : number + 2]) for number in range(len(edges) - 1))
        self.source: dict[str, Any] = manifest["source"]
        self._files = {name: OpenFile(path / name, about) for name, about in manifest["files"].items()}
        self._verified = False

    @classmethod
    def open(cls, path: PathLike) -> Store:
        """Open the store in a folder.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Store

        Raises
        ------
        InputError
            If there is none, it is of another format version, or files are missing or of another size than were
            written. Their contents are verified by `verify`, which `fit` calls.
        """
        folder = current_folder(as_path("path", path))
        manifest = read_manifest(folder, MANIFEST, FORMAT, (FORMAT_VERSION,), "store")
        try:
            store = cls(folder.resolve(), manifest)
            store._check_layout()
        except Exception as error:  # a damaged file can make NumPy raise anything
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"the store {folder} is damaged: {reason}; prepare it again") from error
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes open it for themselves."""
        return _open_again, (str(self.path), self.fingerprint)

    def _check_layout(self) -> None:
        """Raise ValueError where arrays are not of the shapes that the manifest gives."""
        (users, items), cells = self.shape, self.nnz
        sides = {"user_indptr": (users + 1,), "item_indptr": (len(self.shards), items + 1)}
        counts = {"user_positive": (users,), "item_positive": (items,)}
        kinds = {"indices": np.int32, "values": np.float32}
        lists = {f"{side}_{part}": (cells,) for side in ("user", "item") for part in kinds}
        if self.has_timestamps:
            lists["user_timestamps"] = (cells,)
        for name, shape in (sides | counts | lists).items():
            array = self.array(name)
            kind = kinds.get(name.partition("_")[2], array.dtype if name == "user_timestamps" else np.int64)
            if array.shape != shape or array.dtype != kind:
                raise ValueError(f"{name}.npy is {array.dtype}{array.shape}, expected {np.dtype(kind)}{shape}")
        if self.array("user_indptr")[[0, -1]].tolist() != [0, cells]:
            raise ValueError(f"user_indptr.npy does not count {cells} cells")
        edges = self._manifest["shards"]
        if (edges[0], edges[-1]) != (0, users) or min(np.diff(edges)) < 1:
            raise ValueError(f"its shards do not cover {users} users")

    def array(self, name: str, rows: slice | None = None) -> NDArray[Any]:
        """Map one of the arrays that the module's docstring lists.

        Parameters
        ----------
        name : str, without ``.npy``
        rows : slice, optional
            A range of it; all by default.

        Returns
        -------
        ndarray, read-only
        """
        return self._files[f"{name}.npy"].array(rows)

    def verify(self) -> None:
        """Read every file and compare it with its checksum, and check all cells, once for this object.

        Raises
        ------
        InputError
            Naming the file that has changed since it was written.
        """
        if self._verified:
            return
        try:
            for file in self._files.values():
                file.check()
            for shard in self.shards:
                checked_csr(shard.by_user())
                checked_csr(shard.by_item())
        except (ValueError, OSError) as error:
            raise InputError(f"the store {self.path} is damaged: {error}; prepare it again") from error
        self._verified = True

    @property
    def fingerprint(self) -> str:
        """Text that differs where interactions, ids or shards do, whatever the store is called and was made from."""
        contents = {name: self._manifest[name] for name in ("shape", "shards", "files")}
        return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()

    @property
    def has_timestamps(self) -> bool:
        """Whether it has the time of each pair's last interaction."""
        return "user_timestamps.npy" in self._manifest["files"]

    @cached_property
    def users(self) -> pd.Index:
        """Raw ids of the users, read when asked for; position = row."""
        return self._ids("users", self.shape[0])

    @cached_property
    def items(self) -> pd.Index:
        """Raw ids of the items, as `users`."""
        return self._ids("items", self.shape[1])

    def _ids(self, side: str, count: int) -> pd.Index:
        name = IDS.format(side)
        pyarrow, parquet = parquet_files("Reading the ids of a store")
        try:
            file = self._files[name]
            file.check()
            with parquet.ParquetFile(file.reopened()) as content:
                ids = pd.Index(arrow_to_pandas(content.read(columns=["id"]).column("id"), is_id=True))
            if len(ids) != count:
                raise ValueError(f"{name} has {len(ids)} ids for {count} {side}")
        except (ValueError, OSError, KeyError) as error:  # Arrow's errors are among them
            raise InputError(f"the store {self.path} is damaged: {error}; prepare it again") from error
        return ids

    def ids_bytes(self) -> int:
        """Estimate the memory that the ids of both sides take when they are read and saved with a model.

        Returns
        -------
        int
        """
        pyarrow, parquet = parquet_files("Reading the ids of a store")
        total = 0
        for side in ("users", "items"):
            with parquet.ParquetFile(self._files[IDS.format(side)].reopened()) as content:
                is_number = pyarrow.types.is_primitive(content.schema_arrow.field("id").type)
                letters = sum(content.metadata.row_group(k).total_byte_size for k in range(content.num_row_groups))
                total += content.metadata.num_rows * 24 if is_number else content.metadata.num_rows * 250 + 4 * letters
        return total

    def interactions(self) -> Interactions:
        """Read everything into memory.

        Returns
        -------
        Interactions
            With rows and columns in the store's order.
        """
        self.verify()
        parts = [np.array(self.array(f"user_{name}")) for name in ("values", "indices", "indptr")]
        moments = np.array(self.array("user_timestamps")) if self.has_timestamps else None
        matrix = csr_array(tuple(parts), shape=self.shape, copy=False)
        return Interactions(matrix, self.users, self.items, moments)

    def mapped_interactions(self) -> Interactions:
        """Verify everything, and take it as interactions whose matrix stays on disk.

        Returns
        -------
        Interactions
            Whose matrix and ids are mapped and read when they are used.
        """
        self.verify()
        return _MappedInteractions(self)

    def describe(self) -> list[tuple[str, Any]]:
        """List what people want to know of it.

        Returns
        -------
        list of (str, object)
        """
        facts = {"users": self.shape[0], "items": self.shape[1], "pairs": self.nnz, "shards": len(self.shards)}
        facts["bytes"] = sum(about["bytes"] for about in self._manifest["files"].values())
        return [*facts.items(), *self.source.items()]

    def __repr__(self) -> str:
        (users, items), shards = self.shape, len(self.shards)
        ending = "shard" if shards == 1 else "shards"
        return f"Store({users} users x {items} items, {self.nnz} pairs, {shards} {ending})"


def _open_again(path: str, fingerprint: str) -> Store:
    store = Store.open(path)
    if store.fingerprint != fingerprint:
        raise InputError(f"the store {path} is another one than it was; open it again")
    return store


class _MappedInteractions(Interactions):
    """Interactions of a verified store: not checked again, since that would read everything into memory."""

    def __init__(self, store: Store) -> None:
        object.__setattr__(self, "_store", store)

    _store: Store

    def __reduce__(self) -> tuple[Any, ...]:
        return Store.mapped_interactions, (self._store,)

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
        return self._store.shape

    @property
    def nnz(self) -> int:
        return self._store.nnz
