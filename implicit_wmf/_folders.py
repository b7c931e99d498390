"""Folders that appear whole or not at all: written beside their place under a hidden name, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import InputError


@contextmanager
def writing_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which takes the place of `target` at the end, unless there was an error.

    A folder that is there is moved aside and then removed: two folders cannot be exchanged in one step everywhere. If
    the process is killed between the two renames, the old one is beside its place, named ``.<name>.<letters>.old``.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    folder = _beside(target, "tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise InputError(f"cannot write to {target.parent} ({error.strerror}); choose another place") from error
    try:
        yield folder
        if target.exists():
            replace_folder(folder, target)
        else:
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{suffix}")


def replace_folder(folder: Path, target: Path) -> None:
    """Put a folder in the place of another, which stays if that fails."""
    old = _beside(target, "old")
    try:
        target.rename(old)
        folder.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def writing_file(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file that is written through to the disk at the end."""
    with path.open(mode, **options) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file through to the disk."""
    with writing_file(path) as file:
        file.write(content)
