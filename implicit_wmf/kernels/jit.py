"""Every Numba option of the project: a kernel says what kind it is, not which flags it takes."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock

VECTOR_BYTES = 64  # of the vectors in kernels.simd

Kernel = Callable[..., Any]

# Sums may be reordered and multiplications fused, which is what makes reductions vectorise. NaN and infinity keep
# their meaning ("nnan" and "ninf" stay out): a Cholesky pivot that is NaN must be seen.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
# Division by zero gives infinity or NaN, as in NumPy, and shows as a status: kernels raise nothing.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": _FAST, "error_model": "numpy"}
# Numba would count references to every array that a function touches: atomic operations that take 0.3 us a row, as long
# as solving a row of ten cells does (measured). Where nothing is allocated there is nothing to count.
_NO_REFERENCE_COUNTS: dict[str, Any] = {"_nrt": False}


def block_kernel(function: Kernel) -> Kernel:
    """Compile an entry point that Python calls for one block of rows; the interpreter lock is released inside.

    It allocates nothing, and neither do the functions it calls: working memory comes as an argument.
    """
    return _cached(function, _NO_REFERENCE_COUNTS)


def inner(function: Kernel) -> Kernel:
    """Compile a function that only kernels call and that allocates nothing, assignments to slices included."""
    compiled: Kernel = numba.njit(forceinline=True, **_NO_REFERENCE_COUNTS, **_OPTIONS)(function)
    return compiled


def _cached(function: Kernel, options: dict[str, Any]) -> Kernel:
    try:
        compiled: Kernel = numba.njit(cache=True, **options, **_OPTIONS)(function)
    except RuntimeError:  # no folder to write a cache to, as for a service without a home: compile in each process
        compiled = numba.njit(**options, **_OPTIONS)(function)
    _watch_all_sources(compiled)
    return compiled


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Allocate an array that begins at a cache line: NumPy's may begin anywhere, and then every vector spans two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + VECTOR_BYTES, np.uint8)
    first = -memory.ctypes.data % VECTOR_BYTES
    array: np.ndarray[Any, Any] = memory[first : first + size].view(dtype).reshape(shape)
    return array


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """View an input so that it has one type for Numba, whether it is memory-mapped or not: one compiled version."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def whole_tiles(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """View factors as `read_only` does, or a copy with columns of zeros where their width is not whole tiles."""
    lanes = VECTOR_BYTES // matrix.itemsize
    width = -(-matrix.shape[1] // lanes) * lanes
    if width == matrix.shape[1]:
        return read_only(matrix)
    wide = aligned((len(matrix), width), matrix.dtype)
    wide[:, : matrix.shape[1]] = matrix
    wide[:, matrix.shape[1] :] = 0
    return read_only(wide)


def _sources() -> int:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(file.read_bytes() for file in files))


_SOURCES = _sources()


def _watch_all_sources(compiled: Kernel) -> None:
    """Make the cache on disk depend on every kernel source; Numba looks at the entry point's own file only."""
    cache_file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if cache_file is not None and hasattr(cache_file, "_source_stamp"):
        cache_file._source_stamp = (cache_file._source_stamp, _SOURCES)


if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait forever for that thread to end: so fork waits.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
