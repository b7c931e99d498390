"""A Dask cluster as fits and batch jobs see it: values for all workers, and calls that are known to be lost.

Nothing here calls again: who made a call knows what it needs for that. This is the only module that imports Dask, once
there is a client.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .errors import ClusterError, InputError, MissingExtraError

_LOG = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between looks at who is still there
_PATIENCE = "5 minutes"  # to wait for workers where Dask's configuration has no implicit-wmf.wait-for-workers
_PAUSE = 30.0  # seconds that a worker may be paused, as Dask does for memory, until it is held to be gone
_GONE = ("cancelled", "lost")


class Lost(Exception):  # noqa: N818 - what befell a call, which is made again
    """A worker has gone, or no longer has what an earlier call left there."""


class Shared:
    """A value of so many bytes that calls take: sent once, and again when those that had it are gone.

    It is sent to one worker, or to all of them.
    """

    def __init__(self, value: Any, size: int, worker: str | None = None) -> None:
        self.value, self.size, self.worker = value, size, worker
        self.future: Any = None

    def let_go(self) -> None:
        """Take it off the workers; it is sent again if another call takes it."""
        if self.future is not None:
            self.future.release()
            self.future = None


class Call(NamedTuple):
    """A call on its way, or done."""

    future: Any
    worker: str | None  # the only one that may do it, if there is one

    @property
    def is_done(self) -> bool:
        """Whether it came to something that is still there."""
        return bool(self.future.status == "finished")

    def let_go(self) -> None:
        """Take what it came to off the workers.

        Not left to Python: exceptions of Dask's, as of each wait that takes long, keep futures until all rubbish is
        collected, and these the memory of workers.
        """
        self.future.release()


class Cluster:
    """The workers of a client.

    Parameters
    ----------
    client : distributed.Client

    Attributes
    ----------
    moved : int
        Bytes that were sent to workers and fetched from them; callers add what workers sent each other.

    Raises
    ------
    MissingExtraError
    InputError
        If it is no client, one for coroutines, or closed.
    """

    def __init__(self, client: Any) -> None:
        self._dask = distributed = import_distributed("client")
        self._client: Any = client
        if not isinstance(client, distributed.Client):
            raise InputError(f"client must be a distributed.Client, got {type(client).__name__}")
        if client.asynchronous:
            raise InputError("client is asynchronous, for coroutines; give a Client(...) without that")
        if client.status not in ("running", "connecting"):
            raise InputError(f"client is {client.status}; make a new Client of the cluster")
        self._address = str(self._client.scheduler.address)
        self._hurried = False
        self._paused: dict[str, float] = {}  # since when
        self._name = secrets.token_hex(4)  # sets the calls apart from those of other fits
        self._numbers = itertools.count()
        self.moved = 0

    def workers(self) -> dict[str, int]:
        """Return the threads of each worker by its address, sorted; waits until there is a worker.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or no worker comes.
        """
        patience = self._patience()
        began = time.monotonic()
        until, told = began + patience, False
        while not (there := self._ask_workers()):
            if not told and time.monotonic() - began > 2 * _LOOK:
                who = f"the cluster {self._address} has no worker{self._named_paused()}"
                _LOG.warning("%s; waiting for one, up to %g s", who, patience)
                told = True
            if time.monotonic() > until:
                raise ClusterError(
                    f"the cluster {self._address} has had no worker for {patience:g} s{self._named_paused()}; start "
                    f"some, or let it wait longer: DASK_IMPLICIT_WMF__WAIT_FOR_WORKERS=1h. {_RESUME}"
                )
            time.sleep(_LOOK)
        return there

    def submit(self, function: Callable[..., Any], *arguments: Any, worker: str | None = None, name: str = "") -> Call:
        """Call a function, on one worker or any, with the values of `Shared` arguments, also those in lists."""
        sent = [self._resolve(one) for one in arguments]
        key = f"{name or function.__name__}-{self._name}-{next(self._numbers)}"
        only = {} if worker is None else {"workers": [worker], "allow_other_workers": False}
        with self._telling_loss():
            return Call(self._client.submit(function, *sent, key=key, pure=False, retries=0, **only), worker)

    def wait(self, calls: Collection[Call], *, all_of_them: bool = True) -> None:
        """Wait until calls are done, all of them or one.

        Raises
        ------
        Lost
            As soon as one is lost; `lost` tells which.
        ClusterError
            If the scheduler is gone.
        Exception
            What a call raised.
        """
        enough = all if all_of_them else any
        how = "ALL_COMPLETED" if all_of_them else "FIRST_COMPLETED"
        futures = [call.future for call in calls]
        while True:
            with self._telling_loss():
                self._wait(futures, how)
            if enough(call.is_done for call in calls):
                return
            if self.lost(calls):
                raise Lost

    def lost(self, calls: Collection[Call]) -> set[Call]:
        """Tell which calls, done or not, went with a worker; raises what one raised."""
        there = self._ask_workers()
        lost = set()
        for call in calls:
            if call.future.status in _GONE or (call.worker is not None and call.worker not in there):
                lost.add(call)
            elif call.future.status == "error":
                error = call.future.exception()
                if not self._is_loss(error):
                    _raise(error, call.worker)
                lost.add(call)
        return lost

    def fetch(self, call: Call) -> Any:
        """Fetch what a call that is done came to; raises `Lost` if it is gone."""
        return self.fetch_all([call])[0]

    def fetch_all(self, calls: Sequence[Call], made_of: Collection[Call] = ()) -> list[Any]:
        """Fetch what calls that are done came to.

        Raises
        ------
        Lost
            If one is gone, or one of those that Dask would have to make again before them.
        """
        # not by a time limit of Dask's, after which a large result would be fetched from its beginning again
        coroutine = self._client.gather([call.future for call in calls], asynchronous=True)
        fetched = asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)
        try:
            while not wait([fetched], timeout=_LOOK).done:
                if self.lost([*calls, *made_of]):
                    raise Lost
            with self._telling_loss():
                return list(fetched.result())
        finally:
            fetched.cancel()

    def cancel(self, calls: Collection[Call]) -> None:
        """Let go of calls, whether they are done or not."""
        if calls and self._client.status == "running":
            self._client.cancel([call.future for call in calls], force=True)

    def hurry(self) -> None:
        """Wait for workers no longer: somebody has interrupted the work."""
        self._hurried = True

    def why_gone(self, worker: str) -> str:
        """Word what became of a worker whose calls were lost."""
        if worker in self._paused:
            return "is paused by Dask, for its limit of memory"
        return (
            "has lost what it had, as under Dask's limit of memory (dask worker --memory-limit)"
            if worker in self._ask_workers()
            else "is gone"
        )

    def _named_paused(self) -> str:
        if not self._paused:
            return ""
        return f" but {', '.join(self._paused)}, paused by Dask for its limit of memory (dask worker --memory-limit)"

    def _patience(self) -> float:
        import dask

        if self._hurried:
            return 0.0
        given = dask.config.get("implicit-wmf.wait-for-workers", _PATIENCE)
        return float(dask.utils.parse_timedelta(given, default="seconds"))

    def _ask_workers(self) -> dict[str, int]:
        """Return the threads of each worker that begins what it is sent, or will soon."""
        self._check_scheduler()
        try:
            with self._telling_loss():
                there = dict(sorted(self._client.nthreads().items()))
                running = self._client.sync(self._client.scheduler.ncores_running)
        except Lost:
            return {}
        now = time.monotonic()
        self._paused = {worker: self._paused.get(worker, now) for worker in there.keys() - running.keys()}
        return {worker: there[worker] for worker in there if now - self._paused.get(worker, now) < _PAUSE}

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Shared):
            return self._send(value)
        return [self._resolve(one) for one in value] if type(value) is list else value

    def _send(self, shared: Shared) -> Any:
        """Send a value, unless it is there."""
        until = time.monotonic() + self._patience()
        while shared.future is None or shared.future.status in _GONE:
            there = [one for one in self.workers() if shared.worker in (None, one)]
            if not there:
                raise Lost
            try:
                with self._telling_loss():
                    # in a list: a tuple or dictionary by itself would be sent piece by piece
                    (future,) = self._client.scatter([shared.value], workers=there, broadcast=True, hash=False)
                    # lost before the client has its future, it would seem to be there for ever
                    if not any(self._client.who_has([future]).values()):
                        raise Lost("the workers that had it are gone")
                shared.future = future
                self.moved += shared.size * len(there)
            except (Lost, OSError, ValueError, KeyError) as error:  # a worker went while it was being sent
                if time.monotonic() > until:
                    raise ClusterError(f"nothing can be sent to the workers: {error}. {_RESUME}") from error
                _LOG.warning("sending to the workers again, because that failed: %s", error)
                time.sleep(_LOOK)
        return shared.future

    def _wait(self, futures: list[Any], how: str) -> None:
        # what distributed.wait does, which asks the client that was made last, whosever it is
        with suppress(TimeoutError, CancelledError):  # who waits looks at them
            self._client.sync(self._dask.client._wait, futures, timeout=_LOOK, return_when=how)

    def _is_loss(self, error: BaseException) -> bool:
        dask = self._dask
        return isinstance(error, Lost | CancelledError | dask.scheduler.KilledWorker | dask.comm.CommClosedError)

    def _check_scheduler(self, error: Exception | None = None) -> None:
        """Wait while the client connects anew; raise ClusterError once it has given up."""
        if self._client.status == "connecting":
            _LOG.warning("the connection to the scheduler %s was lost; connecting again", self._address)
        while self._client.status == "connecting":
            time.sleep(_LOOK)
        if self._client.status != "running":
            raise ClusterError(
                f"the scheduler {self._address} is gone, and all that its workers had with it. {_RESUME}"
            ) from error

    @contextmanager
    def _telling_loss(self) -> Iterator[None]:
        """Raise `Lost` where a worker or the connection to the scheduler was, and ClusterError without a scheduler."""
        try:
            yield
        except ClusterError:
            raise
        except Exception as error:
            if self._client.status != "running":
                self._check_scheduler(error)
                raise Lost from error
            if self._is_loss(error):
                raise Lost from error
            raise


_RESUME = (
    "A fit with a checkpoint goes on from it with resume=True (--resume), on a cluster of any size, and a batch job "
    "when it is asked again"
)


def _raise(error: Exception, worker: str | None) -> NoReturn:
    """Raise what a call raised, naming the worker."""
    where = "a worker" if worker is None else f"worker {worker}"
    if isinstance(error, ImportError) and not isinstance(error, MissingExtraError):
        raise ClusterError(
            f"{where} cannot do its part ({error}); install the same release of implicit_wmf, and what it needs, "
            f"on all machines of the cluster"
        ) from error
    if isinstance(error, InputError):
        raise InputError(f"{where}: {error}") from error
    error.add_note(f"raised on {where}")
    raise error


def worker_threads() -> int:
    """Return the threads of the worker that this is called on."""
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def worker_folder() -> Path:
    """Return the folder for temporary files of the worker that this is called on."""
    from distributed import get_worker

    return Path(get_worker().local_directory)


def import_distributed(purpose: str) -> Any:
    """Import Dask, or raise MissingExtraError."""
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError("distributed", "dask", purpose) from error
    return distributed
