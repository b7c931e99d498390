"""The interface of implicit and the real one, on the same data from the same factors."""

import numpy as np
import reference
from scipy.sparse import csr_matrix

from implicit_wmf.compat.implicit import AlternatingLeastSquares

LOWEST = np.finfo(np.float32).min
SETTINGS = [(1.0, 0.01, False), (1.0, 1.0, True), (40.0, 0.1, False), (0.4, 0.05, True)]  # alpha, lambda, negatives


def confidences(negatives=True, empty=True, users=30, items=40, seed=0):
    """Fractions below and above 1, some negative, an item that all have, and, if asked for, an empty row and column."""
    generator = np.random.default_rng(seed)
    dense = generator.choice([0, 0.3, 1, 2, 5.5], (users, items), p=[0.7, 0.1, 0.1, 0.05, 0.05])
    if negatives:
        dense *= generator.choice([1, 1, 1, -1], dense.shape)
    dense[:, 2] = 1.5
    if empty:  # all scores there are the same
        dense[3], dense[:, 5] = 0, 0
    return csr_matrix(dense.astype(np.float32))


def starts(users=30, items=40, factors=6):
    generator = np.random.default_rng(5)
    return generator.random((users, factors), np.float32) * 0.3, generator.random((items, factors), np.float32) * 0.3


def fitted(make=AlternatingLeastSquares, data=None, factors=6, **settings):
    data = confidences() if data is None else data
    model = make(factors=factors, **{"use_cg": False, "iterations": 3, "alpha": 2.0, **settings})
    dtype = settings.get("dtype", np.float32)
    model.user_factors, model.item_factors = (start.astype(dtype) for start in starts(*data.shape, factors))
    model.fit(data, show_progress=False)
    return model


def twins(peer, **settings):
    """The real model, and ours with the same factors."""
    theirs, ours = fitted(peer, **settings), fitted(**settings)
    ours.user_factors, ours.item_factors = theirs.user_factors, theirs.item_factors
    return theirs, ours


def dense_problem(data, alpha):
    counts = data.toarray().astype(float) * alpha
    counts[counts == 0] = np.nan
    return reference.confidence_and_preference(counts, "raw")


def brute_force(scores, allowed, N):
    """Ids of the best allowed columns of each row, ties to the smaller, and their scores."""
    ids, best = np.full((len(scores), N), -1), np.full((len(scores), N), float(LOWEST))
    for row in range(len(scores)):
        order = [j for j in np.argsort(-scores[row], kind="stable") if allowed[row, j]][:N]
        ids[row, : len(order)], best[row, : len(order)] = order, scores[row, order]
    return ids, best


def assert_same_answer(one, other):
    for ours, theirs in zip(one, other, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4, atol=1e-5)
