"""Tasks of a worker: epochs and fits, timed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

# not imported from bench.records: that would import the package, whose import `first_fit` times
Job = dict[str, Any]


def fit(job: Job) -> Job:
    """Time epochs after a warm-up epoch, then follow the objective for `curve` epochs, untimed, from the same start.

    With `with_setup` also time all the rest of a second contestant, from before its construction to the end of the last
    epoch: translation of the objective, conversion and transposition of the data, allocation.
    """
    from ..contestants import WholeFits, make
    from ..data import load
    from ..objective import Objective

    counts = load(job["data"])
    settings = Objective(**job["objective"]), job["factors"], job["threads"]
    contestant = make(job["contestant"], counts, *settings)
    # compilation, first touch of memory, start of thread pools: the user's time as well, but measured by itself
    began = time.perf_counter()
    contestant.seconds(1)
    affordable = int(job["budget"] / (time.perf_counter() - began))
    epochs = job["epochs"] if job["all_epochs"] else max(1, min(job["epochs"], affordable))
    setups = []
    if job["with_setup"]:
        # drawing the common start is no peer's business
        start = None if job["contestant"].startswith("ours") else make("ours exact", counts, *settings).factors(0)
        began = time.perf_counter()
        contestant = make(job["contestant"], counts, *settings, start)
        seconds = contestant.seconds(epochs)
        setups = [time.perf_counter() - began - sum(seconds)]
    else:
        seconds = contestant.seconds(epochs)
    if isinstance(contestant, WholeFits):
        seconds = difference(seconds, epochs)
    return {
        "seconds": seconds,
        "setups": setups,
        "losses": contestant.losses(job["curve"]) if job["curve"] else [],
    }


def difference(seconds: list[float], epochs: int) -> list[float]:
    """Keep the one number that two whole fits give; refuse it where noise is larger than the epochs."""
    if seconds[0] <= 0:
        raise ValueError(f"a fit of {epochs + 1} epochs took no longer than one of 1: no time an epoch can be told")
    return seconds[:1]


def fit_with_memory(job: Job) -> Job:
    """Time a whole fit of ours and its peak memory, compilation done before on a tiny matrix.

    The data are Interactions, so that they are in memory once; a SciPy matrix would stay beside the model's own copy.
    """
    from implicit_wmf import WMF, Interactions
    from implicit_wmf.datasets import synthetic

    from ..data import load

    settings = {**job["objective"], "factors": job["factors"], "solver": "auto", "num_threads": job["threads"]}
    WMF(**settings, iterations=1, random_state=0).fit(synthetic(300, 200, 5_000, random_state=0), progress=False)
    before = _peak_memory() if _reset_peak() else None
    began = time.perf_counter()
    data = Interactions.from_matrix(load(job["data"]))
    counts = data.matrix
    model = WMF(**settings, iterations=job["epochs"], random_state=0).fit(data, track_loss=False, progress=False)
    seconds = time.perf_counter() - began
    csr = counts.data.nbytes + counts.indices.nbytes + counts.indptr.nbytes
    transpose = counts.data.nbytes + counts.indices.nbytes + (counts.shape[1] + 1) * counts.indptr.itemsize
    return {
        "seconds": seconds,
        "epoch_seconds": [record.seconds for record in model.history],
        "before": before,
        "peak": _peak_memory(),
        "csr": csr,
        "transpose": transpose,
        "factors": model.user_factors.nbytes + model.item_factors.nbytes,
    }


def _peak_memory() -> int | None:
    """VmHWM of this process in bytes; getrusage would count what the parent had before exec as well."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(peak[1]) * 1024 if peak else None


def _reset_peak() -> bool:
    """Let VmHWM begin again at what the process holds now: compilation takes memory that is given back."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def first_fit(job: Job) -> Job:
    """Time the import and the first fit; whether the cache is cold is up to NUMBA_CACHE_DIR."""
    began = time.perf_counter()
    from implicit_wmf import WMF
    from implicit_wmf.datasets import synthetic

    imported = time.perf_counter()
    counts = synthetic(300, 200, 5_000, random_state=0)
    made = time.perf_counter()
    WMF(factors=16, solver=job["solver"], iterations=1, random_state=0).fit(counts, progress=False)
    return {"import": imported - began, "fit": time.perf_counter() - made}


def sgemm(job: Job) -> Job:
    """Measure the rates of NumPy's float32 product 2048 x 2048 x 2048, in flops a second."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    size = 2048
    left, right = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
    seconds = []
    with threadpool_limits(limits=job["threads"], user_api="blas"):
        for _ in range(job["repetitions"]):
            began = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - began)
    return {"rates": [2 * size**3 / second for second in seconds]}
