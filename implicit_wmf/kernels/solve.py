"""The entry point of the row solves: exact rows and rows by conjugate gradients in one block."""

from __future__ import annotations

import numpy as np

from .cg import improve
from .jit import block_kernel
from .rows import EMPTY, all_finite, set_diagonal, solve_exactly


@block_kernel
def solve_rows(rows, start, stop, fixed, spectrum, steps, tolerance, scratch, solved):
    """Solve rows start to stop - 1 against `fixed`, into `solved`.

    `steps` (rows) says how many steps of conjugate gradients a row may take, from what `solved` holds, until its
    residual falls to `tolerance` of what it was (see `cg.improve`); 0 is for rows to solve exactly, which are written
    without being read. It returns what they took: more than allowed where that did not do, and the row was then solved
    exactly. `scratch` is `rows.make_scratch(fixed)`, for one thread at a time.

    Returns -1, or the index of the first row without a finite solution in this precision.
    """
    solution = scratch.solution
    factors = solved.shape[1]
    scratch.diagonal.made_for[0] = np.nan  # whoever had the scratch before may have had another spectrum
    for row in range(start, stop):
        allowed = steps[row]
        steps[row] = 0
        if rows.kinds[row] == EMPTY:
            for k in range(factors):
                solved[row, k] = 0
            continue
        smallest = set_diagonal(rows, row, spectrum, scratch.diagonal)
        done = False
        if allowed > 0:
            for k in range(solution.size):
                solution[k] = solved[row, k] if k < factors else 0
            taken = improve(rows, row, fixed, scratch.diagonal.entries, allowed, tolerance, scratch.vectors, solution)
            done = taken >= 0 and all_finite(solution)
            steps[row] = taken if done else allowed + 1
        if not (done or (solve_exactly(rows, row, fixed, scratch, smallest) and all_finite(solution))):
            return row
        for k in range(factors):
            solved[row, k] = solution[k]
    return -1
