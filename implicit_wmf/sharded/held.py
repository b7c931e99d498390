"""Shards where a worker of a cluster has them, and what it does with them when it is called."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite.binding import get_host_cpu_name

from .. import kernels
from .._cluster import Lost, worker_folder, worker_threads
from .._compiling import aligned_copy, compiling_alone
from ..config import WMFConfig
from ..errors import ClusterError, InputError
from ..store import Shard, Store
from ..threads import single_threaded_blas, thread_limit
from ..weightings import Floats
from . import tasks
from .freed_memory import keep_freed_memory
from .scratch import Scratch
from .sums import Branch, grow
from .weights import CellNumbers, ShardWeights

_LOG = logging.getLogger(__name__)

# Each uses all threads, so that two ranges of shards of a worker take turns.
_ONE_AT_A_TIME = threading.Lock()

Checks = list[dict[str, tuple[int, int]]]  # what Shard.verify returns, a shard each


class Piece(NamedTuple):
    """A range of a store's shards, first to stop - 1, and where the store is."""

    location: str
    fingerprint: str
    first: int
    stop: int


class Step(NamedTuple):
    """A task for all shards, by its name in :mod:`implicit_wmf.sharded.tasks`, and the version of users it is for.

    `arguments` are pairs of a value and whether it is an array to be read-only, which kernels are compiled for.
    """

    task: str
    version: int
    arguments: Sequence[Sequence[Any]]


class HeldShards:
    """Consecutive shards of a store, the factors of their users, and what their cells weigh.

    They do not go elsewhere: a copy, as Dask makes one where a worker retires, is `Moved`.

    Parameters
    ----------
    piece : Piece
    config : WMFConfig
    checks : list of dict, optional
        What `verify` is to find; not looked at by default.
    user_scale, item_scale : arrays, optional
        Backgrounds of the shards' users and of all items; 1 by default.

    Raises
    ------
    InputError
        If the store is not there, another one or damaged, or there is no room for the users' factors.
    """

    def __init__(
        self,
        piece: Piece,
        config: WMFConfig,
        checks: Checks | None = None,
        user_scale: Floats | None = None,
        item_scale: Floats | None = None,
    ) -> None:
        keep_freed_memory(self)
        self._state = 0
        store = _open(piece)
        self._shards = store.shards[piece.first : piece.stop]
        self._users = slice(self._shards[0].start, self._shards[-1].stop)
        self._config = replace(config, num_threads=config.num_threads or worker_threads())
        self._scales = tasks.Scales(
            np.ones(self._users.stop - self._users.start) if user_scale is None else np.array(user_scale),
            np.ones(store.shape[1]) if item_scale is None else np.array(item_scale),
            self._users.start,
        )
        self._versions: dict[int, Scratch] = {}
        cells = slice(self._shards[0].cells.start, self._shards[-1].cells.stop)
        numbers = CellNumbers(cells, config.factor_dtype, worker_folder())
        self._weights = {shard.number: ShardWeights(shard, numbers) for shard in self._shards}
        if checks is not None and self.verify() != checks:
            raise InputError(f"the store {piece.location} has changed since the fit began; prepare it again")

    def __reduce__(self) -> tuple[Any, ...]:
        """Be nothing elsewhere."""
        return Moved, ()

    def verify(self) -> Checks:
        """Return what `Shard.verify` finds, a shard each."""
        return [shard.verify() for shard in self._shards]

    def go(self, states: tuple[int, int], missed: Sequence[Step], step: Step, number: int | None) -> tuple[Branch, ...]:
        """Take all shards through the steps that they have missed, then all of them, or one, through a step.

        Parameters
        ----------
        states : (int, int)
            What these shards have been through, and what they have been through then: numbers of the caller's, 0 at
            first.
        missed : sequence of Step
        step : Step
        number : int, optional
            The one shard.

        Returns
        -------
        tuple of Branch
            Of what the step returns.

        Raises
        ------
        Lost
            If they have been through something else.
        """
        before, then = states
        with _ONE_AT_A_TIME, single_threaded_blas(), thread_limit(self._config.num_threads):
            if self._state != before:
                raise Lost(f"shards from {self._shards[0].number} on are at {self._state}, not at {before}")
            self._state = -1
            for earlier in missed:
                grow(self._each(earlier, self._shards), in_place=True)
            chosen = [shard for shard in self._shards if number in (None, shard.number)]
            branches = grow(self._each(step, chosen), in_place=True)
            self._state = then
        return branches

    def _each(self, step: Step, shards: Sequence[Shard]) -> Iterator[Branch]:
        task = getattr(tasks, step.task)
        arguments = [_for_kernels(*one) for one in step.arguments]
        for shard in shards:
            with compiling_alone(step.task, self._config.dtype):
                sums = task(self._work(shard, step.version), *arguments)
            yield Branch(shard.number, 1, sums)

    def _work(self, shard: Shard, version: int) -> tasks.Work:
        first, last = self._users.start, self._users.stop
        if version not in self._versions:
            what = f"the factors of users {first} to {last - 1}"
            shape = (last - first, self._config.factors)
            self._versions[version] = Scratch(shape, self._config.factor_dtype, worker_folder(), what)
        users = self._versions[version].rows(shard.start - first, shard.stop - first)
        return tasks.Work(shard, users, self._weights[shard.number], self._scales, self._config)


class Moved:
    """What has come of shards that Dask took to another worker: they are lost, to be opened where they are wanted."""

    def verify(self) -> Checks:
        """Raise `Lost`."""
        raise Lost

    def go(self, *_: Any) -> tuple[Branch, ...]:
        """Raise `Lost`."""
        raise Lost


def open_shards(
    piece: Piece, config: WMFConfig, checks: Checks | None, user_scale: Floats | None, item_scale: Floats | None
) -> HeldShards:
    """Make a worker hold shards."""
    return HeldShards(piece, config, checks, user_scale, item_scale)


def verify_shards(held: HeldShards) -> Checks:
    """Call `HeldShards.verify`."""
    return held.verify()


def try_out(location: str, fingerprint: str) -> dict[str, str]:
    """Describe this machine, if the store can be opened on it."""
    _open(Piece(location, fingerprint, 0, 0))
    return machine()


def compare_machines(worker: str, theirs: Mapping[str, str]) -> None:
    """Refuse a worker of another release, and tell of one that may round otherwise.

    Raises
    ------
    ClusterError
    """
    ours = machine()
    differing = [
        f"{name} {theirs.get(name)} where this process has {ours[name]}"
        for name in ours
        if theirs.get(name) != ours[name]
    ]
    if theirs["implicit_wmf"] != ours["implicit_wmf"]:
        raise ClusterError(f"worker {worker} has {differing[0]}; install the same release everywhere")
    if differing:
        _LOG.warning("worker %s has %s: factors may differ in their last bits", worker, ", ".join(differing))


def machine() -> dict[str, str]:
    """Name what bits depend on besides the data."""
    return {
        "implicit_wmf": _release(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "processor": get_host_cpu_name(),
    }


def _release() -> str:
    try:
        return version("implicit_wmf")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"


def go(held: HeldShards | Moved, states: Sequence[int], missed: Sequence[Step], step: Step, number: int | None) -> Any:
    """Call `HeldShards.go`."""
    before, then = states
    return held.go((before, then), [Step(*one) for one in missed], Step(*step), number)


def add_parts(left: Sequence[Branch], right: Sequence[Branch]) -> tuple[Branch, ...]:
    """Join the branches of neighbours, which stay as they are, since they may be asked for again."""
    with thread_limit(worker_threads()):
        return grow([*left, *right], in_place=False)


def _open(piece: Piece) -> Store:
    try:
        store = Store.open(piece.location, cache=worker_folder())
    except InputError as error:
        raise InputError(
            f"{error} for a worker on the machine {socket.gethostname()}; all workers must have the store where this "
            f"process has it, as on shared storage or behind a URL"
        ) from error
    if store.fingerprint != piece.fingerprint:
        raise InputError(f"the store {piece.location} is another one for a worker than it was when the fit began")
    return store


def _for_kernels(value: Any, is_read_only: bool) -> Any:
    """Give an array that came over the network the address that vectors want, and the type of what was sent."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    array = aligned_copy(value)
    return kernels.jit.read_only(array) if is_read_only else array
