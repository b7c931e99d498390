"""A saved model of any size without the time to fit it, for the long run of a batch job."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from implicit_wmf import WMF, Interactions, WMFConfig
from implicit_wmf.persistence import SavedModel

INTERACTIONS = 20  # a user, before repeated items are merged


def user_ids(positions: np.ndarray) -> np.ndarray:
    return _ids("customer", positions)


def _ids(kind: str, positions: np.ndarray) -> np.ndarray:
    return np.char.add(f"{kind}-", np.char.zfill(positions.astype(str), 8)).astype(object)


def build(path: Path, users: int, items: int, factors: int) -> None:
    """Save a model whose items' norms, popularity and spectrum fall off as those of fitted ones do."""
    generator = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(1 + np.arange(factors))
    norms = generator.lognormal(sigma=0.35, size=items)
    sides = [generator.standard_normal((count, factors), dtype=np.float32) * spectrum for count in (users, items)]
    sides[1] *= norms[:, None]
    ids = (pd.Index(_ids(kind, np.arange(count))) for kind, count in (("customer", users), ("product", items)))
    data = Interactions(_interactions(generator, users, norms), *ids)
    model = WMF.from_config(WMFConfig(factors=factors))
    model._fitted = SavedModel(model.config, *(np.ascontiguousarray(side, np.float32) for side in sides), data, [])
    model.save(path)


def _interactions(generator: np.random.Generator, users: int, norms: np.ndarray) -> csr_array:
    """Cells of each user, items drawn by a power of their norms: what many have got longer vectors."""
    chances = np.cumsum(norms**5)
    drawn = np.searchsorted(chances, generator.random((users, INTERACTIONS)) * chances[-1])
    drawn = np.sort(drawn, axis=1).astype(np.int32)
    first = np.ones(drawn.shape, dtype=bool)
    first[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))]).astype(np.int32)
    return csr_array((np.ones(indptr[-1], np.float32), drawn[first], indptr), shape=(users, norms.size))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.batch_job.model", description=__doc__)
    parser.add_argument("path", type=Path)
    for name in ("users", "items", "factors"):
        parser.add_argument(f"--{name}", type=int, required=True)
    build(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
