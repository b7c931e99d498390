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
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._arrow import arrow_to_pandas, parquet_files
from .._checksums import join_crc32
from ..errors import InputError
from ..interactions import Interactions
from .damage import DamagedError, telling_damage
from .format import IDS, PathLike
from .mapped import MappedInteractions
from .places import Place, can_hold_files, find_place
from .shards import SHARED_OUT, Shard


def is_store(path: PathLike) -> bool:
    """Whether a store of any version, whole or damaged, is there.

    Parameters
    ----------
    path : path-like
        Or a URL, as text.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If a URL cannot be read.
    MissingExtraError
        If it is a URL, without fsspec.
    """
    return find_place(path).is_store()


class Store:
    """Interactions on disk, made by `prepare` or `write_store`; opening one reads little more than its manifest.

    Its files stay open: it is the same store when another one has taken its place, or it was removed. Behind a URL they
    cannot stay open; the module `remote` says what becomes of that.

    Attributes
    ----------
    location : str
        Its folder, absolute, or its URL: what another process can open.
    path : Path or None
        Its folder, absolute; None behind a URL.
    scratch_folder : Path
        Folder for temporary files: of what is downloaded, and of a fit.
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

    def __init__(self, place: Place, manifest: dict[str, Any], cache: Path | None = None) -> None:
        self.location, self.path, self.scratch_folder = place.location, place.path, place.scratch
        self._manifest, self._cache = manifest, cache
        users, items = manifest["shape"]
        self.shape: tuple[int, int] = (int(users), int(items))
        self.nnz = int(manifest["cells"])
        edges = manifest["shards"]
        self.shards = tuple(Shard(self, number, *edges[number : number + 2]) for number in range(len(edges) - 1))
        self.source: dict[str, Any] = manifest["source"]
        self._files = {name: place.file(name, about) for name, about in manifest["files"].items()}
        self._verified = False

    @classmethod
    def open(cls, path: PathLike, cache: PathLike | None = None) -> Store:
        """Open the store in a folder, or behind a URL of fsspec such as ``s3://bucket/store``.

        From a URL, what is asked for is downloaded once, to temporary files which are gone with the store.

        Parameters
        ----------
        path : path-like
            Or a URL, as text. Keys and passwords are those that fsspec finds for it.
        cache : path-like, optional
            Folder for temporary files. By default the system's for a store behind a URL, else the one that the store
            is in.

        Returns
        -------
        Store

        Raises
        ------
        InputError
            If there is none, it is of another format version, it cannot be read, or files are missing or of another
            size than were written. Their contents are verified by `verify`, which `fit` calls.
        MissingExtraError
            If it is a URL, without fsspec.
        """
        place = find_place(path, cache)
        manifest = place.manifest()
        with telling_damage(place.location, Exception):  # a damaged file can make NumPy raise anything
            store = cls(place, manifest, None if cache is None else place.scratch)
            store._check_layout()
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes open it for themselves."""
        return _open_again, (self.location, self.fingerprint, self._cache)

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
            header = self._files[f"{name}.npy"].header
            kind = kinds.get(name.partition("_")[2], header.dtype if name == "user_timestamps" else np.int64)
            if header.shape != shape or header.dtype != kind:
                raise ValueError(f"{name}.npy is {header.dtype}{header.shape}, expected {np.dtype(kind)}{shape}")
        ends = [int(self.array("user_indptr", slice(row, row + 1))[0]) for row in (0, users)]
        if ends != [0, cells]:
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
        file = self._files[f"{name}.npy"]
        with telling_damage(self.location):
            return file.array(rows)

    def checksum(self, name: str, rows: slice) -> tuple[int, int]:
        """Read a range of rows of one of the arrays.

        Parameters
        ----------
        name : str
            As of `array`.
        rows : slice

        Returns
        -------
        (int, int)
            The bytes that they take in the file, and their CRC-32.
        """
        file = self._files[f"{name}.npy"]
        with telling_damage(self.location):
            start, stop = file.span(rows)
            return stop - start, file.checksum(start, stop)

    def verify(self) -> None:
        """Read every file and compare it with its checksum, and check all cells, once for this object.

        Raises
        ------
        InputError
            Naming the file that has changed since it was written.
        """
        if not self._verified:
            self.verify_shards(self._verify_each())

    def _verify_each(self) -> Iterator[dict[str, tuple[int, int]]]:
        for shard in self.shards:
            try:
                yield shard.verify()
            except DamagedError:
                self._check_files(self._files)  # which tells the file, where a checksum does
                raise

    def verify_shards(self, parts: Iterable[Mapping[str, tuple[int, int]]]) -> None:
        """Verify everything by what other processes found of the shards: `verify` where they have read them.

        Parameters
        ----------
        parts : iterable of dict
            What `Shard.verify` returned, for all shards in their order.

        Raises
        ------
        InputError
            Naming the file that has changed since it was written; or if the parts are not those of the shards.
        """
        names = [name for name in SHARED_OUT if f"{name}.npy" in self._files]
        with telling_damage(self.location):
            headers = {name: self._files[f"{name}.npy"].header.offset for name in names}
            checksums = {name: self._files[f"{name}.npy"].checksum(0, size) for name, size in headers.items()}
        count = 0
        for count, part in enumerate(parts, start=1):
            self._check_part(count, part, names)
            for name in names:
                size, checksum = part[name]
                checksums[name] = join_crc32(checksums[name], checksum, size)
        if count != len(self.shards):
            raise InputError(f"parts: got {count} for {len(self.shards)} shards; give one for each, in their order")
        with telling_damage(self.location):
            for name in names:
                self._files[f"{name}.npy"].compare(checksums[name])
        self._check_files(set(self._files) - {f"{name}.npy" for name in names})
        self._verified = True

    def _check_part(self, count: int, part: Mapping[str, tuple[int, int]], names: list[str]) -> None:
        """Refuse what cannot be the part of a shard."""
        shards = self.shards[count - 1 : count]
        if not shards or set(part) != set(names) or part["user_positive"][0] != 8 * (shards[0].stop - shards[0].start):
            raise InputError(
                f"parts: number {count} is not that of a shard of {self.location}, which has {len(self.shards)}; "
                f"give one for each, in their order"
            )

    def _check_files(self, names: Iterable[str]) -> None:
        with telling_damage(self.location):
            for name in sorted(names):
                self._files[name].check()

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
        with telling_damage(self.location, (ValueError, OSError, KeyError)):  # Arrow's errors are among them
            file = self._files[name]
            file.check()
            with parquet.ParquetFile(file.reopened()) as content:
                ids = pd.Index(arrow_to_pandas(content.read(columns=["id"]).column("id"), is_id=True))
            if len(ids) != count:
                raise ValueError(f"{name} has {len(ids)} ids for {count} {side}")
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
        return MappedInteractions(self)

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


def _open_again(location: str, fingerprint: str, cache: Path | None) -> Store:
    if cache is not None and not can_hold_files(cache):  # as on another machine
        cache = None
    store = Store.open(location, cache)
    if store.fingerprint != fingerprint:
        raise InputError(f"the store {location} is another one than it was; open it again")
    return store
