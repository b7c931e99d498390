"""Explicit ratings, and their objective written out."""

import numpy as np
from conftest import to_sparse

from implicit_wmf import Interactions
from implicit_wmf.factorizers.observed_config import ObservedMFConfig
from implicit_wmf.factorizers.observed_training import Vectors, pose, start


def awkward_ratings(users=26, items=40, seed=0):
    """Ratings in halves, NaN where there is none: rows of every length, full, of zeros, empty; an empty column."""
    generator = np.random.default_rng(seed)
    dense = np.full((users, items), np.nan)
    rated = generator.random(dense.shape) < np.linspace(0.03, 0.9, users)[:, None]
    dense[rated] = generator.integers(-2, 11, size=rated.sum()) / 2
    dense[-1] = generator.integers(1, 11, size=items) / 2
    dense[5, ~np.isnan(dense[5])] = 0
    dense[3] = np.nan
    dense[:, 4] = np.nan
    return dense


def literal_loss(R, mu, users, items, *, lam, bias_lam, nu):
    """The objective cell by cell and row by row."""
    total = 0.0
    for i, j in zip(*np.nonzero(~np.isnan(R)), strict=True):
        product = sum(float(p) * float(q) for p, q in zip(users.factors[i], items.factors[j], strict=True))
        total += 0.5 * (R[i, j] - mu - float(users.biases[i]) - float(items.biases[j]) - product) ** 2
    for vectors, counts in ((users, (~np.isnan(R)).sum(axis=1)), (items, (~np.isnan(R)).sum(axis=0))):
        for factors, bias, count in zip(*vectors, counts, strict=True):
            square = sum(float(f) ** 2 for f in factors)
            total += 0.5 * float(count) ** nu * (lam * square + bias_lam * float(bias) ** 2)
    return total


def literal_gradient(R, mu, solved, fixed, *, lam, bias_lam, nu, has_bias):
    """Derivatives by each row's factors and bias, (rows, d + 1), and the largest term of each row's sums."""
    gradient = np.zeros((len(R), solved.factors.shape[1] + 1))
    largest = np.ones(len(R))
    for i, row in enumerate(R):
        p, b = solved.factors[i].astype(float), float(solved.biases[i])
        rated = np.flatnonzero(~np.isnan(row))
        Q, c = fixed.factors[rated].astype(float), fixed.biases[rated].astype(float)
        scale = float(rated.size) ** nu
        residual = row[rated] - mu - b - c - Q @ p
        gradient[i, :-1] = -residual @ Q + scale * lam * p
        if has_bias:
            gradient[i, -1] = -residual.sum() + scale * bias_lam * b
        if rated.size:
            size = np.abs(row[rated]) + abs(mu) + abs(b) + np.abs(c) + np.abs(Q) @ np.abs(p)
            largest[i] += (size[:, None] * np.column_stack([np.abs(Q), np.ones(rated.size)])).sum(axis=0).max()
    return gradient, largest


def problem_of(R, **settings):
    config = ObservedMFConfig(**{"random_state": 0, "regularization": 0.3, "bias_regularization": 0.07} | settings)
    matrix = Interactions.from_matrix(to_sparse(R)).matrix
    mean = float(np.nanmean(R)) if config.mean else 0.0
    return config, mean, pose(matrix, mean, config), start(R.shape, config)


def literal(config):
    return {"lam": config.regularization, "bias_lam": config.bias_regularization, "nu": config.regularization_exponent}


def vectors_of(model):
    return Vectors(model.user_factors, model.user_biases), Vectors(model.item_factors, model.item_biases)
