"""Turn Gowalla, Yelp2018 or Amazon-Book in the split of LightGCN into two matrices or tables, train and test.

    python data_scripts/lightgcn.py {gowalla,yelp2018,amazon-book} SOURCE -o OUT.npz

SOURCE is the archive of the authors' repository, or the folder with train.txt and test.txt. OUT.npz has the users x
items to fit on, ones, and OUT.test.npz of the same shape those to evaluate with (test.npz where OUT is train.npz);
OUT.parquet and OUT.test.parquet have the columns user and item. Ids are 0, 1, 2 and so on.

The counts are those of He, Deng, Wang, Li, Zhang and Wang 2020, "LightGCN: Simplifying and Powering Graph Convolution
Network for Recommendation", table 2; those of the parts were published with them,
https://github.com/kuandeng/LightGCN. There is no checksum, and --download fetches a branch, which may move on.

Terms: the repository states none for the data; Gowalla comes from https://snap.stanford.edu/data/loc-gowalla.html,
Yelp2018 from the Yelp challenge (academic use, no redistribution), Amazon-Book from the reviews of McAuley et al. 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from _command import Publication, check_counts, open_source, parser_of, print_sizes, run, test_part
from _events import Events, write_events
from _source import Source
from numpy.typing import NDArray

from implicit_wmf.errors import InputError

URL = "https://github.com/kuandeng/LightGCN/archive/refs/heads/master.zip"
SHOWN = 60


@dataclass(frozen=True)
class Split:
    """One of the data sets: the numbers of its pairs, users and items."""

    name: str
    train: int
    test: int
    users: int
    items: int

    def publication(self, part: str) -> Publication:
        """Return the figures that one of the parts is held to."""
        return Publication(f"{self.name}/{part}.txt", URL, {}, lines=getattr(self, part))


SPLITS = {
    split.name: split
    for split in (
        Split("gowalla", train=810_128, test=217_242, users=29_858, items=40_981),
        Split("yelp2018", train=1_237_259, test=324_147, users=31_668, items=38_048),
        Split("amazon-book", train=2_380_730, test=603_378, users=52_643, items=91_599),
    )
}

Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]


def read_lists(stream: IO[bytes], name: str) -> Pairs:
    """Return users and items, pair by pair, of lines with a user and then items; a user may have none.

    Raises
    ------
    InputError
        For anything but whole numbers, with the line, and for a user who has two lines.
    """
    seen: dict[int, int] = {}
    lists = []
    for line, content in enumerate(stream, start=1):
        fields = content.split()
        if not fields:
            continue
        if not all(field.isdigit() and len(field) < 10 for field in fields):
            met = content[:SHOWN].decode("utf-8", "replace")
            raise InputError(f"{name}, line {line}: expected a user and items as whole numbers, met {met!r}")
        user, *items = map(int, fields)
        if user in seen:
            raise InputError(f"{name}, line {line}: user {user} has line {seen[user]} already; give the authors' file")
        seen[user] = line
        lists.append((user, np.array(items, dtype=np.int32)))
    lengths = [len(items) for _, items in lists]
    users = np.repeat(np.array([user for user, _ in lists], dtype=np.int32), lengths)
    return users, np.concatenate([items for _, items in lists] or [users])


def read_part(source: Source, split: Split, part: str) -> Pairs:
    """Return the pairs of train or test."""
    name = f"{split.name}/{part}.txt"
    with source.open(name, beside=True) as stream:
        return read_lists(stream, name)


def check_parts(split: Split, parts: dict[str, Pairs], force: bool) -> None:
    """Hold pairs, users and items to the paper's figures."""
    for part, (users, _) in parts.items():
        check_counts(split.publication(part), force, lines=len(users))
    whole = Publication(split.name, URL, {}, users=split.users, items=split.items)
    check_counts(whole, force, lines=0, users=_size(parts, 0), items=_size(parts, 1))


def _size(parts: dict[str, Pairs], side: int) -> int:
    """Return the number of users (0) or items (1): one more than the largest id, as the authors count."""
    return 1 + max(int(pairs[side].max(initial=-1)) for pairs in parts.values())


def main(command_line: Sequence[str] | None = None) -> None:
    """Read both parts, check them, write them and print what they hold."""
    arguments = parser_of(__doc__, versions=SPLITS, thinned=False).parse_args(command_line)
    split = SPLITS[arguments.version]
    source = open_source(arguments, Publication(split.name, URL, {}))
    parts = {part: read_part(source, split, part) for part in ("train", "test")}
    check_parts(split, parts, arguments.force)
    users, items = (np.arange(_size(parts, side)) for side in (0, 1))
    for part, (user, item) in parts.items():
        print(f"{len(user):>12,} pairs in {part}.txt of {len(users):,} users and {len(items):,} items")
        out: Path = arguments.out
        target = out if part == "train" else test_part(out)
        print_sizes(write_events(Events(user, item, users, items), target, binary=True))


if __name__ == "__main__":
    run(main)
