"""Task of a worker: a fit to a store, here or by worker processes that each have a core."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from implicit_wmf import WMF, WMFConfig
from implicit_wmf.confidence import weigh
from implicit_wmf.store import Store
from implicit_wmf.training import compute_loss

from ..lab import Job
from ..records import Record

EPOCH_LOG = "implicit_wmf.sharded.fitting"
# Dask would count pages of mapped files as memory; port 8787 may be another cluster's.
OF_CLUSTERS: dict[str, Any] = {"memory_limit": None, "dashboard_address": ":0"}


def fit(job: Job) -> Record:
    """Fit a store; returns what each epoch came to, and a hash of all factors' bytes.

    The job has `store`, `settings` of WMF, `workers` (0 for this process alone), whether the epochs are to
    `track_loss`, and whether factors are to be judged afterwards (`judge`: the objective and its part without
    penalties).
    """
    store, model = Store.open(job["store"]), WMF(**job["settings"], num_threads=job["threads"], random_state=0)
    with _moved_bytes() as moved, _client(job["workers"], job["threads"]) as client:
        model.fit(store, client=client, progress=False, track_loss=job["track_loss"])
    result = {
        "seconds": [record.seconds for record in model.history],
        "moved": moved,
        "losses": [record.loss for record in model.history],
        "exact_items": [record.exact_items for record in model.history],
        "item_steps": [record.item_steps for record in model.history],
        "sha256": hashlib.sha256(model.user_factors.tobytes() + model.item_factors.tobytes()).hexdigest(),
    }
    if job["judge"]:
        result |= judge(store.interactions().matrix, model.config, model.user_factors, model.item_factors)
    return result


def judge(counts: Any, config: WMFConfig, users: Any, items: Any) -> Record:
    """Return the objective of factors, and its part over the cells, without penalties."""
    loss = compute_loss(weigh(counts, config), users, items, config.num_threads)
    return {"objective": loss.total, "of_cells": loss.stored + loss.background}


class _Moved(logging.Handler):
    """Keeps the bytes that each epoch says it moved."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        _, _, megabytes, _ = record.args or ()
        self.moved.append(round(1e6 * float(megabytes)))


@contextmanager
def _moved_bytes() -> Iterator[list[int]]:
    log, handler = logging.getLogger(EPOCH_LOG), _Moved()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler.moved
    finally:
        log.removeHandler(handler)


@contextmanager
def _client(workers: int, threads: int) -> Iterator[Any]:
    """Start worker processes of so many threads, each on cores of its own while there are any; None for 0 workers.

    Without workers this process is the one that keeps to its cores.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not workers:
        _keep_to(cores[:threads])
        yield None
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=threads, **OF_CLUSTERS) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        for number, worker in enumerate(client.nthreads()):
            own = {cores[(number * threads + one) % len(cores)] for one in range(threads)} if cores else set()
            client.run(_keep_to, sorted(own), workers=[worker])
        yield client


def _keep_to(cores: list[int]) -> None:
    """Let all threads that this process has, and those that they start, run on these cores."""
    if cores:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)
