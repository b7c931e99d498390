"""What all lines together decide: the kind of times and of ids, and so which lines are kept and how they are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .columns import FAULTS, NOT_A_TIME, Ids, Times
from .database import Database
from .sources import Source

_LARGEST = 2**63 - 1
_LARGEST_UNSIGNED = 2**64 - 1
_FINITE = "CASE WHEN isfinite({0}) THEN {0} END"
_NUMBER = (
    "CASE WHEN NOT (contains({0}, '_') OR contains({0}, '+-')) AND isfinite(TRY_CAST({0} AS DOUBLE)) "
    "THEN TRY_CAST({0} AS DOUBLE) END"
)
# How times of a kind are read, by what they are to become.
_MOMENTS = {"text": "as_moment({0})", "moment": "{0}"}
_WHOLE = {"text": "TRY_CAST({0} AS BIGINT)", "whole": "{0}"}
_NUMBERS = {"text": _NUMBER, "whole": "CAST({0} AS DOUBLE)", "number": _FINITE}


class Kept(NamedTuple):
    """Lines that are kept, as SQL with the columns u, i, v and t, and the dtype of t: None where t is null."""

    query: str
    times: np.dtype[Any] | None


def settle_times(database: Database, sources: list[Source]) -> tuple[list[Source], np.dtype[Any] | None]:
    """Find out whether times are numbers or moments, and let lines with a time of the other kind be wrong.

    Columns that are not text decide, otherwise most lines. As in tables, numbers that can be read as dates, such as
    20200131, are dates where the others are.

    Parameters
    ----------
    database : Database
    sources : list of Source

    Returns
    -------
    sources : list of Source
        Whose times are numbers of the dtype; moments are microseconds.
    dtype : numpy.dtype or None
        int64, float64 or datetime64, None where no column of times is named.

    Raises
    ------
    InputError
        If one file has numbers and another one moments.
    """
    kinds = {source.time.kind for source in sources if source.time is not None}
    if not kinds:
        return sources, None
    if "moment" in kinds and kinds & {"whole", "number"}:
        files = [str(source.parts[0].file.path) for source in sources if source.time and source.time.kind != "text"]
        raise InputError(f"the column of times holds numbers or moments, not both as in {' and '.join(files)}")
    counted = [_count_times(database, source) for source in sources if source.time and source.time.kind == "text"]
    lines, numbers, moments, whole = (sum(one) for one in zip((0, 0, 0, 0), *counted, strict=True))
    prevail = numbers < lines and (moments == lines or moments > numbers)
    if "moment" in kinds or (kinds == {"text"} and prevail):
        return _with_times(sources, _MOMENTS), np.dtype("datetime64[us]")
    if "number" not in kinds and whole == numbers:
        return _with_times(sources, _WHOLE), np.dtype(np.int64)
    return _with_times(sources, _NUMBERS), np.dtype(np.float64)


def _count_times(database: Database, source: Source) -> tuple[int, int, int, int]:
    """Count lines and those whose time is a number, a moment (if not all are numbers), a whole number."""
    number = _NUMBER.format("t")
    lines = f"(SELECT {_time(source).sql} AS t FROM {source.relation} WHERE {source.fault} = 0)"
    whole = r"regexp_full_match(trim(t), '[+-]?\d+') AND TRY_CAST(t AS BIGINT) IS NOT NULL"
    counts = f"count(*), count(*) FILTER ({number} IS NOT NULL), count(*) FILTER ({whole})"
    total, numbers, wholes = database.one(f"SELECT {counts} FROM {lines}")
    moments = 0
    if numbers < total:
        moments = database.one(f"SELECT count(*) FILTER (as_moment(t) IS NOT NULL) FROM {lines}")[0]
    return total, numbers, moments, wholes


def _with_times(sources: list[Source], forms: dict[str, str]) -> list[Source]:
    """Read times in one of the forms; what then is null is wrong."""
    settled = []
    for source in sources:
        time = forms[_time(source).kind].format(_time(source).sql)
        wrong = f"CASE WHEN {source.fault} <> 0 THEN {source.fault} WHEN {time} IS NULL THEN {NOT_A_TIME} ELSE 0 END"
        settled.append(replace(source, time=Times(time, "settled"), fault=wrong))
    return settled


def _time(source: Source) -> Times:
    if source.time is None:
        raise ValueError("the source has no times")
    return source.time


def count_faults(database: Database, source: Source) -> Counter[str]:
    """Count lines by what is wrong with them, those without a fault under the empty text.

    Parameters
    ----------
    database : Database
    source : Source

    Returns
    -------
    Counter
    """
    counts: Counter[str] = Counter()
    for number, lines in database.run(f"SELECT {source.fault}, count(*) FROM {source.relation} GROUP BY 1"):
        counts[FAULTS[number]] += lines
    return sum((part.faults for part in source.parts), counts)


def kept_lines(database: Database, sources: list[Source], times: np.dtype[Any] | None) -> Kept:
    """Read the lines without a fault of all sources with ids of one type a side.

    Parameters
    ----------
    database : Database
    sources : list of Source
        At least one line without a fault among them.
    times : numpy.dtype or None
        What `settle_times` found.

    Returns
    -------
    Kept

    Raises
    ------
    InputError
        If ids are dates in one file and something else in another.
    """
    users, items = (_settle_ids(database, sources, side) for side in ("user", "item"))
    parts = [
        f"SELECT {_as(source.user, users)} AS u, {_as(source.item, items)} AS i, "
        f"{source.value} AS v, {'NULL' if source.time is None else source.time.sql} AS t "
        f"FROM {source.relation} WHERE {source.fault} = 0"
        for source in sources
    ]
    return Kept(" UNION ALL ".join(parts), times)


def _as(ids: Ids, kind: str) -> str:
    return f"CAST({ids.sql if ids.whole is None or kind == 'VARCHAR' else ids.whole} AS {kind})"


def _settle_ids(database: Database, sources: list[Source], side: str) -> str:
    """Find the SQL type that holds every id of a side as it is."""
    ids: list[Ids] = [getattr(source, side) for source in sources]
    kinds = {_kind_of(database, source, one) for source, one in zip(sources, ids, strict=True)} - {None}
    if "moment" in kinds:
        if len(kinds) > 1:
            raise InputError(f"{side}: ids are dates in some files and not in others; convert them to text in all")
        return "TIMESTAMP_NS" if any(one.wide for one in ids) else "TIMESTAMP"
    if "text" in kinds:
        return "VARCHAR"
    if not any(one.wide for one in ids):
        return "BIGINT"
    lowest, highest = _range(database, sources, ids)
    if highest <= _LARGEST and lowest >= -_LARGEST - 1:
        return "BIGINT"
    return "UBIGINT" if lowest >= 0 and highest <= _LARGEST_UNSIGNED else "VARCHAR"


def _kind_of(database: Database, source: Source, ids: Ids) -> str | None:
    """Tell the kind of ids, None where no line is kept; letters are whole when all are spelled as integers are."""
    if ids.kind != "letters":
        return ids.kind
    whole = f"SELECT bool_and({ids.whole} IS NOT NULL) FROM {source.relation} WHERE {source.fault} = 0"
    found = database.one(whole)[0]
    return None if found is None else "whole" if found else "text"


def _range(database: Database, sources: list[Source], ids: list[Ids]) -> tuple[int, int]:
    ends: list[int] = []
    for source, one in zip(sources, ids, strict=True):
        number = _as(one, "HUGEINT")
        query = f"SELECT min({number}), max({number}) FROM {source.relation} WHERE {source.fault} = 0"
        ends += [end for end in database.one(query) if end is not None]
    return min(ends), max(ends)
