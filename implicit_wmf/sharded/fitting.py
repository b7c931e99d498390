"""Alternating least squares on a store: users are solved where their shard is, items by parts of all shards."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from ..confidence import choose_bare, penalties, scale_rows
from ..config import WMFConfig
from ..persistence import SavedModel
from ..row_plan import LEARNED, NOTHING_LEARNED, SidePlan
from ..store import Store
from ..threads import single_threaded_blas
from ..training import EpochRecord, Loss, eigenbasis, gram_matrix, initial_item_factors, penalty, rotate, to_eigenbasis
from ..weightings import Floats
from .items import ItemSide, solve_items
from .memory import plan_memory
from .runner import Runner, SerialRunner
from .tasks import Array, Scales, below_items, solve_users, sum_loss, turn_users, weigh_items, weigh_users


class Reached(NamedTuple):
    """What an epoch came to.

    The users' factors are not in it: they are solved exactly from the items' factors that the epoch began with, so that
    whoever has these can have them again, bit for bit.
    """

    before: Array  # items' factors that the epoch began with
    item_factors: Array
    item_steps: Floats  # what the items' plan has learned


_LOG = logging.getLogger(__name__)

Epochs = Iterator[tuple[EpochRecord, Reached]]


class OutOfCore:
    """A fit to a store, in memory for the items' factors and a shard at a time.

    Parameters
    ----------
    store : Store
    config : WMFConfig
    memory_limit : int or str, optional
        Bytes, or text as "4GB", that each process is to stay below.
    client : distributed.Client, optional
        Of a cluster whose workers have the shards; by default this process goes through them.

    Raises
    ------
    InputError
        If the store is damaged, the limit is too low (with what is needed), or there is no room for users' factors.
    ClusterError
        If the cluster fails in a way that moving shards to other workers cannot mend.
    """

    def __init__(
        self, store: Store, config: WMFConfig, memory_limit: int | str | None = None, client: Any = None
    ) -> None:
        self._store, self._config = store, config
        self._memory = plan_memory(store, config, memory_limit)
        self._scales = Scales(_scale(store, "user", config), _scale(store, "item", config))
        self._runner = _runner(store, self._scales, config, client)
        self._runner.verify()
        self.interactions = store.mapped_interactions()
        # the items' factors of the epochs whose users' factors the runner has, and which version is the later one
        self._users_of: list[Array | None] = [None, None]
        self._latest = 0

    def question(self) -> dict[str, Any]:
        """Return the fingerprint of the data."""
        return {"store": {"sha256": self._store.fingerprint}}

    def outline(self) -> Reached:
        """Make arrays of the shapes and dtypes of what an epoch reaches, without their memory."""
        items = np.broadcast_to(self._config.factor_dtype.type(0), (self._store.shape[1], self._config.factors))
        return Reached(items, items, np.broadcast_to(0.0, (LEARNED,)))

    def start(self) -> Reached:
        """Draw the items' factors that a fit in memory would draw."""
        factors = initial_item_factors(self._store.shape, self._config)
        return Reached(factors, factors, NOTHING_LEARNED)

    def epochs(self, start: Reached, *, done: int = 0, track_loss: bool = True) -> Epochs:
        """Yield (record, what was reached) after each epoch; arrays that were yielded stay as they are."""
        config, reached = self._config, start
        if done >= config.iterations:
            return
        side = self._weigh()
        plan = self._plan(side, start.item_steps)
        moved = self._runner.moved
        for epoch in range(done + 1, config.iterations + 1):
            began = time.perf_counter()
            with single_threaded_blas():
                before = reached.item_factors
                version, (vectors, spectrum), items = self._solve_users(before)
                items = solve_items(self._runner, items @ vectors, spectrum, side, plan, config)
                loss = self._loss(side, items) if track_loss else Loss(np.nan, np.nan, np.nan)
                reached = Reached(before, items, plan.learned())
                self._has_users_of(items, version)
            seconds = time.perf_counter() - began
            record = EpochRecord(
                epoch, loss.total, loss.stored, loss.background, loss.regularization, seconds, 1.0,
                plan.exact, 0.0, plan.mean_steps,
            )  # fmt: skip
            moved, before_it = self._runner.moved, moved
            told = f", loss {loss.total:.8g}" if track_loss else ""
            _LOG.info("epoch %d: %.2f s, %.1f MB moved%s", epoch, seconds, (moved - before_it) / 1e6, told)
            yield record, reached

    def keep(self, reached: Reached, history: list[Any]) -> SavedModel:
        """Make a fitted model of what was reached; users' factors that the runner no longer has are solved again."""
        items = reached.item_factors
        version = next((version for version in range(2) if self._users_of[version] is items), None)
        if version is None and history:
            with single_threaded_blas():
                version, _, _ = self._solve_users(reached.before)
            self._has_users_of(items, version)
        users = self._runner.user_factors(version or 0)
        return SavedModel(self._config, users, items, self.interactions, history)

    def _solve_users(self, before: Array) -> tuple[int, tuple[Array, Floats], Array]:
        """Solve all users against the items' factors, in the eigenbasis of their own Gram matrix afterwards.

        Returns the version that they are, that basis with its spectrum, and the items' factors that they were solved
        against. The latest version stays as it is.
        """
        config = self._config
        version = 1 - self._latest
        self._users_of[version] = None
        self._runner.use(version)
        vectors, spectrum = to_eigenbasis(before, self._scales.items, config.num_threads)
        items = np.empty_like(before)
        rotate(before, items, vectors, config)
        (gram,) = self._runner.total(solve_users, kernels.jit.whole_tiles(items), spectrum)
        basis = eigenbasis(gram, config.factor_dtype)
        self._runner.total(turn_users, basis[0])
        return version, basis, items

    def _has_users_of(self, items: Array, version: int) -> None:
        self._users_of[version], self._latest = items, version

    def _weigh(self) -> ItemSide:
        """Let the shards weigh their cells, and find what the items' systems have beside these."""
        config, store, runner = self._config, self._store, self._runner
        background = config.unobserved_weight * self._scales.items
        bare = None
        if config.zeros_remove:
            (below,) = runner.total(below_items)
            bare = choose_bare(self._item_sizes(), below, store.shape[0])
            background = np.where(bare, 0.0, background)
        runner.total(weigh_users)
        (weights,) = runner.total(weigh_items, bare)
        total = weights + background * self._scales.users.sum()
        return ItemSide(
            background,
            penalties(total, config.regularizations[1], config),
            np.array(store.array("item_positive") == 0),
            self._memory,
        )

    def _item_sizes(self) -> NDArray[np.int64]:
        store = self._store
        sizes = np.zeros(store.shape[1], np.int64)
        for number in range(len(store.shards)):
            sizes += np.diff(store.array("item_indptr", slice(number, number + 1))[0])
        return sizes

    def _loss(self, side: ItemSide, items: Array) -> Loss:
        threads = self._config.num_threads
        (stored, shared), user_gram, users = self._runner.total(sum_loss, items)
        item_gram = gram_matrix(items, self._scales.items, threads)
        every_cell = self._store.nnz == self._store.shape[0] * self._store.shape[1]
        elsewhere = 0.0 if every_cell else float(np.sum(user_gram * item_gram) - shared)
        return Loss(
            stored=float(stored),
            background=max(0.0, elsewhere),
            regularization=float(users[0]) + penalty(side.regularization, items),
        )

    def _plan(self, side: ItemSide, learned: Floats) -> SidePlan:
        config = self._config
        sizes = self._item_sizes()
        kinds = np.where(side.empty, kernels.rows.EMPTY, kernels.rows.PRIMAL).astype(np.uint8)
        return SidePlan(
            sizes, kinds, config.factors, config.factor_dtype, solver=config.solver, cg_steps=config.cg_steps,
            learned=learned,
        )  # fmt: skip


def _runner(store: Store, scales: Scales, config: WMFConfig, client: Any) -> Runner:
    if client is None:
        return SerialRunner(store, scales, config)
    from .cluster_runner import ClusterRunner

    return ClusterRunner(client, store, scales, config)


def _scale(store: Store, side: str, config: WMFConfig) -> Floats:
    shape = store.shape if side == "user" else store.shape[::-1]
    return scale_rows(f"{side}_background", lambda: store.array(f"{side}_positive").astype(np.float64), shape, config)
