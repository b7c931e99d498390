"""Register-blocked operations on square tiles and on a few picked rows.

They are what LLVM's own vectoriser does not find: an accumulator tile that stays in registers over a whole loop. With
16 floats a vector (8 doubles) a tile is 16 x 16 (8 x 8): 16 accumulators, one load and 16 broadcasts for 16 vector
multiply-adds.

Matrices are C-ordered and padded: rows have a multiple of the tile's width, and reads and writes are of whole tiles.
Factorizations are of upper triangles, A = R' R, because then every inner loop runs along rows.

Each operation is defined here in plain Python, which ``NUMBA_DISABLE_JIT=1`` runs, and compiled from
``simd_tiles`` and ``simd_rows``; tests compare the two.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from . import simd_rows, simd_tiles
from .jit import VECTOR_BYTES, inner


@inner
def tile_of(matrix):
    """Width of a tile, and the number of lanes of a vector, for a matrix's dtype."""
    return VECTOR_BYTES // matrix.itemsize


@inner
def padded(size, tile):
    """Round up to whole tiles."""
    return (size + tile - 1) // tile * tile


def _add_outer_plain(left, i, right, j, length, out):
    """Add left[:length, i:i+tile]' right[:length, j:j+tile] to the tile of `out` at (i, j)."""
    tile = tile_of(out)
    for t in range(length):
        for r in range(tile):
            for c in range(tile):
                out[i + r, j + c] += left[t, i + r] * right[t, j + c]


def _factor_plain(matrix, i):
    """Turn the diagonal tile at i into its part of R, the rows above being done: R' R = matrix.

    The diagonal holds the reciprocals of R's, since they only ever divide, and below it the tile becomes 0. Returns
    whether all pivots were positive.
    """
    tile = tile_of(matrix)
    for r in range(i, i + tile):
        for k in range(i):
            for c in range(r, i + tile):
                matrix[r, c] -= matrix[k, r] * matrix[k, c]
        for k in range(i, r):
            for c in range(r, i + tile):
                matrix[r, c] -= matrix[k, r] * matrix[k, c]
        if not matrix[r, r] > 0:
            return False
        reciprocal = 1 / math.sqrt(matrix[r, r])
        for c in range(i, i + tile):
            matrix[r, c] = matrix[r, c] * reciprocal if c > r else 0
        matrix[r, r] = reciprocal
    return True


def _solve_plain(matrix, i, j):
    """Turn the tile at (i, j), j > i, into its part of R: rows above and the diagonal tile of i being done."""
    tile = tile_of(matrix)
    for r in range(i, i + tile):
        for k in range(r):
            for c in range(j, j + tile):
                matrix[r, c] -= matrix[k, r] * matrix[k, c]
        for c in range(j, j + tile):
            matrix[r, c] *= matrix[r, r]


def _substitute_forward_plain(matrix, i, x, size):
    """Make x[i:i+tile] final in R' y = x, in place, and take it off what follows, up to size."""
    for r in range(i, i + tile_of(matrix)):
        x[r] *= matrix[r, r]
        for c in range(r + 1, size):
            x[c] -= x[r] * matrix[r, c]


def _substitute_back_plain(matrix, i, x, size):
    """Make x[i:i+tile] final in R y = x, in place, what follows, up to size, being final."""
    for r in range(i + tile_of(matrix) - 1, i - 1, -1):
        for c in range(r + 1, size):
            x[r] -= matrix[r, c] * x[c]
        x[r] *= matrix[r, r]


def _gather_transposed_plain(source, picks, at, k, scales, roots, out):
    """Write out[k + r, at + c] = scales[k + r] * roots[at + c] * source[picks[at + c], k + r] for a whole tile."""
    tile = tile_of(out)
    for c in range(at, at + tile):
        for r in range(k, k + tile):
            out[r, c] = source[picks[c], r] * roots[c] * scales[r]


def _score_tile_plain(users, items, length, thresholds, at, tile, hits):
    """Inner products of a tile of items (rows of `tile`) with a tile of users (its columns), both transposed.

    Returns whether any is at least its user's threshold, thresholds[at + column]; only then `tile` is written, and
    `hits`, a bit for each entry of it, row by row from the lowest bit of the first word.
    """
    lanes = tile_of(tile)
    scores = np.zeros_like(tile)
    for k in range(length):
        scores += np.outer(items[k], users[k])
    reached = scores >= thresholds[at : at + lanes]
    if not reached.any():
        return False
    tile[:] = scores
    hits[:] = np.packbits(reached, bitorder="little").view(np.uint64)
    return True


def _lowest_bit_plain(bits):
    """Position of the lowest bit that is set."""
    return (int(bits) & -int(bits)).bit_length() - 1


def _dots_plain(matrix, picks, vector):
    """Inner products of the rows at `picks`, a tuple of 1 or 4 positions, with a vector; a tuple."""
    return tuple([(matrix[pick] * vector).sum() for pick in picks])


def _add_rows_plain(matrix, picks, coefficients, out):
    """Add coefficients[r] * matrix[picks[r]] to `out`."""
    for pick, coefficient in zip(picks, coefficients, strict=True):
        for k in range(out.size):
            out[k] += coefficient * matrix[pick, k]


def _add_rows_and_squares_plain(matrix, picks, coefficients, weights, out, squares):
    """Add coefficients[r] * matrix[picks[r]] to `out` and weights[r] * matrix[picks[r]]**2 to `squares`."""
    _add_rows_plain(matrix, picks, coefficients, out)
    for pick, weight in zip(picks, weights, strict=True):
        for k in range(out.size):
            squares[k] += weight * matrix[pick, k] * matrix[pick, k]


def _prefetch_row_plain(matrix, row):
    """Begin to load a row into the caches; changes nothing."""


_INTERPRETED = bool(numba.config.DISABLE_JIT)  # type: ignore[attr-defined]
add_outer: Any = _add_outer_plain if _INTERPRETED else simd_tiles.add_outer
factor: Any = _factor_plain if _INTERPRETED else simd_tiles.factor
solve: Any = _solve_plain if _INTERPRETED else simd_tiles.solve
substitute_forward: Any = _substitute_forward_plain if _INTERPRETED else simd_tiles.substitute_forward
substitute_back: Any = _substitute_back_plain if _INTERPRETED else simd_tiles.substitute_back
gather_transposed: Any = _gather_transposed_plain if _INTERPRETED else simd_tiles.gather_transposed
score_tile: Any = _score_tile_plain if _INTERPRETED else simd_tiles.score_tile
lowest_bit: Any = _lowest_bit_plain if _INTERPRETED else simd_tiles.lowest_bit
dots: Any = _dots_plain if _INTERPRETED else simd_rows.dots
add_rows: Any = _add_rows_plain if _INTERPRETED else simd_rows.add_rows
add_rows_and_squares: Any = _add_rows_and_squares_plain if _INTERPRETED else simd_rows.add_rows_and_squares
prefetch_row: Any = _prefetch_row_plain if _INTERPRETED else simd_rows.prefetch_row
