"""Lines become cells, one for each pair of user and item, by user in one list on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._arrow import parquet_files
from .._cells import aggregate_cells
from ..errors import InputError
from .columns import LARGEST_VALUE
from .format import IDS
from .line_lists import LineLists, Lines
from .progress import Progress

_EXACT = 2.0**53  # whole numbers up to this are added without rounding, in any order


class Block(NamedTuple):
    """Cells of consecutive users: `indptr` from 0, items, values, times."""

    start: int
    stop: int
    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.float32]
    times: NDArray[Any] | None


class CellLists:
    """Cells on disk, a file each for their items, values and times.

    Parameters
    ----------
    folder : Path
        For the files.
    user_cells : (users,) array of int64
        Cells of each user.
    items : int
        Number of items.
    times : numpy.dtype or None
    """

    def __init__(self, folder: Path, user_cells: NDArray[np.int64], items: int, times: np.dtype[Any] | None) -> None:
        self._folder = folder
        self.user_cells, self.items, self.times = user_cells, items, times
        self._indptr = np.concatenate([[0], np.cumsum(user_cells)])

    def block(self, start: int, stop: int) -> Block:
        """Read the cells of the users from `start` to `stop`."""
        first, last = self._indptr[[start, stop]].tolist()
        parts = [
            np.fromfile(self._folder / f"cell_{name}", kind, last - first, offset=first * np.dtype(kind).itemsize)
            for name, kind in _kinds(self.times).items()
        ]
        items, values, *times = parts
        return Block(start, stop, self._indptr[start : stop + 1] - first, items, values, times[0] if times else None)


def _kinds(times: np.dtype[Any] | None) -> dict[str, Any]:
    return {"items": np.int32, "values": np.float32} | ({} if times is None else {"times": times})


def gather_cells(
    lists: LineLists, folder: Path, shape: tuple[int, int], times: np.dtype[Any] | None, progress: Progress
) -> CellLists:
    """Add up the lines of each pair, and keep its last time.

    Parameters
    ----------
    lists : LineLists
    folder : Path
        For the result; has the ids' files.
    shape : (int, int)
        Users and items.
    times : numpy.dtype or None
    progress : Progress

    Returns
    -------
    CellLists

    Raises
    ------
    InputError
        If a sum does not fit float32.
    """
    user_cells = np.zeros(shape[0], np.int64)
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"cell_{name}").open("wb")) for name in _kinds(times)]
        for start, stop, pieces in lists.ranges():
            matrix, latest = _add_up(pieces, (stop - start, shape[1]), progress)
            _check_sums(matrix, start, folder)
            user_cells[start:stop] = np.diff(matrix.indptr)
            parts = (matrix.indices.astype(np.int32, copy=False), matrix.data.astype(np.float32), latest)
            for file, part in zip(files, parts, strict=False):
                file.write(np.ascontiguousarray(part).view(np.uint8).data)
    return CellLists(folder, user_cells, shape[1], times)


def _add_up(pieces: Iterator[Lines], shape: tuple[int, int], progress: Progress) -> tuple[csr_array, Any]:
    matrix, latest = csr_array(shape, dtype=np.float64), None
    for lines in pieces:
        progress.add(len(lines["users"]))
        if matrix.nnz:
            lines = _with_cells(lines, matrix, latest)
        matrix, latest = _aggregate(lines, shape)
    return matrix, latest


def _with_cells(lines: Lines, matrix: csr_array, latest: Any) -> Lines:
    """Let cells be lines again, before others."""
    users = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    before = {"users": users, "items": matrix.indices, "values": matrix.data, "times": latest}
    lines = {"values": np.ones(len(lines["users"]))} | lines
    return {name: np.concatenate([before[name], column]) for name, column in lines.items()}


def _aggregate(lines: Lines, shape: tuple[int, int]) -> tuple[csr_array, Any]:
    values, times = lines.get("values"), lines.get("times")
    users, items = lines["users"], lines["items"]
    if values is None:
        return aggregate_cells(users, items, np.broadcast_to(1.0, len(users)), shape, "count", times)
    if not (np.array_equal(values, np.rint(values)) and np.abs(values).sum() < _EXACT):
        # Lines come in any order; sums that are rounded would depend on it.
        order = np.argsort(values)
        users, items, values = users[order], items[order], values[order]
        times = None if times is None else times[order]
    return aggregate_cells(users, items, values, shape, "sum", times)


def _check_sums(matrix: csr_array, start: int, folder: Path) -> None:
    if not matrix.nnz or np.abs(matrix.data).max() <= LARGEST_VALUE:
        return
    cell = int(np.argmax(np.abs(matrix.data)))
    user = start + int(np.searchsorted(matrix.indptr, cell, side="right")) - 1
    ids = (_id_at(folder / IDS.format("users"), user), _id_at(folder / IDS.format("items"), int(matrix.indices[cell])))
    raise InputError(
        f"the values of user {ids[0]!r} and item {ids[1]!r} add up to {matrix.data[cell]:g}, which does not fit "
        f"float32; scale the values down"
    )


def _id_at(path: Path, position: int) -> Any:
    _, parquet = parquet_files("Preparing a store")
    with parquet.ParquetFile(path) as content:
        for batch in content.iter_batches(columns=["id"]):
            if position < len(batch):
                return batch.column(0)[position].as_py()
            position -= len(batch)
    raise ValueError(f"{path} has too few ids")
