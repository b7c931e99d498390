"""Tables as text, well formed and then spoiled, as hypothesis strategies.

A case is JSON: the file's suffix, its bytes as letters of Latin-1, the columns that are asked for, and whether the file
is as it was before anything spoiled it.
"""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

from hypothesis import strategies as st

Case = dict[str, Any]

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz")
COLUMNS = ("user", "item", "value", "timestamp")
IDS = (
    *("a", "b", "c", "1", "2", "-5", "0", "007", "+1", "1.0", "1e3", "NA", "null", "nan", "None", "x y", " 1", "é"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "123456789012345678901234567890"),
    *('say "hi"', "a,b", "a\tb", "two\nlines", "two\r\nlines", "\u2028", "\ufeff", "true", "日本"),
)  # fmt: skip
INTEGERS = ("0", "1", "2", "-5", "33", "9223372036854775807", "-9223372036854775808")
NUMBERS = ("1", "2", "0", "-3", "0.5", "1e3", "1.25e-3", ".5", "7.", "+4", "123456789", "16777217")
BAD_NUMBERS = ("nan", "inf", "-inf", "1e999", "x", "", "1,5", "0x10", "1_000", "٣", "--1", "1 2", "True", "1e", "NA")
DAYS = ("2024-01-02", "2023-12-31T23:59:59", "2024-02-29T00:00:00", "1999-01-01")
MOMENTS = ("0", "1700000000", "5", "-3")
BAD_MOMENTS = ("", "yesterday", "2024-13-01", "2024-02-30", "99999-01-01", "inf", "2024-01-02T25:00:00")
SPLICES = (
    b'"', b'""', b'"""', b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b",", b",,,,", b"\t", b" ", b";", b"\\", b"'", b"#", b"\x1a", b"\x0c", b"\xe2\x80\xa8", b"1e309",
    b"9223372036854775808", b"x" * 200_000, b"-", b"1", b"\n \n", b"\n,\n", b'\n"', b'",',
)  # fmt: skip


def tables() -> st.SearchStrategy[Case]:
    """Draw tables, one of three as csv writes them."""
    return st.builds(_spoiled, _well_formed(), st.one_of(st.just([]), _spoilings(), _spoilings()), st.integers(0, 7))


def _well_formed() -> st.SearchStrategy[Case]:
    asked = st.sampled_from([(), ("value",), ("timestamp",), ("value", "timestamp")])
    kinds = st.tuples(
        st.sampled_from([IDS, INTEGERS, INTEGERS]), st.sampled_from([IDS, INTEGERS]), st.sampled_from([DAYS, MOMENTS])
    )
    return st.tuples(asked, kinds).flatmap(lambda drawn: _with_columns(*drawn))


def _with_columns(asked: tuple[str, ...], kinds: tuple[tuple[str, ...], ...]) -> st.SearchStrategy[Case]:
    users, items, moments = kinds
    line = st.tuples(st.sampled_from(users), st.sampled_from(items), st.sampled_from(NUMBERS), st.sampled_from(moments))
    return st.builds(
        _write,
        suffix=st.sampled_from(SUFFIXES),
        lines=st.lists(line, min_size=1, max_size=8),
        order=st.permutations([*COLUMNS, "note"]),
        line_end=st.sampled_from(["\n", "\r\n"]),
        mark=st.booleans(),
        quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        asked=st.just(asked),
    )


def _write(
    *,
    suffix: str,
    lines: list[tuple[str, ...]],
    order: list[str],
    line_end: str,
    mark: bool,
    quoting: Any,
    asked: tuple[str, ...],
) -> Case:
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter="," if suffix.startswith(".csv") else "\t", lineterminator=line_end, quoting=quoting
    )
    writer.writerow(order)
    for line in lines:
        fields = dict(zip(COLUMNS, line, strict=True)) | {"note": ""}
        writer.writerow([fields[name] for name in order])
    content = (b"\xef\xbb\xbf" if mark else b"") + text.getvalue().encode()
    return {"suffix": suffix, "content": content, "asked": list(asked), "whole": True}


def _spoilings() -> st.SearchStrategy[list[tuple[str, float, Any]]]:
    """Draw what is done to the bytes: what is spliced in, taken out, or put in the place of a field."""
    where = st.floats(0, 1, exclude_max=True)
    return st.lists(
        st.one_of(
            st.tuples(st.just("splice"), where, st.sampled_from(SPLICES)),
            st.tuples(st.just("splice"), where, st.binary(min_size=1, max_size=4)),
            st.tuples(st.just("cut"), where, st.integers(1, 12)),
            st.tuples(st.just("end"), where, st.none()),
            st.tuples(st.just("field"), where, st.sampled_from([*BAD_NUMBERS, *BAD_MOMENTS, *IDS])),
        ),
        min_size=1,
        max_size=3,
    )


def _spoiled(case: Case, spoilings: list[tuple[str, float, Any]], packed: int) -> Case:
    """Spoil the text; of packed files, some are spoiled as they lie on the disk."""
    zipped = case["suffix"].endswith(".gz")
    content, after = case["content"], zipped and packed == 0
    if not after:
        content = _spoil(content, spoilings)
    if zipped:
        content = gzip.compress(content, mtime=0)
    if after:
        content = _spoil(content, spoilings)
    return case | {"content": content.decode("latin-1"), "whole": not spoilings}


def _spoil(content: bytes, spoilings: list[tuple[str, float, Any]]) -> bytes:
    for how, where, what in spoilings:
        place = int(where * len(content))
        if how == "splice":
            content = content[:place] + what + content[place:]
        elif how == "cut":
            content = content[:place] + content[place + what :]
        elif how == "end":
            content = content[:place]
        else:
            content = _with_field(content, place, what.encode())
    return content


def _with_field(content: bytes, place: int, field: bytes) -> bytes:
    """Put other text in the place of the field around a position, however fields are separated there."""
    marks = b",\t\r\n"
    start = max((content.rfind(bytes([mark]), 0, place) + 1 for mark in marks), default=0)
    ends = [end for mark in marks if (end := content.find(bytes([mark]), place)) >= 0]
    return content[:start] + field + content[min(ends, default=len(content)) :]
