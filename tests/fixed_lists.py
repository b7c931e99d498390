"""Models whose lists are known, and who is to be evaluated on them."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from implicit_wmf.interactions import Interactions


class Lists:
    """A model that returns the lists it was made of, cut to N."""

    def __init__(self, ids, scores=None):
        self.ids = np.asarray(ids)
        self.scores = np.where(self.ids < 0, np.nan, 1.0) if scores is None else np.asarray(scores)
        self.asked: list[int] = []

    def recommend(self, users, N=10, filter_already_liked_items=True):
        assert filter_already_liked_items
        self.asked.append(len(users))
        return self.ids[users, :N], self.scores[users, :N]


# Rows: two ordinary users, one without targets, one without history, one whose only test pair is known from train,
# one whose only test pair has a negative value.
TRAIN = np.array(
    [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [3, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=float
)


TEST = np.array(
    [[5, 0, 1, 0, 2], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, -1, 0]], dtype=float
)


GOOD = [[1, 2, 4], [2, 0, -1], [2, 3, 4], [0, 1, 2], [1, 2, 3], [0, 2, 3]]


def as_interactions(dense) -> Interactions:
    return Interactions.from_matrix(csr_array(np.asarray(dense, dtype=float)))


@pytest.fixture
def train():
    return as_interactions(TRAIN)


@pytest.fixture
def held_out():
    return as_interactions(TEST)


def noisy_models(users=80, items=40, seed=0):
    """Train, test, and two models of which the second finds most of what the first finds."""
    rng = np.random.default_rng(seed)
    dense = rng.random((users, items)) < 0.3
    held_out = dense & (rng.random(dense.shape) < 0.4)
    train, test = as_interactions(dense & ~held_out), as_interactions(held_out)
    scores = held_out * 0.4 + rng.random(dense.shape)
    near = scores + 0.1 * rng.random(dense.shape)
    models = []
    for score in (scores, near):
        order = np.argsort(np.where(dense & ~held_out, np.inf, -score), axis=1, kind="stable")[:, :20]
        models.append(Lists(order))
    return train, test, models
