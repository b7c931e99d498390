"""Folders that appear whole or not at all: written beside their place under a hidden name, then put there in one step.

Beside its place a folder has one of two names: ``.<name>.<letters>.tmp`` while it is written or removed, and, where a
system cannot exchange two names at once, ``.<name>.<letters>.old`` for the moment between two renames.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import InputError

# By system, the C library's function and its arguments: AT_FDCWD (-100) and RENAME_EXCHANGE (2), and RENAME_SWAP (2).
_EXCHANGES: dict[str, tuple[str, Callable[[bytes, bytes], tuple[Any, ...]]]] = {
    "linux": ("renameat2", lambda one, other: (-100, one, -100, other, 2)),
    "darwin": ("renamex_np", lambda one, other: (one, other, 2)),
}


@contextmanager
def writing_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which takes the place of `target` at the end, unless there was an error.

    Whenever the process is killed, `current_folder` finds the former folder or the new one. What processes that were
    killed left beside the place is removed.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    with ExitStack() as locks:
        folder = _new_folder(target, locks)
        try:
            yield folder
            _sync(folder)
            if target.exists():
                replace_folder(folder, target)
            else:
                folder.rename(target)
                _sync(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    _remove_left_behind(target)


def check_can_write(target: Path) -> None:
    """Raise what `writing_folder` would raise for this place, before long work; make the parent folder."""
    with ExitStack() as locks:
        _new_folder(target, locks).rmdir()


def current_folder(target: Path) -> Path:
    """Where to read what was written to `target`: there, or what a writer had moved aside when it was killed."""
    if target.exists():
        return target
    try:
        return max(_beside(target.resolve(), "old"), key=lambda one: one.stat().st_mtime_ns, default=target)
    except (OSError, ValueError):  # gone meanwhile, or no name that a file can have
        return target


def replace_folder(folder: Path, target: Path) -> None:
    """Put a folder in the place of another, which stays if that fails, and remove that."""
    if _exchange(folder, target):
        former = folder
    else:
        former = _new_name(target, "old")
        try:
            target.rename(former)
            folder.rename(target)
        except BaseException:
            if former.exists() and not target.exists():
                former.rename(target)
            raise
    _sync(target.parent)
    with suppress(OSError):
        remove_folder(former, target)


def remove_folder(folder: Path, target: Path | None = None) -> None:
    """Remove a folder, which was or is at `target`; no part of it is ever seen under its own name."""
    rubbish = _new_name(target or folder, "tmp")
    folder.rename(rubbish)
    shutil.rmtree(rubbish, ignore_errors=True)


def _new_name(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{suffix}")


def _beside(target: Path, suffix: str) -> list[Path]:
    """Folders that writers of `target` made beside it."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.{suffix}")
    with suppress(OSError), os.scandir(target.parent) as entries:
        names = [one.name for one in entries if pattern.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]
        return [target.with_name(name) for name in sorted(names)]
    return []


def _new_folder(target: Path, locks: ExitStack) -> Path:
    """Make a folder to write to, and lock it, which tells other writers that it was not left behind."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            folder = _new_name(target, "tmp")
            folder.mkdir()
            with suppress(FileNotFoundError):
                _lock(folder, locks, wait=True)
            if folder.exists():  # else another writer removed it before it was locked
                return folder
    except OSError as error:
        raise InputError(f"cannot write to {target.parent} ({error.strerror}); choose another place") from error


def lock_folder(folder: Path, locks: ExitStack, *, wait: bool = False) -> int | None:
    """Lock a folder for as long as `locks` is open, or the process lives.

    Returns the descriptor of what is locked, which another process may have removed in the meantime; None on systems
    and file systems that have no locks.

    Raises
    ------
    BlockingIOError
        If another process has locked it, unless that is waited for.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    locks.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return None
    return descriptor


def _lock(folder: Path, locks: ExitStack, *, wait: bool = False) -> bool:
    """Lock a folder; False if that cannot be done, so that nothing is held to be left behind without locks."""
    try:
        return lock_folder(folder, locks, wait=wait) is not None
    except BlockingIOError:
        return False


def _remove_left_behind(target: Path) -> None:
    for suffix in ("old", "tmp"):
        for folder in _beside(target, suffix):
            with ExitStack() as locks, suppress(OSError):
                if _lock(folder, locks):
                    remove_folder(folder, target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system does not do that."""
    if sys.platform not in _EXCHANGES:
        return False
    name, arguments = _EXCHANGES[sys.platform]
    call = getattr(ctypes.CDLL(None), name, None)  # older C libraries lack it
    return call is not None and call(*arguments(os.fsencode(one), os.fsencode(other))) == 0


def _sync(folder: Path) -> None:
    """Write a folder's entries through to the disk, where folders can be opened and file systems do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing_file(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file that is written through to the disk at the end."""
    with path.open(mode, **options) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def check_can_write_file(target: Path) -> None:
    """Check the place of a file before the work of making it.

    Raises
    ------
    InputError
        For a folder of this name, and a folder around it that does not exist or may not be written to.
    """
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} for {target.name}; create it first")
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder of {target} may not be written to; choose another one")


@contextmanager
def replacing_file(target: Path) -> Iterator[Path]:
    """Give a path to write to, which then becomes the target in one step; after an error nothing is left of it.

    A link stays one, to what is new, and a file that is replaced leaves its permissions to the new one.
    """
    place = target.resolve()
    temporary = _new_name(place, "tmp")
    try:
        yield temporary
        with suppress(FileNotFoundError):
            shutil.copymode(place, temporary)
        os.replace(temporary, place)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file through to the disk."""
    with writing_file(path) as file:
        file.write(content)
