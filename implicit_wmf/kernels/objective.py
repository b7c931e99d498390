"""Sums over the stored cells for the objective, in float64."""

from __future__ import annotations

from .jit import block_kernel


@block_kernel
def sum_stored_cells(rows, start, stop, solved, fixed, column_background, sums):
    """Write two sums over the stored cells of rows start to stop - 1 into `sums`.

    With p the prediction w_i . h_j, the first is confidence p^2 - 2 targets p (the squared error less its constant
    part), the second background p^2.
    """
    weighted = 0.0
    background = 0.0
    for row in range(start, stop):
        vector = solved[row]
        for cell in range(rows.indptr[row], rows.indptr[row + 1]):
            column = rows.indices[cell]
            other = fixed[column]
            prediction = 0.0
            for k in range(vector.size):
                prediction += float(vector[k]) * float(other[k])
            square = prediction * prediction
            share = rows.background[row] * column_background[column] * square
            background += share
            weighted += share + rows.weights[cell] * square - 2.0 * rows.targets[cell] * prediction
    sums[0] = weighted
    sums[1] = background
