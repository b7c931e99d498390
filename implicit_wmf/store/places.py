"""Where a store is: in a folder of this machine, or behind a URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from .._folders import current_folder
from .._manifests import Manifest, is_manifest, read_manifest
from .._stored_arrays import OpenFile, StoredFile
from ..errors import InputError
from ..parameters import as_path
from .format import FORMAT, FORMAT_VERSION, MANIFEST, PathLike, is_url
from .remote import RemoteFolder

_LOCAL = "file://"
_SQUEEZED = re.compile(r"\w[\w+.-]+:/[^/]")  # of a URL, what pathlib makes of it


class Place(Protocol):
    """Where the files of a store are.

    Attributes
    ----------
    location : str
        What another process can open.
    path : Path or None
        The folder, absolute; None behind a URL.
    scratch : Path
        Folder for temporary files.
    """

    location: str
    path: Path | None
    scratch: Path

    def is_store(self) -> bool:
        """Whether a store of any version, whole or damaged, is there."""

    def manifest(self) -> Manifest:
        """Read the manifest; InputError if there is none or it is damaged."""

    def file(self, name: str, about: dict[str, int]) -> StoredFile:
        """Open a file; ValueError if it is missing or another one."""


class LocalFolder:
    """A folder of this machine; see `Place`."""

    def __init__(self, path: PathLike, cache: Path | None) -> None:
        self._folder = current_folder(as_path("path", path))
        folder = self._folder.resolve()
        self.location, self.scratch = str(folder), cache or folder.parent
        self.path: Path | None = folder

    def is_store(self) -> bool:
        """Whether a store of any version, whole or damaged, is there."""
        return is_manifest(self._folder / MANIFEST, FORMAT)

    def manifest(self) -> Manifest:
        """Read the manifest; InputError if there is none or it is damaged."""
        return read_manifest(self._folder, MANIFEST, FORMAT, (FORMAT_VERSION,), "store")

    def file(self, name: str, about: dict[str, int]) -> StoredFile:
        """Open a file; ValueError if it is missing or another one."""
        return OpenFile(Path(self.location, name), about)


def find_place(path: PathLike, cache: PathLike | None = None) -> Place:
    """Take the path or URL of a store, and the folder for temporary files.

    Raises
    ------
    InputError
        If that folder is none that can be written to, or files cannot be read from such a URL.
    MissingExtraError
        If it is a URL, without fsspec.
    """
    folder = None if cache is None else _check_cache(as_path("cache", cache))
    if isinstance(path, str) and is_url(path):
        if not path.startswith(_LOCAL) or "::" in path:
            return RemoteFolder(path, folder)
        path = path.removeprefix(_LOCAL)
    elif _SQUEEZED.match(str(path)) and not os.path.exists(path):
        raise InputError(f"path is {path}, which is no URL if it was meant as one: give it as text, not as a Path")
    return LocalFolder(path, folder)


def _check_cache(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"cache: there is no folder {folder}; create it, or name another one")
    if not can_hold_files(folder):
        raise InputError(f"cache: nothing can be written to {folder}; name another folder")
    return folder.resolve()


def can_hold_files(folder: Path) -> bool:
    """Whether this is a folder of this machine that files can be made in."""
    return folder.is_dir() and os.access(folder, os.W_OK)
