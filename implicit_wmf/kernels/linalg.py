"""Small dense symmetric systems inside kernels, on the tiles of :mod:`implicit_wmf.kernels.simd`.

LAPACK called on matrices of this size spends its time in overhead (3 to 12 % of the sgemm rate up to 128 x 128).
"""

from __future__ import annotations

from . import simd
from .jit import inner


@inner
def add_products(left, right, size, length, out):
    """Add left[:length]' right[:length] to the upper triangle of out, `size` a multiple of the tile."""
    tile = simd.tile_of(out)
    for i in range(0, size, tile):
        for j in range(i, size, tile):
            simd.add_outer(left, i, right, j, length, out)


@inner
def cholesky(matrix, size):
    """Overwrite the upper triangle by R with R' R = matrix; `size` is a multiple of the tile.

    Returns False, with the work undone half-way, if a pivot is not positive (or is NaN).
    """
    tile = simd.tile_of(matrix)
    for i in range(0, size, tile):
        if not simd.factor(matrix, i):
            return False
        for j in range(i + tile, size, tile):
            simd.solve(matrix, i, j)
    return True


@inner
def solve_factored(factor, size, x):
    """Solve R' R x = x in place, R the upper triangle of `factor`; `size` is a multiple of the tile."""
    tile = simd.tile_of(factor)
    for i in range(0, size, tile):
        simd.substitute_forward(factor, i, x, size)
    for i in range(size - tile, -1, -tile):
        simd.substitute_back(factor, i, x, size)
