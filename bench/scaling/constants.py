"""Task of a worker: what the passes of an epoch take, by cells and by items, and how fast parts are added and sent."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from implicit_wmf import WMF, Interactions
from implicit_wmf.datasets import synthetic
from implicit_wmf.sharded import fitting
from implicit_wmf.sharded.runner import SerialRunner
from implicit_wmf.sharded.sums import Branch, total
from implicit_wmf.store import Store, write_store

from ..lab import Job
from ..records import Record
from .fits import OF_CLUSTERS
from .paper import CLIENT, PASSES

REPETITIONS, EPOCHS = 3, 4
QUANTILES = 100


def measure(job: Job) -> Record:
    """Fit data of the same items, and users as long, in one shard each, and time the passes of all epochs but one.

    The job has `items`, `users` (of each size) and `cells_of_user`, `factors` and `steps`.
    """
    return {
        "items": job["items"],
        "factors": job["factors"],
        "steps": job["steps"],
        "threads": job["threads"],
        "sizes": [_fit(users, job) for users in job["users"]],
        "add_bytes_a_second": _adding(job),
        "send_bytes_a_second": _sending(job),
    }


class _Timed(SerialRunner):
    """Notes the seconds of every pass."""

    passes: list[tuple[str, float]]

    def total(self, task: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        sums = super().total(task, *arguments)
        self.passes.append((task.__name__, time.perf_counter() - began))
        return sums


def _fit(users: int, job: Job) -> Record:
    counts = synthetic(users, job["items"], users * job["cells_of_user"], random_state=0)
    settings = {"solver": "cg", "cg_steps": job["steps"], "num_threads": job["threads"], "random_state": 0}
    model = WMF(job["factors"], iterations=EPOCHS, **settings)
    with tempfile.TemporaryDirectory(prefix="implicit_wmf_constants_") as folder:
        store = write_store(Path(folder) / "store", Interactions.from_matrix(counts), shards=1)
        passes = _passes(model, store)
    seconds = _by_epoch(passes, [record.seconds for record in model.history])
    sides = {"users": np.diff(counts.indptr), "items": np.bincount(counts.indices, minlength=counts.shape[1])}
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return {
        "users": users,
        "cells": counts.nnz,
        "passes": seconds,
        "row_sizes": {side: np.quantile(sizes, middles).round(1).tolist() for side, sizes in sides.items()},
    }


def _by_epoch(passes: list[tuple[str, float]], epochs: list[float]) -> dict[str, list[float]]:
    """Add up the seconds of each pass in each epoch after the first, and what is left of these."""
    table = {name: np.zeros(len(epochs)) for name, _ in passes}
    epoch = -1
    for name, seconds in passes:
        epoch += name == PASSES[0]
        if epoch >= 0:  # cells have been weighed by then
            table[name][epoch] += seconds
    table[CLIENT] = np.array(epochs) - sum(table.values())
    return {name: seconds[1:].tolist() for name, seconds in table.items()}


def _passes(model: WMF, store: Store) -> list[tuple[str, float]]:
    _Timed.passes = []
    with patch.object(fitting, "SerialRunner", _Timed):
        model.fit(store, progress=False)
    return _Timed.passes


def _matrix(job: Job) -> Any:
    return np.ones((job["items"], job["factors"]), np.float32)


def _adding(job: Job) -> float:
    """Bytes of a part that are added to another one in a second."""
    left, right = _matrix(job), _matrix(job)

    def add() -> None:
        total([Branch(0, 1, (left,)), Branch(1, 1, (right,))])

    return left.nbytes / _best(add)


def _sending(job: Job) -> float:
    """Bytes that Dask takes from one process of this machine to another in a second."""
    from distributed import Client, LocalCluster

    matrix = _matrix(job)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, **OF_CLUSTERS) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        return float(matrix.nbytes / _best(lambda: client.scatter([matrix], broadcast=True, hash=False)))


def _best(work: Any) -> float:
    seconds = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
