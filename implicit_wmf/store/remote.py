"""Stores behind URLs: what is asked for is downloaded, once, to temporary files of this machine, and mapped from there.

Any file system of fsspec will do, of the extra `dask`: imported when a URL is opened. A URL cannot be held open as a
file can. If a store is replaced while it is in use, files of another size are refused when they are read, and other
contents by the checksums where everything is verified; nothing tells of what is read after that for the first time.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from .._manifests import Manifest, check_manifest, is_manifest_text
from .._stored_arrays import StoredFile
from ..errors import InputError, MissingExtraError
from .damage import UnreadableError
from .format import FORMAT, FORMAT_VERSION, MANIFEST

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

_BLOCK = 1 << 18  # bytes that are there or not
_PIECE_BLOCKS = 32  # of a request at most: 8 MB
_REQUESTS = 4  # at once, where the file system does that
_WAITS = (1.0, 4.0)  # seconds before a request that failed is sent again


class RemoteFolder:
    """A folder behind a URL of fsspec; see `places.Place`.

    Parameters
    ----------
    url : str
    cache : Path, optional
        Folder for what is downloaded; the system's for temporary files by default.

    Raises
    ------
    InputError
        If files cannot be read from such a URL.
    MissingExtraError
        Without fsspec.
    """

    def __init__(self, url: str, cache: Path | None) -> None:
        self.location = url if url.endswith("://") else url.rstrip("/")
        self.path: Path | None = None
        self.scratch = cache or Path(tempfile.gettempdir())
        self._system, self._root = _ask(self.location, lambda: _connect(self.location))
        self._system.invalidate_cache()  # listings of the store that was there before

    def is_store(self) -> bool:
        """Whether a store of any version, whole or damaged, is there."""
        content = self._manifest_bytes()
        return content is not None and is_manifest_text(content, FORMAT)

    def manifest(self) -> Manifest:
        """Read the manifest; InputError if there is none or it is damaged."""
        content = self._manifest_bytes()
        if content is None:
            raise InputError(f"there is no store at {self.location}: no {MANIFEST} is there")
        return check_manifest(content, self.location, MANIFEST, FORMAT, (FORMAT_VERSION,), "store")

    def _manifest_bytes(self) -> bytes | None:
        path = f"{self._root}/{MANIFEST}"
        try:
            return bytes(_ask(f"{self.location}/{MANIFEST}", lambda: self._system.cat_file(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def file(self, name: str, about: dict[str, int]) -> StoredFile:
        """Open a file; ValueError if it is missing or another one."""
        return RemoteFile(self._system, f"{self._root}/{name}", f"{self.location}/{name}", about, self.scratch)


def _connect(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("fsspec", "dask", "Opening a store at a URL") from error
    try:
        system, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"path: {url} cannot be opened: {error}") from error
    return system, root.rstrip("/")


def _ask(url: str, call: Callable[[], _T]) -> _T:
    """Call what reads from a URL, and some more times where that fails; files that are missing are not waited for."""
    attempt = 0
    while True:
        try:
            return call()
        except (FileNotFoundError, NotADirectoryError, InputError, MissingExtraError):
            raise
        except Exception as error:  # file systems raise what they like
            if attempt == len(_WAITS) or isinstance(error, PermissionError):
                raise UnreadableError(
                    f"cannot read {url} ({type(error).__name__}: {error}); try again when it can be read, or copy the "
                    f"store to a folder"
                ) from error
            _LOG.warning("cannot read %s now (%s: %s); trying again", url, type(error).__name__, error)
        time.sleep(_WAITS[attempt])
        attempt += 1


class RemoteFile(StoredFile):
    """A file that was described, of a file system of fsspec: its bytes are downloaded when they are asked for.

    They go to a temporary file without a name, at the same places, and whoever asks again has them there. Several
    threads may ask.

    Parameters
    ----------
    system : fsspec.AbstractFileSystem
    path : str
        Of the file there.
    url : str
        For messages.
    about : dict
        As of `describe_file`.
    cache : Path
        Folder for the temporary file.

    Raises
    ------
    ValueError
        If the file is missing, or its size or beginning is another.
    UnreadableError
        If it cannot be read for other reasons.
    """

    def __init__(self, system: Any, path: str, url: str, about: dict[str, int], cache: Path) -> None:
        self._system, self._path, self._url, self._cache = system, path, url, cache
        self._size = about["bytes"]
        self._lock = threading.Lock()
        self._there = np.zeros(-(-self._size // _BLOCK), bool)
        name = url.rpartition("/")[2]
        self._check_size(name)
        super().__init__(name, about, _temporary_file(cache, self._size))
        self.check_head()

    def _check_size(self, name: str) -> None:
        size = self._answer(name, lambda: self._system.info(self._path)["size"])
        if size not in (self._size, None):  # None: of a server that does not tell
            raise ValueError(f"{name} has {size} bytes where {self._size} were written")

    def _answer(self, name: str, call: Callable[[], _T]) -> _T:
        try:
            return _ask(self._url, call)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError(f"{name} is missing") from error

    def _have(self, start: int, stop: int) -> None:
        first, last = start // _BLOCK, -(-stop // _BLOCK)
        if self._there[first:last].all():
            return
        with self._lock:
            pieces = list(self._missing(first, last))
            for begin in range(0, len(pieces), _REQUESTS):
                self._download(pieces[begin : begin + _REQUESTS])

    def _missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Bytes of the blocks that are not there, in pieces to ask for."""
        blocks = first + np.flatnonzero(~self._there[first:last])
        for run in np.split(blocks, np.flatnonzero(np.diff(blocks) > 1) + 1):
            for begin in range(0, len(run), _PIECE_BLOCKS):
                piece = run[begin : begin + _PIECE_BLOCKS].tolist()
                yield piece[0] * _BLOCK, min((piece[-1] + 1) * _BLOCK, self._size)

    def _download(self, pieces: list[tuple[int, int]]) -> None:
        try:
            chunks = self._answer(self._name, lambda: self._ranges(pieces))
        except UnreadableError:
            self._check_size(self._name)  # ranges that are no longer there are errors of many kinds
            raise
        for (start, stop), chunk in zip(pieces, chunks, strict=True):
            if len(chunk) > stop - start:
                raise UnreadableError(
                    f"{self._url} cannot be read in parts: {stop - start} bytes were asked for and {len(chunk)} came; "
                    f"copy the store to a folder"
                )
            if len(chunk) < stop - start:
                raise ValueError(f"{self._name} ends at byte {start + len(chunk)} where {self._size} were written")
            self._put(chunk, start)
            self._there[start // _BLOCK : -(-stop // _BLOCK)] = True

    def _ranges(self, pieces: list[tuple[int, int]]) -> list[bytes]:
        starts, stops = map(list, zip(*pieces, strict=True))
        chunks = self._system.cat_ranges([self._path] * len(pieces), starts, stops, on_error="return")
        for chunk in chunks:
            if isinstance(chunk, BaseException):
                raise chunk
        return list(chunks)

    def _put(self, chunk: bytes, place: int) -> None:
        content = memoryview(chunk)
        try:
            while content:
                written = os.pwrite(self._file.fileno(), content, place)
                content, place = content[written:], place + written
        except OSError as error:
            raise UnreadableError(
                f"no room for {self._url} in {self._cache} ({error.strerror}), where what is read of a store is kept: "
                f"make room for {self._size / 1e6:,.0f} MB, or open the store with another folder as cache"
            ) from error


def _temporary_file(folder: Path, size: int) -> IO[bytes]:
    """Open a file without a name, of bytes that take no room until they are written."""
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as its RemoteFile
        file.truncate(size)
    except OSError as error:
        raise UnreadableError(
            f"what is read of a store cannot be kept in {folder} ({error.strerror}); open it with another folder as "
            f"cache"
        ) from error
    return file
