"""Clusters on the command line: the options that ask for one, and what is told while it works."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, NamedTuple

import typer

from .._bars import Bar
from .._clients import client_of, local_client
from .._signals import ending_on_sigterm, kept_from_children
from ..threads import available_threads


class ClusterOptions(NamedTuple):
    """Where the work is done: here, by the workers of a cluster, or by processes of this machine."""

    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask cluster to do the work: where its scheduler is, tcp://host:8786."),
    ] = None
    local_workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes of this machine to do the work, its cores shared out."),
    ] = None

    def check(self) -> None:
        """Refuse two places at once."""
        if None not in self:
            raise typer.BadParameter(
                "a cluster (--scheduler) and processes of this machine (--local-workers) exclude each other; give one"
            )

    @contextmanager
    def client(self, *, quiet: bool) -> Iterator[Any]:
        """Give the client of a cluster, or None if there is to be none; SIGTERM raises `Terminated` meanwhile."""
        if self == (None, None):
            yield None
            return
        with ending_on_sigterm(), _telling_log(quiet), ExitStack() as cluster:
            yield self._enter(cluster)

    def _enter(self, cluster: ExitStack) -> Any:
        if self.scheduler is not None:
            return cluster.enter_context(client_of(self.scheduler))
        workers = self.local_workers or 1
        # after Ctrl-C they are asked for what they have; it ends them in the midst of their work, if it reaches them
        with kept_from_children():
            return cluster.enter_context(local_client(workers, max(1, available_threads() // workers)))


class _AboveBars(logging.Handler):
    """Writes to stderr, above the bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        Bar.write(self.format(record), file=sys.stderr)


@contextmanager
def _telling_log(quiet: bool) -> Iterator[None]:
    """Show what the package logs: warnings, and a line an epoch unless it is told to be quiet."""
    logger = logging.getLogger("implicit_wmf")
    handler, level = _AboveBars(), logger.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
