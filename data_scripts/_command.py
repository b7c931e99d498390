"""What the scripts' command lines share: arguments, the checks of what was read, and what is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from _events import Events, check_output, thin_out, write_events
from _source import Source, download, md5_of

from implicit_wmf.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class Publication:
    """What the publisher says of a data set; None or no checksum where nothing is said that it can be held to.

    Attributes
    ----------
    url : str
        Where the archive is.
    md5 : dict of str to str
        Checksums, by the end of the file's name.
    lines, users, items : int or None
    """

    name: str
    url: str
    md5: dict[str, str]
    lines: int | None = None
    users: int | None = None
    items: int | None = None


def parser_of(
    documentation: str, *, versions: Collection[str] = (), rated: bool = False, thinned: bool = True
) -> argparse.ArgumentParser:
    """Return a parser of the arguments that the scripts have, VERSION first where there are several."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if versions:
        parser.add_argument("version", choices=versions, metavar="VERSION", help=f"one of {', '.join(versions)}")
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="the publisher's archive, the folder of its files, or the file"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="the .npz or .parquet file to write"
    )
    parser.add_argument("--download", action="store_true", help="fetch the archive to SOURCE if it is not there")
    parser.add_argument(
        "--force", action="store_true", help="only warn where checksum or counts are not the publisher's"
    )
    if rated:
        parser.add_argument(
            "--min-rating", type=float, metavar="R", help="keep ratings of at least R; in an .npz each becomes 1"
        )
    if thinned:
        parser.add_argument(
            "--min-item", type=at_least_one, default=1, metavar="N", help="keep items with at least N lines"
        )
        parser.add_argument(
            "--min-user", type=at_least_one, default=1, metavar="N", help="then keep users with at least N lines"
        )
    return parser


def at_least_one(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def open_source(arguments: argparse.Namespace, publication: Publication) -> Source:
    """Check OUT, fetch the archive when asked to, and check its MD5 where the publisher gives one."""
    check_output(arguments.out)
    path: Path = arguments.source
    fetched = arguments.download and not path.exists()
    if fetched:
        print(f"fetching {publication.url}")
        # Under its name the file would stay and be refused by every later run.
        name = Path(publication.url).name
        download(publication.url, path, lambda part: _check_md5(part, name, publication, arguments.force, "try again"))
    source = Source(path)
    if arguments.out.exists() and arguments.out.samefile(path):
        raise InputError(f"OUT {arguments.out} is SOURCE itself; name another file")
    if not fetched:
        _check_md5(path, path.name, publication, arguments.force, f"delete {path} and fetch it again")
    return source


def _check_md5(path: Path, name: str, publication: Publication, force: bool, remedy: str) -> None:
    """Hold a file to the publisher's MD5 of files that end as `name` does; say so where there is none."""
    expected = next((md5 for ending, md5 in publication.md5.items() if name.lower().endswith(ending)), None)
    if expected is None or not path.is_file():
        known = " or ".join(publication.md5)
        reason = f"the publisher's is of the {known} file" if known else "the publisher gives none"
        print(f"checksum not checked: {reason}")
        return
    met = md5_of(path)
    if met != expected:
        complain(
            f"{name}: expected {publication.name} with MD5 {expected}, met {met}; {remedy}, or take it as it is with "
            "--force",
            force,
        )


def test_part(out: Path) -> Path:
    """Return where the test part goes: test.npz beside train.npz, and x.test.npz beside x.npz."""
    return out.with_name(f"test{out.suffix}" if out.stem == "train" else f"{out.stem}.test{out.suffix}")


def check_counts(
    publication: Publication, force: bool, *, lines: int, users: int | None = None, items: int | None = None
) -> None:
    """Hold what was read to what the publisher says of it."""
    met = {"lines": lines, "users": users, "items": items}
    wrong = [
        f"expected {expected:,} {name}, met {met[name]:,}"
        for name, expected in (("lines", publication.lines), ("users", publication.users), ("items", publication.items))
        if expected is not None and met[name] is not None and met[name] != expected
    ]
    if wrong:
        complain(
            f"this is not {publication.name} as published: {'; '.join(wrong)}; give the publisher's file, or take this "
            "one as it is with --force",
            force,
        )


def check_events(publication: Publication, events: Events, force: bool) -> None:
    """Hold all three counts of what was read to what the publisher says."""
    check_counts(publication, force, lines=len(events), users=len(events.users), items=len(events.items))


def complain(message: str, force: bool) -> None:
    """Raise InputError, or only warn under --force."""
    if not force:
        raise InputError(message)
    print(f"warning: {message}", file=sys.stderr)


def finish(arguments: argparse.Namespace, events: Events) -> None:
    """Thin the events out as asked, write them, and say what was kept and where."""
    print(f"{len(events):>12,} lines, {len(events.users):,} users, {len(events.items):,} items read")
    min_rating = getattr(arguments, "min_rating", None)
    kept = thin_out(events, min_value=min_rating, min_user=arguments.min_user, min_item=arguments.min_item)
    if len(kept) != len(events):
        print(f"{len(kept):>12,} lines, {len(kept.users):,} users, {len(kept.items):,} items kept")
    print_sizes(write_events(kept, arguments.out, binary=min_rating is not None))


def print_sizes(paths: Iterable[Path]) -> None:
    """Say what was written."""
    for path in paths:
        print(f"{path.stat().st_size / 1e6:>12,.1f} MB in {path}")


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a script; an error that the user can mend is one line, not a traceback."""
    try:
        main(None)
    except (InputError, MissingExtraError) as error:
        sys.exit(f"error: {error}")
