"""Task of a worker: the fit that an out-of-core fit is compared with."""

from __future__ import annotations

from dataclasses import asdict

from implicit_wmf import WMF
from implicit_wmf.store import Store

from ..lab import Job
from ..records import Record


def fit(job: Job) -> list[Record]:
    """Read a store into memory, fit it, and return the history."""
    model = WMF(job["factors"], iterations=job["epochs"], solver=job["solver"], random_state=0)
    model.fit(Store.open(job["store"]).interactions(), progress=False)
    return [asdict(record) for record in model.history]
