"""Words that messages share."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """Word a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nearest(name: str, known: Sequence[str]) -> str:
    """Suggest the known name that is meant, or list them all."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
