"""What kernels need on the workers of a cluster: arrays at whole cache lines, and one process that compiles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from . import kernels
from ._folders import lock_folder

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
            folder = Path(tempfile.gettempdir()) / "implicit_wmf-compiling"
            folder.mkdir(exist_ok=True)
            lock_folder(folder, locks, wait=True)
        yield
    _COMPILED.add((task, dtype))
