"""Clients of a Dask cluster for the command line: of one that is there, or of processes that are started for it."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ._cluster import import_distributed
from .errors import ClusterError, InputError

_CONNECT = 10  # seconds to find the scheduler at an address
_AGAIN = 0.5  # seconds between attempts


@contextmanager
def client_of(address: str) -> Iterator[Any]:
    """Connect to the scheduler at an address, as Dask is configured; gives a distributed.Client.

    Raises
    ------
    InputError
        If none is found there within seconds.
    MissingExtraError
    """
    distributed = import_distributed("A cluster")
    try:
        _check_address(distributed, address)
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it logs is said here as well
        client = distributed.Client(address, set_as_default=False)
    except Exception as error:
        raise InputError(
            f"there is no scheduler of Dask to be reached at {address!r} ({error}); give the address that it tells "
            f"when it starts, as tcp://host:8786, and see that it runs and that no firewall is between"
        ) from error
    with ExitStack() as resources, _closing(resources):
        yield resources.enter_context(client)


@contextmanager
def local_client(workers: int, threads: int) -> Iterator[Any]:
    """Start processes on this machine that are workers; gives a distributed.Client.

    They have no limit of memory: Dask would count the pages of files that they map, which the system takes back when it
    needs to, and halt workers for them.

    Parameters
    ----------
    workers : int
    threads : int
        Of each.

    Raises
    ------
    ClusterError
        If they cannot be started.
    MissingExtraError
    """
    distributed = import_distributed("A cluster")
    with ExitStack() as resources:
        try:
            with _settings_of_workers():
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=threads, processes=True, memory_limit=None,
                    dashboard_address=None, scheduler_kwargs={"dashboard_address": ":0"}, silence_logs=logging.ERROR,
                )  # fmt: skip
                resources.enter_context(cluster)
                client = distributed.Client(cluster, direct_to_workers=True, set_as_default=False)
                resources.enter_context(client)
        except Exception as error:
            raise ClusterError(
                f"workers could not be started on this machine, {workers} of them ({error}); ask for fewer"
            ) from error
        with _closing(resources):
            yield client


def _check_address(distributed: Any, address: str) -> None:
    """Raise ValueError or OSError where a client would take long to end, or to find that nobody answers."""
    host, port = distributed.comm.get_address_host_port(address)
    if address.startswith("tls://"):
        if distributed.Security().get_connection_args("client")["ssl_context"] is None:
            raise ValueError("Dask's configuration has no certificates for it: distributed.comm.tls")
    elif "://" not in address or address.startswith("tcp://"):
        _reach(host, port)


def _reach(host: str, port: int) -> None:
    until = time.monotonic() + _CONNECT
    while True:
        try:
            with socket.create_connection((host, port), timeout=_CONNECT) as reached:
                if reached.recv(1):  # a scheduler speaks first; Dask waits without end for one that does not
                    return
                raise ConnectionError("what answers there is no scheduler")
        except OSError:  # it may be about to start
            if time.monotonic() > until:
                raise
        time.sleep(_AGAIN)


@contextmanager
def _settings_of_workers() -> Iterator[None]:
    """Let workers that are started not log errors, which are raised here, and keep their environment to themselves."""
    import dask

    before = set(os.environ)
    with dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical"}):
        yield
    for name in set(os.environ) - before:  # OMP_NUM_THREADS=1 and others
        del os.environ[name]


@contextmanager
def _closing(resources: ExitStack) -> Iterator[None]:
    """Close a cluster at the end, and log nothing of what it was doing then."""
    try:
        yield
    finally:
        before = logging.root.manager.disable
        logging.disable()
        try:
            resources.close()
        finally:
            logging.disable(before)
