"""Where the shards are: ranges of them on workers, moved when workers go and when others come."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from .._cluster import Call, Cluster, Lost, Shared
from .._words import count
from ..config import WMFConfig
from ..errors import ClusterError, InputError
from ..parameters import is_array
from ..store import Store
from .held import Checks, Piece, compare_machines, open_shards, try_out
from .sharing import Range, place, share_out
from .tasks import Scales

_LOG = logging.getLogger(__name__)
_LOSSES = 4  # of the same shards in one pass, after which the cluster is given up

T = TypeVar("T")


@dataclass(eq=False)
class Held:
    """A range of shards on a worker, and the steps that they have been through."""

    shards: Range
    worker: str
    opened: Call
    state: int = 0  # the number that the last change left there
    been_through: set[int] = field(default_factory=set)  # numbers of steps
    coming: tuple[int, set[int]] | None = None  # what a call that is under way leaves, and steps that it does


class Placement:
    """Ranges of shards, and the workers that have them.

    Parameters
    ----------
    cluster : Cluster
    store : Store
    scales : Scales
    config : WMFConfig

    Attributes
    ----------
    held : list of Held
        In the order of their shards; all that there are, but for those that have been lost.
    checks : list of dict, or None
        What `Shard.verify` is to find from now on, a shard each.
    """

    def __init__(self, cluster: Cluster, store: Store, scales: Scales, config: WMFConfig) -> None:
        self._cluster, self._store, self._scales = cluster, store, scales
        self._config = _for_workers(config)
        users = np.array([shard.stop - shard.start for shard in store.shards])
        # a user takes as long as so many cells (measured): the square is the rotation
        self._work = np.array([shard.nnz for shard in store.shards]) + users * (4 + config.factors / 16.0)
        self._user_scale = None if config.user_background is None else scales.users
        self._item_scale = None if config.item_background is None else Shared(scales.items, scales.items.nbytes)
        self.checks: Checks | None = None
        self.held: list[Held] = []
        self._usable: dict[str, bool] = {}  # of each worker that was seen

    def balance(self) -> None:
        """Share the shards out among the workers that there are; those that are well placed stay."""
        there = self._workers()
        ranges = share_out(self._work, list(there.values()))
        placed = place(ranges, there, {held.worker: held.shards for held in self.held})
        self.held = [held for held in self.held if placed.get(held.shards) == held.worker]
        self._open((shards, placed[shards]) for shards in placed.keys() - {held.shards for held in self.held})

    def everywhere(self, ask: Callable[[Held], Call | None], finish: Callable[[Sequence[Call]], T]) -> T:
        """Make a call for every range of shards, and finish with them in their order, whoever is lost meanwhile.

        Parameters
        ----------
        ask : function
            Makes the call for a range, or None if none is needed; again for those that took the place of a lost one.
        finish : function
            May raise `Lost`, and is then called again.

        Raises
        ------
        ClusterError
            If the same shards are lost again and again, or the scheduler or all workers are gone.
        """
        calls: dict[Held, Call | None] = {}
        losses: Counter[int] = Counter()
        try:
            while True:
                try:
                    self._house()
                    for held in self.held:
                        if held not in calls:
                            calls[held] = ask(held)
                    asked = _made(calls[held] for held in self.held)
                    self._cluster.wait(asked)
                    finished = finish(asked)
                except Lost:
                    self._evict(calls, losses)
                else:
                    for call in asked:
                        call.let_go()
                    return finished
        except BaseException as error:
            self._cluster.cancel(_made(calls.values()))
            self.held = [held for held in self.held if held not in calls]  # nobody knows how far they got
            if not isinstance(error, Exception):
                self._cluster.hurry()
            raise

    def _homeless(self) -> list[Range]:
        """Return the shards that no worker has."""
        edges = [0, *(edge for held in self.held for edge in held.shards), len(self._store.shards)]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return [Range(first, stop) for first, stop in gaps if first < stop]

    def _house(self) -> None:
        """Open the shards that no worker has."""
        homeless = self._homeless()
        there = self._workers() if homeless else {}
        for shards in homeless:
            ranges = share_out(self._work[slice(*shards)], list(there.values()), shards.first)
            self._open((part, worker) for part, worker in zip(ranges, there, strict=True) if part.stop > part.first)

    def _open(self, placed: Iterable[tuple[Range, str]]) -> None:
        """Let workers open ranges of shards; those whose worker has gone are left without a home."""
        for shards, worker in placed:
            with suppress(Lost):
                held = Held(shards, worker, self._ask_to_open(shards, worker))
                self.held = sorted([*self.held, held], key=lambda held: held.shards)

    def _workers(self) -> dict[str, int]:
        """Return the threads of the workers that can open the store, and are of this release.

        Before the store is verified one that cannot is an error; one that comes later is left alone.

        Raises
        ------
        InputError, ClusterError
        """
        while True:
            there = self._cluster.workers()
            for worker in there.keys() - self._usable.keys():
                try:
                    self._usable[worker] = self._try_out(worker)
                except Lost:
                    _LOG.warning("worker %s %s; it gets no shards", worker, self._cluster.why_gone(worker))
            usable = {worker: threads for worker, threads in there.items() if self._usable.get(worker)}
            if usable:
                return usable
            if all(worker in self._usable for worker in there):
                raise ClusterError(f"none of the workers that are left can be used: {', '.join(there)}; see the log")

    def _try_out(self, worker: str) -> bool:
        call = self._cluster.submit(try_out, self._store.location, self._store.fingerprint, worker=worker)
        try:
            self._cluster.wait([call])
            compare_machines(worker, self._cluster.fetch(call))
        except (InputError, ClusterError, ImportError) as error:
            if self.checks is None:
                raise
            _LOG.warning("worker %s is left alone: %s", worker, error)
            return False
        return True

    def _ask_to_open(self, shards: Range, worker: str) -> Call:
        store = self._store
        piece = Piece(store.location, store.fingerprint, *shards)
        scale = None
        if self._user_scale is not None:
            own = self._user_scale[store.shards[shards.first].start : store.shards[shards.stop - 1].stop]
            scale = Shared(own, own.nbytes, worker)
        checks = None if self.checks is None else self.checks[slice(*shards)]
        return self._cluster.submit(open_shards, piece, self._config, checks, scale, self._item_scale, worker=worker)

    def _evict(self, calls: dict[Held, Call | None], losses: Counter[int]) -> None:
        """Take away the ranges that were lost, from `calls` as well."""
        lost_calls = self._cluster.lost([*_made(calls.values()), *(held.opened for held in self.held)])
        lost = [held for held in self.held if held.opened in lost_calls or calls.get(held) in lost_calls]
        for held in lost:
            why, first, last = self._cluster.why_gone(held.worker), held.shards.first, held.shards.stop - 1
            _LOG.warning("worker %s %s; its shards %d to %d are opened again", held.worker, why, first, last)
            calls.pop(held, None)
        self.held = [held for held in self.held if held not in lost]
        losses.update(shard for held in lost for shard in range(*held.shards))
        losses.update([-1] if not lost else ())  # what went was the sum of some
        times = max(losses.values())
        if times >= _LOSSES:
            self._give_up(sorted(shard for shard in losses if shard >= 0 and losses[shard] == times), times)

    def _give_up(self, numbers: list[int], times: int) -> None:
        if not numbers:
            raise ClusterError(f"parts of shards could not be added, {times} times; see the logs of the workers")
        shards = [self._store.shards[number] for number in numbers]
        which = f"shard {numbers[0]}" if len(numbers) == 1 else f"one of shards {numbers[0]} to {numbers[-1]}"
        users = f"users {shards[0].start} to {shards[-1].stop - 1}"
        pairs = count(sum(shard.nnz for shard in shards), "pair")
        raise ClusterError(
            f"{times} workers in a row were lost while they had {which} ({users}, {pairs}); see their logs. If they "
            f"ran out of memory, give them more, or prepare the store with more shards. A fit with a checkpoint goes "
            f"on from it with resume=True (--resume)"
        )


def _made(calls: Iterable[Call | None]) -> list[Call]:
    return [call for call in calls if call is not None]


def _for_workers(config: WMFConfig) -> WMFConfig:
    """Leave out what workers do not need; of arrays only whether there are any matters to them."""
    schemes: dict[str, Any] = {"user_background": "user", "item_background": "item"}
    given = {name: scheme for name, scheme in schemes.items() if is_array(getattr(config, name))}
    return replace(config, random_state=None, **given)
