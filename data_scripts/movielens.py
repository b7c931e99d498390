"""Turn a MovieLens data set into a matrix or a table of events.

    python data_scripts/movielens.py {100k,1m,10m,20m,25m} SOURCE -o OUT.npz
    python data_scripts/movielens.py 20m ml-20m.zip --download -o ml-20m.npz --min-rating 4 --min-user 5

SOURCE is GroupLens' archive, the folder that it unpacks to, or the file of ratings itself: u.data, ratings.dat or
ratings.csv. OUT.npz has users x items with the ratings for values, its ids beside it; OUT.parquet has the columns user,
item, rating and timestamp.

The second line is the data of Liang, Krishnan, Hoffman and Jebara 2018, "Variational Autoencoders for Collaborative
Filtering", section 4.1: ratings of 4 and more are positive, users with fewer than 5 of them are left out.

Counts and checksums are those of GroupLens (a README in each archive, files.grouplens.org/datasets/movielens/*.md5);
users and items count where they have a rating, which some of the READMEs do otherwise.

Terms: research use, no redistribution, no commercial use without permission; credit F. M. Harper and J. A. Konstan
2015, "The MovieLens Datasets: History and Context". https://grouplens.org/datasets/movielens/ has them in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from _command import Publication, check_events, finish, open_source, parser_of, run
from _events import collect, refuse_repeats
from _lines import Field, LineFormat

URL = "https://files.grouplens.org/datasets/movielens"
FIELDS = (
    Field("user", "whole", low=1),
    Field("item", "whole", low=1),
    Field("rating", "number", low=0.5, high=5),
    Field("timestamp", "whole", low=0),
)
CSV = LineFormat(FIELDS, ",", header="userId,movieId,rating,timestamp")
COLONS = LineFormat(FIELDS, "::")


@dataclass(frozen=True)
class Version:
    """One of the data sets: its file of ratings within the archive, that file's form, and GroupLens' figures."""

    member: str
    form: LineFormat
    published: Publication


VERSIONS = {
    name: Version(member, form, Publication(f"ml-{name}", f"{URL}/ml-{name}.zip", {".zip": md5}, *figures))
    for name, member, form, md5, *figures in (
        ("100k", "ml-100k/u.data", LineFormat(FIELDS), "0e33842e24a9c977be4e0107933c0723", 100_000, 943, 1_682),
        ("1m", "ml-1m/ratings.dat", COLONS, "c4d9eecfca2ab87c1945afe126590906", 1_000_209, 6_040, 3_706),
        ("10m", "ml-10M100K/ratings.dat", COLONS, "ce571fd55effeba0271552578f2648bd", 10_000_054, 69_878, 10_677),
        ("20m", "ml-20m/ratings.csv", CSV, "cd245b17a1ae2cc31bb14903e1204af3", 20_000_263, 138_493, 26_744),
        ("25m", "ml-25m/ratings.csv", CSV, "6b51fb2759a8657d3bfcbfc42b592ada", 25_000_095, 162_541, 59_047),
    )
}


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the archive, check it, write OUT and print what it holds."""
    arguments = parser_of(__doc__, versions=VERSIONS, rated=True).parse_args(command_line)
    version = VERSIONS[arguments.version]
    source = open_source(arguments, version.published)
    events = collect(source, version.member, version.form)
    check_events(version.published, events, arguments.force)
    refuse_repeats(events, version.member)
    finish(arguments, events)


if __name__ == "__main__":
    run(main)
