"""The hidden folder beside a store in which it is prepared, by one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """Give the empty folder ``.<name>.preparing`` beside `target`, and remove it at the end.

    What a process that was killed left there is removed first.

    Parameters
    ----------
    target : Path
        Where the result is to be; absolute.

    Yields
    ------
    Path

    Raises
    ------
    InputError
        If nothing can be written there, or another process is at work in it.
    """
    folder = target.with_name(f".{target.name}.preparing")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY) if os.name == "posix" else None
    except OSError as error:
        raise InputError(f"cannot write to {target.parent} ({error.strerror}); choose another place") from error
    try:
        _lock(descriptor, folder)
        _clear(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int | None, folder: Path) -> None:
    """Lock the folder for as long as it is open; systems without `fcntl` leave it to the caller to work alone."""
    if descriptor is None:
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have removed the folder between our opening and locking it.
        alone = os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except (BlockingIOError, FileNotFoundError):
        alone = False
    if not alone:
        raise InputError(f"another process prepares a store in {folder}; wait until it is done, or choose another path")


def _clear(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
