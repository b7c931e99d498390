"""The hidden folder beside a store in which it is prepared, by one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .._folders import lock_folder
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
    with ExitStack() as locks:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            alone = _lock(folder, locks)
        except OSError as error:
            raise InputError(f"cannot write to {target.parent} ({error.strerror}); choose another place") from error
        if not alone:
            raise InputError(
                f"another process prepares a store in {folder}; wait until it is done, or choose another path"
            )
        _clear(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, locks: ExitStack) -> bool:
    """Lock the folder; where there are no locks, it is left to the caller to work alone."""
    try:
        descriptor = lock_folder(folder, locks)
        # Another process may have removed the folder between our opening and locking it.
        return descriptor is None or os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except (BlockingIOError, FileNotFoundError):
        return False


def _clear(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
