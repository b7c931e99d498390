"""Task of a worker: fits by Spark MLlib's ALS to what a store holds."""

from __future__ import annotations

from implicit_wmf import WMFConfig
from implicit_wmf.store import Store

from ..contestants import make
from ..lab import Job
from ..objective import Objective
from ..records import Record
from ..speed.fits import difference
from .fits import judge

CONTESTANT = "spark exact nearest"


def fit(job: Job) -> Record:
    """Fit with Spark; returns seconds an epoch and what our objective says of the factors.

    Spark does not tell of its epochs, so an epoch is (a fit of all epochs - a fit of one) / (epochs - 1), after a fit
    of one that is not timed: the Java machine compiles while it works.
    """
    counts = Store.open(job["store"]).interactions().matrix
    settings = job["settings"]
    factors, epochs = settings["factors"], settings["iterations"]
    objective = Objective(settings["alpha"], settings["regularization"])
    contestant = make(CONTESTANT, counts, objective, factors, job["threads"])
    _, first, last = contestant.curve([1, 1, epochs])
    config = WMFConfig(factors, **objective.settings())
    seconds = difference([(last.seconds - first.seconds) / (epochs - 1)], epochs - 1)
    return {"seconds": seconds, **judge(counts, config, last.users, last.items)}
