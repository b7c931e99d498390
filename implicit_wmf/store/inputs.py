"""Files that are named one by one, by the folder they are in, or by a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .._ids import spell
from ..errors import InputError
from ..parameters import as_path
from ..tables.files import TABLES, PathLike, TableFile, existing_table, reason
from .store import is_store


def find_inputs(inputs: PathLike | Sequence[PathLike], leave_out: Collection[Path] = ()) -> list[TableFile]:
    """Find the files that inputs name, sorted within a folder or pattern.

    Parameters
    ----------
    inputs : path-like or sequence of them
        Files, folders, and patterns such as ``"logs/2024-*/*.csv.gz"`` (``**`` stands for folders of any depth), which
        may match files and folders. Of a folder all files at any depth are taken but stores, and those in or with a
        name that begins with ``.`` or ``_``.
    leave_out : collection of Path
        What is not an input, with all that is in it, though a folder or pattern has it; absolute.

    Returns
    -------
    list of TableFile
        Absolute paths, none of them twice.

    Raises
    ------
    InputError
        For nothing found, an empty file, one of an unknown kind, and one that is named twice.
    """
    found: dict[str, TableFile] = {}
    for named in _as_paths(inputs):
        try:
            files = _files_of(named, leave_out)
        except OSError as error:  # of a name that is too long, for instance
            raise InputError(f"inputs: {str(named)!r:.60} cannot be read: {reason(error)}") from error
        for path in files:
            check_spelling("inputs", path)
            file = existing_table(path)
            if (place := os.path.realpath(path)) in found:
                raise InputError(f"{path} is named twice, and its lines would count twice; name it once")
            found[place] = TableFile(Path(os.path.abspath(path)), file.suffix)
    return list(found.values())


def _as_paths(inputs: Any) -> list[Path]:
    single = isinstance(inputs, (str, bytes, os.PathLike)) or not isinstance(inputs, Iterable)
    try:
        paths = [as_path("inputs", one) for one in ([inputs] if single else inputs)]
    except TypeError as error:  # an array that holds one thing and is no sequence
        raise InputError(f"inputs must be a path or a sequence of them, got {inputs!r:.60}") from error
    if not paths:
        raise InputError("inputs: none given; name files, folders or patterns")
    return paths


def check_spelling(name: str, path: Path) -> None:
    """Refuse a file's name that is not UTF-8, which neither DuckDB nor a file of text can hold.

    Parameters
    ----------
    name : str
        Of the argument.
    path : Path
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: the name {str(path)!r} is not UTF-8; rename it") from error


def _files_of(path: Path, leave_out: Collection[Path]) -> list[Path]:
    if path.is_dir():
        if is_store(path):
            raise InputError(f"{path} is a store, which was prepared already; name the tables")
        files = _files_in(path, leave_out)
        if not files:
            raise InputError(f"the folder {path} holds no files; known are {', '.join(TABLES)}")
        return files
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    files = _files_like(path, leave_out)
    if not files:
        raise InputError(f"no file is named like {path}; check the pattern")
    return files


def _files_like(pattern: Path, leave_out: Collection[Path]) -> list[Path]:
    """Files that a pattern matches, and those in folders that it matches, each once."""
    files: dict[str, Path] = {}
    for one in sorted(map(Path, glob.glob(str(pattern), recursive=True))):
        place = Path(os.path.realpath(one))
        if _is_left_out(place, leave_out) or is_store(one) or is_store(one.parent):
            continue
        for file in _files_in(one, leave_out) if one.is_dir() else [one]:
            files.setdefault(os.path.realpath(file), file)
    return list(files.values())


def _files_in(folder: Path, leave_out: Collection[Path]) -> list[Path]:
    files = sorted(_below(folder, leave_out, ()))
    unknown = [str(one) for one in files if not one.name.lower().endswith(TABLES)]
    if unknown:
        raise InputError(
            f"{spell(unknown, limit=3)} in the folder {folder}: unknown suffix, known are {', '.join(TABLES)}; "
            f"move it away, or name the files by a pattern such as '{folder / '*.csv'}'"
        )
    return files


def _below(folder: Path, leave_out: Collection[Path], above: tuple[str, ...]) -> Iterator[Path]:
    """Files at any depth; links to one of the folders `above` lead to nothing new."""
    above = (*above, os.path.realpath(folder))
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {reason(error)}") from error
    for entry in entries:
        path, place = Path(entry.path), os.path.realpath(entry.path)
        if entry.name.startswith((".", "_")) or _is_left_out(Path(place), leave_out):
            continue
        if not entry.is_dir():
            yield path
        elif place not in above and not is_store(path):
            yield from _below(path, leave_out, above)


def _is_left_out(place: Path, leave_out: Collection[Path]) -> bool:
    return any(place.is_relative_to(one) for one in leave_out)
