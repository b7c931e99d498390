"""Where shards are worked on: the protocol that training is written against, and the runner of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ..config import WMFConfig
from ..store import Store
from ..threads import run_blocks
from .scratch import Scratch
from .tasks import Array, Arrays, Scales, Work
from .weights import CellNumbers, ShardWeights

Task = Callable[..., Arrays]

_ROWS_AT_ONCE = 16384  # of parts that are added, which threads share out


class Runner(Protocol):
    """Applies tasks to all shards, and has two versions of the users' factors, of which tasks see one."""

    def use(self, version: int) -> None:
        """Let tasks see and write version 0 or 1 of the users' factors."""

    def total(self, task: Task, *arguments: Any) -> Arrays:
        """Call task(work, *arguments) for every shard; returns the sums of what they return, as `add_up` adds."""

    def user_factors(self, version: int) -> Array:
        """Return the factors of all users, (users, d), read-only."""


class SerialRunner:
    """Takes one shard after the other; what it maps of one is let go before the next."""

    def __init__(self, store: Store, scales: Scales, config: WMFConfig) -> None:
        self._store, self._scales, self._config = store, scales, config
        shape = (store.shape[0], config.factors)
        self._versions = [
            Scratch(shape, config.factor_dtype, store.path.parent, "the users' factors") for _ in range(2)
        ]
        self._used = self._versions[0]
        numbers = CellNumbers(store, config.factor_dtype)
        self._weights = [ShardWeights(shard, numbers) for shard in store.shards]

    def use(self, version: int) -> None:
        """Let tasks see and write version 0 or 1 of the users' factors."""
        self._used = self._versions[version]

    def total(self, task: Task, *arguments: Any) -> Arrays:
        """Call task(work, *arguments) for every shard; returns the sums of what they return, as `add_up` adds."""
        return add_up(self._each(task, arguments))

    def user_factors(self, version: int) -> Array:
        """Map the factors of all users, (users, d), read-only."""
        return self._versions[version].rows(0, self._store.shape[0], writable=False)

    def _each(self, task: Task, arguments: tuple[Any, ...]) -> Iterator[Arrays]:
        for shard in self._store.shards:
            users = self._used.rows(shard.start, shard.stop)
            yield task(Work(shard, users, self._weights[shard.number], self._scales, self._config), *arguments)


def add_up(parts: Iterable[Arrays]) -> Arrays:
    """Add the parts of all shards in a fixed tree, whoever computed them; the parts are overwritten.

    Neighbours are added in pairs, then pairs of pairs. Of n parts that come one by one, log2(n) + 1 are held.
    """
    waiting: list[tuple[int, Arrays]] = []
    for part in parts:
        size = 1
        while waiting and waiting[-1][0] == size:
            part = _add(waiting.pop()[1], part)
            size *= 2
        waiting.append((size, part))
    _, total = waiting.pop()
    while waiting:
        total = _add(waiting.pop()[1], total)
    return total


def _add(left: Arrays, right: Arrays) -> Arrays:
    for one, other in zip(left, right, strict=True):
        edges = range(0, len(one), _ROWS_AT_ONCE)

        def add(block: int, one: Array = one, other: Array = other, edges: range = edges) -> None:
            rows = slice(edges[block], edges[block] + _ROWS_AT_ONCE)
            one[rows] += other[rows]

        run_blocks(add, len(edges))
    return left
