"""Small dense linear algebra inside kernels: products of rows, Cholesky and triangular solves.

LAPACK called on matrices of this size spends its time in overhead (3 to 12 % of the sgemm rate up to 128 x 128), and
would need the interpreter's lock for its wrappers. Here everything is 4 x 4 tiles of dot products over contiguous rows,
which LLVM turns into vector reductions. Matrices are padded to a multiple of ``TILE`` rows, so no tile has an edge.
"""

from __future__ import annotations

import math

from .jit import inner

TILE = 4


@inner
def padded(size):
    """Round up to a multiple of TILE."""
    return (size + TILE - 1) // TILE * TILE


@inner
def add_tile(sign, left, right, i, j, length, out):
    """out[i:i+4, j:j+4] += sign * left[i:i+4, :length] right[j:j+4, :length]'."""
    zero = out.dtype.type(0)
    c00 = c01 = c02 = c03 = c10 = c11 = c12 = c13 = zero
    c20 = c21 = c22 = c23 = c30 = c31 = c32 = c33 = zero
    a0, a1, a2, a3 = left[i], left[i + 1], left[i + 2], left[i + 3]
    b0, b1, b2, b3 = right[j], right[j + 1], right[j + 2], right[j + 3]
    for k in range(length):
        c00 += a0[k] * b0[k]
        c01 += a0[k] * b1[k]
        c02 += a0[k] * b2[k]
        c03 += a0[k] * b3[k]
        c10 += a1[k] * b0[k]
        c11 += a1[k] * b1[k]
        c12 += a1[k] * b2[k]
        c13 += a1[k] * b3[k]
        c20 += a2[k] * b0[k]
        c21 += a2[k] * b1[k]
        c22 += a2[k] * b2[k]
        c23 += a2[k] * b3[k]
        c30 += a3[k] * b0[k]
        c31 += a3[k] * b1[k]
        c32 += a3[k] * b2[k]
        c33 += a3[k] * b3[k]
    o0, o1, o2, o3 = out[i], out[i + 1], out[i + 2], out[i + 3]
    o0[j] += sign * c00
    o0[j + 1] += sign * c01
    o0[j + 2] += sign * c02
    o0[j + 3] += sign * c03
    o1[j] += sign * c10
    o1[j + 1] += sign * c11
    o1[j + 2] += sign * c12
    o1[j + 3] += sign * c13
    o2[j] += sign * c20
    o2[j + 1] += sign * c21
    o2[j + 2] += sign * c22
    o2[j + 3] += sign * c23
    o3[j] += sign * c30
    o3[j + 1] += sign * c31
    o3[j + 2] += sign * c32
    o3[j + 3] += sign * c33


@inner
def add_products(left, right, size, length, out):
    """Add left right' to the lower triangle of out, over the first `length` columns; `size` is a multiple of TILE."""
    one = out.dtype.type(1)
    for i in range(0, size, TILE):
        for j in range(0, i + 1, TILE):
            add_tile(one, left, right, i, j, length, out)


@inner
def cholesky(matrix, size):
    """Overwrite the lower triangle with its Cholesky factor; `size` is a multiple of TILE.

    Left-looking by tiles. Returns False, with the work undone half-way, if a pivot is not positive (or is NaN).
    """
    minus_one = matrix.dtype.type(-1)
    for j in range(0, size, TILE):
        for i in range(j, size, TILE):
            add_tile(minus_one, matrix, matrix, i, j, j, matrix)
        for i in range(j, size):
            row = matrix[i]
            for k in range(j, min(i, j + TILE - 1) + 1):
                pivot_row = matrix[k]
                total = row[k]
                for m in range(j, k):
                    total -= row[m] * pivot_row[m]
                if k < i:
                    row[k] = total / pivot_row[k]
                elif total > 0:
                    row[k] = math.sqrt(total)
                else:
                    return False
    return True


@inner
def solve_factored(factor, size, x):
    """Solve L L' x = x in place, L the lower triangle of `factor`."""
    for i in range(size):
        row = factor[i]
        total = x[i]
        for k in range(i):
            total -= row[k] * x[k]
        x[i] = total / row[i]
    for i in range(size - 1, -1, -1):
        row = factor[i]
        value = x[i] / row[i]
        x[i] = value
        for k in range(i):
            x[k] -= value * row[k]
