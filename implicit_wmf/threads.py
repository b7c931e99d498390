"""Running kernel blocks on a few threads, with BLAS kept to one thread meanwhile.

Handing out blocks was chosen over ``numba.prange``: it is as fast on balanced rows and faster on unbalanced ones, stops
within a block on Ctrl-C, and survives fork and concurrent callers, which OpenMP and workqueue do not. Threads live for
one call: starting two takes a tenth of a millisecond, and none is left that a fork could lose.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from threadpoolctl import threadpool_limits


def available_threads() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_LIMIT: ContextVar[int | None] = ContextVar("threads", default=None)


@contextmanager
def thread_limit(num_threads: int | None) -> Iterator[None]:
    """Let calls of `run_blocks` that name no number of threads use no more than so many."""
    token = _LIMIT.set(num_threads)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def run_blocks(task: Callable[[int], None], count: int, num_threads: int | None = None) -> None:
    """Call ``task(0) ... task(count - 1)``, each once, on several threads.

    Threads take the next block when they are free, so put the heaviest blocks first. Results must not depend on the
    order: a task writes to places of its own. The first exception of a task stops the others after their current block
    and is raised here; so does ``KeyboardInterrupt``.
    """
    threads = min(num_threads or _LIMIT.get() or available_threads(), count)
    if threads <= 1:
        for block in range(count):
            task(block)
        return
    queue = itertools.count()  # next() on it is atomic
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set() and (block := next(queue)) < count:
                task(block)
        except BaseException as error:
            failures.append(error)
            stop.set()

    # The caller only waits, so that Ctrl-C, which Python delivers to the main thread, is seen at once.
    workers = [threading.Thread(target=work, name=f"implicit_wmf-{number}") for number in range(threads)]
    started: list[threading.Thread] = []
    try:
        for worker in workers:
            worker.start()
            started.append(worker)
        _join(started)
    finally:
        stop.set()
        _join(started)
    if failures:
        raise failures[0]


def _join(workers: list[threading.Thread]) -> None:
    for worker in workers:
        worker.join()


class _SingleThreadedBlas:
    """Counts the callers inside, because the limit is the whole process's: the first sets it, the last restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: threadpool_limits | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._limits = threadpool_limits(limits=1, user_api="blas")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0 and self._limits is not None:
                    self._limits.restore_original_limits()
                    self._limits = None

    def reset_after_fork(self) -> None:
        """Start afresh in a forked child, where the threads that were inside do not exist."""
        limits = self._limits
        self.__init__()  # type: ignore[misc]
        if limits is not None:
            limits.restore_original_limits()


single_threaded_blas = _SingleThreadedBlas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded_blas.reset_after_fork)
