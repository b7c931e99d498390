"""The data sets, made once and kept in the cache folder as SciPy .npz files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from implicit_wmf.datasets import synthetic

from .plan import Shape

SEED = 0
ROOT = Path(__file__).parent.parent


def movielens_source() -> Path:
    """Where MovieLens 1M would be; it may not be redistributed."""
    folder = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))
    return folder / "ml-1m-ncf" / "train.parquet"


def data_file(cache: Path, data: Shape | str) -> Path:
    """Path of the .npz file of a synthetic shape or, given its name, of MovieLens 1M; made if it is not there."""
    if isinstance(data, Shape):
        path = cache / f"synthetic-{data.users}-{data.items}-{data.interactions}-{SEED}.npz"
    else:
        path = cache / "movielens-1m.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # a run that is interrupted here must not leave half a file under the final name
        part = path.with_suffix(f".{os.getpid()}.part.npz")
        scipy.sparse.save_npz(part, _make(data), compressed=False)
        part.replace(path)
    return path


def _make(data: Shape | str) -> scipy.sparse.csr_array:
    if isinstance(data, Shape):
        return synthetic(data.users, data.items, data.interactions, random_state=SEED)
    frame = pd.read_parquet(movielens_source(), columns=["user", "item"])
    codes = [pd.factorize(frame[name], sort=True)[0] for name in ("user", "item")]
    matrix = scipy.sparse.csr_array((np.ones(len(frame), dtype=np.float32), tuple(codes)))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def load(path: str) -> scipy.sparse.csr_array:
    """Read a data set: counts, users x items, canonical, float32."""
    matrix = scipy.sparse.csr_array(scipy.sparse.load_npz(path))
    matrix.has_canonical_format = True
    return matrix
