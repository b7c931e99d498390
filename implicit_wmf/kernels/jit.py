"""Every Numba option of the project: a kernel says what kind it is, not which flags it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Kernel = Callable[..., Any]

# Sums may be reordered and multiplications fused, which is what makes reductions vectorise. NaN and infinity keep
# their meaning ("nnan" and "ninf" stay out): a Cholesky pivot that is NaN must be seen.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def block_kernel(function: Kernel) -> Kernel:
    """Compile an entry point that Python calls for one block of rows; the interpreter lock is released inside."""
    compiled: Kernel = numba.njit(nogil=True, cache=True, fastmath=_FAST)(function)
    return compiled


def inner(function: Kernel) -> Kernel:
    """Compile a function that only kernels call."""
    compiled: Kernel = numba.njit(fastmath=_FAST)(function)
    return compiled
