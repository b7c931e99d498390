"""Rows of one side, as kernels take them."""

import numpy as np

from implicit_wmf.kernels.rows import Rows, survey_rows


def one_row(weights, targets, regularization=1.0, background=1.0, dtype=np.float64):
    count = len(weights)
    return make_rows(
        np.array([0, count]), np.arange(count, dtype=np.int32), weights, targets, background, regularization, dtype
    )


def make_rows(indptr, indices, weights, targets, background=1.0, regularization=1.0, dtype=np.float64):
    zero, one, count = np.dtype(dtype).type(0), np.dtype(dtype).type(1), len(indptr) - 1
    rows = Rows(
        indptr, indices, np.array(weights, dtype), 1, one, np.array(targets, dtype), 1, zero,
        np.empty(count, np.uint8), np.full(count, background), np.full(count, regularization),
    )  # fmt: skip
    survey_rows(rows, 0, count)
    return rows
