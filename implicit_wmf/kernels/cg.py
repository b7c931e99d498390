"""Row solves by conjugate gradients: no d x d system, 4 n d flops a step.

In the eigenbasis A_i = D_i + Z' diag(weights) Z (see :mod:`implicit_wmf.kernels.rows`), so that a product with A_i
needs the stored rows only. The preconditioner is the diagonal of A_i, which the first pass over the cells gathers: D_i
alone, which costs nothing, left an objective 2e-3 higher after 6 epochs of 3 steps on MovieLens 1M where this leaves
none (ials, a0 = .01), and was never better where this leaves some (prototypes).
"""

from __future__ import annotations

import numpy as np

from . import simd
from .jit import inner
from .rows import prefetch_ahead, target_of, weight_of


@inner
def _four(array, cell):
    return array[cell], array[cell + 1], array[cell + 2], array[cell + 3]


@inner
def _four_weights(rows, cell):
    return weight_of(rows, cell), weight_of(rows, cell + 1), weight_of(rows, cell + 2), weight_of(rows, cell + 3)


@inner
def add_residual(rows, row, fixed, vector, residual, diagonal):
    """Residual += Z' (targets - weights Z vector) and diagonal += diag(Z' weights Z), in one pass, four at a time."""
    begin, end = rows.indptr[row], rows.indptr[row + 1]
    whole = begin + (end - begin) // 4 * 4
    for cell in range(begin, whole, 4):
        for ahead in range(cell, cell + 4):
            prefetch_ahead(rows, ahead, fixed)
        picks = _four(rows.indices, cell)
        p, q, r, s = simd.dots(fixed, picks, vector)
        a, b, c, d = _four_weights(rows, cell)
        errors = (
            target_of(rows, cell, a) - a * p,
            target_of(rows, cell + 1, b) - b * q,
            target_of(rows, cell + 2, c) - c * r,
            target_of(rows, cell + 3, d) - d * s,
        )
        simd.add_rows_and_squares(fixed, picks, errors, (a, b, c, d), residual, diagonal)
    for cell in range(whole, end):
        prefetch_ahead(rows, cell, fixed)
        pick = (rows.indices[cell],)
        (p,) = simd.dots(fixed, pick, vector)
        a = weight_of(rows, cell)
        simd.add_rows_and_squares(fixed, pick, (target_of(rows, cell, a) - a * p,), (a,), residual, diagonal)


@inner
def _start(rows, row, fixed, diagonal, vector, vectors):
    """Residual = b - A vector and inverse = 1 / diag(A).

    Returns whether the diagonal is positive, and vector' diag(A) vector.
    """
    inverse, residual = vectors.inverse, vectors.residual
    for k in range(vector.size):
        inverse[k] = diagonal[k]
        residual[k] = -diagonal[k] * vector[k]
    add_residual(rows, row, fixed, vector, residual, inverse)
    least, energy = inverse[0], fixed.dtype.type(0)
    for k in range(vector.size):
        least = min(least, inverse[k])
        energy += inverse[k] * vector[k] * vector[k]
        inverse[k] = 1 / inverse[k]
    return least > 0, energy


@inner
def add_product(rows, row, fixed, vector, out):
    """Out += Z' weights Z vector."""
    begin, end = rows.indptr[row], rows.indptr[row + 1]
    whole = begin + (end - begin) // 4 * 4
    for cell in range(begin, whole, 4):
        picks = _four(rows.indices, cell)
        p, q, r, s = simd.dots(fixed, picks, vector)
        a, b, c, d = _four_weights(rows, cell)
        simd.add_rows(fixed, picks, (a * p, b * q, c * r, d * s), out)
    for cell in range(whole, end):
        pick = (rows.indices[cell],)
        (p,) = simd.dots(fixed, pick, vector)
        simd.add_rows(fixed, pick, (weight_of(rows, cell) * p,), out)


@inner
def _apply(rows, row, fixed, diagonal, vector, out):
    """Out = A vector."""
    for k in range(vector.size):
        out[k] = diagonal[k] * vector[k]
    add_product(rows, row, fixed, vector, out)


@inner
def _curvature(rows, row, fixed, diagonal, vector):
    """Vector' A vector, which is all that the last step needs of the product."""
    total = fixed.dtype.type(0)
    for k in range(vector.size):
        total += diagonal[k] * vector[k] * vector[k]
    begin, end = rows.indptr[row], rows.indptr[row + 1]
    whole = begin + (end - begin) // 4 * 4
    for cell in range(begin, whole, 4):
        p, q, r, s = simd.dots(fixed, _four(rows.indices, cell), vector)
        a, b, c, d = _four_weights(rows, cell)
        total += a * p * p + b * q * q + c * r * r + d * s * s
    for cell in range(whole, end):
        (p,) = simd.dots(fixed, (rows.indices[cell],), vector)
        total += weight_of(rows, cell) * p * p
    return total


@inner
def _inner_product(left, right):
    total = left.dtype.type(0)
    for k in range(left.size):
        total += left[k] * right[k]
    return total


@inner
def _add_scaled(scale, vector, out):
    for k in range(out.size):
        out[k] += scale * vector[k]


@inner
def _is_zero(vector):
    total = vector.dtype.type(0)
    for k in range(vector.size):
        total += abs(vector[k])
    return total == 0


@inner
def _precondition(vectors, out):
    """Out = residual / diag(A); returns residual . out."""
    total = out.dtype.type(0)
    for k in range(out.size):
        out[k] = vectors.inverse[k] * vectors.residual[k]
        total += vectors.residual[k] * out[k]
    return total


@inner
def _is_last(step, steps, slope, previous, goal):
    """Whether the step to come needs no product: none is allowed after it, or it will do if it does as its forerunner.

    `goal` is negative where a fixed number of steps was asked for.
    """
    if goal < 0:
        return step == steps - 1
    return step > 0 and slope * (slope / previous) <= goal


@inner
def improve(rows, row, fixed, diagonal, steps, tolerance, vectors, vector):
    """Improve `vector` until residual' diag(A)^-1 residual is at most `tolerance` of what it begins as.

    Returns the steps it took. Returns -1 where the row is to be solved exactly instead: if it did not get there in
    `steps` steps, and if A turns out not to be positive definite or numbers leave the precision's range. With a
    tolerance of 0 it takes `steps` steps, fewer if the row is solved to rounding, and is content with that.
    """
    direction, image = vectors.direction, vectors.image
    positive, energy = _start(rows, row, fixed, diagonal, vector, vectors)
    slope = _precondition(vectors, direction)
    if slope == 0 and _is_zero(vectors.residual):
        return 0
    if not (positive and np.finfo(vector.dtype).tiny < slope < np.inf):
        return -1
    # Residuals cannot fall below the rounding of the terms they are the difference of.
    rounding = 16 * np.finfo(vector.dtype).eps
    solved = max(slope * np.finfo(vector.dtype).eps ** 2, energy * rounding * rounding)
    goal = slope * tolerance if tolerance > 0 else -1.0
    previous = slope
    for step in range(steps):
        if slope <= solved or slope <= goal:
            return step
        last = _is_last(step, steps, slope, previous, goal)
        if last:
            curvature = _curvature(rows, row, fixed, diagonal, direction)
        else:
            _apply(rows, row, fixed, diagonal, direction, image)
            curvature = _inner_product(direction, image)
        if not curvature > 0:
            return -1
        length = slope / curvature
        _add_scaled(length, direction, vector)
        if last:
            return step + 1
        _add_scaled(-length, image, vectors.residual)
        previous = slope
        slope = _precondition(vectors, image)
        for k in range(vector.size):
            direction[k] = image[k] + slope / previous * direction[k]
    return steps if slope <= solved or slope <= goal else -1
