"""Running kernel blocks on a few threads, with BLAS kept to one thread meanwhile.

Handing out blocks was chosen over ``numba.prange``: it is as fast on balanced rows and faster on unbalanced ones, stops
within a block on Ctrl-C, and survives fork and concurrent callers, which OpenMP and workqueue do not. Threads live for
one call: starting two takes a tenth of a millisecond, and none is left that a fork could lose.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from threadpoolctl import threadpool_limits

# What limits the threads of Numba and of OpenMP limits these too, which stand in for theirs. OPENBLAS_NUM_THREADS and
# MKL_NUM_THREADS are for BLAS alone: many set them to 1 just to keep it out of the way of a library's own threads.
_LIMITING = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
_GROUPS = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """Count the threads to use where no number is asked for.

    They are the cores that this process may run on, or fewer: no more than ``NUMBA_NUM_THREADS`` or
    ``OMP_NUM_THREADS`` say, and no more than a container's share of processor time (its cgroup's ``cpu.max``) keeps
    busy.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(min([cores, _processor_share(), *_LIMITS]))


def _environment_limits(variables: Mapping[str, str]) -> Iterator[int]:
    for name in _LIMITING:
        first = variables.get(name, "").split(",")[0].strip()  # of OpenMP's list, a number a level of nesting
        if first.isdecimal() and int(first) > 0:  # OpenMP too goes on without what it cannot read
            yield int(first)


# Read once, as Numba and OpenMP do: a Dask cluster of this machine's processes leaves OMP_NUM_THREADS=1, which is meant
# for these processes, in the environment of who starts it.
_LIMITS = tuple(_environment_limits(os.environ))


@functools.cache
def _processor_share() -> int | float:
    """Processors' worth of time that the control groups (version 2) of this process get, rounded up."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    own = next((line[len("0::") :].lstrip("/") for line in groups if line.startswith("0::")), "")
    folders = [_GROUPS / own, *(_GROUPS / own).parents]
    return min(_quota(folder / "cpu.max") for folder in folders if folder.is_relative_to(_GROUPS))


def _quota(file: Path) -> int | float:
    try:
        quota, period = file.read_text(encoding="utf-8").split()
        return math.inf if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or the root's, or a system that has none
        return math.inf


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
    and is raised here; so does ``KeyboardInterrupt``. Where the system refuses more threads, those that there are do.
    """
    threads = min(num_threads or _LIMIT.get() or available_threads(), count)
    if threads <= 1:
        for block in range(count):
            task(block)
        return
    blocks = _Blocks(task, count)
    # The caller only waits, so that Ctrl-C, which Python delivers to the main thread, is seen at once.
    workers = [threading.Thread(target=blocks.work, name=f"implicit_wmf-{number}") for number in range(threads)]
    started: list[threading.Thread] = []
    try:
        for worker in workers:
            if not _start(worker):
                break
            started.append(worker)
        if not started:
            blocks.work()
        for worker in started:
            worker.join()
    finally:
        blocks.stop()
    if blocks.failures:
        raise blocks.failures[0]


class _Blocks:
    """Blocks of a task, which threads take until none is left, one failed or they are stopped."""

    def __init__(self, task: Callable[[int], None], count: int) -> None:
        self._task, self._queue = task, iter(range(count))
        self._change = threading.Condition()
        self._stopped, self._running = False, 0
        self.failures: list[BaseException] = []

    def work(self) -> None:
        """Run blocks as they come."""
        while (block := self._take()) is not None:
            try:
                self._task(block)
            except BaseException as error:
                self.failures.append(error)
                self._stopped = True
            finally:
                with self._change:
                    self._running -= 1
                    self._change.notify_all()

    def _take(self) -> int | None:
        with self._change:
            block = None if self._stopped else next(self._queue, None)
            self._running += block is not None
        return block

    def stop(self) -> None:
        """Let no further block begin, and wait for those that run, whoever presses Ctrl-C meanwhile.

        Joining their threads would not do: a join that Ctrl-C interrupted takes the thread for ended (Python 3.11).
        """
        self._stopped = True
        interrupted: KeyboardInterrupt | None = None
        while self._running:
            try:
                with self._change:
                    self._change.wait_for(lambda: self._running == 0)
            except KeyboardInterrupt as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted


def _start(worker: threading.Thread) -> bool:
    """Start a thread; False where the process may have no more of them."""
    try:
        worker.start()
    except RuntimeError:
        return False
    return True


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
