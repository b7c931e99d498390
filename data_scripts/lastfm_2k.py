"""Turn HetRec 2011 Last.fm 2K into a matrix or a table: how often each user played an artist.

    python data_scripts/lastfm_2k.py SOURCE -o OUT.npz

SOURCE is hetrec2011-lastfm-2k.zip, the folder that it unpacks to, or its user_artists.dat (also .gz). OUT.npz has
users x artists with the plays for values, its ids beside it; OUT.parquet has the columns user, item and plays. Names
of artists go to OUT.items.csv where artists.dat is in the archive or beside the file.

The counts are those of the archive's readme.txt; GroupLens gives no checksum.

Terms: non-commercial research, no redistribution; credit I. Cantador, P. Brusilovsky and T. Kuflik 2011, "2nd Workshop
on Information Heterogeneity and Fusion in Recommender Systems". https://grouplens.org/datasets/hetrec-2011/ has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from _command import Publication, check_events, finish, open_source, parser_of, run
from _events import collect
from _lines import Field, LineFormat
from _source import NoSuchFileError, Source

PUBLISHED = Publication(
    "hetrec2011-lastfm-2k",
    "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
    {},
    lines=92_834,
    users=1_892,
    items=17_632,
)
PLAYS = LineFormat(
    (Field("user", "whole", low=1), Field("item", "whole", low=1), Field("plays", "whole", low=1)),
    header="userID\tartistID\tweight",
)
ARTISTS = LineFormat(
    (Field("id", "whole"), Field("name", may_be_empty=True), Field("url", may_be_empty=True))
    + (Field("picture", may_be_empty=True),),
    header="id\tname\turl\tpictureURL",
)


def read_names(source: Source) -> dict[int, str]:
    """Return the artists' names by id; none where there is no file of them."""
    try:
        with source.open("artists.dat", beside=True) as stream:
            blocks = list(ARTISTS.read(stream, "artists.dat"))
    except NoSuchFileError:
        return {}
    return {key: name for block in blocks for key, name in zip(block["id"], block["name"], strict=True)}


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the archive, check it, write OUT and print what it holds."""
    arguments = parser_of(__doc__).parse_args(command_line)
    source = open_source(arguments, PUBLISHED)
    events = collect(source, "user_artists.dat", PLAYS)
    check_events(PUBLISHED, events, arguments.force)
    finish(arguments, replace(events, item_names=read_names(source)))


if __name__ == "__main__":
    run(main)
