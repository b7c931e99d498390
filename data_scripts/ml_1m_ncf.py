"""Turn MovieLens 1M in the split of Neural Collaborative Filtering into a matrix and the candidates to rank.

    python data_scripts/ml_1m_ncf.py SOURCE -o OUT.npz
    python data_scripts/ml_1m_ncf.py ncf.zip --download -o ml-1m-ncf/train.parquet

SOURCE is the archive of the authors' repository, or the folder with ml-1m.train.rating and ml-1m.test.negative.
OUT.npz has the users x items to fit on, ones; OUT.test.npz has the arrays user, item (the one held out) and negatives
(99 a user). OUT.parquet has the columns user, item, rating and timestamp, and OUT.test.parquet user, item and
negatives. Where OUT is train.npz or train.parquet, the other is test.npz or test.parquet: the second line makes what
`python -m bench quality --data ml-1m-ncf` reads, in a folder ml-1m-ncf that is there already. Ids are 0, 1, 2 and so
on. Some users have an item of their own among their negatives; they stay as published.

The authors give no checksum. What was read is held to SHA-256 digests of our own instead: of the users and items to fit
on, and of the users with the item held out and the negatives, whatever order they are in; not of ratings and times.

The counts are those of He, Liao, Zhang, Nie, Hu and Chua 2017, "Neural Collaborative Filtering", table 1 (1,000,209
ratings, a user's latest held out), and of https://github.com/hexiangnan/neural_collaborative_filtering.

Terms: those of MovieLens 1M (research use, no redistribution), https://grouplens.org/datasets/movielens/1m/.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from _command import Publication, check_counts, complain, open_source, parser_of, print_sizes, run, test_part
from _events import Events, collect, refuse_repeats, write_events, write_whole
from _lines import Field, LineFormat
from numpy.typing import NDArray

from implicit_wmf.errors import InputError
from implicit_wmf.tables import write_table

# a commit, because a branch may move on
COMMIT = "4aab159e81c44b062c091bdaed0ab54ac632371f"
URL = f"https://github.com/hexiangnan/neural_collaborative_filtering/archive/{COMMIT}.zip"
TRAIN, TEST = "ml-1m.train.rating", "ml-1m.test.negative"
PUBLISHED = Publication("ml-1m.train.rating", URL, {}, lines=994_169, users=6_040)
CANDIDATES = Publication("ml-1m.test.negative", URL, {}, lines=6_040, items=3_706)
# Ours, not the authors': `content_digest` of a copy on which the most-popular baseline gives HR@10 .4538 and NDCG@10
# .2545 and 156 users have their own item among their negatives, as in the published files.
DIGESTS = {
    TRAIN: "aebf7a7640176256d7078f2353abf57180c958b32553ee539e5cada249636f36",
    TEST: "039263b90eb650590ab0c0c1ba7cb8dbba861603b19c381490c529f3fbb7d8d6",
}
NEGATIVES = 99
FORM = LineFormat(
    (Field("user", "whole", low=0), Field("item", "whole", low=0))
    + (Field("rating", "number", low=1, high=5), Field("timestamp", "whole", low=0))
)
POSITIVE = re.compile(rb"\((\d{1,9}),\s?(\d{1,9})\)")
SHOWN = 60

Table = NDArray[np.int32]


def read_candidates(stream: IO[bytes]) -> Table:
    """Return a row a line: the user, the item held out, and the negatives.

    Raises
    ------
    InputError
        For a line that is not "(user,item)" and 99 items, tab-separated.
    """
    rows = []
    for line, content in enumerate(stream, start=1):
        first, *negatives = content.rstrip(b"\r\n").rstrip(b"\t").split(b"\t")
        if not first and not negatives:
            continue
        pair = POSITIVE.fullmatch(first)
        numbers = all(negative.isdigit() and len(negative) < 10 for negative in negatives)
        if pair is None or len(negatives) != NEGATIVES or not numbers:
            met = content[:SHOWN].decode("utf-8", "replace")
            raise InputError(f"{TEST}, line {line}: expected '(user,item)' and {NEGATIVES} items, met {met!r}")
        rows.append([int(pair[1]), int(pair[2]), *map(int, negatives)])
    return np.array(rows, dtype=np.int32).reshape(-1, NEGATIVES + 2)


def content_digest(rows: NDArray[np.integer]) -> str:
    """Return the SHA-256 of the rows in ascending order, as 8-byte little-endian whole numbers, in hexadecimal."""
    ordered = rows[np.lexsort(rows.T[::-1])].astype("<i8")
    return hashlib.sha256(np.ascontiguousarray(ordered).tobytes()).hexdigest()


def check_contents(events: Events, candidates: Table, force: bool) -> None:
    """Hold pairs and candidates to our digests: counts do not tell when negatives were drawn anew."""
    pairs = np.column_stack([events.users[events.user], events.items[events.item]])
    drawn = np.column_stack([candidates[:, :2], np.sort(candidates[:, 2:], axis=1)])
    for name, rows in ((TRAIN, pairs), (TEST, drawn)):
        met = content_digest(rows)
        if met != DIGESTS[name]:
            complain(
                f"{name}: expected contents with our SHA-256 {DIGESTS[name]}, met {met}; give the authors' file, or "
                "take this one as it is with --force",
                force,
            )


def with_all_ids(events: Events, candidates: Table) -> Events:
    """Let every id have its own row and column, those that only candidates have as well."""
    last_user = max(events.users.max(initial=-1), candidates[:, 0].max(initial=-1))
    last_item = max(events.items.max(initial=-1), candidates[:, 1:].max(initial=-1))
    user, item = (
        ids[codes].astype(np.int32) for ids, codes in ((events.users, events.user), (events.items, events.item))
    )
    users, items = np.arange(last_user + 1), np.arange(last_item + 1)
    return Events(user, item, users, items, events.value_name, events.values, events.seconds)


def write_candidates(candidates: Table, path: Path) -> None:
    """Write the candidates as arrays or as a table, by the suffix."""
    user, item, negatives = candidates[:, 0], candidates[:, 1], candidates[:, 2:]
    if path.suffix.lower() == ".npz":
        write_whole(path, lambda file: np.savez(file, user=user, item=item, negatives=negatives))
    else:
        write_table(pd.DataFrame({"user": user, "item": item, "negatives": list(negatives)}), path)


def main(command_line: Sequence[str] | None = None) -> None:
    """Read both files, check them, write them and print what they hold."""
    arguments = parser_of(__doc__, thinned=False).parse_args(command_line)
    source = open_source(arguments, PUBLISHED)
    events = collect(source, TRAIN, FORM)
    with source.open(TEST, beside=True) as stream:
        candidates = read_candidates(stream)
    check_counts(PUBLISHED, arguments.force, lines=len(events), users=len(events.users))
    refuse_repeats(events, TRAIN)
    events = with_all_ids(events, candidates)
    check_counts(CANDIDATES, arguments.force, lines=len(candidates), items=len(events.items))
    check_contents(events, candidates, arguments.force)
    print(f"{len(events):>12,} ratings of {len(events.users):,} users and {len(events.items):,} items to fit on")
    print(f"{len(candidates):>12,} users with an item held out and {NEGATIVES} negatives")
    out: Path = arguments.out
    test = test_part(out)
    write_candidates(candidates, test)
    print_sizes([*write_events(events, out, binary=True), test])


if __name__ == "__main__":
    run(main)
