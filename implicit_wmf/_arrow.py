"""Arrow, of the extra `parquet`: imported when a table needs it."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

import pandas as pd

from .errors import MissingExtraError


def arrow(purpose: str) -> Any:
    """Return pyarrow, or say how to install it; `purpose` is what needs it."""
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose) from error
    return pyarrow


def parquet_files(purpose: str) -> tuple[Any, Any]:
    """Return pyarrow and its Parquet files, which it may be built without, or say how to install them."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", purpose) from error
    return arrow(purpose), parquet


def arrow_to_pandas(column: Any, *, is_id: bool) -> pd.Series:
    """Take an Arrow column without Python objects for dates (datetime64) and decimals (ids: int64; others: float64)."""
    pyarrow = arrow("Reading Arrow tables")
    if pyarrow.types.is_decimal(column.type):
        # An id that is no whole number stays as it is: as a float it could merge with another one.
        with suppress(pyarrow.ArrowException) if is_id else nullcontext():
            column = column.cast(pyarrow.int64() if is_id else pyarrow.float64())
    return column.to_pandas(date_as_object=False)
