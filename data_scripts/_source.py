"""Where the lines come from: the publisher's archive, its unpacked files, or, when asked to, the publisher."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import lzma
import os
import secrets
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from implicit_wmf.errors import InputError

TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
SHOWN_MEMBERS = 8
BLOCK = 1 << 20
TIMEOUT = 60
# An OSError is what gzip raises for a wrong checksum; zipfile has a NotImplementedError for unknown compressions.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


class NoSuchFileError(InputError):
    """A source has no file of the name."""


class Source:
    """A .zip or .tar.gz, a folder, or one file (also .gz) with others of the set beside it.

    Raises
    ------
    InputError
        Where the path does not exist.
    """

    def __init__(self, path: Path) -> None:
        try:
            exists = path.exists()
        except PermissionError as error:
            raise _forbidden(error, path) from error
        if not exists:
            raise InputError(f"there is no {path}; check the name, or fetch it there with --download")
        self.path = path

    @property
    def is_archive(self) -> bool:
        """Whether the path is the publisher's archive, going by its name."""
        return self.path.name.lower().endswith((".zip", *TAR_SUFFIXES))

    @contextmanager
    def open(self, name: str, *, beside: bool = False) -> Iterator[IO[bytes]]:
        """Open a file of the set as a stream of bytes.

        Parameters
        ----------
        name : str
            The file's path at its end: ``ml-1m/ratings.dat`` is found in any folder of an archive. Where the source is
            one unpacked file, that file is taken under whatever name it has.
        beside : bool
            Whether to look beside the source instead, when that is one file.

        Raises
        ------
        NoSuchFileError
            For a source without such a file.
        InputError
            For one that is damaged or cut short, or that may not be read.
        """
        try:
            yield from self._open(name, beside)
        except PermissionError as error:
            # an OSError like the damage below, but fetching it again would not help
            raise _forbidden(error, self.path) from error
        except DAMAGE as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise InputError(
                f"{self.path} cannot be read ({reason}); it is damaged or cut short: fetch it again"
            ) from error

    def _open(self, name: str, beside: bool) -> Iterator[IO[bytes]]:
        if self.path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(self.path) as archive, archive.open(self._member(name, archive.namelist())) as stream:
                yield stream
        elif self.is_archive:
            yield from self._open_in_tar(name)
        else:
            path = self._unpacked(name, beside)
            with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
                yield stream

    def _open_in_tar(self, name: str) -> Iterator[IO[bytes]]:
        # As a stream: the index that other modes make first would decompress the whole archive once more.
        with tarfile.open(self.path, mode="r|*") as archive:
            seen = []
            for member in archive:
                seen.append(member.name)
                if member.isfile() and _is_at_end(name, member.name):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield stream
                    return
        self._member(name, seen)

    def _member(self, name: str, members: list[str]) -> str:
        for member in members:
            if _is_at_end(name, member):
                return member
        shown = ", ".join(members[:SHOWN_MEMBERS]) + (", ..." if len(members) > SHOWN_MEMBERS else "")
        raise NoSuchFileError(f"{self.path} holds no {name}: is it another data set's? It holds {shown or 'nothing'}")

    def _unpacked(self, name: str, beside: bool) -> Path:
        if self.path.is_file() and not beside:
            return self.path
        folder = self.path if self.path.is_dir() else self.path.parent
        for found in (folder / name, folder / Path(name).name):
            for path in (found, found.with_name(f"{found.name}.gz")):
                if path.is_file():
                    return path
        raise NoSuchFileError(f"there is no {name} in the folder {folder}; give the publisher's archive")


def _is_at_end(name: str, member: str) -> bool:
    return member == name or member.endswith(f"/{name}")


def _forbidden(error: PermissionError, path: Path) -> InputError:
    return InputError(f"{error.filename or path} cannot be read: {error.strerror or error}; mend its permissions")


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's bytes in hexadecimal; InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def download(url: str, path: Path, check: Callable[[Path], None] = lambda _: None) -> None:
    """Fetch a file; it appears whole or not at all.

    Parameters
    ----------
    url : str
    path : pathlib.Path
    check : callable, optional
        Is given the complete file under its temporary name; what it raises leaves no file, so that the next run
        fetches it anew.

    Raises
    ------
    InputError
        Where the address does not answer, or the answer is shorter than announced.
    """
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for {path.name}; create it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, temporary.open("wb") as file:
            shutil.copyfileobj(answer, file, BLOCK)
            announced, met = answer.headers.get("Content-Length"), file.tell()
        if announced is not None and int(announced) != met:
            raise InputError(f"{url} announced {int(announced):,} bytes and sent {met:,}; try again")
        check(temporary)
        os.replace(temporary, path)
    # An HTTPException is no OSError: IncompleteRead is what a broken answer in chunks, of no announced length, raises.
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url} cannot be fetched: {reason}; try again, or fetch it by hand to {path}") from error
    finally:
        temporary.unlink(missing_ok=True)
