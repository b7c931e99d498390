"""Interactions read from text as plainly as Python can: what both ways of reading files are held to.

It knows nothing of the package. Text is split by the standard library's `csv`, whatever is there. A reader may refuse
more than this one does, but must not read anything else.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import math
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Which some readers take for numbers among other numbers, some only where there is nothing else, and some never.
_WORDS = dict.fromkeys(("true", "True", "TRUE"), 1.0) | dict.fromkeys(("false", "False", "FALSE"), 0.0)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2})?")
_PAIR = tuple[Any, Any]


class Refused(Exception):
    """The file is wrong, and may not be read as anything."""


@dataclass
class Reading:
    """What a file says.

    `sums` are the pairs' values and `sizes` the sums of their magnitudes, which bound the rounding of a sum; `latest`
    has the pairs' last moments, None where moments are spelled in ways that readers differ in.
    """

    sums: dict[_PAIR, float] = field(default_factory=dict)
    sizes: dict[_PAIR, float] = field(default_factory=dict)
    latest: dict[_PAIR, str] | None = None


def read(content: bytes, suffix: str, asked: list[str]) -> Reading:
    """Read the columns user and item, and those of value and timestamp that are asked for."""
    records = _records(_text(content, suffix), "," if suffix.startswith(".csv") else "\t")
    if not records:
        raise Refused("no header")
    header, *lines = records
    wanted = ["user", "item", *asked]
    if any(header.count(name) != 1 for name in wanted):
        raise Refused("columns")
    if not lines:
        raise Refused("no lines")
    reading = Reading()
    columns = {name: [_field(line, header.index(name)) for line in lines] for name in wanted}
    if any(any(line[len(header) :]) for line in lines):
        raise Refused("too many fields")
    if any("" in column for column in columns.values()):
        raise Refused("missing")
    pairs = list(zip(_ids(columns["user"]), _ids(columns["item"]), strict=True))
    for pair, value in zip(pairs, map(_number, columns.get("value", ["1"] * len(pairs))), strict=True):
        reading.sums[pair] = reading.sums.get(pair, 0.0) + value
        reading.sizes[pair] = reading.sizes.get(pair, 0.0) + abs(value)
    if "timestamp" in columns:
        reading.latest = _latest(pairs, columns["timestamp"])
    return reading


def _text(content: bytes, suffix: str) -> str:
    try:
        if suffix.endswith(".gz"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise Refused(str(error)) from error


def _records(text: str, separator: str) -> list[list[str]]:
    """Split the text; lines of nothing but blanks say nothing."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=False)
    try:
        records = list(reader)
    except csv.Error as error:
        raise Refused(str(error)) from error
    if _ends_in_quotes(text, separator):
        raise Refused("a quote is not closed")
    return [fields for fields in records if fields and (len(fields) > 1 or fields[0].strip(" \t") or fields == [""])]


def _ends_in_quotes(text: str, separator: str) -> bool:
    """Whether a quote is open at the end: then a line that follows would belong to the last field."""
    *_, last = csv.reader(io.StringIO(f"{text}\n{separator}", newline=""), delimiter=separator)
    return last != ["", ""]


def _field(line: list[str], place: int) -> str:
    return line[place] if place < len(line) else ""


def _ids(column: list[str]) -> list[Any]:
    """Whole numbers where each one is spelled as Python spells it and fits 64 bits; text otherwise."""
    if all(_INTEGER.fullmatch(one) and -(2**63) <= int(one) < 2**63 for one in column):
        return [int(one) for one in column]
    return list(column)


def _number(text: str) -> float:
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.fullmatch(text.strip(" \t\r\n\f\v")) or not math.isfinite(float(text)):
        raise Refused(f"{text!r} is no number")
    return float(text)


def _latest(pairs: list[_PAIR], column: list[str]) -> dict[_PAIR, str] | None:
    """Moments as text, for the two spellings whose order is plain: short whole numbers, and days with seconds."""
    whole = all(_INTEGER.fullmatch(one) and len(one) < 16 for one in column)
    if not whole and not all(_DAY.fullmatch(one) for one in column):
        return None
    if not whole:
        _check_days(column)
    latest: dict[_PAIR, Any] = {}
    for pair, one in zip(pairs, column, strict=True):
        moment: Any = int(one) if whole else one if "T" in one else f"{one}T00:00:00"
        latest[pair] = max(latest.get(pair, moment), moment)
    return {pair: str(moment) for pair, moment in latest.items()}


def _check_days(column: list[str]) -> None:
    for one in column:
        try:
            datetime.datetime.fromisoformat(one)
        except ValueError as error:
            raise Refused(str(error)) from error
