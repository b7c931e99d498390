"""Delimited text read letter by letter, and stores as plain dictionaries: what `prepare` is compared with."""

import csv
import math
import re
from collections import Counter

import pytest

from implicit_wmf.store import Store

pytest.importorskip("duckdb")

from implicit_wmf.store.preparing import prepare  # noqa: E402

NUMBER = re.compile(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*")
TRUTHS = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}


def cells_of(store):
    """The pairs of ids with their values."""
    data = (Store.open(store) if not isinstance(store, Store) else store).interactions()
    return cells_of_interactions(data)


def cells_of_interactions(data):
    coo = data.matrix.tocoo()
    return {(data.users[u], data.items[i]): float(v) for u, i, v in zip(coo.row, coo.col, coo.data, strict=True)}


def contents_of(store):
    """The bytes of all files of a store."""
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def prepared(inputs, target, **options):
    options = {"user": "u", "item": "i", "progress": False, "num_threads": 1} | options
    return prepare(inputs, target, **options)


def split_lines(letters):
    """Physical lines with their ends: \\n, \\r\\n or \\r."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", letters)


def parse(lines, separator):
    """One record from the front of physical lines: its fields, or None for a quote that stays open; lines it takes."""
    fields, field, state, taken = [], "", "start", 0
    for taken, line in enumerate(lines, start=1):  # noqa: B007
        for letter in line:
            if state == "quoted":
                if letter == '"':
                    state = "quote in quoted"
                else:
                    field += letter
                continue
            if letter in "\r\n":
                break
            if letter == separator:
                fields.append(field)
                field, state = "", "start"
            elif letter == '"' and state == "start":
                state = "quoted"
            elif letter == '"' and state == "quote in quoted":
                field += '"'
                state = "quoted"
            else:
                field += letter
                state = "plain"
        if state != "quoted":
            return [*fields, field], taken
    return None, taken


def read_slowly(content, separator=","):
    """Sound records as (line, fields), and lines with a fault as (line, text), below the header."""
    lines = split_lines(content.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    sound, wrong, header, at = [], [], None, 0
    while at < len(lines):
        fields, taken = parse(lines[at:], separator)
        blank = fields is not None and len(fields) == 1 and not fields[0].strip(" \t") and '"' not in lines[at]
        taken = 1 if fields is None else taken
        text = "".join(lines[at : at + taken])
        bad = fields is None or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)
        if not blank:
            if header is None:
                header = None if bad else fields
                if bad:
                    return None, [], []
            elif bad or len(fields) != len(header):
                wrong.append((at + 1, text.rstrip("\r\n")))
            else:
                sound.append((at + 1, fields, text.rstrip("\r\n")))
        at += taken
    return header, sound, wrong


def number_of(text):
    if text in TRUTHS:
        return TRUTHS[text]
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) and abs(value) <= 3.4028234663852886e38 else None


def expected_of(content, separator=",", value=None):
    """Cells, and the wrong lines with their texts, of a file with columns u, i and perhaps `value`."""
    header, sound, wrong = read_slowly(content, separator)
    lines = []
    for line, fields, text in sound:
        user, item = (fields[header.index(name)] for name in "ui")
        number = 1.0 if value is None else number_of(fields[header.index(value)])
        if "" in (user, item) or number is None:
            wrong.append((line, text))
        else:
            lines.append((user, item, number))
    cells = Counter()
    integers = [all(re.fullmatch("0|-?[1-9][0-9]*", one[side]) for one in lines) for side in (0, 1)]
    for *ids, number in lines:
        pair = tuple(int(one) if whole else one for one, whole in zip(ids, integers, strict=True))
        cells[pair] += number
    return dict(cells), sorted(wrong), len(lines) + len(wrong)


def rejected_of(path):
    """The lines of a file of rejects with their texts, and all its records."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *records = csv.reader(file)
    assert header == ["file", "line", "reason", "text"]
    return sorted((int(line), text) for _, line, _, text in records), records


def readable(letters):
    """Text as files of rejects have it."""
    return letters.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
