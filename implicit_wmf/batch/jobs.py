"""Recommendations for everyone, in parts on disk: bounded memory, and an interrupted job goes on where it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._asked import check_cells, check_positions, choose, list_length
from .._bars import Bar
from .._cluster import Cluster
from .._fingerprints import choice_digest, model_digest
from .._ids import plain
from ..errors import InputError
from ..parameters import truth
from ..persistence import SavedModel
from ..pinning import pinned
from ..recommending import Recommending
from .folder import PartFolder, check_target, working_folder
from .id_columns import column_digest, copy_ids, id_column
from .list_parts import ListParts, MadePart, Part
from .on_cluster import make_on_cluster

# Numbers of users' factors and lists that a part holds: some 57,000 users at d = 64 and N = 10, a few seconds' work.
_PART_NUMBERS = 1 << 22

Rows = NDArray[np.int64]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class BatchSummary:
    """What a batch job came to."""

    users: int
    short_users: int  # whose lists have fewer than N items
    recommendations: int
    recommended_items: int  # that are in anybody's list
    items: int
    resumed_users: int  # whose lists an interrupted run had written
    seconds: float  # of this run

    @property
    def coverage(self) -> float:
        """Share of all items that are in anybody's list."""
        return self.recommended_items / self.items

    @property
    def users_per_second(self) -> float:
        """Speed of this run, with all that is done before and after the ranking."""
        return (self.users - self.resumed_users) / self.seconds


class BatchRecommending(Recommending):
    """The part of an estimator that recommends to everyone, on disk."""

    @pinned
    def recommend_all(
        self,
        path: PathLike,
        N: int = 10,
        *,
        users: Any = None,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        items: Any = None,
        part_users: int | None = None,
        restart: bool = False,
        progress: bool | None = None,
        client: Any = None,
    ) -> BatchSummary:
        """Write the N items of highest predicted preference for each user, as a folder of Parquet files.

        Memory is bounded by the part, whatever the number of users. A job that is interrupted (Ctrl-C, a crash, a power
        cut) and asked again goes on after the last whole part, and its files are byte for byte those of an
        uninterrupted one (with the same pyarrow). The folder appears whole or not at all: until then the parts are
        beside it, in ``.<name>.partial``.

        Parameters
        ----------
        path : path-like
            Folder to make. A finished result of this function that is there is replaced once the new one is complete.
        N : int
            Length of the lists.
        users : sequence of raw ids, or one id; optional
            By default every user; each once, in this order.
        filter_already_liked_items, filter_items, items : optional
            As in `recommend`, with positions of items; sparse matrices have a row for each of `users`.
        part_users : int, optional
            Users a file; by default about 4 million numbers of their factors and lists.
        restart : bool
            Discard what an interrupted job has left, also one of another question.
        progress : bool, optional
            Show a bar on stderr; by default if that is a terminal.
        client : distributed.Client, optional
            Make the lists on the workers of this Dask cluster, which are sent what they need; the files are written
            here, and are the same (with the same pyarrow there). A job that was begun with a client may be finished
            without one, and the other way round.

        Returns
        -------
        BatchSummary
            Users, those whose lists ran short, the share of items that are in a list, and the speed.

        Raises
        ------
        InputError
            For unknown or repeated users and all that `recommend` refuses; if `path` is something else than a result of
            this function, another process is at work on it, or an interrupted job of another question (another model,
            other users or settings) is there; names what differs.
        MissingExtraError
            Without pyarrow, or with a client without dask.
        ClusterError
            If the scheduler is gone, no worker comes, or workers are lost over the same users again and again. Parts
            that are done stay; the same question goes on after them.

        Notes
        -----
        The folder holds ``part-00000.parquet``, ... with columns user, item (raw ids), rank (from 1) and score, and
        ``_summary.json``, which readers of Parquet folders leave out: ``pandas.read_parquet(path)`` gives one table.
        """
        began = time.perf_counter()
        cluster = None if client is None else Cluster(client)
        truth("filter_already_liked_items", filter_already_liked_items)
        state = self._state()
        target = check_target(path)
        length = list_length(N)
        rows = _rows(state, users)
        size = _part_size(part_users, length, state)
        shape = (rows.size, len(state.item_factors))
        data = state.interactions
        job = _Job(
            self, rows, id_column("users", data.users if users is None else data.users.take(rows)),
            id_column("items", data.items), length, size, bool(filter_already_liked_items),
            _checked("filter_items", filter_items, shape), _checked("items", items, shape),
        )  # fmt: skip
        question = job.question()
        with working_folder(target, question, restart=restart) as folder:
            resumed = sum(record["users"] for record in folder.records.values())
            disable = None if progress is None else not progress
            with Bar(total=rows.size, initial=resumed, disable=disable, desc="recommend", unit="user") as bar:
                job.write_missing(folder, cluster, bar.update)
            return job.publish(folder, question, resumed, began)


@dataclass(frozen=True)
class _Job:
    """A question that was checked."""

    model: Recommending
    rows: Rows
    user_ids: Any  # Arrow columns: of these users, and of all items
    item_ids: Any
    N: int
    part_users: int
    filter_already_liked_items: bool
    filter_items: Any
    items: Any

    def question(self) -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        state = self.model._state()
        return {
            "model": model_digest(type(self.model).__name__, state, column_digest(self.item_ids)),
            "users": self.rows.size,
            "user ids": column_digest(self.user_ids),
            "N": self.N,
            "filter_already_liked_items": self.filter_already_liked_items,
            "filter_items": choice_digest(self.filter_items),
            "items": choice_digest(self.items),
            "part_users": self.part_users,
        }

    def _parts(self) -> Iterator[tuple[str, int]]:
        """Name and first user of each part; one without users when there are none, for readers to find columns in."""
        for number, start in enumerate(range(0, max(self.rows.size, 1), self.part_users)):
            yield f"part-{number:05}.parquet", start

    def write_missing(self, folder: PartFolder, cluster: Cluster | None, tell: Callable[[int], object]) -> None:
        """Write the parts that are not there, made by a cluster if there is one; tells the number of users of each."""
        covered = _covered(folder, len(self.model._state().item_factors))
        missing = [(name, start) for name, start in self._parts() if name not in folder.records]
        with closing(self._made([start for _, start in missing], cluster)) as made:
            for (name, _), part in zip(missing, made, strict=True):
                new = part.items[~covered[part.items]]
                folder.add(name, part.content, part.record | {"new_items": new.tolist()})
                covered[part.items] = True
                tell(part.record["users"])

    def _made(self, starts: list[int], cluster: Cluster | None) -> Generator[MadePart, None, None]:
        lists = self._lists()
        if cluster is None:
            return (lists.make(self._part(start)) for start in starts)
        return make_on_cluster(cluster, lists, starts, self._part)

    def _lists(self) -> ListParts:
        """Gather what is the same for all parts."""
        _, vectors = self.model._scoring_factors(self.rows[:0])
        items, filter_items = (None if sparse.issparse(one) else one for one in (self.items, self.filter_items))
        candidates = choose((0, len(vectors)), None, items, filter_items).candidates
        return ListParts(vectors, candidates, self.item_ids, self.N, self.model._threads())

    def _part(self, start: int) -> Part:
        """Gather what is known of the users of a part."""
        part = slice(start, start + self.part_users)
        rows = self.rows[part]
        vectors, items = self.model._scoring_factors(rows)
        seen = self.model._liked(rows) if self.filter_already_liked_items else None
        own, denied = (one[part] if sparse.issparse(one) else one for one in (self.items, self.filter_items))
        choice = choose((rows.size, len(items)), seen, own, denied)
        return Part.of(copy_ids(self.user_ids, start, start + rows.size), vectors, choice.seen, choice.own)

    def publish(self, folder: PartFolder, question: dict[str, Any], resumed: int, began: float) -> BatchSummary:
        """Put the result in its place, with a summary that is the same however often the job was interrupted."""
        records = folder.records
        count = len(self.model._state().item_factors)
        sums = {name: sum(one[name] for one in records.values()) for name in ("short_users", "recommendations")}
        numbers = {"users": self.rows.size, **sums, "items": count}
        numbers["recommended_items"] = int(_covered(folder, count).sum())
        parts = {name: {key: records[name][key] for key in ("users", "bytes", "crc32")} for name, _ in self._parts()}
        folder.publish(numbers | {"question": question, "parts": parts})
        return BatchSummary(**numbers, resumed_users=resumed, seconds=time.perf_counter() - began)


def _rows(state: SavedModel, users: Any) -> Rows:
    """Positions of the users, each once."""
    data = state.interactions
    if users is None:
        return np.arange(data.shape[0])
    rows = data.user_indices(users)
    order = np.argsort(rows, kind="stable")
    repeated = order[1:][np.diff(rows[order]) == 0]
    if repeated.size:
        place = int(repeated.min())
        raise InputError(
            f"users: the id {plain(data.users[rows[place]])!r} at position {place} was given before; give each once"
        )
    return rows


def _part_size(part_users: Any, length: int, state: SavedModel) -> int:
    if part_users is None:
        count, width = map(int, state.item_factors.shape)
        return max(1, _PART_NUMBERS // (min(length, count) + width))
    if isinstance(part_users, bool) or not isinstance(part_users, int | np.integer) or part_users < 1:
        raise InputError(f"part_users must be a whole number of at least 1, got {part_users!r}")
    return int(part_users)


def _checked(name: str, choice: Any, shape: tuple[int, int]) -> Any:
    """Refuse before any work what `recommend` would refuse of an allow-list or deny-list."""
    if choice is None:
        return None
    if sparse.issparse(choice):
        return check_cells(name, choice, shape)
    return np.unique(check_positions(name, choice, shape[1]))


def _covered(folder: PartFolder, count: int) -> NDArray[np.bool_]:
    """Tell for each item whether it is in a list of the parts that are done."""
    covered = np.zeros(count, dtype=bool)
    for record in folder.records.values():
        covered[record["new_items"]] = True
    return covered
