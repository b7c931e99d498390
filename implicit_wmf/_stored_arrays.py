"""Arrays as plain ``.npy`` files, with sizes and checksums that tell whether one is as it was written."""

from __future__ import annotations

import io
import math
import mmap
import os
import weakref
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._folders import writing_file

_CHUNK = 1 << 22
_PIECE = 1 << 26  # bytes of an array that are written at a time
_BUFFER = 1 << 16
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


class SharedMap(mmap.mmap):
    """A map of a file itself, not of a private copy of it: pages that are let go of are read again."""


def map_array(file: int, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, *, writable: bool) -> NDArray[Any]:
    """Map an array in an open file, from a byte on; it stays mapped when the file is closed or removed.

    It is no ``numpy.memmap``, which other libraries take for one of a file that they can open by its name.
    """
    if 0 in shape:  # nothing can be mapped of nothing
        return np.empty(shape, dtype)
    count = math.prod(shape)
    first = offset - offset % mmap.ALLOCATIONGRANULARITY
    length = offset - first + count * dtype.itemsize
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    pages = SharedMap(file, length, access=access, offset=first)
    return np.ndarray(shape, dtype, pages, offset - first)


class Header(NamedTuple):
    """What an ``.npy`` file says of its array, and the byte where that begins."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int


class StoredFile:
    """A file that was described, in an open file of this machine that has its bytes at their places when they are read.

    Parameters
    ----------
    name : str
        For messages.
    about : dict
        As of `describe_file`.
    file : binary file
        Is closed with this object; arrays stay mapped.
    """

    def __init__(self, name: str, about: dict[str, int], file: IO[bytes]) -> None:
        self._name, self._about, self._file = name, about, file
        weakref.finalize(self, file.close)

    def _have(self, start: int, stop: int) -> None:
        """Have the bytes from `start` to `stop` there."""

    def _chunk(self, start: int, stop: int) -> bytes:
        self._have(start, stop)
        return os.pread(self._file.fileno(), stop - start, start)

    def _read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop` in chunks; ValueError if the file ends before."""
        self._have(start, stop)  # all at once, which has fewer requests where files are far away
        while start < stop:
            chunk = self._chunk(start, min(start + _CHUNK, stop))
            if not chunk:
                raise ValueError(f"{self._name} has {start} bytes where {self._about['bytes']} were written")
            yield chunk
            start += len(chunk)

    def check(self) -> None:
        """Raise ValueError if the contents are not those that were described."""
        self.compare(self.checksum(0, self._about["bytes"]))

    def check_head(self) -> None:
        """Raise ValueError if the beginning is not that of the file that was described."""
        head = self.checksum(0, min(HEAD, self._about["bytes"]))
        _compare(self._name, (0, head), (0, self._about["head_crc32"]))

    def compare(self, crc32: int) -> None:
        """Raise ValueError if the contents, whose checksum is given, are not those that were described."""
        size = os.fstat(self._file.fileno()).st_size
        _compare(self._name, (size, crc32), (self._about["bytes"], self._about["crc32"]))

    def checksum(self, start: int, stop: int) -> int:
        """Return the CRC-32 of the bytes from `start` to `stop`."""
        checksum = 0
        for chunk in self._read(start, stop):
            checksum = zlib.crc32(chunk, checksum)
        return checksum

    @cached_property
    def header(self) -> Header:
        """What an ``.npy`` file says of its array; ValueError if that is not what it has."""
        return _header(self._name, b"".join(self._read(0, min(HEAD, self._about["bytes"]))), self._about["bytes"])

    def span(self, rows: slice | None = None) -> tuple[int, int]:
        """Return the bytes that a range of rows of the array of an ``.npy`` file takes, as start and stop."""
        shape, dtype, offset = self.header
        start, stop, _ = (rows or slice(None)).indices(shape[0])
        row = math.prod(shape[1:]) * dtype.itemsize
        return offset + start * row, offset + max(start, stop) * row

    def array(self, rows: slice | None = None) -> NDArray[Any]:
        """Map the array of an ``.npy`` file, or a range of its rows, read-only."""
        shape, dtype, _ = self.header
        start, stop = self.span(rows)
        self._have(start, stop)
        count = len(range(shape[0])[rows or slice(None)])
        return map_array(self._file.fileno(), dtype, (count, *shape[1:]), start, writable=False)

    def reopened(self) -> IO[bytes]:
        """Open the same file once more, at its beginning."""
        return io.BufferedReader(_Bytes(self._chunk, self._about["bytes"]), _BUFFER)


class _Bytes(io.RawIOBase):
    """A file of so many bytes that a function reads; parts that nobody asks for are not read."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._place = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        chunk = self._read(self._place, max(self._place, min(self._place + len(buffer), self._size)))
        buffer[: len(chunk)] = chunk
        self._place += len(chunk)
        return len(chunk)


class OpenFile(StoredFile):
    """A file that was described, kept open: what is read is what was there, whatever is put in its place later.

    Parameters
    ----------
    path : Path
    about : dict
        As of `describe_file`.

    Raises
    ------
    ValueError
        If its size or beginning is another.
    """

    def __init__(self, path: Path, about: dict[str, int]) -> None:
        file = _opened(path)
        try:
            _check(path.name, file, about, whole=False)
        except BaseException:
            file.close()
            raise
        super().__init__(path.name, about, file)


def _releaser(array: NDArray[Any]) -> Callable[[NDArray[Any]], None] | None:
    """How to let go of pages of a mapped file that were read; None for other arrays.

    What was written to a private copy of a file (mode "c") is in its pages alone, so these stay.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray) and not isinstance(owner.base, mmap.mmap):
        owner = owner.base
    shared = isinstance(owner, np.ndarray) and (isinstance(owner.base, SharedMap) or getattr(owner, "mode", "c") != "c")
    if not shared or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    pages = owner.base
    first = np.frombuffer(pages, np.uint8).ctypes.data

    def release(piece: NDArray[Any]) -> None:
        start = piece.ctypes.data - first
        aligned = start - start % mmap.PAGESIZE
        pages.madvise(mmap.MADV_DONTNEED, aligned, start + piece.nbytes - aligned)

    return release


def describe_file(path: Path) -> dict[str, int]:
    """Return what a file is compared with when it is read."""
    with path.open("rb") as file:
        return {"bytes": _size(file), "crc32": _checksum(file), "head_crc32": _checksum(file, HEAD)}


def read_array(path: Path, about: dict[str, int], *, mmap: bool, whole: bool) -> NDArray[Any]:
    """Read or map an array; ValueError if the file is another one, by its whole contents or the .npy header alone.

    What is checked is what is read, whatever is put in the place of the file meanwhile.
    """
    with _opened(path) as file:
        _check(path.name, file, about, whole=whole)
        file.seek(0)
        if not mmap:
            array: NDArray[Any] = np.load(file, allow_pickle=False)
            return array
        shape, dtype, offset = _header(path.name, file.read(HEAD), about["bytes"])
        return np.memmap(file, dtype, "r", offset, shape)


def _header(name: str, beginning: bytes, size: int) -> Header:
    """Take the beginning of an ``.npy`` file; ValueError if that is not what it has."""
    head = io.BytesIO(beginning)
    np.lib.format.read_magic(head)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
    if fortran or dtype.hasobject:
        raise ValueError(f"{name} is not an array as it was written")
    header = Header(shape, dtype, head.tell())
    promised = header.offset + math.prod(shape) * dtype.itemsize
    if promised != size:
        raise ValueError(f"{name} has {size} bytes where its header promises {promised}")
    return header


def _opened(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    return path.open("rb")


def _check(name: str, file: IO[bytes], about: dict[str, int], *, whole: bool) -> None:
    """Compare an open file with what was written, by its whole contents or its size and beginning alone."""
    _compare(name, (_size(file), 0), (about["bytes"], 0))
    found = _checksum(file, None if whole else HEAD)
    _compare(name, (0, found), (0, about["crc32" if whole else "head_crc32"]))


def _compare(name: str, found: tuple[int, int], written: tuple[int, int]) -> None:
    """Compare sizes and checksums."""
    if found[0] != written[0]:
        raise ValueError(f"{name} has {found[0]} bytes where {written[0]} were written")
    if found[1] != written[1]:
        raise ValueError(f"{name} has other contents than were written (checksum)")


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _checksum(file: IO[bytes], limit: int | None = None) -> int:
    """Return the CRC-32 of a file, or of its first bytes."""
    file.seek(0)
    if limit is not None:
        return zlib.crc32(file.read(limit))
    checksum = 0
    while chunk := file.read(_CHUNK):
        checksum = zlib.crc32(chunk, checksum)
    return checksum
