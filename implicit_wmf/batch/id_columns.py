"""Raw ids as Arrow columns, converted once for a whole job: of a slice Arrow might infer another type."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from .._arrow import parquet_files
from ..errors import InputError

_IDS_AT_ONCE = 1 << 16


def id_column(name: str, ids: pd.Index) -> Any:
    """Convert ids to an Arrow array, or a chunked one where they do not fit in one.

    Raises
    ------
    InputError
        For ids that Parquet cannot hold, such as text among numbers; names the column.
    MissingExtraError
        Without pyarrow.
    """
    pyarrow, parquet = parquet_files("Writing Parquet files")
    try:
        table = pyarrow.Table.from_pandas(pd.DataFrame({name: ids}), preserve_index=False)
        parquet.write_table(table.slice(0, 0), pyarrow.BufferOutputStream())
    except (pyarrow.ArrowException, NotImplementedError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{name}: Parquet cannot hold these ids ({reason}); convert them to text before fitting"
        ) from error
    column = table.column(0)
    return column.chunk(0) if column.num_chunks == 1 else column


def column_digest(column: Any) -> str:
    """Fingerprint of ids and their type."""
    pyarrow, _ = parquet_files("Writing Parquet files")
    fingerprint = hashlib.sha256(str(column.type).encode())
    for start in range(0, len(column), _IDS_AT_ONCE):
        table = pyarrow.table({"ids": column.slice(start, _IDS_AT_ONCE)}).combine_chunks()
        for batch in table.to_batches():
            fingerprint.update(batch.serialize())
    return fingerprint.hexdigest()


def copy_ids(column: Any, start: int, stop: int) -> Any:
    """Copy the ids from `start` to `stop` - 1: a slice would take the whole column along to another process."""
    pyarrow, _ = parquet_files("Writing Parquet files")
    return column.take(pyarrow.array(np.arange(start, stop)))
