"""Names in a store's folder."""

from __future__ import annotations

import os

FORMAT = "implicit_wmf store"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
IDS = "{}.parquet"  # of users and of items
PathLike = str | os.PathLike[str]
