"""Sums over the stored cells for the objective, in float64."""

from __future__ import annotations

import numpy as np

from .jit import block_kernel


@block_kernel
def sum_stored_cells(indptr, columns, confidence, preference, background, solved, fixed, sums):
    """Write two sums over the stored cells of a block of rows into `sums`.

    With p the prediction w_i . h_j: confidence (preference - p)^2, and background p^2. `indptr` counts from the
    block's first cell, and `solved` holds the block's rows.
    """
    stored = 0.0
    shared = 0.0
    for row in range(indptr.size - 1):
        vector = solved[row]
        for cell in range(indptr[row], indptr[row + 1]):
            other = fixed[columns[cell]]
            prediction = 0.0
            for k in range(vector.size):
                prediction += np.float64(vector[k]) * np.float64(other[k])  # Numba's float() would keep float32
            error = preference[cell] - prediction
            stored += confidence[cell] * error * error
            shared += background[cell] * prediction * prediction
    sums[0] = stored
    sums[1] = shared
