"""Gram matrices of factors, in float64 whatever the factors' precision."""

from __future__ import annotations

import math

import numpy as np

from . import simd
from .jit import allocating, block_kernel, inner
from .linalg import add_products

PANEL = 64  # rows converted at a time: 64 x d doubles stay in the second-level cache up to d = 1024


@allocating
def _make_panel(factors):
    # one tile more a row, so that the rows of a tile do not share their cache sets
    return np.zeros((PANEL, simd.padded(factors.shape[1], 8) + 8))


@inner
def _add_panels(factors, scale, start, stop, panel, out):
    width = factors.shape[1]
    for begin in range(start, stop, PANEL):
        length = min(PANEL, stop - begin)
        for t in range(length):
            root = math.sqrt(scale[begin + t])
            for k in range(width):
                panel[t, k] = root * factors[begin + t, k]
        add_products(panel, panel, simd.padded(width, 8), length, out)


@block_kernel
def add_gram(factors, scale, start, stop, out):
    """Add sum_j scale_j h_j h_j' over rows start to stop - 1 to the upper triangle of `out`.

    `out` is float64 and whole tiles of 8 wide and high, those beyond the factors staying 0.
    """
    _add_panels(factors, scale, start, stop, _make_panel(factors), out)
