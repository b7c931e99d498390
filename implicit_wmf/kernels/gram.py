"""Gram matrices of factors, in float64 whatever the factors' precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .jit import VECTOR_BYTES, aligned, block_kernel
from .linalg import add_products

PANEL = 64  # rows converted at a time: 64 x d doubles stay in the second-level cache up to d = 1024
_TILE = VECTOR_BYTES // 8


def make_sum(factors: Any) -> Any:
    """Allocate a Gram matrix: of zeros, float64, whole tiles high and wide."""
    return _zeros(_width(factors), _width(factors))


def make_panel(factors: Any) -> Any:
    """Allocate the working memory of `add_gram`; a tile more a row keeps the rows of a tile in other cache sets."""
    return _zeros(PANEL, _width(factors) + _TILE)


def _width(factors: Any) -> int:
    return int(-(-factors.shape[1] // _TILE) * _TILE)


def _zeros(rows: int, columns: int) -> Any:
    out = aligned((rows, columns), np.float64)
    out[:] = 0
    return out


@block_kernel
def add_gram(factors, scale, start, stop, panel, out):
    """Add sum_j scale_j h_j h_j' over rows start to stop - 1 to the upper triangle of `out`, which `make_sum` made."""
    width = factors.shape[1]
    for begin in range(start, stop, PANEL):
        length = min(PANEL, stop - begin)
        for t in range(length):
            root = math.sqrt(scale[begin + t])
            for k in range(width):
                panel[t, k] = root * float(factors[begin + t, k])
        add_products(panel, panel, out.shape[0], length, out)
