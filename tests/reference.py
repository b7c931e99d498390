"""The mathematics, dense and obvious. Imports nothing from the package and is compared with everything in it."""

import numpy as np


def background(positive, unobserved_weight=1.0, user_background=None, item_background=None, popularity_exponent=0.5):
    """a0 a_i b_j for every cell; `positive` says where the users have the items."""
    users, items = positive.shape
    taken = positive.sum(axis=0)
    schemes = {None: np.ones(users), "uniform": np.ones(users), "user": positive.sum(axis=1)}
    a = schemes[user_background] if isinstance(user_background, str | None) else np.array(user_background)
    schemes = {None: np.ones(items), "uniform": np.ones(items), "item": users - taken}
    schemes["popularity"] = taken**popularity_exponent
    b = schemes[item_background] if isinstance(item_background, str | None) else np.array(item_background)
    return unobserved_weight * np.outer(a / a.mean(), b / b.mean())


def confidence_and_preference(counts, weighting, alpha=1.0, log_epsilon=1.0, **settings):
    """C and P as dense matrices; counts dense with NaN where nothing is stored."""
    stored = ~np.isnan(counts)
    base = background(np.nan_to_num(counts) > 0, **settings)
    C, P = base.copy(), np.zeros_like(base)
    for i, j in zip(*np.nonzero(stored), strict=True):
        r = counts[i, j]
        if weighting == "linear":
            C[i, j] = base[i, j] + alpha * abs(r)
        elif weighting == "log":
            C[i, j] = base[i, j] + alpha * np.log(1 + abs(r) / log_epsilon)
        elif weighting == "ials":
            C[i, j] = base[i, j] + (alpha if r != 0 else 0)
        else:
            C[i, j] = abs(r)
        if r > 0:
            P[i, j] = alpha / C[i, j] if weighting == "ials" else 1.0
    return C, P


def general_confidence_and_preference(P, C, **settings):
    """C and P as full matrices of two that are dense with NaN where nothing is stored."""
    base = background((np.nan_to_num(P) > 0) & (C != 0), **settings)
    return np.where(np.isnan(C), base, C), np.nan_to_num(P)


def penalties(C, regularization, exponent):
    """lambda_i of every user and of every item."""
    return regularization * C.sum(axis=1) ** exponent, regularization * C.sum(axis=0) ** exponent


def loss(C, P, W, H, user_penalty, item_penalty):
    """The objective as a double loop."""
    total = 0.0
    for i in range(len(W)):
        for j in range(len(H)):
            total += C[i, j] * (P[i, j] - sum(float(w) * float(h) for w, h in zip(W[i], H[j], strict=True))) ** 2
    for i in range(len(W)):
        total += user_penalty[i] * float(W[i].astype(float) @ W[i].astype(float))
    for j in range(len(H)):
        total += item_penalty[j] * float(H[j].astype(float) @ H[j].astype(float))
    return total


def row_gradient(C, P, W, H, penalty):
    """Gradient with respect to W, and for each row the size of the terms that make it up."""
    W, H = W.astype(float), H.astype(float)
    gradient = -2 * (C * (P - W @ H.T)) @ H + 2 * penalty[:, None] * W
    terms = 2 * (C * (np.abs(P) + np.abs(W) @ np.abs(H.T))) @ np.abs(H) + 2 * np.abs(penalty[:, None] * W)
    return gradient, terms


def solve_rows(C, P, H, penalty):
    """Every row from its own normal equations."""
    H = H.astype(float)
    rows = []
    for i in range(len(C)):
        A = sum(C[i, j] * np.outer(H[j], H[j]) for j in range(len(H))) + penalty[i] * np.eye(H.shape[1])
        b = sum(C[i, j] * P[i, j] * H[j] for j in range(len(H)))
        rows.append(np.linalg.solve(A, b))
    return np.array(rows)
