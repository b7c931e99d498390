"""Fits to watch: data in which a user can be odd in every way, and callbacks that take notes."""

import numpy as np
from conftest import to_sparse
from numpy.testing import assert_array_equal

from implicit_wmf import WMF
from implicit_wmf.validation import HeldOut

USERS, ITEMS = 40, 25


def tastes(seed=0):
    """Users of two tastes, their counts divided into train and held out, with all that can be odd about a user."""
    generator = np.random.default_rng(seed)
    likes = np.where((np.arange(USERS)[:, None] + np.arange(ITEMS)) % 2, 0.5, 0.15)
    counts = np.where(generator.random((USERS, ITEMS)) < likes, generator.integers(1, 5, (USERS, ITEMS)), 0.0)
    later = generator.random(counts.shape) < 0.3
    train, held_out = np.where(later, np.nan, counts), np.where(later, counts, np.nan)
    train[train == 0], held_out[held_out == 0] = np.nan, np.nan
    train[0], held_out[0, 3] = np.nan, 2  # targets without history
    held_out[1] = np.nan  # history without targets
    train[2, 5], held_out[2] = 1, np.nan
    held_out[2, 5] = 3  # the only one is known
    train[3, 6], held_out[3, 7], train[3, 7] = 2, -1, np.nan  # a known negative is no target
    return to_sparse(train), to_sparse(held_out)


TRAIN, HELD_OUT = tastes()


def small(**settings):
    return WMF(**({"factors": 3, "iterations": 8, "random_state": 0, "dtype": "float64"} | settings))


class Copies:
    """A callback that keeps what it was shown."""

    def __init__(self, stop_after=None, error=None):
        self.records, self.factors, self.stop_after, self.error = [], [], stop_after, error

    def __call__(self, record, model):
        self.records.append(record)
        self.factors.append((model.user_factors.copy(), model.item_factors.copy()))
        if record.epoch == self.stop_after:
            if self.error is not None:
                raise self.error
            return True
        return None


def script(monkeypatch, values):
    """Let the validations come to these values, one after another."""
    coming = iter(values)
    monkeypatch.setattr(HeldOut, "measure", lambda self, model: {"ndcg@10": next(coming)})


def assert_factors(model, expected):
    assert_array_equal(model.user_factors, expected[0])
    assert_array_equal(model.item_factors, expected[1])
