"""Where shards are worked on: the protocol that training is written against, and the runner of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..config import WMFConfig
from ..store import Store
from .scratch import Scratch
from .sums import Arrays, Branch, total
from .tasks import Array, Scales, Work
from .weights import CellNumbers, ShardWeights

Task = Callable[..., Arrays]


class Runner(Protocol):
    """Applies tasks to all shards, and has two versions of the users' factors, of which tasks see one."""

    @property
    def moved(self) -> int:
        """Bytes that went from one machine to another so far."""

    def verify(self) -> None:
        """Compare the store with its checksums, before all else; raises InputError if it is damaged."""

    def use(self, version: int) -> None:
        """Let tasks see and write version 0 or 1 of the users' factors."""

    def total(self, task: Task, *arguments: Any) -> Arrays:
        """Call task(work, *arguments) for every shard; returns the sums of what they return, as `sums.total` adds."""

    def user_factors(self, version: int) -> Array:
        """Return the factors of all users, (users, d), read-only."""


class SerialRunner:
    """Takes one shard after the other; what it maps of one is let go before the next."""

    def __init__(self, store: Store, scales: Scales, config: WMFConfig) -> None:
        self._store, self._scales, self._config = store, scales, config
        shape, folder = (store.shape[0], config.factors), store.scratch_folder
        self._versions = [Scratch(shape, config.factor_dtype, folder, "the users' factors") for _ in range(2)]
        self._used = self._versions[0]
        numbers = CellNumbers(slice(0, store.nnz), config.factor_dtype, folder)
        self._weights = [ShardWeights(shard, numbers) for shard in store.shards]

    @property
    def moved(self) -> int:
        """0 bytes."""
        return 0

    def verify(self) -> None:
        """Compare the store with its checksums."""
        self._store.verify()

    def use(self, version: int) -> None:
        """Let tasks see and write version 0 or 1 of the users' factors."""
        self._used = self._versions[version]

    def total(self, task: Task, *arguments: Any) -> Arrays:
        """Call task(work, *arguments) for every shard; returns the sums of what they return, as `sums.total` adds."""
        return total(self._each(task, arguments))

    def user_factors(self, version: int) -> Array:
        """Map the factors of all users, (users, d), read-only."""
        return self._versions[version].rows(0, self._store.shape[0], writable=False)

    def _each(self, task: Task, arguments: tuple[Any, ...]) -> Iterator[Branch]:
        for shard in self._store.shards:
            users = self._used.rows(shard.start, shard.stop)
            work = Work(shard, users, self._weights[shard.number], self._scales, self._config)
            yield Branch(shard.number, 1, task(work, *arguments))
