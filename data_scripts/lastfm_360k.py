"""Turn Last.fm 360K into a matrix or a table: how often each user played an artist.

    python data_scripts/lastfm_360k.py SOURCE -o OUT.npz

SOURCE is lastfm-dataset-360K.tar.gz, the folder that it unpacks to, or its usersha1-artmbid-artname-plays.tsv. OUT.npz
has users x artists with the plays for values, its ids beside it; OUT.parquet has the columns user, item and plays.
Names of artists go to OUT.items.csv.

An artist is known by the MusicBrainz id, or by the name where there is none. The lines have no quotes: a quotation mark
is part of a name, so readers that take it for one lose lines. What cannot be used is left out and counted: lines with
another number of fields, users that are no SHA-1 (one is "sep 20, 2008"), lines without an artist, and no plays at all.
Several lines of a user and an artist are added up in OUT.npz.

The number of lines and the checksums are those of the publisher, https://zenodo.org/records/6090214 and its README,
version 1.2 of March 2010. That gives 359,347 users as well, and does not say whether those above count as such.

Terms: non-commercial use, by permission of Last.fm; credit O. Celma 2010, "Music Recommendation and Discovery in the
Long Tail". The README has them in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from _command import Publication, check_counts, finish, open_source, parser_of, run
from _events import Collector, Events
from _lines import Field, LineFormat, Malformed
from _source import Source
from numpy.typing import NDArray

MEMBER = "usersha1-artmbid-artname-plays.tsv"
PUBLISHED = Publication(
    "lastfm-dataset-360K",
    "https://zenodo.org/records/6090214/files/lastfm-dataset-360K.tar.gz",
    {".tar.gz": "635e6ed3fc873aa4ba33aba0ebce02b1", ".tsv": "be672526eb7c69495c27ad27803148f1"},
    lines=17_559_530,
)
FORM = LineFormat(
    (Field("user", may_be_empty=True), Field("mbid", may_be_empty=True), Field("name", may_be_empty=True))
    + (Field("plays", "whole", low=0),)
)
SHA1 = r"[0-9a-f]{40}"
# Blemishes are a few lines in millions.
MALFORMED_SHARE, MALFORMED_AT_LEAST = 1e-4, 10


def read_plays(source: Source) -> tuple[Events, int, dict[str, int]]:
    """Return the plays, the number of lines in the file, and how many of them each reason left out."""
    malformed = Malformed(MALFORMED_SHARE, MALFORMED_AT_LEAST)
    left_out = dict.fromkeys(("malformed", "user is no SHA-1", "no artist", "no plays"), 0)
    collector, names, lines = Collector("plays"), {}, 0
    with source.open(MEMBER) as stream:
        for block in FORM.read(stream, MEMBER, malformed=malformed):
            lines += len(block)
            block = _drop_unusable(block, left_out)
            item = _artists(block, names)
            collector.add(user=block["user"].cat.remove_unused_categories(), item=item, value=block["plays"])
    left_out["malformed"] = malformed.count
    return replace(collector.events(), item_names=names), lines + malformed.count, left_out


def _drop_unusable(block: pd.DataFrame, left_out: dict[str, int]) -> pd.DataFrame:
    unknown = ~block["user"].cat.categories.str.fullmatch(SHA1)
    reasons: dict[str, NDArray[np.bool_]] = {
        "user is no SHA-1": np.asarray(unknown, dtype=bool)[block["user"].cat.codes],
        "no artist": ((block["mbid"] == "") & (block["name"] == "")).to_numpy(),
        "no plays": (block["plays"] == 0).to_numpy(),
    }
    unusable = np.zeros(len(block), dtype=bool)
    for reason, applies in reasons.items():
        left_out[reason] += int((applies & ~unusable).sum())
        unusable |= applies
    return block[~unusable]


def _artists(block: pd.DataFrame, names: dict[str, str]) -> pd.Series:
    """Return the artists' ids, and remember the first name that each is met under."""
    mbids, artists = block["mbid"].cat, block["name"].cat
    pairs = mbids.codes.to_numpy(np.int64) * len(artists.categories) + artists.codes.to_numpy(np.int64)
    codes, uniques = pd.factorize(pairs)
    ids = []
    for mbid, name in zip(*divmod(uniques, max(1, len(artists.categories))), strict=True):
        spelled = artists.categories[name]
        ids.append(mbids.categories[mbid] or spelled)
        names.setdefault(ids[-1], spelled)
    distinct, places = np.unique(np.array(ids, dtype=object), return_inverse=True)
    return pd.Series(pd.Categorical.from_codes(places[codes] if len(codes) else [], distinct))


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the archive, check it, write OUT and print what was left out and what is held."""
    arguments = parser_of(__doc__).parse_args(command_line)
    events, lines, left_out = read_plays(open_source(arguments, PUBLISHED))
    check_counts(PUBLISHED, arguments.force, lines=lines)
    for reason, count in left_out.items():
        print(f"{-count:>12,} lines: {reason}")
    finish(arguments, events)


if __name__ == "__main__":
    run(main)
