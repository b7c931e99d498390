"""What the options of several commands have in common."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

FOLDER = Path(__file__).parent
# the user's own: what a shared folder holds under a known name may be anybody's
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implicit_wmf_bench"


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=positive, default=2, help="threads of every contestant (default 2)")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add where data sets and the report go."""
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the data sets")
    add_output(parser)


def add_interactions(parser: argparse.ArgumentParser) -> None:
    """Add where interactions are, and in which columns."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER",
        help="of Parquet files, as python data_scripts/synthetic_interactions.py -o FOLDER writes",
    )  # fmt: skip
    for column in ("user", "item", "value"):
        parser.add_argument(f"--{column}", default=column, metavar="COLUMN", help=f"column of {column}s ({column})")


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=markdown, metavar="FILE.md", help="the report; JSON and plots go beside it"
    )


def markdown(text: str) -> Path:
    """Read the path of a report: its record has the same name with .json, and must not replace it."""
    if not text.endswith(".md"):
        raise argparse.ArgumentTypeError(f"{text} is the path of a report and must end in .md")
    return Path(text)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number of at least 1")
    return value
