"""The row solves of alternating least squares.

Every row i has its own d x d system A_i w_i = b_i. In the eigenbasis of the fixed side's Gram matrix it is

    A_i = D_i + Z' diag(weights) Z,    b_i = Z' targets,    D_i = background_i * spectrum + regularization_i

with Z the n_i x d factors of the row's stored cells (`indices`), `weights` their confidence above the background,
`targets` their confidence times preference. D_i is diagonal, which is what the rotation is for. Rows with fewer cells
than factors are solved through an n_i x n_i system (dual), the others through the d x d system itself (primal).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .jit import block_kernel, inner
from .linalg import add_products, cholesky, padded, solve_factored

# Cells gathered at a time for the primal system: two panels of d x 256 stay in the second-level cache up to d = 256.
PANEL = 256


class Rows(NamedTuple):
    """One side's rows: CSR arrays over the stored cells, and two numbers a row."""

    indptr: Any  # int64 (rows + 1)
    indices: Any  # int32 (stored cells), positions in the fixed side
    weights: Any  # factor dtype (stored cells): confidence minus background, negative where below it
    targets: Any  # factor dtype (stored cells): confidence times preference
    background: Any  # float64 (rows): a0 a_i
    regularization: Any  # float64 (rows): lambda_i


class Scratch(NamedTuple):
    """A block's working memory, for one row at a time."""

    diagonal: Any  # (d)
    system: Any  # (d, d) padded: A_i, or M of the dual
    solution: Any  # (d) padded
    cells: Any  # (d, PANEL) padded: gathered factors, transposed
    weighted_cells: Any  # (d, PANEL) padded
    scaled: Any  # (d padded, d): gathered factors of a light row
    root: Any  # (d) padded
    x: Any  # (d) padded


@inner
def _scratch(factors, dtype):
    size = padded(factors)
    return Scratch(
        np.empty(factors, dtype),
        np.empty((size, size), dtype),
        np.empty(size, dtype),
        np.empty((size, PANEL), dtype),
        np.empty((size, PANEL), dtype),
        np.empty((size, factors), dtype),
        np.empty(size, dtype),
        np.empty(size, dtype),
    )


@inner
def _light(count, factors):
    """Whether the dual system is the cheaper: n^2 d + n^3 / 3 against n d^2 + d^3 / 3 flops cross at n = d."""
    return count < factors


@inner
def _survey(rows, row):
    """Whether the row has any target at all, and its smallest weight."""
    any_target = False
    smallest = np.inf
    for cell in range(rows.indptr[row], rows.indptr[row + 1]):
        any_target |= rows.targets[cell] != 0
        smallest = min(smallest, rows.weights[cell])
    return any_target, smallest


@inner
def _set_diagonal(rows, row, spectrum, diagonal):
    """D_i; returns its smallest entry."""
    smallest = np.inf
    for k in range(spectrum.size):
        entry = rows.background[row] * spectrum[k] + rows.regularization[row]
        diagonal[k] = entry
        smallest = min(smallest, diagonal[k])  # as stored: float32 may have rounded it to 0
    return smallest


@inner
def _all_finite(vector):
    total = vector.dtype.type(0)
    for k in range(vector.size):
        total += vector[k] * 0  # 0, or NaN if anything is not finite
    return total == 0


@inner
def _solve_primal(rows, row, fixed, scratch):
    """Form A_i from panels of gathered factors, transposed so that the tiles reduce over cells; then Cholesky."""
    system, cells, weighted_cells, solution = scratch.system, scratch.cells, scratch.weighted_cells, scratch.solution
    factors = fixed.shape[1]
    size = padded(factors)
    system[:] = 0
    solution[:] = 0
    cells[factors:] = 0
    weighted_cells[factors:] = 0
    for begin in range(rows.indptr[row], rows.indptr[row + 1], PANEL):
        length = min(PANEL, rows.indptr[row + 1] - begin)
        for t in range(length):
            vector = fixed[rows.indices[begin + t]]
            weight = rows.weights[begin + t]
            target = rows.targets[begin + t]
            for k in range(factors):
                cells[k, t] = vector[k]
                weighted_cells[k, t] = weight * vector[k]
                solution[k] += target * vector[k]
        add_products(cells, weighted_cells, size, length, system)
    for k in range(factors):
        system[k, k] += scratch.diagonal[k]
    for k in range(factors, size):
        system[k, k] = 1
    if not cholesky(system, size):
        return False
    solve_factored(system, size, solution)
    return True


@inner
def _gather_scaled(rows, row, fixed, scale, scaled):
    """Y = Z D^(-1/2), padded with rows of zeros."""
    begin = rows.indptr[row]
    count = rows.indptr[row + 1] - begin
    for t in range(count):
        vector = fixed[rows.indices[begin + t]]
        for k in range(scale.size):
            scaled[t, k] = vector[k] * scale[k]
    scaled[count : padded(count)] = 0


@inner
def _dual_right_side(rows, row, gram, root, x):
    """X = t - S K c0 and root = S, in the terms of _solve_dual; `gram` holds the lower triangle of K."""
    begin = rows.indptr[row]
    count = rows.indptr[row + 1] - begin
    root[:] = 0
    x[:] = 0
    for t in range(count):
        root[t] = math.sqrt(rows.weights[begin + t])
        if root[t] > 0:
            x[t] = rows.targets[begin + t] / root[t]
    for t in range(count):
        target = rows.targets[begin + t]
        if root[t] == 0 and target != 0:
            for u in range(count):
                x[u] -= root[u] * target * (gram[t, u] if u < t else gram[u, t])


@inner
def _solve_dual(rows, row, fixed, scratch):
    """Solve through the n x n matrix M = I + S K S, with S = sqrt(weights) and K = Z D^-1 Z'.

    With y = D^(1/2) w and Y = Z D^(-1/2) the system is (I + Y' S S Y) y = Y' c, c the targets. Write c = S t where a
    cell's weight is positive and c = c0 where it is 0 (confidence equal to the background). Then by Woodbury's identity

        y = Y' x,    x = c0 + S M^-1 (t - S K c0).
    """
    system, scaled, root, x, solution = scratch.system, scratch.scaled, scratch.root, scratch.x, scratch.solution
    factors = fixed.shape[1]
    begin = rows.indptr[row]
    count = rows.indptr[row + 1] - begin
    size = padded(count)
    scale = scratch.diagonal
    for k in range(factors):
        scale[k] = 1 / math.sqrt(scale[k])
    _gather_scaled(rows, row, fixed, scale, scaled)
    system[:size, :size] = 0
    add_products(scaled, scaled, size, factors, system)
    _dual_right_side(rows, row, system, root, x)
    for t in range(size):
        for u in range(t + 1):
            system[t, u] *= root[t] * root[u]
        system[t, t] += 1
    if not cholesky(system, size):
        return False
    solve_factored(system, size, x)
    solution[:] = 0
    for t in range(count):
        coefficient = root[t] * x[t] if root[t] > 0 else rows.targets[begin + t]
        for k in range(factors):
            solution[k] += coefficient * scaled[t, k]
    for k in range(factors):
        solution[k] *= scale[k]
    return True


@block_kernel
def solve_rows_exactly(rows, start, stop, fixed, spectrum, solved):
    """Solve rows start to stop - 1 exactly, into `solved`.

    Returns -1, or the index of the first row without a finite solution in this precision.
    """
    factors = fixed.shape[1]
    scratch = _scratch(factors, fixed.dtype)
    for row in range(start, stop):
        count = rows.indptr[row + 1] - rows.indptr[row]
        any_target, smallest_weight = _survey(rows, row)
        if not any_target:  # b_i = 0
            solved[row] = 0
            continue
        smallest = _set_diagonal(rows, row, spectrum, scratch.diagonal)
        if _light(count, factors) and smallest_weight >= 0 and smallest > 0:
            solvable = _solve_dual(rows, row, fixed, scratch)
        else:
            solvable = _solve_primal(rows, row, fixed, scratch)
        if not (solvable and _all_finite(scratch.solution)):
            return row
        solved[row] = scratch.solution[:factors]
    return -1


@inner
def _apply_system(rows, row, fixed, diagonal, vector, out):
    """Out = A_i vector, through the stored cells: 4 n d flops, no d x d matrix."""
    for k in range(diagonal.size):
        out[k] = diagonal[k] * vector[k]
    for cell in range(rows.indptr[row], rows.indptr[row + 1]):
        other = fixed[rows.indices[cell]]
        score = fixed.dtype.type(0)
        for k in range(diagonal.size):
            score += other[k] * vector[k]
        score *= rows.weights[cell]
        for k in range(diagonal.size):
            out[k] += score * other[k]


@inner
def _inner_product(left, right):
    total = left.dtype.type(0)
    for k in range(left.size):
        total += left[k] * right[k]
    return total


@block_kernel
def solve_rows_by_cg(rows, start, stop, fixed, spectrum, steps, solved):
    """Take `steps` conjugate-gradient steps for rows start to stop - 1 from what `solved` holds, preconditioned by D_i.

    Returns as the exact kernel does. A row that is solved to the last bit stops early.
    """
    factors = fixed.shape[1]
    diagonal = np.empty(factors, fixed.dtype)
    residual = np.empty(factors, fixed.dtype)
    direction = np.empty(factors, fixed.dtype)
    image = np.empty(factors, fixed.dtype)
    for row in range(start, stop):
        any_target, _ = _survey(rows, row)
        if not any_target:
            solved[row] = 0
            continue
        if not _set_diagonal(rows, row, spectrum, diagonal) > 0:
            return row
        _apply_system(rows, row, fixed, diagonal, solved[row], residual)
        residual *= -1
        for cell in range(rows.indptr[row], rows.indptr[row + 1]):
            residual += rows.targets[cell] * fixed[rows.indices[cell]]
        slope = _divide(residual, diagonal, direction)
        converged = slope * np.finfo(fixed.dtype).eps ** 2
        for _ in range(steps):
            if slope <= converged:
                break
            _apply_system(rows, row, fixed, diagonal, direction, image)
            step = slope / _inner_product(direction, image)
            for k in range(factors):
                solved[row, k] += step * direction[k]
                residual[k] -= step * image[k]
            previous = slope
            slope = _divide(residual, diagonal, image)
            for k in range(factors):
                direction[k] = image[k] + slope / previous * direction[k]
        if not _all_finite(solved[row]):
            return row
    return -1


@inner
def _divide(residual, diagonal, out):
    """Precondition: out = residual / diagonal; returns residual . out."""
    total = residual.dtype.type(0)
    for k in range(residual.size):
        out[k] = residual[k] / diagonal[k]
        total += residual[k] * out[k]
    return total
