"""Tables in files: read for the command line with every mistake named by line, and written whole or not at all."""

from __future__ import annotations

from .events import read_events, read_interactions
from .files import READABLE
from .ids import known_ids, match_ids, read_ids
from .reading import read_table
from .writing import check_writable, write_table

__all__ = [
    "READABLE",
    "check_writable",
    "known_ids",
    "match_ids",
    "read_events",
    "read_ids",
    "read_interactions",
    "read_table",
    "write_table",
]
