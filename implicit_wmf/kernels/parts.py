"""Rows whose cells are in several parts: what each part comes to, and what is done with the sums.

The parts are the shards of out-of-core training, the rows are items. A part finds its cells' share of every row's
residual, product or system; the diagonal D_i (see :mod:`implicit_wmf.kernels.rows`) belongs to the sum. Conjugate
gradients go on in all rows at once, a product of all of them a step, and otherwise as in
:mod:`implicit_wmf.kernels.cg`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .cg import add_product, add_residual
from .jit import block_kernel, inner
from .linalg import add_products, cholesky, solve_factored
from .rows import PANEL, all_finite, clear, gather_cells

GOING, DONE, FAILED = 0, 1, 2


class Diagonals(NamedTuple):
    """D_i = background_i * spectrum + regularization_i of some rows; negative entries of the spectrum are padding."""

    background: Any  # float64 (rows)
    regularization: Any  # float64 (rows)
    spectrum: Any  # float64 (width)


class Search(NamedTuple):
    """Conjugate gradients in many rows: (rows, width) vectors, and numbers a row."""

    solution: Any
    residual: Any
    inverse: Any  # of diag(A)
    direction: Any
    slope: Any  # float64: residual . inverse residual
    goal: Any  # float64: where the slope is small enough
    state: Any  # uint8: GOING, DONE or FAILED


@inner
def _entry(diagonals, row, k):
    spectrum = diagonals.spectrum[k]
    return diagonals.background[row] * spectrum + diagonals.regularization[row] if not spectrum < 0 else 1.0


@block_kernel
def part_residuals(rows, picked, start, stop, fixed, vectors, residuals, diagonals):
    """Write the part's share of the residuals and diagonals of rows picked[start] to picked[stop - 1]."""
    for place in range(start, stop):
        clear(residuals[place])
        clear(diagonals[place])
        add_residual(rows, picked[place], fixed, vectors[place], residuals[place], diagonals[place])


@block_kernel
def part_products(rows, picked, start, stop, fixed, vectors, out):
    """Write the part's share of A vector of rows picked[start] to picked[stop - 1]."""
    for place in range(start, stop):
        clear(out[place])
        add_product(rows, picked[place], fixed, vectors[place], out[place])


@block_kernel
def part_systems(rows, picked, start, stop, fixed, scratch, systems, targets):
    """Write the part's share of A, upper triangle, and b of rows picked[start] to picked[stop - 1]."""
    for place in range(start, stop):
        row = picked[place]
        for k in range(systems.shape[1]):
            clear(systems[place, k])
        clear(scratch.solution)
        for begin in range(rows.indptr[row], rows.indptr[row + 1], PANEL):
            length = min(PANEL, rows.indptr[row + 1] - begin)
            gather_cells(rows, begin, length, fixed, scratch)
            add_products(scratch.weighted_cells, scratch.cells, fixed.shape[1], length, systems[place])
        for k in range(fixed.shape[1]):
            targets[place, k] = scratch.solution[k]


@block_kernel
def solve_systems(start, stop, diagonals, systems, targets, state):
    """Solve the systems of rows start to stop - 1, which are overwritten, in place of their targets."""
    for row in range(start, stop):
        size = targets.shape[1]
        for k in range(size):
            systems[row, k, k] += _entry(diagonals, row, k)
        state[row] = FAILED
        if cholesky(systems[row], size):
            solve_factored(systems[row], size, targets[row])
            if all_finite(targets[row]):
                state[row] = DONE


@inner
def _precondition(row, search):
    """Return residual . inverse residual."""
    total = search.residual.dtype.type(0)
    for k in range(search.residual.shape[1]):
        total += search.inverse[row, k] * search.residual[row, k] * search.residual[row, k]
    return total


@block_kernel
def begin_search(start, stop, diagonals, tolerance, search):
    """Add D_i to what the parts' residuals and diagonals (in `search.inverse`) came to, and take the first direction.

    A row is done when its slope has fallen to `tolerance` of what it begins as, or to rounding.
    """
    epsilon = np.finfo(search.residual.dtype).eps
    for row in range(start, stop):
        least, energy = np.inf, 0.0
        for k in range(search.residual.shape[1]):
            entry, value = _entry(diagonals, row, k), search.solution[row, k]
            search.residual[row, k] -= entry * value
            entry += search.inverse[row, k]
            least = min(least, entry)
            energy += entry * value * value
            search.inverse[row, k] = 1 / entry
        slope = _precondition(row, search)
        for k in range(search.residual.shape[1]):
            search.direction[row, k] = search.inverse[row, k] * search.residual[row, k]
        rounding = max(slope * epsilon * epsilon, energy * (16 * epsilon) ** 2)
        search.slope[row], search.goal[row] = slope, max(rounding, tolerance * slope)
        search.state[row] = GOING
        if not (least > 0 and slope < np.inf):
            search.state[row] = FAILED
        elif slope <= search.goal[row]:
            search.state[row] = DONE


@block_kernel
def advance_search(start, stop, diagonals, products, search):
    """Take a step in rows start to stop - 1, from the parts' products with the directions, which are overwritten."""
    for row in range(start, stop):
        curvature = products.dtype.type(0)
        for k in range(products.shape[1]):
            products[row, k] += _entry(diagonals, row, k) * search.direction[row, k]
            curvature += products[row, k] * search.direction[row, k]
        if not curvature > 0:
            search.state[row] = FAILED
            continue
        previous = search.slope[row]
        length = products.dtype.type(previous / curvature)
        for k in range(products.shape[1]):
            search.solution[row, k] += length * search.direction[row, k]
            search.residual[row, k] -= length * products[row, k]
        slope = _precondition(row, search)
        search.slope[row] = slope
        turn = products.dtype.type(slope / previous)
        for k in range(products.shape[1]):
            conditioned = search.inverse[row, k] * search.residual[row, k]
            search.direction[row, k] = conditioned + turn * search.direction[row, k]
        if not (slope < np.inf and all_finite(search.solution[row])):
            search.state[row] = FAILED
        elif slope <= search.goal[row]:
            search.state[row] = DONE
