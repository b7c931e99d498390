"""Counts for KLMF, and the divergence written out."""

import numpy as np
from conftest import to_sparse


def awkward(users=23, items=19, seed=0):
    """Counts with an empty row and column, a full row, rows of one entry, stored zeros and fractions."""
    generator = np.random.default_rng(seed)
    dense = np.where(generator.random((users, items)) < 0.3, generator.integers(0, 6, (users, items)) * 0.5, np.nan)
    dense[2] = 1 + generator.poisson(2.0, items)
    dense[5], dense[6] = np.nan, np.nan
    dense[6, 4] = 3.0
    dense[:, 7] = np.nan
    return to_sparse(dense)


def divergence(A, P):
    """Sum the generalised divergence, cell by cell."""
    total = 0.0
    for a, p in zip(A.ravel(), P.ravel(), strict=True):
        total += p if a == 0 else a * np.log(a / p) - a + p
    return total
