"""What kernels need on the workers of a cluster: arrays at whole cache lines, and one process that compiles."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from . import kernels
from ._folders import lock_folder

_LOG = logging.getLogger(__name__)
_LOOK, _LONGEST = 0.1, 120.0  # seconds between looks whether another process has compiled, and at most

_COMPILED: set[tuple[str, str]] = set()  # tasks whose kernels this process has, by the factors' dtype


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array that came over the network, where it may begin at any byte, to where vectors want it; C-ordered."""
    copy: NDArray[Any] = kernels.jit.aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


@contextmanager
def compiling_alone(task: str, dtype: str) -> Iterator[None]:
    """Let one process of this machine at a time do a task for the first time: it compiles, the others load."""
    if (task, dtype) in _COMPILED:
        yield
        return
    with ExitStack() as locks:
        with suppress(OSError):  # without a lock each compiles for itself
            _wait_for_turn(locks)
        yield
    _COMPILED.add((task, dtype))


def _wait_for_turn(locks: ExitStack) -> None:
    """Lock what is this user's on this machine; goes on without after a while, as another process may be halted."""
    owner = os.getuid() if hasattr(os, "getuid") else "all"
    folder = Path(tempfile.gettempdir()) / f"implicit_wmf-compiling-{owner}"
    folder.mkdir(mode=0o700, exist_ok=True)
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            lock_folder(folder, locks)
            return
        time.sleep(_LOOK)
    _LOG.warning("another process has been compiling for %g s; going on without it", _LONGEST)
