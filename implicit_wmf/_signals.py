"""SIGTERM as an exception, and whom it and Ctrl-C reach: what is unfinished is removed or kept before the end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# The exit code that shells and schedulers expect of a program that was told to end.
TERMINATED = 128 + signal.SIGTERM

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Terminated(SystemExit):
    """SIGTERM ended some work; unless it is caught, it ends the program with exit code 143."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` meanwhile, where nobody else handles it and Python delivers it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(*_: object) -> NoReturn:
    raise Terminated


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM pass by the threads that are started meanwhile, and by the processes that these start.

    Both go to all processes of a job, where a terminal or a manager of services sends them; then those that this one
    has are to last until it has put its work in order. What comes meanwhile is handled here afterwards. For the main
    thread; where signals cannot be blocked it does nothing.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which would unblock them, if it were started meanwhile
    met: list[int] = []
    # handlers as well as the mask: another thread, as those of BLAS, may be given what this one blocks
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    before = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, _: met.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        if met:
            signal.raise_signal(met[0])
