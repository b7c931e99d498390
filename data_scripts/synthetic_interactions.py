"""Write synthetic interactions of any size as a folder of Parquet files, to see how something behaves at that size.

    python data_scripts/synthetic_interactions.py -o FOLDER
    python data_scripts/synthetic_interactions.py -o FOLDER --lines 1000000 --users 50000 --items 5000

FOLDER gets files of the columns user, item, value and timestamp. Users, items and which user takes which item are drawn
as `implicit_wmf.datasets.synthetic` draws them, skewed and with something to find; a share of the lines repeats a pair
that another line has. The lines are in an order drawn from all orders, across files as well, so that any of the files
are a sample of the whole, while time rises from line to line as in a log. Ids are whole numbers far apart, no
positions. The same seed gives the same lines, and with the same versions of NumPy and Arrow the same bytes.

Memory stays below 1 GB: blocks of users are drawn one after another, and their lines dealt out to as many files of
numbers beside the result as it will have Parquet files; each is then shuffled. 100 million lines take 1.2 GB more on
the disk until they are done.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from _command import at_least_one, print_sizes, run
from _events import ROWS_AT_ONCE, parquet_writing
from numpy.typing import NDArray
from tqdm import tqdm

from implicit_wmf._folders import writing_folder
from implicit_wmf.datasets.synthetic import draw_counts, sample_blocks
from implicit_wmf.errors import InputError

LINE = np.dtype([("user", np.int32), ("item", np.int32), ("value", np.float32)])
# One line of so many repeats a pair of another one, as lines of a log do.
REPEATED = 10
# 2024, in seconds since 1970
BEGIN, SPAN = 1_704_067_200, 366 * 86_400
# The limit of NumPy's draw without replacement.
MOST_LINES = 10**9 - 1
# Odd numbers, so that the products are distinct modulo a power of two.
SCATTER = {"user": 0x9E3779B97F4A7C15, "item": 0xC2B2AE3D27D4EB4F}
ID_BITS = 40


def main(command_line: Sequence[str] | None = None) -> None:
    """Draw the lines, write FOLDER and print what is held."""
    arguments = _parser().parse_args(command_line)
    target = _check(arguments)
    with writing_folder(target) as folder:
        _write(folder, arguments)
    print(f"{arguments.lines:>12,} lines of {arguments.users:,} users and {arguments.items:,} items written")
    print_sizes(sorted(target.iterdir()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    for name, default, text in (
        ("lines", 100_000_000, "lines in all"),
        ("users", 2_000_000, "users that may have lines"),
        ("items", 200_000, "items that may have lines"),
        ("factors", 16, "tastes that the users share"),
        ("file-lines", 5_000_000, "lines of a file"),
    ):
        parser.add_argument(
            f"--{name}", type=at_least_one, default=default, metavar="N", help=f"{text} (default {default:,})"
        )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (default 0)")
    return parser


def _check(arguments: argparse.Namespace) -> Path:
    """Refuse what cannot be written before anything is drawn."""
    parquet_writing()
    if arguments.lines > MOST_LINES:
        raise InputError(f"--lines is {arguments.lines}; give at most {MOST_LINES}")
    if _pairs(arguments.lines) > arguments.users * arguments.items // 2:
        raise InputError(
            f"--lines {arguments.lines}: {_pairs(arguments.lines)} pairs are more than half of the {arguments.users} x "
            f"{arguments.items} that there are; give fewer lines, or more users or items"
        )
    if arguments.seed < 0:
        raise InputError(f"--seed is {arguments.seed}; give a whole number of at least 0")
    if arguments.out.exists():
        raise InputError(f"{arguments.out} exists and was left alone; remove it or name another folder")
    target: Path = arguments.out.resolve()
    return target


def _write(folder: Path, arguments: argparse.Namespace) -> None:
    rng = np.random.default_rng(arguments.seed)
    sizes = _file_sizes(arguments.lines, arguments.file_lines)
    raw = [folder / f"part-{number:05}.raw" for number in range(len(sizes))]
    blocks = _blocks(rng, arguments.lines, (arguments.users, arguments.items), arguments.factors)
    with tqdm(desc="drawing", total=arguments.lines, unit="line", unit_scale=True, disable=None) as bar:
        _deal_out(rng, blocks, raw, sizes, bar)
    first = 0
    for path, size in tqdm(list(zip(raw, sizes.tolist(), strict=True)), desc="writing", unit="file", disable=None):
        lines = rng.permutation(np.fromfile(path, LINE))
        _write_parquet(path.with_suffix(".parquet"), lines, _times(first, size, arguments.lines))
        path.unlink()
        first += size


def _pairs(lines: int) -> int:
    return lines - lines // REPEATED


def _file_sizes(lines: int, file_lines: int) -> NDArray[np.int64]:
    return np.diff(np.append(np.arange(0, lines, file_lines), lines))


def _blocks(rng: np.random.Generator, lines: int, shape: tuple[int, int], factors: int) -> Iterator[NDArray[np.void]]:
    """Yield the lines of block after block of users: a line each pair, and the repeats that fall to the block."""
    pairs = _pairs(lines)
    before = 0
    for start, degrees, items in sample_blocks(rng, shape, pairs, factors):
        cells = np.empty(len(items), LINE)
        cells["user"] = np.repeat(np.arange(start, start + len(degrees)), degrees)
        cells["item"], cells["value"] = items, draw_counts(rng, len(items))
        repeats = _share(lines - pairs, before + len(items), pairs) - _share(lines - pairs, before, pairs)
        again = cells[rng.integers(len(cells), size=repeats)] if len(cells) else cells
        again["value"] = draw_counts(rng, len(again))
        yield np.concatenate([cells, again])
        before += len(items)


def _share(whole: int, part: int, parts: int) -> int:
    return whole * part // parts


def _deal_out(
    rng: np.random.Generator,
    blocks: Iterator[NDArray[np.void]],
    raw: Sequence[Path],
    sizes: NDArray[np.int64],
    bar: Any,
) -> None:
    """Give each line a place in the files, every order of all lines being as likely; within a file as they come."""
    room = sizes.copy()
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in raw]
        for lines in blocks:
            # what a draw without replacement from all places that are left comes to
            dealt = rng.multivariate_hypergeometric(room, len(lines), method="marginals")
            room -= dealt
            for file, part in zip(files, np.split(rng.permutation(lines), np.cumsum(dealt)[:-1]), strict=True):
                part.tofile(file)
            bar.update(len(lines))


def _times(first: int, count: int, lines: int) -> NDArray[np.int64]:
    return BEGIN + np.arange(first, first + count) * SPAN // lines


def _write_parquet(path: Path, lines: NDArray[np.void], times: NDArray[np.int64]) -> None:
    pyarrow, parquet = parquet_writing()
    fields = [("user", pyarrow.int64()), ("item", pyarrow.int64()), ("value", pyarrow.float32())]
    schema = pyarrow.schema([*fields, ("timestamp", pyarrow.timestamp("ms"))])
    # Ids are too many for dictionaries, and times rise.
    with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=["value"]) as writer:
        for start in range(0, len(lines), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            columns = [scattered(side, lines[side][rows]) for side in SCATTER]
            columns += [
                np.ascontiguousarray(lines["value"][rows]),
                times[rows].astype("datetime64[s]").astype("datetime64[ms]"),
            ]
            writer.write_table(pyarrow.table(columns, schema=schema))


def scattered(side: str, positions: NDArray[Any]) -> NDArray[np.int64]:
    """Return the ids of users or items at positions, distinct numbers below 2^40."""
    products = (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(SCATTER[side])
    return (products & np.uint64((1 << ID_BITS) - 1)).astype(np.int64)


if __name__ == "__main__":
    run(main)
