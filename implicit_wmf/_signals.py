"""SIGTERM as an exception, so that what is unfinished is removed or kept before the program ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# The exit code that shells and schedulers expect of a program that was told to end.
TERMINATED = 128 + signal.SIGTERM


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
