"""Names in a store's folder, and what is none on this machine."""

from __future__ import annotations

import os

FORMAT = "implicit_wmf store"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
IDS = "{}.parquet"  # of users and of items
PathLike = str | os.PathLike[str]


def is_url(path: object) -> bool:
    """Whether this is the text of a URL."""
    return isinstance(path, str) and "://" in path
