"""Progress bars that leave a process as it was, whatever it does next."""

from __future__ import annotations

import os
import threading
from typing import Any

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[misc]
    """A bar of tqdm's with a lock of its own, and without the thread that watches over slow bars.

    The lock of tqdm is shared with processes, shown or not: to make it settles the way in which multiprocessing starts
    them, so that ``set_start_method`` fails afterwards; and a child that is forked while a thread draws a bar would
    wait for it forever.
    """

    _lock: Any = threading.RLock()
    monitor_interval = 0


def _forget_drawing() -> None:
    """In a forked child no thread draws."""
    Bar._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_drawing)
