"""Columns of tables: found by name, and checked to hold numbers or times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ._arrow import arrow, arrow_to_pandas
from ._ids import Place, plain, spell
from .errors import InputError


def take_columns(frame: Any, wanted: dict[str, Hashable]) -> dict[str, pd.Series]:
    """Columns of a pandas, polars or Arrow table, by the argument that names each."""
    if isinstance(frame, pd.DataFrame):
        check_names(list(frame.columns), wanted.items())
        return {argument: frame[name] for argument, name in wanted.items()}
    if hasattr(frame, "get_column") and hasattr(frame, "columns"):
        # polars (and narwhals): its own NumPy export needs no pyarrow and is the fastest for text.
        check_names(list(frame.columns), wanted.items())
        return {argument: pd.Series(frame.get_column(name).to_numpy()) for argument, name in wanted.items()}
    if hasattr(frame, "__arrow_c_stream__"):
        return _arrow_columns(frame, wanted)
    if hasattr(frame, "__dataframe__"):
        return take_columns(pd.api.interchange.from_dataframe(frame), wanted)
    hint = "; collect it first" if hasattr(frame, "collect") else ""
    raise InputError(f"frame: expected a pandas, polars or Arrow table, met {type(frame).__name__}{hint}")


def _arrow_columns(frame: Any, wanted: dict[str, Hashable]) -> dict[str, pd.Series]:
    pyarrow = arrow("Reading Arrow tables")
    try:
        table = pyarrow.table(frame)
    except pyarrow.ArrowInvalid as error:  # a single column has the protocol of tables too
        raise InputError(f"frame: expected a table, met {type(frame).__name__} ({error})") from error
    check_names(table.column_names, wanted.items())
    return {
        argument: arrow_to_pandas(table.column(name), is_id=argument in ("user", "item"))
        for argument, name in wanted.items()
    }


def check_names(
    columns: Sequence[Any], wanted: Iterable[tuple[Any, Any]], hint: Callable[[Sequence[Any], Any], str] | None = None
) -> None:
    """Refuse names that are not exactly one column's; `wanted` are pairs of what the message begins with and a name."""
    for place, name in wanted:
        if not isinstance(name, Hashable):
            raise InputError(f"{place}: {name!r:.60} names no column; the columns are {spell(columns, limit=50)}")
        found = columns.count(name)
        if found > 1:
            raise InputError(f"{place}: {found} columns are named {name!r}; rename all but one")
        if found == 0:
            shown = (f"{one[:60]}..." if isinstance(one, str) and len(one) > 60 else one for one in columns)
            more = hint(columns, name) if hint else ""
            raise InputError(f"{place}: no column {name!r}; the columns are {spell(shown, limit=50)}{more}")


def numbers(column: Any, name: str, place: Place) -> NDArray[Any]:
    """Take a column (Series or 1-D array) as finite real numbers, of its own dtype where NumPy has it."""
    column = _complete(column, name, place, "value", "missing or NaN")
    if not _is_real(column.dtype):
        _refuse_kind(column, name, place)
    values: NDArray[Any] = column.to_numpy()
    if values.dtype == object:
        values = column.to_numpy(dtype=np.float64)
    infinite = np.flatnonzero(~np.isfinite(values))
    if infinite.size:
        line = int(infinite[0])
        raise InputError(f"{name}: {plain(values[line])} at {place(line)}; give finite numbers")
    return values


def _complete(column: Any, name: str, place: Place, entry: str, lacking: str) -> pd.Series:
    column = column if isinstance(column, pd.Series) else pd.Series(column)
    if column.dtype.kind == "V":
        raise InputError(f"{name}: raw bytes of dtype {column.dtype}; convert them to numbers")
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise InputError(f"{name}: the {entry} at {place(int(missing[0]))} is {lacking}; remove the line or fill it")
    return column


def _is_real(dtype: Any) -> bool:
    types = pd.api.types
    return bool(types.is_bool_dtype(dtype) or (types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)))


def _refuse_kind(column: pd.Series, name: str, place: Place) -> None:
    """Point at the first value that is not a number, or at the dtype when each one is."""
    for line, value in enumerate(column.to_numpy() if column.dtype == object else column):
        if not isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            raise InputError(
                f"{name}: {plain(value)!r} at {place(line)} is not a real number (dtype {column.dtype}); "
                "give integers, floats or booleans"
            )
    raise InputError(f"{name}: numbers kept as dtype {column.dtype}; convert them with astype(float)")


def times(column: Any, name: str, place: Place) -> NDArray[Any]:
    """Take a column of timestamps as a numeric or datetime64 array without gaps; time zones are turned to UTC."""
    column = _complete(column, name, place, "timestamp", "missing")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    if column.dtype.kind == "M":
        moments: NDArray[Any] = column.to_numpy(dtype=f"datetime64[{np.datetime_data(column.to_numpy().dtype)[0]}]")
        return moments
    if column.dtype.kind in "iuf":
        return numbers(column, name, place)
    first = f" such as {plain(column.iloc[0])!r}" if len(column) else ""
    raise InputError(
        f"{name}: dtype {column.dtype}{first} is neither numbers nor datetimes; parse it with pandas.to_datetime"
    )


def parsed_numbers(column: pd.Series, name: str, place: Place) -> pd.Series:
    """Read the text of a file's column as numbers; a column of another kind stays."""
    return _parsed(column, name, place, "not a number", lambda text: pd.to_numeric(text, errors="coerce"))


def parsed_times(column: pd.Series, name: str, place: Place) -> pd.Series:
    """Read the text of a file's column as times, which are UTC where they say nothing; other kinds of column stay."""
    wanted = "neither a number nor an ISO 8601 date, such as 2011-12-09T12:50:00"
    return _parsed(column, name, place, wanted, _numbers_or_dates)


def _numbers_or_dates(text: pd.Series) -> pd.Series:
    numeric = pd.to_numeric(text, errors="coerce")
    if numeric.notna().equals(text.notna()):
        return numeric
    return pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)


def _parsed(column: pd.Series, name: str, place: Place, wanted: str, parse: Callable[[pd.Series], Any]) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if not pd.api.types.is_string_dtype(column.dtype):
        return column
    parsed = parse(column)
    wrong = np.flatnonzero((parsed.isna() & column.notna()).to_numpy())
    if wrong.size:
        line = int(wrong[0])
        raise InputError(f"{name}: {plain(column.iloc[line])!r} at {place(line)} is {wanted}; mend the line")
    return parsed
