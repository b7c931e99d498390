"""Lists for many users: ours against implicit's with the same factors, and against the bare matrix product."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import implicit_wmf

from ..data import data_file, load
from ..lab import Job, JobError, without_missing
from ..page import Page
from ..records import Record
from .lab import SpeedLab
from .plan import ListCase, Plan
from .section import Section, records_of, seconds_and_ratio, timings_of
from .timing import Timing

CONTESTANTS = ("ours", "ours unbounded", "implicit recommend", "product")
_PRODUCT_USERS = 500  # whose scores stay in the caches


def _measure(lab: SpeedLab, plan: Plan) -> Record:
    races = []
    for case in plan.lists:
        path = _factors_file(lab, case)
        for length in plan.list_lengths:
            jobs = _jobs(lab, plan, case, length, path)
            races.append(records_of(lab.race(jobs, f"lists of {length}, {case.shape.items} items")))
    return {"races": races}


def _jobs(lab: SpeedLab, plan: Plan, case: ListCase, length: int, path: Path) -> list[Job]:
    common = {
        "task": "speed.lists.time_lists",
        "factors": str(path),
        "data": str(data_file(lab.cache, case.shape)),
        "users": case.users,
        "length": length,
        "repetitions": plan.epochs,
        "curve": 0,
        "setting": {"items": case.shape.items, "factors": case.factors, "users": case.users, "N": length},
    }
    jobs = [{**common, "contestant": name} for name in without_missing(list(CONTESTANTS[:3]))]
    return [*jobs, {**common, "contestant": "product"}]


def _render(page: Page, record: Record) -> None:
    page.text(
        "## Lists of recommendations",
        "The N best items of each of the first users, their own left out, from the factors of one fit of ours. "
        "`ours unbounded` never ends a search by the bound on norms. `product` is NumPy's product of the same factors, "
        f"{_PRODUCT_USERS} users at a time into one array, with as many BLAS threads, and makes no lists.",
    )
    rows = [_row(timing, race[0]) for race in map(timings_of, record["races"]) for timing in race]
    page.table(["items", "d", "users", "N", "contestant", "seconds", "users a second", "times ours"], rows)


def _row(timing: Timing, ours: Timing) -> list[object]:
    setting = timing.setting
    seconds, ratio = seconds_and_ratio(timing, ours)
    rate = "-" if timing.failure else f"{setting['users'] / timing.median:,.0f}"
    place = [setting["items"], setting["factors"], setting["users"], setting["N"], timing.contestant]
    return [*place, seconds, rate, ratio]


def _factors_file(lab: SpeedLab, case: ListCase) -> Path:
    """Fit once; all contestants get these factors."""
    shape = case.shape
    data = data_file(lab.cache, shape)
    path = lab.cache / f"factors-{data.stem}-{case.factors}-{case.epochs}-{_package_stamp()}.npz"
    if not path.exists():
        made = lab.run(
            {"task": "speed.lists.fit_factors", "data": str(data), "factors": case.factors,
             "epochs": case.epochs, "output": str(path)}
        )  # fmt: skip
        if not made:
            raise JobError(f"no factors of {shape}")
    return path


def _package_stamp() -> str:
    """Version and digest of the package's sources: factors of other code are not these."""
    folder = Path(implicit_wmf.__file__).parent
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(f"{source.relative_to(folder)}\0".encode() + source.read_bytes())
    return f"{implicit_wmf.__version__}-{digest.hexdigest()[:12]}"


def fit_factors(job: Job) -> bool:
    """Fit, and save the factors."""
    from implicit_wmf import WMF

    model = WMF(job["factors"], iterations=job["epochs"], num_threads=job["threads"], random_state=0)
    model.fit(load(job["data"]), track_loss=False, progress=False)
    part = Path(job["output"]).with_suffix(".part.npz")
    np.savez(part, users=model.user_factors, items=model.item_factors)
    part.replace(job["output"])
    return True


def time_lists(job: Job) -> Job:
    """Time a contestant's lists for the first users, after a warm-up."""
    with np.load(job["factors"], allow_pickle=False) as saved:
        users, items = np.ascontiguousarray(saved["users"][: job["users"]]), saved["items"]
    seen = load(job["data"])[: job["users"]]
    run = _RUNS[job["contestant"]](users, items, seen, job)
    run()
    seconds = []
    for _ in range(job["repetitions"]):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "losses": []}


def _ours(users: np.ndarray, items: np.ndarray, seen: Any, job: Job) -> Callable[[], Any]:
    from implicit_wmf.ranking import Catalogue, recommend

    everything = np.arange(len(items), dtype=np.int32)

    def run() -> None:
        recommend(users, Catalogue(items, everything), seen, N=job["length"], num_threads=job["threads"])

    return run


def _ours_unbounded(users: np.ndarray, items: np.ndarray, seen: Any, job: Job) -> Callable[[], Any]:
    from implicit_wmf.ranking import Catalogue, recommend

    catalogue = Catalogue(items, np.arange(len(items), dtype=np.int32))
    catalogue.items.norms[:] = np.inf
    return lambda: recommend(users, catalogue, seen, N=job["length"], num_threads=job["threads"])


def _implicit(users: np.ndarray, items: np.ndarray, seen: Any, job: Job) -> Callable[[], Any]:
    import scipy.sparse
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=items.shape[1], num_threads=job["threads"])
    model.user_factors, model.item_factors = users, items
    everyone, own = np.arange(len(users)), scipy.sparse.csr_matrix(seen)
    return lambda: model.recommend(everyone, own, N=job["length"])


def _product(users: np.ndarray, items: np.ndarray, seen: Any, job: Job) -> Callable[[], Any]:
    from threadpoolctl import threadpool_limits

    scores = np.empty((_PRODUCT_USERS, len(items)), np.float32)

    def run() -> None:
        with threadpool_limits(limits=job["threads"], user_api="blas"):
            for start in range(0, len(users), _PRODUCT_USERS):
                block = users[start : start + _PRODUCT_USERS]
                np.matmul(block, items.T, out=scores[: len(block)])

    return run


_RUNS = dict(zip(CONTESTANTS, (_ours, _ours_unbounded, _implicit, _product), strict=True))

LISTS = Section(_measure, _render)
