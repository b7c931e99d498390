"""How much of the machine's matrix-product rate an exact epoch reaches."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from ..data import data_file, load
from ..page import Page
from ..records import Record
from .lab import SpeedLab
from .plan import Plan
from .section import Section, records_of, timings_of

SGEMM_REPETITIONS = 5


def _measure(lab: SpeedLab, plan: Plan) -> Record:
    rates = _rates(lab)
    epochs = []
    for data in plan.data:
        counts = load(str(data_file(lab.cache, data)))
        for factors in plan.share_factors:
            job = lab.fit_job("ours exact", data, plan.epoch_objective, factors, plan.epochs)
            (timing,) = lab.race([job], f"share {data}, d = {factors}")
            epochs.append({"flops": epoch_flops(counts, factors), "race": records_of([timing])})
    return {"threads": lab.threads, "sgemm_flops_a_second": rates, "epochs": epochs}


def _render(page: Page, record: Record) -> None:
    rate = max(record["sgemm_flops_a_second"])
    page.text(
        "## Share of the sgemm rate",
        f"NumPy multiplies two float32 matrices of 2048 x 2048 at {rate / 1e9:.0f} Gflop/s on {record['threads']} "
        f"threads (best of {len(record['sgemm_flops_a_second'])}, worst "
        f"{min(record['sgemm_flops_a_second']) / 1e9:.0f}; 2 flops a multiply-add). Counted for an epoch are only the "
        "systems of the rows that have cells, each by the cheaper way: n interactions, d factors, "
        "dual n^2 d + n^3/3 or primal n d^2 + d^3/3 (one triangle of the symmetric product, then Cholesky). Gram "
        "matrices, rotations, gathering and substitution take time here without counting.",
    )
    rows = []
    for epoch in record["epochs"]:
        (timing,) = timings_of(epoch["race"])
        reached = "-" if timing.failure else f"{epoch['flops'] / timing.median / rate:.0%}"
        seconds = timing.failure or timing.seconds_text()
        setting = timing.setting
        rows.append([setting["data"], setting["factors"], f"{epoch['flops'] / 1e9:.3g}", seconds, reached])
    page.table(["data", "d", "Gflop an epoch", "s an epoch", "of sgemm"], rows)


def _rates(lab: SpeedLab) -> list[float]:
    threads = str(lab.threads)
    job = {"task": "speed.fits.sgemm", "repetitions": SGEMM_REPETITIONS}
    environment = {f"{library}_NUM_THREADS": threads for library in ("OPENBLAS", "MKL", "BLIS")}
    return list(lab.run(job, **environment)["rates"])


def epoch_flops(counts: scipy.sparse.csr_array, factors: int) -> float:
    """Flops of both sides' row systems, each row by the cheaper of dual and primal."""
    users = np.diff(counts.indptr)
    items = np.bincount(counts.indices, minlength=counts.shape[1])
    return float(_row_flops(users, factors).sum() + _row_flops(items, factors).sum())


def _row_flops(sizes: np.ndarray, factors: int) -> np.ndarray:
    n, d = sizes[sizes > 0].astype(np.float64), float(factors)
    return np.minimum(n**2 * d + n**3 / 3, n * d**2 + d**3 / 3)


SHARE = Section(_measure, _render)
