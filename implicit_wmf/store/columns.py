"""Columns of lines in the words of DuckDB: what they hold, and what is wrong with a line."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._arrow import arrow
from ..errors import InputError

LARGEST_VALUE = float(np.finfo(np.float32).max)
NOT_A_TIME = 8
# By the number that `fault` gives; 0 is nothing.
FAULTS = (
    "",
    "the user id is missing",
    "the item id is missing",
    "the value is missing",
    "the value is not a number",
    "the value is not finite",
    "the value does not fit float32",
    "the time is missing",
    "the time is not of the kind of the others: numbers, or ISO 8601 such as 2011-12-09T12:50:00",
    "the user id is no whole number",
    "the item id is no whole number",
)
_NO_WHOLE_USER, _NO_WHOLE_ITEM = 9, 10


class Columns(NamedTuple):
    """Names of the columns, by what they are to a store."""

    user: str
    item: str
    value: str | None = None
    timestamp: str | None = None

    def wanted(self) -> list[str]:
        """Names that a file has to have, each once."""
        return list(dict.fromkeys(name for name in self if name is not None))


class Ids(NamedTuple):
    """Ids as DuckDB gives them: `kind` is whole, text, letters (of a text file, whole if all are) or moment."""

    sql: str
    kind: str
    wide: bool = False  # whole numbers that may not fit int64; moments with nanoseconds
    whole: str | None = None  # SQL of letters as numbers, null for those that no integer is spelled as
    float: str | None = None  # SQL of what the file has, where `sql` is null for fractions


class Times(NamedTuple):
    """Times as DuckDB gives them: `kind` is whole, number, moment (microseconds) or text."""

    sql: str
    kind: str


def quoted(name: str) -> str:
    """Spell a name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: object) -> str:
    """Spell text in SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def fault(user: Ids, item: Ids, value: tuple[str, str] | None, time: str | None) -> str:
    """Give the SQL of the number of what is wrong with a line, 0 for nothing; `value` is as written and as a number."""
    fractions = {_NO_WHOLE_USER: user, _NO_WHOLE_ITEM: item}
    cases = [(f"{_is_fraction(one)}", place) for place, one in fractions.items() if one.float is not None]
    cases += [(f"{user.sql} IS NULL", 1), (f"{item.sql} IS NULL", 2)]
    if value is not None:
        written, number = value
        cases += [(f"{written} IS NULL", 3), (f"{number} IS NULL", 4)]
        cases += [(f"NOT isfinite({number})", 5), (f"abs({number}) > {LARGEST_VALUE!r}", 6)]
    if time is not None:
        cases += [(f"{time} IS NULL", 7)]
    return f"CASE {' '.join(f'WHEN {case} THEN {place}' for case, place in cases)} ELSE 0 END"


def _is_fraction(ids: Ids) -> str:
    return f"NOT isnan({ids.float}) AND {ids.sql} IS NULL"


def ids_of(kind: Any, sql: str, place: str) -> Ids:
    """Take a column of ids of an Arrow type; `place` says where it is."""
    types = arrow("Reading Parquet files").types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_integer(kind) or (types.is_decimal(kind) and kind.scale == 0):
        if types.is_decimal(kind):
            return Ids(f"CAST({sql} AS HUGEINT)", "whole", wide=True)
        return Ids(sql, "whole", wide=True) if types.is_uint64(kind) else Ids(f"CAST({sql} AS BIGINT)", "whole")
    if types.is_floating(kind):  # as pandas writes integers where some are missing
        return Ids(f"CASE WHEN trunc({sql}) = {sql} THEN TRY_CAST({sql} AS BIGINT) END", "whole", float=sql)
    if _is_text(types, kind):
        return Ids(f"CAST({sql} AS VARCHAR)", "text")
    if types.is_date(kind) or types.is_timestamp(kind):
        fine = types.is_timestamp(kind) and kind.unit == "ns"
        return Ids(f"CAST({sql} AS {'TIMESTAMP_NS' if fine else 'TIMESTAMP'})", "moment", wide=fine)
    raise InputError(f"{place} holds {kind}, which cannot be ids; convert it to integers or text")


def value_of(kind: Any, sql: str, place: str) -> str:
    """Take a column of numbers of an Arrow type."""
    types = arrow("Reading Parquet files").types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if _is_text(types, kind):
        return f"as_number(CAST({sql} AS VARCHAR))"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind):
        return f"CAST({sql} AS DOUBLE)"
    raise InputError(f"{place} holds {kind}, which are no numbers; convert it to integers or floats")


def times_of(kind: Any, sql: str, place: str) -> Times:
    """Take a column of times of an Arrow type."""
    types = arrow("Reading Parquet files").types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if _is_text(types, kind):
        return Times(f"CAST({sql} AS VARCHAR)", "text")
    if types.is_integer(kind):
        return Times(f"TRY_CAST({sql} AS BIGINT)", "whole")
    if types.is_floating(kind) or types.is_decimal(kind):
        return Times(f"nullif(CAST({sql} AS DOUBLE), 'NaN'::DOUBLE)", "number")
    if types.is_date(kind) or types.is_timestamp(kind):
        return Times(f"epoch_us({sql})", "moment")
    raise InputError(f"{place} holds {kind}, which are no times; convert it to numbers, text or timestamps")


def _is_text(types: Any, kind: Any) -> bool:
    is_view = getattr(types, "is_string_view", types.is_string)  # younger than the oldest version that is supported
    return bool(types.is_string(kind) or types.is_large_string(kind) or is_view(kind) or types.is_null(kind))
