"""Arrays as plain ``.npy`` files, with sizes and checksums that tell whether one is as it was written."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._folders import writing_file

_CHUNK = 1 << 22
_PIECE = 1 << 26  # bytes of an array that are written at a time
HEAD = 256  # bytes of a file that hold its .npy header, checked even where the rest is left on disk


def write_array(path: Path, array: NDArray[Any]) -> dict[str, int]:
    """Write an array; return what `read_array` wants to know about the file.

    Of a memory-mapped array no more than a piece is in memory at a time.
    """
    whole = np.ascontiguousarray(array)
    content = whole.reshape(-1).view(np.uint8)
    release = _releaser(whole)
    with writing_file(path) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(whole))
        for start in range(0, content.size, _PIECE):
            piece = content[start : start + _PIECE]
            file.write(piece.data)
            if release is not None:
                release(piece)
    return describe_file(path)


def _releaser(array: NDArray[Any]) -> Callable[[NDArray[Any]], None] | None:
    """How to let go of pages of a mapped file that were read; None for other arrays.

    What was written to a private copy of a file (mode "c") is in its pages alone, so these stay.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner.base, mmap.mmap):
        owner = owner.base
    if not hasattr(mmap, "MADV_DONTNEED") or getattr(owner, "mode", "c") == "c":
        return None
    pages = owner.base
    first = np.frombuffer(pages, np.uint8).ctypes.data

    def release(piece: NDArray[Any]) -> None:
        start = piece.ctypes.data - first
        aligned = start - start % mmap.PAGESIZE
        pages.madvise(mmap.MADV_DONTNEED, aligned, start + piece.nbytes - aligned)

    return release


def describe_file(path: Path) -> dict[str, int]:
    """Return what `check_file` compares a file with."""
    return {"bytes": path.stat().st_size, "crc32": _checksum(path), "head_crc32": _checksum(path, HEAD)}


def check_file(path: Path, about: dict[str, int], *, whole: bool) -> None:
    """Raise ValueError if a file is not the one described, by its whole contents or its size and beginning alone."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size != about["bytes"]:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes where {about['bytes']} were written")
    if _checksum(path, None if whole else HEAD) != about["crc32" if whole else "head_crc32"]:
        raise ValueError(f"{path.name} has other contents than were written (checksum)")


def read_array(path: Path, about: dict[str, int], *, mmap: bool, whole: bool) -> NDArray[Any]:
    """Read or map an array; ValueError if the file is another one, by its whole contents or the .npy header alone."""
    check_file(path, about, whole=whole)
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    return array


def _checksum(path: Path, limit: int | None = None) -> int:
    with path.open("rb") as file:
        if limit is not None:
            return zlib.crc32(file.read(limit))
        checksum = 0
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
