"""Manifests: the JSON file of a folder that says what the folder is, with a checksum of its own."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._folders import current_folder, write_bytes
from .errors import InputError
from .parameters import as_path

Manifest = dict[str, Any]


def is_manifest(path: Path, kind: str) -> bool:
    """Whether the file is a manifest of this format, of any version, whole or damaged."""
    try:
        return is_manifest_text(path.read_bytes(), kind)
    except (OSError, ValueError):  # ValueError: no name that a file can have
        return False


def is_manifest_text(content: bytes, kind: str) -> bool:
    """Whether these are the contents of such a file."""
    try:
        manifest = json.loads(content.decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == kind


def check_target(path: str | os.PathLike[str], name: str, kind: str, called: str) -> Path:
    """Resolve links, and refuse to replace anything but a folder of this format and nothing else.

    Raises
    ------
    InputError
        If something else is there, or in the folder; names it.
    """
    target = as_path("path", path).resolve()
    folder = current_folder(target)
    if not folder.exists():
        return target
    if not is_manifest(folder / name, kind):
        raise InputError(f"{folder} exists and is not a {called}; it was left alone. Choose another path")
    files = json.loads((folder / name).read_text(encoding="utf-8")).get("files")
    others = sorted(set(os.listdir(folder)) - set(files if isinstance(files, dict) else ()) - {name})
    if others:
        raise InputError(f"{folder} is a {called} but also holds {others[0]!r}; move that away or save elsewhere")
    return target


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, which must have `format` and `format_version`, and its checksum."""
    content = manifest | {"crc32": manifest_checksum(manifest)}
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_manifest(folder: Path, name: str, kind: str, versions: Sequence[int], called: str) -> Manifest:
    """Read the manifest of a folder; `called` is what the folder should be, for messages.

    Raises
    ------
    InputError
        If there is none, it is of another format or version, or has changed since it was written.
    """
    if not folder.exists():
        raise InputError(f"there is no {called} at {folder}")
    if not (folder / name).is_file():
        raise InputError(f"{folder} is not a {called}: it has no {name}")
    return check_manifest((folder / name).read_bytes(), str(folder), name, kind, versions, called)


def check_manifest(content: bytes, folder: str, name: str, kind: str, versions: Sequence[int], called: str) -> Manifest:
    """Take the contents of a manifest, refused as `read_manifest` refuses them; `folder` is for messages."""
    try:
        manifest = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"the {called} {folder} is damaged: {name} is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != kind:
        raise InputError(f"{folder} is not a {called} of implicit_wmf: {name} does not say {kind!r}")
    version = manifest.get("format_version")
    if version not in versions:
        known = f"version{'s' * (len(versions) > 1)} {' and '.join(map(str, versions))}"
        raise InputError(
            f"{folder} is a {called} of format version {version}; this release reads {known}. Use the release that "
            f"wrote it, or upgrade implicit_wmf"
        )
    if manifest.get("crc32") != manifest_checksum(manifest):
        raise InputError(f"the {called} {folder} is damaged: {name} was changed after it was written (checksum)")
    return manifest


def manifest_checksum(manifest: Manifest) -> int:
    content = {name: value for name, value in manifest.items() if name != "crc32"}
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
