"""Writing a store, shard by shard; it appears whole or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._arrow import parquet_files
from .._csr import positive_in_columns
from .._folders import writing_file, writing_folder
from .._manifests import check_target, write_manifest
from .._stored_arrays import HEAD, describe_file, write_array
from ..errors import InputError
from ..interactions import Interactions
from .format import FORMAT, FORMAT_VERSION, IDS, MANIFEST, PathLike, is_url
from .store import Store

# Cells of a shard, unless asked otherwise: training holds one shard, by user and by item, at 16 bytes a cell.
SHARD_CELLS = 8_000_000
# What a user without cells costs, in cells: a row of factors, and its pointers.
_USER_CELLS = 8
_MOST_CELLS = 2**31 - 1  # that a shard's pointers count
_CELL_BYTES = 16
_POINTER_BYTES = 8
# Pointers of shards by item may be larger than this and as many times the cells.
_FEW_BYTES = 10**9
_MOST_TIMES = 4


def shard_edges(sizes: NDArray[Any], shards: int | None = None) -> NDArray[np.int64]:
    """Cut users into consecutive ranges of about equal work.

    Parameters
    ----------
    sizes : (users,) array of int
        Cells of each user.
    shards : int, optional
        How many ranges; by default as many as hold about `SHARD_CELLS` cells each. No more than users.

    Returns
    -------
    (ranges + 1,) array of int64
        0, where each range but the first begins, and the number of users.
    """
    work = np.cumsum(sizes.astype(np.int64) + _USER_CELLS)
    count = max(1, -(-int(work[-1]) // SHARD_CELLS)) if shards is None else shards
    if count >= work.size:
        return np.arange(work.size + 1)
    goals = np.arange(1, count) * (work[-1] / count)
    return np.unique(np.concatenate([[0], np.searchsorted(work, goals), [work.size]])).astype(np.int64)


@contextmanager
def writing_store(
    target: PathLike, *, shape: tuple[int, int], cells: int, shards: int = 1, timestamps: Any = None
) -> Iterator[StoreWriter]:
    """Give a writer whose store takes the place of `target` at the end, unless there was an error.

    Parameters
    ----------
    target : path-like
        A store that is there is replaced.
    shape : (int, int)
        Users and items.
    cells : int
        Pairs of user and item that will be written.
    shards : int
        How many there will be.
    timestamps : dtype, optional
        Of the times, where there are some.

    Yields
    ------
    StoreWriter

    Raises
    ------
    InputError
        If the place cannot be written or holds something else than a store, or there are far too many shards.
    """
    place = check_can_store(target)
    _check_shards(shards, shape[1], cells)
    with writing_folder(place) as folder, ExitStack() as files:
        writer = StoreWriter(folder, (shape, cells, shards), timestamps, files)
        yield writer
        writer.finish()


def _check_shards(shards: int, items: int, cells: int) -> None:
    """Refuse a store that is made of pointers: a shard has one for each item, whether it has the item or not."""
    pointers = shards * (items + 1) * _POINTER_BYTES
    if pointers > max(_FEW_BYTES, _MOST_TIMES * _CELL_BYTES * cells):
        raise InputError(
            f"shards: {shards:,} are too many, because each has a pointer for each of the {items:,} items: "
            f"{pointers / 1e9:,.1f} GB for {_CELL_BYTES * cells / 1e9:,.1f} GB of pairs; ask for fewer"
        )


def check_can_store(target: PathLike) -> Path:
    """Resolve links, and refuse to replace anything but a store.

    Parameters
    ----------
    target : path-like

    Returns
    -------
    Path
    """
    if is_url(target):
        raise InputError(
            f"path: {target} is a URL, which stores are only read from; write it to a folder and copy that"
        )
    return check_target(target, MANIFEST, FORMAT, "store")


class StoreWriter:
    """Takes shards in the order of their users; see `writing_store`.

    Attributes
    ----------
    folder : Path
        Where ``users.parquet`` and ``items.parquet`` are to be put.
    source : dict
        Facts for the manifest: what the store is made from.
    """

    def __init__(
        self, folder: Path, announced: tuple[tuple[int, int], int, int], timestamps: Any, files: ExitStack
    ) -> None:
        self.folder = folder
        self.source: dict[str, Any] = {}
        (shape, cells, shards), self._files = announced, files
        self._shape, self._cells, self._shards = shape, cells, shards
        kinds = {"user_indices": np.int32, "user_values": np.float32, "item_indices": np.int32}
        kinds |= {"item_values": np.float32} | ({} if timestamps is None else {"user_timestamps": timestamps})
        self._lists = {name: _ArrayFile(folder / f"{name}.npy", kind, (cells,), files) for name, kind in kinds.items()}
        self._item_indptr = _ArrayFile(folder / "item_indptr.npy", np.int64, (shards, shape[1] + 1), files)
        self._edges, self._written = [0], 0
        self._user_indptr = np.zeros(shape[0] + 1, np.int64)
        self._positive = np.zeros(shape[0], np.int64), np.zeros(shape[1], np.int64)

    def add_shard(
        self, indptr: NDArray[Any], indices: NDArray[Any], values: NDArray[Any], timestamps: NDArray[Any] | None = None
    ) -> None:
        """Write the cells of the users that follow.

        Parameters
        ----------
        indptr : (users of the shard + 1,) array of int
            From 0.
        indices : (cells,) array of int
            Items, rising within a user.
        values : (cells,) array of float
            Finite.
        timestamps : (cells,) array, optional

        Raises
        ------
        InputError
            If a value does not fit float32.
        """
        rows = len(indptr) - 1
        first = self._edges[-1]
        if indptr[-1] > _MOST_CELLS:
            raise InputError(f"a shard of {indptr[-1]} pairs is too large: at most {_MOST_CELLS}; ask for more shards")
        with np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(numbers).all():
            cell = int(np.argmin(np.isfinite(numbers)))
            user = first + int(np.searchsorted(indptr, cell, side="right")) - 1
            raise InputError(
                f"the value {values[cell]:g} of user {user} and item {indices[cell]} (positions) does not fit float32; "
                f"scale the values down"
            )
        by_user = csr_array((numbers, np.asarray(indices, np.int32), np.asarray(indptr)), shape=(rows, self._shape[1]))
        by_item = by_user.T.tocsr()
        self._append("user", by_user)
        self._append("item", by_item)
        if timestamps is not None:
            self._lists["user_timestamps"].append(timestamps)
        last = first + rows
        self._user_indptr[first + 1 : last + 1] = by_user.indptr[1:].astype(np.int64) + self._written
        self._item_indptr.append(by_item.indptr.astype(np.int64))
        self._positive[0][first:last] = positive_in_columns(by_item)
        self._positive[1][:] += positive_in_columns(by_user)
        self._edges.append(last)
        self._written += int(by_user.nnz)

    def _append(self, side: str, matrix: csr_array) -> None:
        self._lists[f"{side}_indices"].append(matrix.indices)
        self._lists[f"{side}_values"].append(matrix.data)

    def finish(self) -> None:
        """Write what is known at the end, and the manifest."""
        if (self._edges[-1], self._written) != (self._shape[0], self._cells):
            raise ValueError(
                f"{self._written} cells of {self._edges[-1]} users were written where {self._cells} of "
                f"{self._shape[0]} were announced"
            )
        if len(self._edges) - 1 != self._shards:
            raise ValueError(f"{len(self._edges) - 1} shards were written where {self._shards} were announced")
        self._files.close()
        files = {file.path.name: file.about() for file in (*self._lists.values(), self._item_indptr)}
        small = {"user_indptr": self._user_indptr}
        small |= dict(zip(("user_positive", "item_positive"), self._positive, strict=True))
        files |= {f"{name}.npy": write_array(self.folder / f"{name}.npy", array) for name, array in small.items()}
        files |= {name: describe_file(self.folder / name) for name in map(IDS.format, ("users", "items"))}
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "shape": list(self._shape),
            "cells": self._cells,
            "shards": self._edges,
            "source": self.source,
            "files": files,
        }
        write_manifest(self.folder / MANIFEST, manifest)


class _ArrayFile:
    """A ``.npy`` file of known shape that is written piece by piece."""

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...], files: ExitStack) -> None:
        self.path, self._dtype = path, np.dtype(dtype)
        self._file = files.enter_context(writing_file(path))
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, self._dtype)) | {"shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.flush()
        written = path.read_bytes()
        self._crc32, self._bytes, self._head = zlib.crc32(written), len(written), written

    def append(self, array: NDArray[Any]) -> None:
        """Write the entries that follow."""
        content = np.ascontiguousarray(array, self._dtype).view(np.uint8).data
        self._file.write(content)
        self._crc32 = zlib.crc32(content, self._crc32)
        self._bytes += len(content)
        self._head += bytes(content[: max(0, HEAD - len(self._head))])

    def about(self) -> dict[str, int]:
        """Return what `read_array` wants to know about the file."""
        return {"bytes": self._bytes, "crc32": self._crc32, "head_crc32": zlib.crc32(self._head[:HEAD])}


def write_store(target: PathLike, data: Interactions, *, shards: int | None = None) -> Store:
    """Write interactions that are in memory as a store, rows and columns in their order.

    Parameters
    ----------
    target : path-like
        Folder of the store; a store that is there is replaced.
    data : Interactions
    shards : int, optional
        Ranges of users; by default of about 8 million cells each.

    Returns
    -------
    Store

    Raises
    ------
    InputError
        If the place cannot be written, a value does not fit float32, or ids are of a kind that Parquet does not have.
    MissingExtraError
        Without pyarrow.
    """
    matrix = data.matrix
    moments = data.timestamps
    edges = shard_edges(np.diff(matrix.indptr), shards).tolist()
    announced: dict[str, Any] = {"shape": data.shape, "cells": data.nnz, "shards": len(edges) - 1}
    with writing_store(target, **announced, timestamps=None if moments is None else moments.dtype) as writer:
        for side in ("users", "items"):
            _write_ids(writer.folder / IDS.format(side), side, getattr(data, side))
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            span = slice(matrix.indptr[start], matrix.indptr[stop])
            indptr = matrix.indptr[start : stop + 1] - matrix.indptr[start]
            times = None if moments is None else moments[span]
            writer.add_shard(indptr, matrix.indices[span], matrix.data[span], times)
    return Store.open(target)


def _write_ids(path: Path, side: str, ids: Any) -> None:
    pyarrow, parquet = parquet_files("Writing the ids of a store")
    try:
        table = pyarrow.table({"id": pyarrow.Array.from_pandas(ids)})
    except pyarrow.ArrowException as error:
        raise InputError(
            f"{side}: ids of type {ids.dtype} cannot be written to Parquet ({error}); convert them to text"
        ) from error
    with writing_file(path) as file:
        parquet.write_table(table, file)
