"""Files that hold tables: the known kinds, and what can be wrong before the first line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .._columns import check_names
from ..errors import InputError
from ..parameters import as_path

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
GZIPPED = ".gz"
PARQUET = ".parquet"
MATRIX = ".npz"
TABLES = (*SEPARATORS, *(suffix + GZIPPED for suffix in SEPARATORS), PARQUET)
READABLE = (*TABLES, MATRIX)
PathLike = str | os.PathLike[str]


class TableFile(NamedTuple):
    """A file that is there and not empty, and the known suffix it has."""

    path: Path
    suffix: str

    @property
    def separator(self) -> str:
        """What stands between the fields of a text file."""
        return SEPARATORS[self.suffix.removesuffix(GZIPPED)]

    def check_columns(self, found: Sequence[str], wanted: Sequence[str]) -> None:
        """Refuse names that the header does not have exactly once."""
        check_names(found, ((self.path, name) for name in wanted), _column_hint)


def existing_file(path: PathLike) -> TableFile:
    """Find a file of a known kind, matrices too."""
    source = as_path("path", path)
    if source.is_dir():
        raise InputError(f"{source} is a folder; name a file")
    if not source.exists():
        raise InputError(f"there is no file {source}; check the name")
    suffix = next((suffix for suffix in READABLE if source.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{source.name!r} has an unknown suffix; known are {', '.join(READABLE)}")
    if source.stat().st_size == 0:
        raise InputError(f"{source} is empty; give a file with a header and lines")
    return TableFile(source, suffix)


def existing_table(path: PathLike) -> TableFile:
    """Find a file that has columns."""
    file = existing_file(path)
    if file.suffix == MATRIX:
        raise InputError(f"{file.path.name} is a matrix, not a table; give one of {', '.join(TABLES)}")
    return file


def reason(error: Exception) -> str:
    """Say what went wrong, without the path that an OSError repeats."""
    return str(getattr(error, "strerror", None) or error)


def _column_hint(found: Sequence[str], name: str) -> str:
    if any("\n" in one for one in found):
        return "; a quote in the header may not be closed"
    separators = [mark for mark in (";", "\t", "|", ",") if len(found) == 1 and mark in found[0]]
    if separators:
        return f"; the fields seem to be separated by {separators[0]!r}: a .csv has commas, a .tsv tabs"
    near = difflib.get_close_matches(name, found, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
