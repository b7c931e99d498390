"""Fits that end early, and what comes of going on from their checkpoints."""

from dataclasses import replace

from numpy.testing import assert_array_equal
from watched_fits import HELD_OUT, TRAIN, small

EPOCHS = 7


class Crash(Exception):
    """What ends a fit without a word."""


def ending(epoch, error=Crash):
    """Make a callback that ends a fit."""

    def end(record, model):
        if record.epoch == epoch:
            raise error

    return end


def fit(path=None, model=None, **given):
    """Fit small data; what is given for the constructor is of a model that is made."""
    settings = {name: given.pop(name) for name in list(given) if name in model_settings()}
    model = model or small(**{"iterations": EPOCHS} | settings)
    return model.fit(given.pop("data", TRAIN), checkpoint=path, **given)


def model_settings():
    return small().config.names()


def leave(path, epoch, error=Crash, **given):
    """Fit until an epoch's callback ends it; what is at `path` is gone on from."""
    try:
        fit(path, callback=ending(epoch, error), resume=True, **given)
    except error:
        return
    raise AssertionError(f"the fit did not get to epoch {epoch}")


def assert_same(model, expected):
    """Compare factors and history, but for the time it took, bit for bit."""
    assert_array_equal(model.user_factors, expected.user_factors)
    assert_array_equal(model.item_factors, expected.item_factors)
    histories = [[repr(replace(record, seconds=0.0)) for record in one.history] for one in (model, expected)]
    assert histories[0] == histories[1]  # as text, which has every digit, because NaN is not equal to itself
    assert model.best_epoch == expected.best_epoch


VALIDATED = {"validation": HELD_OUT, "metric": "ndcg@5", "patience": None}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def names(folder):
    return sorted(path.name for path in folder.iterdir())
