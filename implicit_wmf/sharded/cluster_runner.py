"""The runner of a cluster: workers keep ranges of shards, are sent what all shards need, and send back sums.

What a worker has can be had again: the runner keeps the steps that shards have been through and that still count (how
their cells weigh, and how each version of their users' factors was solved). Shards that are opened by another worker
are taken through these steps, and then through the one that is under way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._cluster import Call, Cluster, Shared
from .._compiling import aligned_copy
from ..config import WMFConfig
from ..store import Store
from .held import add_parts, go, verify_shards
from .placement import Held, Placement
from .runner import Task
from .scratch import Scratch
from .sharing import Range
from .sums import Arrays, Branch, branches_of, total
from .tasks import SILENT, SOLVING, WEIGHING, Array, Scales, read_users

_FETCHED = 2  # sums that are added here: to add the last two there would take as long as to fetch both
_SMALL = 1 << 16  # bytes of an array that goes along with a call


@dataclass(frozen=True)
class _Step:
    """A task for all shards; its arguments are pairs of a value and whether that is an array to be read-only."""

    task: Task
    version: int
    arguments: list[list[Any]]

    @property
    def changes(self) -> bool:
        """Whether it leaves something behind in the shards."""
        return self.task in WEIGHING + SOLVING

    def concerns(self, version: int) -> bool:
        """Whether shards have to have been through it before they are asked for a version."""
        return self.task in WEIGHING or self.version == version

    def packed(self) -> list[Any]:
        """Make what a worker is sent."""
        return [self.task.__name__, self.version, self.arguments]

    def let_go(self) -> None:
        """Take its arguments off the workers; they are sent again if it is to be done again."""
        for value, _ in self.arguments:
            if isinstance(value, Shared):
                value.let_go()


class ClusterRunner:
    """Applies tasks where the shards are.

    Parameters
    ----------
    client : distributed.Client
    store : Store
        Which all workers can open where it says it is.
    scales : Scales
    config : WMFConfig
    """

    def __init__(self, client: Any, store: Store, scales: Scales, config: WMFConfig) -> None:
        self._cluster, self._store, self._config = Cluster(client), store, config
        self._placement = Placement(self._cluster, store, scales, config)
        self._steps: dict[int, _Step] = {}  # those that still count, by rising number
        self._numbers = itertools.count(1)
        self._version = 0

    @property
    def moved(self) -> int:
        """Bytes that went from one machine to another so far."""
        return self._cluster.moved

    def verify(self) -> None:
        """Let each worker verify its shards, and compare what they found with the store's checksums.

        Raises
        ------
        InputError
            If the store is damaged, or a worker cannot open it.
        ClusterError
            If a worker has another release of this library.
        """
        self._placement.balance()

        def ask(held: Held) -> Call:
            return self._cluster.submit(verify_shards, held.opened.future, worker=held.worker)

        found = self._placement.everywhere(ask, self._cluster.fetch_all)
        checks = [check for part in found for check in part]
        self._store.verify_shards(checks)
        self._placement.checks = checks

    def use(self, version: int) -> None:
        """Let tasks see and write version 0 or 1 of the users' factors; workers that have come meanwhile get shards."""
        self._version = version
        self._placement.balance()

    def total(self, task: Task, *arguments: Any) -> Arrays:
        """Call task(work, *arguments) for every shard; returns the sums of what they return, as `sums.total` adds."""
        step = _Step(task, self._version, [_sent(argument) for argument in arguments])
        number = next(self._numbers) if step.changes else None
        if task is SOLVING[0]:
            old = [one for one, other in self._steps.items() if other.task in SOLVING and other.version == step.version]
            for one in old:
                del self._steps[one]
        if number is not None and task in SILENT:  # shards go through it before the next step, in one call
            self._steps[number] = step
            return ()
        sums = self._placement.everywhere(lambda held: self._go(held, step, number), self._add_up)
        self._settle()
        if number is not None:
            self._steps[number] = step
        step.let_go()
        return sums

    def user_factors(self, version: int) -> Array:
        """Fetch the factors of all users, (users, d), a shard of each worker at a time; maps them, read-only."""
        store, config = self._store, self._config
        shape, dtype = (store.shape[0], config.factors), config.factor_dtype
        fetched = Scratch(shape, dtype, store.scratch_folder, "the users' factors")
        solved = any(step.task in SOLVING and step.version == version for step in self._steps.values())
        missing = set(range(len(store.shards))) if solved else set()
        step = _Step(read_users, version, [])

        def ask(held: Held) -> Call | None:
            ours = missing.intersection(range(*held.shards))
            held.coming = None
            return self._go(held, step, shard=min(ours)) if ours else None

        def collect(calls: Sequence[Call]) -> None:
            for call in calls:
                for number, _, (users,) in self._cluster.fetch(call):
                    shard = store.shards[number]
                    fetched.rows(shard.start, shard.stop)[:] = users
                    self._cluster.moved += users.nbytes
                    missing.discard(number)

        while missing:
            self._placement.everywhere(ask, collect)
            self._settle()
        return fetched.rows(0, store.shape[0], writable=False)

    def _go(self, held: Held, step: _Step, number: int | None = None, shard: int | None = None) -> Call:
        """Ask shards to make up for what they have missed, and to take a step, `number` if it changes them."""
        needed = {one for one, earlier in self._steps.items() if earlier.concerns(step.version)}
        missed = sorted(needed - held.been_through)
        changes = {*missed, *(() if number is None else (number,))}
        then = next(self._numbers) if changes else held.state
        held.coming = then, changes
        earlier = [self._steps[one].packed() for one in missed]
        return self._cluster.submit(
            go, held.opened.future, [held.state, then], earlier, step.packed(), shard,
            worker=held.worker, name=step.task.__name__,
        )  # fmt: skip

    def _settle(self) -> None:
        """Note what all shards have been through, when they have."""
        for held in self._placement.held:
            if held.coming is not None:
                held.state, changes = held.coming
                held.been_through |= changes
                held.coming = None
        for step in self._steps.values():  # those that somebody had missed were sent again
            step.let_go()

    def _add_up(self, calls: Sequence[Call]) -> Arrays:
        """Add the parts of all shards: workers in pairs, then pairs of pairs, and what is left of the tree here."""
        cluster, merged = self._cluster, list[Call]()
        level = [(call, held.shards) for call, held in zip(calls, self._placement.held, strict=True)]
        sent = 0  # sums of n x d numbers, say
        while len(level) > _FETCHED:
            pairs = list(zip(level[::2], level[1::2], strict=False))
            added = [
                (
                    cluster.submit(add_parts, left.future, right.future, worker=left.worker),
                    Range(ours.first, theirs.stop),
                )
                for (left, ours), (right, theirs) in pairs
            ]
            merged += [call for call, _ in added]
            sent += sum(branches_of(*theirs) for _, (_, theirs) in pairs)
            level = added + level[2 * len(added) :]
        cluster.wait([*calls, *merged])
        fetched = cluster.fetch_all([call for call, _ in level], calls)
        for call in merged:
            call.let_go()
        branches = [
            Branch(first, size, tuple(map(aligned_copy, sums))) for part in fetched for first, size, sums in part
        ]
        cluster.moved += sum(array.nbytes for array in branches[0].sums) * (len(branches) + sent)
        return total(branches)


def _sent(argument: Any) -> list[Any]:
    """Make a pair of an argument, shared by all workers if it is large, and whether it is a read-only array."""
    if not isinstance(argument, np.ndarray):
        return [argument, False]
    large = argument.nbytes >= _SMALL
    return [Shared(argument, argument.nbytes) if large else argument, not argument.flags.writeable]
