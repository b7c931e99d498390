"""Files that are named one by one, by the folder they are in, or by a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from .._ids import spell
from ..errors import InputError
from ..tables.files import TABLES, PathLike, TableFile, existing_table, reason


def find_inputs(inputs: PathLike | Sequence[PathLike], leave_out: Collection[Path] = ()) -> list[TableFile]:
    """Find the files that inputs name, sorted within a folder or pattern.

    Parameters
    ----------
    inputs : path-like or sequence of them
        Files, folders, and patterns such as ``"logs/2024-*/*.csv.gz"`` (``**`` stands for folders of any depth). Of a
        folder all files at any depth are taken but those in or with a name that begins with ``.`` or ``_``.
    leave_out : collection of Path
        What is not an input, though it is in a folder that is one; absolute.

    Returns
    -------
    list of TableFile
        Absolute paths, none of them twice.

    Raises
    ------
    InputError
        For nothing found, an empty file, one of an unknown kind, and one that is named twice.
    """
    named = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    if not named:
        raise InputError("inputs: none given; name files, folders or patterns")
    found: dict[Path, TableFile] = {}
    for one in named:
        for path in _files_of(Path(one), leave_out):
            file = existing_table(path)
            if (place := path.resolve()) in found:
                raise InputError(f"{path} is named twice, and its lines would count twice; name it once")
            found[place] = TableFile(Path(os.path.abspath(path)), file.suffix)
    return list(found.values())


def _files_of(path: Path, leave_out: Collection[Path]) -> list[Path]:
    if path.is_dir():
        files = sorted(_below(path, leave_out))
        if not files:
            raise InputError(f"the folder {path} holds no files; known are {', '.join(TABLES)}")
        unknown = [str(one) for one in files if not one.name.lower().endswith(TABLES)]
        if unknown:
            raise InputError(
                f"{spell(unknown, limit=3)} in the folder {path}: unknown suffix, known are {', '.join(TABLES)}; "
                f"move it away, or name the files by a pattern such as '{path / '*.csv'}'"
            )
        return files
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    matches = sorted(Path(one) for one in glob.glob(str(path), recursive=True))
    files = [one for one in matches if one.is_file() and one.resolve() not in leave_out]
    if not files:
        raise InputError(f"no file is named like {path}; check the pattern")
    return files


def _below(folder: Path, leave_out: Collection[Path]) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {reason(error)}") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith((".", "_")) or path.resolve() in leave_out:
            continue
        if entry.is_dir():
            yield from _below(path, leave_out)
        else:
            yield path
