"""The entry point of the row solves: exact rows and rows by conjugate gradients in one block."""

from __future__ import annotations

from .cg import improve, make_vectors
from .jit import block_kernel, inner
from .rows import EMPTY, all_finite, make_scratch, set_diagonal, solve_exactly


@inner
def _solve_row(rows, row, fixed, spectrum, steps, tolerance, scratch, vectors, solved):
    """Solve one row; returns the steps it took, 0 if it was solved exactly at once, or -1 if it has no solution."""
    solution = scratch.solution
    smallest = set_diagonal(rows, row, spectrum, scratch.diagonal)
    taken = 0
    if steps > 0:
        for k in range(solution.size):
            solution[k] = solved[row, k] if k < solved.shape[1] else 0
        taken = improve(rows, row, fixed, scratch.diagonal.entries, steps, tolerance, vectors, solution)
    if steps == 0 or taken < 0 or not all_finite(solution):
        if not (solve_exactly(rows, row, fixed, scratch, smallest) and all_finite(solution)):
            return -1
        taken = steps + 1 if steps > 0 else 0
    for k in range(solved.shape[1]):
        solved[row, k] = solution[k]
    return taken


@inner
def _solve_rows(rows, start, stop, fixed, spectrum, steps, tolerance, scratch, vectors, solved):
    for row in range(start, stop):
        if rows.kinds[row] == EMPTY:
            steps[row] = 0
            for k in range(solved.shape[1]):
                solved[row, k] = 0
            continue
        taken = _solve_row(rows, row, fixed, spectrum, steps[row], tolerance, scratch, vectors, solved)
        if taken < 0:
            return row
        steps[row] = taken
    return -1


@block_kernel
def solve_rows(rows, start, stop, fixed, spectrum, steps, tolerance, solved):
    """Solve rows start to stop - 1 against `fixed`, into `solved`.

    `steps` (rows) says how many steps of conjugate gradients a row may take, from what `solved` holds, until its
    residual falls to `tolerance` of what it was (see `cg.improve`); 0 is for rows to solve exactly, which are written
    without being read. It returns what they took: more than allowed where the residual did not fall so far, and the row
    was then solved exactly.

    Returns -1, or the index of the first row without a finite solution in this precision.
    """
    scratch, vectors = make_scratch(fixed), make_vectors(fixed)
    return _solve_rows(rows, start, stop, fixed, spectrum, steps, tolerance, scratch, vectors, solved)
