"""Tables written to files, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .._arrow import parquet_files
from .._folders import check_can_write_file, replacing_file, writing_file
from ..errors import InputError
from ..parameters import as_path
from .files import PARQUET, SEPARATORS, PathLike

WRITABLE = (".csv", ".tsv", PARQUET)


def write_table(frame: pd.DataFrame, path: PathLike) -> None:
    """Write a table without its index; the file appears whole or not at all, and replaces one of that name.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    path : path-like
        Its suffix chooses the format: .csv, .tsv or .parquet.

    Raises
    ------
    InputError
        For an unknown suffix, a folder that does not exist, and what cannot be written.
    MissingExtraError
        For Parquet without pyarrow.
    """
    target, suffix = check_writable(path)
    with replacing_file(target) as temporary:
        if suffix == PARQUET:
            _write_parquet(frame, temporary)
            return
        with writing_file(temporary, "w", encoding="utf-8", newline="") as file:
            frame.to_csv(file, sep=SEPARATORS[suffix], index=False, lineterminator="\n")


def check_writable(path: PathLike) -> tuple[Path, str]:
    """Check a path before the work of making the table.

    Parameters
    ----------
    path : as in `write_table`

    Returns
    -------
    target, suffix : the pathlib.Path, and its suffix in small letters

    Raises
    ------
    InputError, MissingExtraError
        As in `write_table`.
    """
    target = as_path("path", path)
    suffix = target.suffix.lower()
    if suffix not in WRITABLE and not target.is_dir():
        raise InputError(f"{target.name!r} has an unknown suffix; tables are written as {', '.join(WRITABLE)}")
    check_can_write_file(target)
    if suffix == PARQUET:
        parquet_files("Writing Parquet files")
    return target, suffix


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    pyarrow, parquet = parquet_files("Writing Parquet files")
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise InputError(f"Parquet cannot hold this table: {error}; write a .csv file") from error
    with writing_file(path) as file:
        parquet.write_table(table, file)
