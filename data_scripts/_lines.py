"""Lines of separated fields: parsed by the block, and one by one where a block holds a line that is malformed."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pandas as pd

from implicit_wmf.errors import InputError

BLOCK = 1 << 24
SHOWN = 100
# Not "category": pandas 3.1 would infer numbers there, and 007 become 7.
DTYPES = {"text": "str", "whole": "int64", "number": "float64"}
# NumPy's own limits, so that both ways of parsing refuse the same.
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Field:
    """One field of a line: any text, a whole number or a number, from `low` to `high`."""

    name: str
    kind: str = "text"
    low: float = -math.inf
    high: float = math.inf
    may_be_empty: bool = False

    def parse(self, text: str) -> str | int | float | None:
        """Return the field's value, or None where the text is no such value."""
        if self.kind == "text":
            return text if text or self.may_be_empty else None
        if self.kind == "whole":
            value: float = int(text) if WHOLE.fullmatch(text.strip()) else math.nan
        else:
            value = float(text) if NUMBER.fullmatch(text.strip()) else math.nan
        # A NaN and an infinity fail the comparison.
        return value if max(self.low, -1e300) <= value <= min(self.high, 1e300) else None

    def holds(self, column: pd.Series) -> bool:
        """Whether a parsed column has nothing but the field's values."""
        if self.kind == "text":
            return self.may_be_empty or "" not in column.cat.categories
        values = column.to_numpy()
        return bool(np.isfinite(values).all() and (values >= self.low).all() and (values <= self.high).all())


class Malformed:
    """Lines that were passed over: how many, and what the first was."""

    def __init__(self, allowed_share: float, allowed_at_least: int) -> None:
        self._share = allowed_share
        self._least = allowed_at_least
        self.count = 0
        self.first = ""

    def add(self, complaint: str, line: int) -> None:
        """Count a line in; once there are too many for a blemish, the file is another one."""
        self.first = self.first or complaint
        self.count += 1
        if self.count > max(self._least, self._share * line):
            raise InputError(f"{self.first}; {self.count} of {line} lines are malformed: is this another file?")


@dataclass(frozen=True)
class LineFormat:
    """Lines of fields with one separator between them, without quotes, under a header or none."""

    fields: tuple[Field, ...]
    separator: str = "\t"
    header: str | None = None

    def read(
        self, stream: IO[bytes], name: str, *, malformed: Malformed | None = None, block_size: int = BLOCK
    ) -> Iterator[pd.DataFrame]:
        """Yield the lines in blocks of bounded size.

        Parameters
        ----------
        stream : file of bytes
            UTF-8. Lines end in LF or CRLF; blank ones are passed over.
        name : str
            The file's name, for messages.
        malformed : Malformed, optional
            Takes malformed lines instead of an error.
        block_size : int
            Bytes that are read at a time.

        Yields
        ------
        pandas.DataFrame
            A column a field: categories of text, int64 or float64.

        Raises
        ------
        InputError
            For a wrong header and for a malformed line, with its number from 1.
        """
        line = 1
        for block in _blocks(stream, block_size):
            if line == 1:
                block = block.removeprefix(b"\xef\xbb\xbf")
                rest = self._behind_header(block, name)
                line += block.count(b"\n") - rest.count(b"\n")
            else:
                rest = block
            yield self._parse(rest, name, line, malformed)
            line += rest.count(b"\n")

    def _behind_header(self, block: bytes, name: str) -> bytes:
        if self.header is None:
            return block
        first, _, rest = block.partition(b"\n")
        if first.rstrip(b"\r") != self.header.encode():
            met = first[:SHOWN].decode("utf-8", "replace")
            raise InputError(f"{name}, line 1: expected the header {self.header!r}, met {met!r}: is this another file?")
        return rest

    def _parse(self, block: bytes, name: str, line: int, malformed: Malformed | None) -> pd.DataFrame:
        frame = self._parse_block(block)
        return self._parse_lines(block, name, line, malformed) if frame is None else frame

    def _parse_block(self, block: bytes) -> pd.DataFrame | None:
        """Parse as fast as pandas can; None where a line is malformed or may be."""
        block = block.replace(b"\r\n", b"\n")
        # With two characters for a separator pandas falls back on a parser in Python.
        single = "\t" if len(self.separator) > 1 else self.separator
        if single != self.separator:
            if single.encode() in block:
                return None
            block = block.replace(self.separator.encode(), single.encode())
        try:
            with warnings.catch_warnings():
                # of a line that is too long
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    io.BytesIO(block),
                    sep=single,
                    header=None,
                    names=[field.name for field in self.fields],
                    dtype={field.name: DTYPES[field.kind] for field in self.fields},
                    index_col=False,
                    quoting=csv.QUOTE_NONE,
                    na_filter=False,
                    lineterminator="\n",
                    encoding="utf-8",
                )
        except (ValueError, OverflowError, pd.errors.ParserWarning):
            return None
        # pandas fills lines that are short and cuts lines that are long; a short one has an empty last field as well.
        if block.count(single.encode()) != (len(self.fields) - 1) * len(frame):
            return None
        frame = self._categorized(frame)
        return frame if all(field.holds(frame[field.name]) for field in self.fields) else None

    def _categorized(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Turn text into categories, in the order they are met: sorting them would take three times as long."""
        texts = {field.name: pd.factorize(frame[field.name]) for field in self.fields if field.kind == "text"}
        return frame.assign(**{name: pd.Categorical.from_codes(*pair) for name, pair in texts.items()})

    def _parse_lines(self, block: bytes, name: str, first_line: int, malformed: Malformed | None) -> pd.DataFrame:
        rows = []
        for line, content in enumerate(block.split(b"\n"), start=first_line):
            if not content.strip():
                continue
            row = self._parse_line(content.removesuffix(b"\r"))
            if not isinstance(row, str):
                rows.append(row)
            elif malformed is None:
                raise InputError(f"{name}, line {line}: {row}")
            else:
                malformed.add(f"{name}, line {line}: {row}", line)
        columns = list(zip(*rows, strict=True)) or [()] * len(self.fields)
        series = {
            field.name: pd.Series(column, dtype=DTYPES[field.kind])
            for field, column in zip(self.fields, columns, strict=True)
        }
        return self._categorized(pd.DataFrame(series))

    def _parse_line(self, content: bytes) -> list[str | int | float] | str:
        """Return a line's values, or what is wrong with it."""
        try:
            texts = content.decode("utf-8").split(self.separator)
        except UnicodeDecodeError as error:
            return f"not UTF-8 ({error.reason} at byte {error.start})"
        met = content[:SHOWN].decode("utf-8", "replace")
        if len(texts) != len(self.fields):
            names = self.separator.join(field.name for field in self.fields)
            return f"expected {len(self.fields)} fields ({names!r}), met {len(texts)}: {met!r}"
        values = []
        for field, text in zip(self.fields, texts, strict=True):
            value = field.parse(text)
            if value is None:
                return f"{field.name} is {text[:SHOWN]!r}; expected {_wanted(field)}"
            values.append(value)
        return values


def _wanted(field: Field) -> str:
    if field.kind == "text":
        return "some text"
    bounds = [f"from {field.low:,g}"] * (field.low > -math.inf) + [f"to {field.high:,g}"] * (field.high < math.inf)
    return " ".join(["a whole number" if field.kind == "whole" else "a number", *bounds])


def _blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield about as many bytes at a time, ending where a line does."""
    parts: list[bytes] = []
    while chunk := stream.read(size):
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield b"".join([*parts, head, newline])
            parts = []
        parts.append(tail)
    if any(parts):
        yield b"".join(parts)
