"""The row solves of alternating least squares.

Every row i has its own d x d system A_i w_i = b_i. In the eigenbasis of the fixed side's Gram matrix it is

    A_i = D_i + Z' diag(weights) Z,    b_i = Z' targets,    D_i = background_i * spectrum + regularization_i

with Z the n_i x d factors of the row's stored cells (`indices`), the weights their confidence above the background, the
targets their confidence times preference. D_i is diagonal, which is what the rotation is for. Rows with few cells are
solved through an n_i x n_i system (dual), the others through the d x d system itself (primal).

Here d is the padded width: factor matrices have a multiple of the tile's columns, those beyond the factors zero.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import simd
from .jit import VECTOR_BYTES, aligned, block_kernel, inner
from .linalg import add_products, cholesky, solve_factored

# Cells gathered at a time for the primal system: two panels of 128 x d floats stay in the caches up to d = 512.
PANEL = 128
# Cells to prefetch ahead. Without, exact and CG epochs take 1.2 to 1.4 times as long.
AHEAD = 16
# Kinds of rows: without any target the solution is 0; the dual cannot have all weights.
EMPTY, PRIMAL, ANY = 0, 1, 2


class Rows(NamedTuple):
    """One side's rows: CSR arrays over the stored cells, and three numbers a row.

    A cell's weight, its confidence minus the background, is scale * values[cell * value_step], negative where the
    confidence is below the background. Its target, confidence times preference, is
    targets[cell * target_step] + follow * weight. A step of 0 stands for one number that all cells share.
    """

    indptr: Any  # int64 (rows + 1)
    indices: Any  # int32 (stored cells), positions in the fixed side
    values: Any  # factor dtype (stored cells, or 1)
    value_step: Any  # 1 or 0
    scale: Any  # factor dtype
    targets: Any  # factor dtype (stored cells, or 1)
    target_step: Any  # 1 or 0
    follow: Any  # factor dtype, 0 or 1
    kinds: Any  # uint8 (rows): EMPTY, PRIMAL or ANY
    background: Any  # float64 (rows): a0 a_i
    regularization: Any  # float64 (rows): lambda_i


class Diagonal(NamedTuple):
    """D_i, kept from row to row because most rows share it."""

    entries: Any  # (d)
    inverse: Any  # (d)
    roots: Any  # (d): of the inverse, 0 where it is negative
    made_for: Any  # (3) float64: the row's background and regularization, and the smallest entry


class Vectors(NamedTuple):
    """Working memory of conjugate gradients, (d) each."""

    inverse: Any  # of the preconditioner
    residual: Any
    direction: Any
    image: Any


class Scratch(NamedTuple):
    """A block's working memory, for one row at a time."""

    diagonal: Diagonal
    vectors: Vectors
    solution: Any  # (d)
    system: Any  # (d, d and a tile): A_i, or M of the dual
    cells: Any  # (PANEL, d and a tile): gathered factors
    weighted_cells: Any  # (PANEL, d and a tile)
    transposed: Any  # (d, d and a tile): D^-1/2 Y' of a row of up to d cells
    picks: Any  # (d)
    roots: Any  # (d)
    x: Any  # (d)


def make_scratch(fixed: Any) -> Scratch:
    """Allocate what a block of rows against these factors needs."""
    factors, dtype = fixed.shape[1], fixed.dtype
    # One cache line more a row: strides of powers of two would put the rows of a tile in the same few cache sets.
    wide = factors + VECTOR_BYTES // fixed.itemsize
    vectors = aligned((10, factors), dtype)
    return Scratch(
        Diagonal(vectors[0], vectors[1], vectors[2], np.full(3, np.nan)),
        Vectors(vectors[3], vectors[4], vectors[5], vectors[6]),
        solution=vectors[7],
        system=aligned((factors, wide), dtype),
        cells=aligned((PANEL, wide), dtype),
        weighted_cells=aligned((PANEL, wide), dtype),
        transposed=aligned((factors, wide), dtype),
        picks=np.empty(factors, np.int32),
        roots=vectors[8],
        x=vectors[9],
    )


@inner
def small_limit(factors):
    """Return the most cells that are solved without tiles, whose cost is always that of 16 (measured)."""
    return 8 + factors // 64


@inner
def weight_of(rows, cell):
    """Confidence of a stored cell minus its background."""
    return rows.scale * rows.values[cell * rows.value_step]


@inner
def target_of(rows, cell, weight):
    """Confidence of a stored cell times its preference."""
    return rows.targets[cell * rows.target_step] + rows.follow * weight


@block_kernel
def survey_rows(rows, start, stop):
    """Fill in rows.kinds of rows start to stop - 1.

    The dual divides targets by the roots of the weights: a negative weight has none, and a target whose weight is 0
    (confidence equal to the background) would be lost.
    """
    for row in range(start, stop):
        any_target = False
        dual = True
        for cell in range(rows.indptr[row], rows.indptr[row + 1]):
            weight = weight_of(rows, cell)
            target = target_of(rows, cell, weight) != 0
            any_target |= target
            dual &= weight > 0 or (weight == 0 and not target)
        rows.kinds[row] = EMPTY if not any_target else ANY if dual else PRIMAL


@inner
def prefetch_ahead(rows, cell, fixed):
    """Begin to load a cell that comes soon, of this row or a later one: rows are scattered over memory."""
    simd.prefetch_row(fixed, rows.indices[min(cell + AHEAD, rows.indices.size - 1)])


@inner
def set_diagonal(rows, row, spectrum, diagonal):
    """Make D_i and its inverse, unless they are the last row's; returns the smallest entry.

    Negative entries of the spectrum stand for columns of padding.
    """
    background, regularization = rows.background[row], rows.regularization[row]
    entries, inverse, roots, made_for = diagonal.entries, diagonal.inverse, diagonal.roots, diagonal.made_for
    if background == made_for[0] and regularization == made_for[1]:
        return made_for[2]
    smallest = np.inf
    for k in range(spectrum.size):
        entries[k] = background * spectrum[k] + regularization if not spectrum[k] < 0 else 1  # 1: padding
        inverse[k] = 1 / entries[k]
        roots[k] = math.sqrt(max(inverse[k], 0))
        smallest = min(smallest, entries[k])  # as stored: float32 may have rounded it to 0
    made_for[0], made_for[1], made_for[2] = background, regularization, smallest
    return smallest


@inner
def clear(vector):
    """Set every entry to 0."""
    for k in range(vector.size):
        vector[k] = 0


@inner
def all_finite(vector):
    """Whether no entry is NaN or infinite."""
    total = vector.dtype.type(0)
    for k in range(vector.size):
        total += vector[k] * 0  # 0, or NaN if anything is not finite
    return total == 0


@inner
def gather_cells(rows, begin, length, fixed, scratch):
    """Copy a panel of the row's factors, plain and weighted, and add its share of b_i."""
    cells, weighted_cells, solution = scratch.cells, scratch.weighted_cells, scratch.solution
    for t in range(length):
        prefetch_ahead(rows, begin + t, fixed)
        vector = fixed[rows.indices[begin + t]]
        weight = weight_of(rows, begin + t)
        target = target_of(rows, begin + t, weight)
        for k in range(vector.size):
            cells[t, k] = vector[k]
            weighted_cells[t, k] = weight * vector[k]
            solution[k] += target * vector[k]


@inner
def solve_primal(rows, row, fixed, scratch):
    """Form A_i from panels of gathered factors; then Cholesky."""
    system, solution = scratch.system, scratch.solution
    factors = fixed.shape[1]
    for k in range(factors):
        for j in range(factors):
            system[k, j] = 0
        system[k, k] = scratch.diagonal.entries[k]
    clear(solution)
    for begin in range(rows.indptr[row], rows.indptr[row + 1], PANEL):
        length = min(PANEL, rows.indptr[row + 1] - begin)
        gather_cells(rows, begin, length, fixed, scratch)
        add_products(scratch.weighted_cells, scratch.cells, factors, length, system)
    if not cholesky(system, factors):
        return False
    solve_factored(system, factors, solution)
    return True


@inner
def _prepare_dual(rows, row, size, fixed, scratch):
    """Roots S of the weights, t with targets = S t, and the cells' positions, padded to whole tiles with zeros."""
    begin = rows.indptr[row]
    count = rows.indptr[row + 1] - begin
    for t in range(count):
        prefetch_ahead(rows, begin + t, fixed)
        weight = weight_of(rows, begin + t)
        root = math.sqrt(weight)
        scratch.picks[t] = rows.indices[begin + t]
        scratch.roots[t] = root
        scratch.x[t] = target_of(rows, begin + t, weight) / root if root > 0 else 0
    for t in range(count, size):
        scratch.picks[t] = 0
        scratch.roots[t] = 0
        scratch.x[t] = 0


@inner
def solve_dual(rows, row, fixed, scratch):
    """Solve through the n x n matrix M = I + Y D^-1 Y', with Y = S Z and S the roots of the weights.

    With targets c = S t the system is (D + Y' Y) w = Y' t, and by Woodbury's identity w = D^-1 Y' M^-1 t.
    """
    system, transposed = scratch.system, scratch.transposed
    factors = fixed.shape[1]
    tile = simd.tile_of(fixed)
    count = rows.indptr[row + 1] - rows.indptr[row]
    size = simd.padded(count, tile)
    _prepare_dual(rows, row, size, fixed, scratch)
    for k in range(0, factors, tile):
        for at in range(0, size, tile):
            simd.gather_transposed(fixed, scratch.picks, at, k, scratch.diagonal.roots, scratch.roots, transposed)
    for t in range(size):
        for u in range(size):
            system[t, u] = 0
        system[t, t] = 1
    add_products(transposed, transposed, size, factors, system)
    if not cholesky(system, size):
        return False
    solve_factored(system, size, scratch.x)
    _combine_cells(count, fixed, scratch)
    return True


@inner
def _combine_cells(count, fixed, scratch):
    """W = D^-1 sum_t (S x)_t z_t, from the factors' own rows: cheaper than sums along the transposed ones."""
    picks, roots, x, solution = scratch.picks, scratch.roots, scratch.x, scratch.solution
    clear(solution)
    for t in range(0, count, 4):  # those beyond the count have roots of 0
        coefficients = (roots[t] * x[t], roots[t + 1] * x[t + 1], roots[t + 2] * x[t + 2], roots[t + 3] * x[t + 3])
        simd.add_rows(fixed, (picks[t], picks[t + 1], picks[t + 2], picks[t + 3]), coefficients, solution)
    for k in range(solution.size):
        solution[k] *= scratch.diagonal.inverse[k]


@inner
def solve_small_dual(rows, row, fixed, scratch):
    """Solve as `solve_dual` does, with dot products of four rows at a time: for few cells a tile is mostly padding."""
    picks, roots, system, solution = scratch.picks, scratch.roots, scratch.system, scratch.solution
    count = rows.indptr[row + 1] - rows.indptr[row]
    _prepare_dual(rows, row, simd.padded(count, 4), fixed, scratch)
    for t in range(count):
        vector = fixed[picks[t]]
        for k in range(vector.size):
            solution[k] = roots[t] * vector[k] * scratch.diagonal.inverse[k]
        for u in range(0, t + 1, 4):
            p, q, r, s = simd.dots(fixed, (picks[u], picks[u + 1], picks[u + 2], picks[u + 3]), solution)
            system[u, t] = roots[u] * p  # what falls below the diagonal is not used
            system[u + 1, t] = roots[u + 1] * q
            system[u + 2, t] = roots[u + 2] * r
            system[u + 3, t] = roots[u + 3] * s
        system[t, t] += 1
    if not _solve_small(system, count, scratch.x):
        return False
    _combine_cells(count, fixed, scratch)
    return True


@inner
def _solve_small(system, count, x):
    """Solve a system of a few rows in place, by Cholesky of its upper triangle."""
    for t in range(count):
        pivot = system[t, t]
        value = x[t]
        for u in range(t):
            total = system[u, t]
            for v in range(u):
                total -= system[v, u] * system[v, t]
            total *= system[u, u]
            system[u, t] = total
            pivot -= total * total
            value -= total * x[u]
        if not pivot > 0:
            return False
        system[t, t] = 1 / math.sqrt(pivot)
        x[t] = value * system[t, t]
    for t in range(count - 1, -1, -1):
        value = x[t]
        for u in range(t + 1, count):
            value -= system[t, u] * x[u]
        x[t] = value * system[t, t]
    return True


@inner
def solve_exactly(rows, row, fixed, scratch, smallest):
    """Solve by the cheapest way for the row's number of cells; `smallest` is the least entry of its diagonal."""
    count = rows.indptr[row + 1] - rows.indptr[row]
    dual = rows.kinds[row] == ANY and smallest > 0
    if not dual or count > fixed.shape[1]:  # n^2 d + n^3 / 3 flops and n d^2 + d^3 / 3 cross at n = d
        return solve_primal(rows, row, fixed, scratch)
    if count > small_limit(fixed.shape[1]):
        return solve_dual(rows, row, fixed, scratch)
    return solve_small_dual(rows, row, fixed, scratch)
