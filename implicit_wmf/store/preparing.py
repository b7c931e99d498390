"""Files of lines become a store, in bounded memory: DuckDB reads and numbers them, NumPy adds up range by range."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrow import parquet_files
from .._folders import writing_file
from .._signals import ending_on_sigterm
from ..errors import InputError
from ..parameters import as_bytes, as_path, one_of, or_none, truth, whole
from ..tables.files import PathLike, TableFile, reason
from ..threads import available_threads
from .cell_lists import Block, CellLists, gather_cells
from .columns import Columns
from .core import Core, blocks, find_core
from .database import Database, check_installed
from .format import IDS
from .inputs import check_spelling, find_inputs
from .kept import count_faults, kept_lines, settle_times
from .line_lists import LineLists
from .numbering import number_ids
from .progress import step
from .sources import Source, read_sources
from .workspace import working_folder
from .writing import SHARD_CELLS, check_can_store, shard_edges, writing_store
from .wrong_lines import check_rejects, find_wrong_lines, refuse, write_rejects

_LEAST_MEMORY = 100 * 10**6
# What adding up costs at its peak, for each line that is read at once.
_BYTES_OF_LINE = 128


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made of its inputs.

    Attributes
    ----------
    path : Path
        Folder of the store.
    lines : int
        Lines that were read, without headers and blank lines.
    rejected : int
        Those of them that could not be used.
    rejects : Path or None
        Where these are, if there are any.
    pairs, users, items, shards : int
        Size of the store.
    seconds : float
        Time it took.
    """

    path: Path
    lines: int
    rejected: int
    rejects: Path | None
    pairs: int
    users: int
    items: int
    shards: int
    seconds: float


def prepare(
    inputs: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    user: str,
    item: str,
    value: str | None = None,
    timestamp: str | None = None,
    min_user_count: int = 1,
    min_item_count: int = 1,
    memory_limit: str | int = "2GB",
    shards: int | None = None,
    on_error: str = "refuse",
    rejects: PathLike | None = None,
    num_threads: int | None = None,
    progress: bool | None = None,
) -> Prepared:
    """Make a store of tables that may be larger than memory.

    Tables are read as `read_interactions` reads them, whose result has the same cells in another order: items stand by
    falling number of their users (of equal ones by id), users by id. Values of lines of the same pair are added up in
    float64 and stored as float32. The store appears whole or not at all, in the place of one that is there; Ctrl-C and
    SIGTERM end the work and leave nothing of it behind.

    These are read in another way than by `read_interactions`: ids that are floats in Parquet become integers, and lines
    with a fraction among them are wrong; ids that are true and false, or bytes, are refused; the words true and false
    among numbers are 1 and 0 in any line; numbers that do not fit float32 are wrong; of times that are numbers and
    moments, those of the rarer kind are wrong, as are the words now and today; moments are in microseconds of UTC.

    Parameters
    ----------
    inputs : path-like or sequence of them
        Files (.csv; .tsv or .txt with tabs; either also .gz; .parquet), folders of such files, and patterns such as
        ``"2024-*/*.csv"``, which may match folders too. Text and Parquet may be mixed; ids are integers if they are in
        every file, text otherwise. What this run writes, and other stores, are no inputs where a folder or pattern
        has them.
    output : path-like
        Folder of the store. Its own folder needs room for the store two or three times while it is made.
    user, item : str
        Columns of ids.
    value : str, optional
        Column of numbers; without it every line counts 1.
    timestamp : str, optional
        Column of times, of which the last of each pair is kept: numbers, or moments, which are stored as datetime64 in
        microseconds of UTC.
    min_user_count, min_item_count : int
        Leave out users with fewer distinct items, and items with fewer distinct users, again and again until all that
        are left have as many.
    memory_limit : str or int
        Memory for DuckDB, and for adding up after it: bytes, or text such as ``"2GB"`` or ``"512MiB"``. The process as
        a whole needs up to half a gigabyte more, and with few shards what a shard needs: 40 bytes a pair.
    shards : int, optional
        Ranges of users in the store; by default of about 8 million pairs each.
    on_error : {"refuse", "skip"}
        What becomes of lines that cannot be used, because an id is missing, a value or time is none, or the number of
        fields is not the header's: all is refused, naming the first of them, or they are left out and written to a
        file.
    rejects : path-like, optional
        That file, ``<output>.rejects.csv`` by default: a CSV table with the columns file, line, reason and text. One
        that is there from a former run is replaced, and removed if there is nothing to write.
    num_threads : int, optional
        Threads of DuckDB; by default one a core.
    progress : bool, optional
        Show progress on standard error; by default when that is a terminal.

    Returns
    -------
    Prepared

    Raises
    ------
    InputError
        For inputs that cannot be read, wrong lines unless they are skipped, a sum that does not fit float32, nothing
        left under the minimum counts, too little memory or disk, and places that cannot be written to or hold
        something else.
    MissingExtraError
        Without duckdb or pyarrow.
    """
    started = time.perf_counter()
    columns = Columns(user, item, value, timestamp)
    _check(columns, on_error, (min_user_count, min_item_count), shards, num_threads, progress)
    limit = _bytes_of(memory_limit)
    check_installed()
    target, place = _places(output, rejects, skip=on_error == "skip")
    files = find_inputs(inputs, (target, place))
    threads = min(num_threads or available_threads(), os.cpu_count() or 1)
    job = _Job(columns, limit, threads, on_error == "skip", place, progress)
    with ending_on_sigterm(), _disk_errors(target), working_folder(target) as folder:
        cells, counts = job.read(files, folder)
        core = _core(cells, (min_user_count, min_item_count), job.block_lines)
        edges = shard_edges(core.user_cells, shards)
        shape, pairs = (len(core.user_cells), len(core.item_order)), int(core.user_cells.sum())
        announced: dict[str, Any] = {
            "shape": shape,
            "cells": pairs,
            "shards": len(edges) - 1,
            "timestamps": cells.times,
        }
        with job.placing_rejects(folder), writing_store(target, **announced) as writer:
            _write_ids(folder, writer.folder, core)
            with step("writing shards", pairs, progress) as bar:
                for shard in _shards(cells, core, edges.tolist(), job.block_lines):
                    writer.add_shard(*shard)
                    bar.add(int(shard[0][-1]))
            writer.source = _source(files, columns, counts, (min_user_count, min_item_count))
    rejected = counts[0] - counts[1]
    return Prepared(
        target, counts[0], rejected, place if rejected else None, pairs, *shape, len(edges) - 1,
        time.perf_counter() - started,
    )  # fmt: skip


def _check(
    columns: Columns,
    on_error: str,
    minimum: tuple[int, int],
    shards: int | None,
    num_threads: int | None,
    progress: bool | None,
) -> None:
    for argument, name in columns._asdict().items():
        if not (isinstance(name, str) or (name is None and argument in ("value", "timestamp"))):
            raise InputError(f"{argument}: {name!r} given; name the column")
    if columns.user == columns.item:
        raise InputError(f"user and item both name column {columns.user!r}; users and items are two columns")
    one_of("refuse", "skip")("on_error", on_error)
    for name, number in zip(("min_user_count", "min_item_count"), minimum, strict=True):
        whole(1)(name, number)
    or_none(whole(1))("shards", shards)
    or_none(whole(1))("num_threads", num_threads)
    or_none(truth)("progress", progress)


def _bytes_of(limit: str | int) -> int:
    size = as_bytes("memory_limit", limit)
    if size < _LEAST_MEMORY:
        raise InputError(f"memory_limit is {limit!r}, which is too little; give at least {_LEAST_MEMORY // 10**6}MB")
    return size


def _places(output: PathLike, rejects: PathLike | None, *, skip: bool) -> tuple[Path, Path]:
    """Check, before any work, where the store and the file of rejects are to be."""
    if rejects is not None and not skip:
        raise InputError("rejects: no effect unless on_error is 'skip' (--on-error skip); leave it out")
    wanted = {"output": as_path("output", output)}
    wanted |= {} if rejects is None else {"rejects": as_path("rejects", rejects)}
    for name, path in wanted.items():
        check_spelling(name, path.absolute())
    try:
        target = check_can_store(output)
        place = wanted["rejects"].resolve() if "rejects" in wanted else target.with_name(f"{target.name}.rejects.csv")
        if skip:
            check_rejects(place, target)
    except (OSError, RuntimeError) as error:  # a name that is too long; a link that leads to itself
        raise InputError(
            f"{' and '.join(wanted)}: cannot write there ({reason(error)}); choose another place"
        ) from error
    return target, place


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
        place = f" {error.filename}" if error.filename else ""
        raise InputError(
            f"preparing {target} failed:{place} {error.strerror or error}; {remedy}, and prepare it again"
        ) from error


@dataclass(frozen=True)
class _Job:
    """How to read, and what becomes of wrong lines."""

    columns: Columns
    memory_limit: int
    threads: int
    skip: bool
    rejects: Path
    progress: bool | None

    @property
    def block_lines(self) -> int:
        """How many lines, or cells, are in memory at once."""
        return min(SHARD_CELLS, self.memory_limit // _BYTES_OF_LINE)

    def read(self, files: list[TableFile], folder: Path) -> tuple[CellLists, tuple[int, int]]:
        """Make cells of all lines; also returns how many lines were read, and kept."""
        with Database(folder, self.memory_limit, self.threads) as database:
            with step("reading text", None, self.progress) as bar:
                sources = read_sources(database, files, self.columns, bar)
            total = sum(source.lines for source in sources)
            if not total:
                raise InputError(f"{files[0].path} and all other inputs have no lines below their headers")
            sources, times = settle_times(database, sources)
            faults: Counter[str] = sum((count_faults(database, source) for source in sources), Counter())
            kept = faults.pop("", 0)
            self._deal_with(database, sources, faults, kept, folder)
            lines = kept_lines(database, sources, times)
            with step("numbering ids", 2 * kept, self.progress) as bar:
                numbered = number_ids(database, lines, kept, folder, bar)
            lists = LineLists(
                folder, numbered.user_lines, self.block_lines, has_values=self.columns.value is not None, times=times
            )
            with step("numbering lines", kept, self.progress) as bar:
                written = lists.fill(database, lines, bar)
        _check_complete(total, written, faults.total())
        _remove_database(folder)
        with step("adding up pairs", kept, self.progress) as bar:
            cells = gather_cells(lists, folder, (len(numbered.user_lines), numbered.items), times, bar)
        lists.remove()
        return cells, (total, kept)

    def _deal_with(
        self, database: Database, sources: list[Source], faults: Counter[str], kept: int, folder: Path
    ) -> None:
        if not (self.skip and kept):
            refuse(database, sources, faults, kept=kept)
        elif faults:
            written = write_rejects(folder / "rejects.csv", find_wrong_lines(database, sources))
            _check_complete(faults.total(), 0, written)

    @contextmanager
    def placing_rejects(self, folder: Path) -> Iterator[None]:
        """Put the file of rejects in its place at the end, or remove that of a former run, unless there was an error.

        What may take long or fail, the copy to its disk, is done before.
        """
        written, beside = folder / "rejects.csv", self.rejects.with_name(f".{self.rejects.name}.tmp")
        if not written.exists():
            yield
            if self.skip:
                self.rejects.unlink(missing_ok=True)
            return
        try:
            with written.open("rb") as source, writing_file(beside) as copy:
                shutil.copyfileobj(source, copy)
            yield
            os.replace(beside, self.rejects)
        finally:
            beside.unlink(missing_ok=True)


def _check_complete(lines: int, kept: int, rejected: int) -> None:
    if lines != kept + rejected:
        raise InputError(
            f"{lines:,} lines were read where {kept:,} were kept and {rejected:,} rejected: an input changed; "
            f"prepare again when nobody writes to it"
        )


def _remove_database(folder: Path) -> None:
    """Make room: all that is still needed is in other files."""
    for path in folder.glob("lines.duckdb*"):
        path.unlink()


def _core(cells: CellLists, minimum: tuple[int, int], block_cells: int) -> Core:
    core = find_core(cells, minimum, block_cells)
    if not len(core.user_cells):
        raise InputError(
            f"min_user_count {minimum[0]} and min_item_count {minimum[1]} leave nothing: there is no group of users "
            f"and items that have so many of each other; ask for fewer"
        )
    return core


def _write_ids(source: Path, target: Path, core: Core) -> None:
    pyarrow, parquet = parquet_files("Preparing a store")
    items = parquet.read_table(source / IDS.format("items"))
    with writing_file(target / IDS.format("items")) as file:
        parquet.write_table(items.take(pyarrow.array(core.item_order)), file)
    with (
        parquet.ParquetFile(source / IDS.format("users")) as users,
        writing_file(target / IDS.format("users")) as file,
        parquet.ParquetWriter(file, users.schema_arrow) as writer,
    ):
        place = 0
        for batch in users.iter_batches():
            writer.write_batch(batch.filter(pyarrow.array(core.users[place : place + len(batch)])))
            place += len(batch)


def _shards(cells: CellLists, core: Core, edges: list[int], block_cells: int) -> Iterator[tuple[Any, ...]]:
    """Yield what `StoreWriter.add_shard` takes; of the cells that are dropped no more than a block is in memory."""
    users = np.flatnonzero(core.users)
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        first, last = int(users[start]), int(users[stop - 1]) + 1
        parts = [_kept_cells(block, core) for block in blocks(cells, block_cells, first, last)]
        rows, places, values, *times = (np.concatenate(column) for column in zip(*parts, strict=True))
        # A cell's number in the shard is different from all others', so that any way to sort gives the same order.
        order = np.argsort((rows - first) * np.int64(len(core.item_order)) + places)
        indptr = np.concatenate([[0], np.cumsum(core.user_cells[start:stop])])
        yield indptr, places[order], values[order], *(column[order] for column in times)


def _kept_cells(block: Block, core: Core) -> tuple[NDArray[Any], ...]:
    """Users, new places of items, values and perhaps times of what is kept of a block."""
    rows = np.repeat(np.arange(block.start, block.stop), np.diff(block.indptr))
    places = core.item_places[block.items]
    kept = np.flatnonzero((places >= 0) & core.users[rows])
    columns: list[NDArray[Any]] = [rows, places, block.values, *([] if block.times is None else [block.times])]
    return tuple(column[kept] for column in columns)


def _source(
    files: list[TableFile], columns: Columns, counts: tuple[int, int], minimum: tuple[int, int]
) -> dict[str, Any]:
    named = {name: column for name, column in columns._asdict().items() if column is not None}
    return {
        "inputs": [str(file.path) for file in files],
        "columns": named,
        "lines": counts[0],
        "rejected": counts[0] - counts[1],
        "min_user_count": minimum[0],
        "min_item_count": minimum[1],
    }
