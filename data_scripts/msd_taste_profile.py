"""Turn the Echo Nest Taste Profile of the Million Song Dataset into a matrix or a table: how often users played songs.

    python data_scripts/msd_taste_profile.py SOURCE -o OUT.npz
    python data_scripts/msd_taste_profile.py train_triplets.txt.zip -o msd.npz --min-user 20 --min-item 200

SOURCE is train_triplets.txt.zip or its train_triplets.txt. OUT.npz has users x songs with the plays for values, its ids
beside it; OUT.parquet has the columns user, item and plays.

The second line is the data of Liang, Krishnan, Hoffman and Jebara 2018, "Variational Autoencoders for Collaborative
Filtering", section 4.1, before they make it binary: songs with at least 200 listeners, users with at least 20 songs.

The counts are those of the publisher's page, http://millionsongdataset.com/tasteprofile/, which gives no checksum.

Terms: research, under those of The Echo Nest that the page links to; credit T. Bertin-Mahieux, D. P. W. Ellis,
B. Whitman and P. Lamere 2011, "The Million Song Dataset".
"""

from __future__ import annotations

from collections.abc import Sequence

from _command import Publication, check_events, finish, open_source, parser_of, run
from _events import collect
from _lines import Field, LineFormat

MEMBER = "train_triplets.txt"
PUBLISHED = Publication(
    "the MSD Taste Profile",
    "http://millionsongdataset.com/sites/default/files/challenge/train_triplets.txt.zip",
    {},
    lines=48_373_586,
    users=1_019_318,
    items=384_546,
)
FORM = LineFormat((Field("user"), Field("item"), Field("plays", "whole", low=1)))


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the archive, check it, write OUT and print what it holds."""
    arguments = parser_of(__doc__).parse_args(command_line)
    events = collect(open_source(arguments, PUBLISHED), MEMBER, FORM)
    check_events(PUBLISHED, events, arguments.force)
    finish(arguments, events)


if __name__ == "__main__":
    run(main)
