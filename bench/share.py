"""How much of the machine's matrix-product rate an exact epoch reaches."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from .data import data_file, load
from .lab import Lab
from .plan import Plan
from .report import Report

SGEMM_REPETITIONS = 5


def share_section(lab: Lab, plan: Plan, report: Report) -> None:
    rate = _rate(lab)
    report.text(
        "## Share of the sgemm rate",
        f"NumPy multiplies two float32 matrices of 2048 x 2048 at {rate / 1e9:.0f} Gflop/s on {lab.threads} threads "
        f"(best of {SGEMM_REPETITIONS}; 2 flops a multiply-add). Counted for an epoch are only the systems of the rows "
        "that have cells, each by the cheaper way: n interactions, d factors, "
        "dual n^2 d + n^3/3 or primal n d^2 + d^3/3 (one triangle of the symmetric product, then Cholesky). Gram "
        "matrices, rotations, gathering and substitution take time here without counting.",
    )
    rows = []
    for shape in plan.shapes:
        counts = load(str(data_file(lab.cache, shape)))
        for factors in plan.share_factors:
            job = lab.fit_job("ours exact", shape, plan.epoch_objective, factors, plan.epochs)
            (timing,) = lab.race([job], f"share {shape}, d = {factors}")
            flops = epoch_flops(counts, factors)
            reached = "-" if timing.failure else f"{flops / timing.median / rate:.0%}"
            seconds = timing.failure or f"{timing.median:.3g}"
            rows.append([shape, factors, f"{flops / 1e9:.1f}", seconds, reached])
    report.table(["data", "d", "Gflop an epoch", "median s", "of sgemm"], rows)


def _rate(lab: Lab) -> float:
    threads = str(lab.threads)
    job = {"task": "sgemm", "repetitions": SGEMM_REPETITIONS}
    return float(lab.run(job, OPENBLAS_NUM_THREADS=threads, MKL_NUM_THREADS=threads, BLIS_NUM_THREADS=threads)["rate"])


def epoch_flops(counts: scipy.sparse.csr_array, factors: int) -> float:
    """Flops of both sides' row systems, each row by the cheaper of dual and primal."""
    users = np.diff(counts.indptr)
    items = np.bincount(counts.indices, minlength=counts.shape[1])
    return float(_row_flops(users, factors).sum() + _row_flops(items, factors).sum())


def _row_flops(sizes: np.ndarray, factors: int) -> np.ndarray:
    n, d = sizes[sizes > 0].astype(np.float64), float(factors)
    return np.minimum(n**2 * d + n**3 / 3, n * d**2 + d**3 / 3)
