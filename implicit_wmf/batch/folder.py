"""The folder that a batch job works in: parts one after another, a journal of those that are done, and a lock.

It stands beside its place as ``.<name>.partial`` and is renamed when every part is there. The journal is a file of JSON
lines: the question, then a record of each part, appended when the part is on the disk. A line that was cut short by a
crash does not count, nor does a part whose bytes are not those of its record: both are done again.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .._folders import replace_folder, write_bytes
from ..errors import InputError
from ..parameters import as_path

SUMMARY = "_summary.json"  # readers of folders of Parquet ignore names that begin with "_" or "."
FORMAT = "implicit_wmf recommendations"
FORMAT_VERSION = 1

_JOURNAL = "_progress.jsonl"
_PART = re.compile(r"part-\d{5,}\.parquet|\.part-\d{5,}\.tmp")

Question = dict[str, Any]
Record = dict[str, Any]


def partial_folder(target: Path) -> Path:
    """Where the parts of an unfinished result are."""
    return target.with_name(f".{target.name}.partial")


def check_target(path: str | os.PathLike[str]) -> Path:
    """Resolve links, and refuse to replace anything that a batch job did not write.

    Raises
    ------
    InputError
        If something else is there, or something else is in the folder; names it.
    """
    target = as_path("path", path).resolve()
    if not target.name:
        raise InputError(f"path {target} has no name; name a folder that is to be made")
    if not target.exists():
        return target
    summary = _read_json(target / SUMMARY)
    if not isinstance(summary, dict) or summary.get("format") != FORMAT:
        raise InputError(f"{target} exists and is not a folder of recommendations; it was left alone. Choose another")
    _refuse_foreign(target, "is a folder of recommendations")
    return target


def _refuse_foreign(folder: Path, what: str) -> None:
    for name in sorted(os.listdir(folder)):
        if name not in (SUMMARY, _JOURNAL) and not _PART.fullmatch(name):
            raise InputError(f"{folder} {what} but also holds {name!r}; move that away or choose another path")


def users_done(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Users whose lists are on the disk and all users of an unfinished job, None where there is none."""
    try:
        content = (partial_folder(Path(path).resolve()) / _JOURNAL).read_bytes()
    except OSError:
        return None
    question, records, _ = _read_journal(content)
    return None if question is None else (_users_of(records), question["users"])


class PartFolder:
    """Parts on their way to `target`; `working_folder` makes it."""

    def __init__(self, target: Path, folder: Path, journal: BinaryIO) -> None:
        self._target, self._folder, self._journal = target, folder, journal
        self.records: dict[str, Record] = {}  # by the name of the part, of those that are done

    def take_up(self, question: Question, restart: bool) -> None:
        """Go on where an interrupted run of the same question was."""
        _refuse_foreign(self._folder, "is where an unfinished job works")
        if restart:
            self._discard()
        asked, records, end = _read_journal(self._journal.read())
        if asked is None:
            self._begin(question)
            return
        differing = [name for name in question if question[name] != asked.get(name)]
        if differing:
            raise InputError(
                f"{self._folder} holds an interrupted job of another question (other {', '.join(differing)}), with "
                f"{_users_of(records):,} of {asked['users']:,} users done. Ask the same again to finish it, or "
                f"discard it with restart=True (--restart)"
            )
        self._journal.truncate(end)
        self.records = {name: one for name, one in records.items() if self._is_whole(name, one)}

    def _discard(self) -> None:
        for name in os.listdir(self._folder):
            if name != _JOURNAL:
                (self._folder / name).unlink()
        self._journal.truncate(0)

    def _begin(self, question: Question) -> None:
        if len(os.listdir(self._folder)) > 1:
            raise InputError(
                f"{self._folder} holds parts of an interrupted job, but its {_JOURNAL} is damaged; "
                f"discard them with restart=True (--restart)"
            )
        self._journal.truncate(0)
        self._append({"format": FORMAT, "format_version": FORMAT_VERSION, "question": question})

    def _is_whole(self, name: str, record: Record) -> bool:
        try:
            content = (self._folder / name).read_bytes()
        except OSError:
            return False
        return (len(content), zlib.crc32(content)) == (record["bytes"], record["crc32"])

    def _append(self, line: dict[str, Any]) -> None:
        self._journal.seek(0, os.SEEK_END)
        self._journal.write(json.dumps(line).encode() + b"\n")
        os.fsync(self._journal.fileno())

    def add(self, name: str, content: Any, record: Record) -> None:
        """Write a part through to the disk, and then that it is done."""
        temporary = self._folder / f".{name.removesuffix('.parquet')}.tmp"
        record = record | {"bytes": len(content), "crc32": zlib.crc32(content)}
        with _writing_to(self._folder):
            write_bytes(temporary, content)
            os.replace(temporary, self._folder / name)
            self._append({"part": name} | record)
        self.records[name] = record

    def publish(self, summary: dict[str, Any]) -> None:
        """Put the folder in its place; the result that is there is replaced."""
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION} | summary
        with _writing_to(self._folder):
            write_bytes(self._folder / SUMMARY, json.dumps(manifest, indent=1).encode())
            if check_target(self._target).exists():
                replace_folder(self._folder, self._target)
            else:
                self._folder.rename(self._target)
            # Only now: without it a job killed before the renaming would begin anew.
            (self._target / _JOURNAL).unlink()


@contextmanager
def working_folder(target: Path, question: Question, *, restart: bool) -> Iterator[PartFolder]:
    """Open the folder of an unfinished job, alone, or make it; it stays there unless it is published.

    Parameters
    ----------
    target : Path
        Where the result is to be.
    question : dict
        What is asked, as JSON: ``users``, their number, and all that the result depends on.
    restart : bool
        Discard the parts that are there.

    Raises
    ------
    InputError
        If nothing can be written there, another process works on the same result, or the parts that are there are of
        another question.
    """
    folder = partial_folder(target)
    with ExitStack() as opened:
        with _writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _JOURNAL, os.O_RDWR | os.O_CREAT, 0o666)
            journal = opened.enter_context(os.fdopen(descriptor, "r+b", buffering=0))
            _lock(descriptor, folder)
            parts = PartFolder(target, folder, journal)
            parts.take_up(question, restart)
        yield parts


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Say what cannot be written; not around other work, whose errors of connections look like those of files."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}); what is done stays there. Mend that and ask the same again"
        ) from error


def _lock(descriptor: int, folder: Path) -> None:
    """Lock the journal for as long as it is open; systems without `fcntl` leave it to the caller to work alone."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have published the folder between our opening and locking its journal.
        alone = os.path.samestat(os.fstat(descriptor), os.stat(folder / _JOURNAL))
    except (BlockingIOError, FileNotFoundError):
        alone = False
    if not alone:
        raise InputError(f"another process is at work in {folder}; wait until it is done, or choose another path")


def _read_journal(content: bytes) -> tuple[Question | None, dict[str, Record], int]:
    """Return the question, the records by part, and where the last whole line ends."""
    question, records, end = None, {}, 0
    for line in content.splitlines(keepends=True):
        entry = _parse(line) if line.endswith(b"\n") else None
        if not isinstance(entry, dict):
            break
        if question is None:
            if entry.get("format") != FORMAT or entry.get("format_version") != FORMAT_VERSION:
                break
            question = entry["question"]
        else:
            records[entry.pop("part")] = entry
        end += len(line)
    return question, records, end


def _users_of(records: dict[str, Record]) -> int:
    return sum(one["users"] for one in records.values())


def _read_json(path: Path) -> Any:
    try:
        return _parse(path.read_bytes())
    except OSError:
        return None


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
