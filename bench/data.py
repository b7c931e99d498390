"""The data sets, made once and kept in the cache folder as SciPy .npz files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from implicit_wmf import Interactions
from implicit_wmf.datasets import load_online_retail, synthetic
from implicit_wmf.errors import InputError
from implicit_wmf.tables import READABLE, read_interactions

from .plan import MOVIELENS, Shape

SEED = 0
ROOT = Path(__file__).parent.parent
# What the columns of a table may be called, the likeliest first.
USER_COLUMNS = ("user", "user_id", "userId", "userID", "customer", "customer_id")
ITEM_COLUMNS = ("item", "item_id", "itemId", "itemID", "movieId", "artistID", "product", "stock_code")
VALUE_COLUMNS = ("count", "plays", "quantity", "weight", "value", "rating")


@dataclass(frozen=True)
class RealSet:
    """A set that is known by name: its file in the data folder, none for what ships, and how its counts are read."""

    file: str | None
    counts: Callable[[Path], scipy.sparse.csr_array]


def data_folder() -> Path:
    """Where the sets that may not be redistributed would be."""
    return Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))


def movielens_source() -> Path:
    """Where MovieLens 1M would be."""
    return data_folder() / "ml-1m-ncf" / "train.parquet"


def data_file(cache: Path, data: Shape | str | Path) -> Path:
    """Path of the counts of a data set as an .npz file; made if it is not there.

    Parameters
    ----------
    cache : pathlib.Path
        Folder of the files, created if need be.
    data : Shape, str or pathlib.Path
        A synthetic shape; the name of a real set, one of `REAL`; or the path of a file, a matrix (.npz) or a table with
        a column each of users and items and, maybe, counts, called as in `USER_COLUMNS` and so on.

    Raises
    ------
    InputError
        For an unknown name, and for a file that is absent or cannot be used.
    """
    path = cache / f"{_cached_name(data)}.npz"
    if not path.exists():
        matrix = _make(data)
        cache.mkdir(parents=True, exist_ok=True)
        # a run that is interrupted here must not leave half a file under the final name
        part = path.with_suffix(f".{os.getpid()}.part.npz")
        try:
            scipy.sparse.save_npz(part, matrix, compressed=False)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _cached_name(data: Shape | str | Path) -> str:
    if isinstance(data, Shape):
        return f"synthetic-{data.users}-{data.items}-{data.interactions}-{SEED}"
    source = _source(data)
    name = "-".join(str(data).lower().split()) if str(data) in REAL else Path(data).stem
    return name if source is None else f"{name}-{_stamp(source)}"


def _stamp(source: Path) -> str:
    """Tell files of one name and their versions apart, as far as the folder knows."""
    status = source.stat()
    known = f"{source.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def _source(data: str | Path) -> Path | None:
    """File that a set is read from; None for what ships with the package."""
    if str(data) in REAL:
        file = REAL[str(data)].file
        source = None if file is None else data_folder() / file
        if source is not None and not source.is_file():
            raise InputError(f"there is no {source}; set IMPLICIT_WMF_DATA to a folder that holds {file}")
        return source
    if not Path(data).is_file():
        raise InputError(f"data {str(data)!r} is neither a file nor one of {', '.join(REAL)}")
    return Path(data)


def _make(data: Shape | str | Path) -> scipy.sparse.csr_array:
    if isinstance(data, Shape):
        return synthetic(data.users, data.items, data.interactions, random_state=SEED)
    source = _source(data)
    return REAL[str(data)].counts(source) if str(data) in REAL else _read_file(source)


def _read_file(source: Path) -> scipy.sparse.csr_array:
    suffixes = tuple(suffix for suffix in READABLE if source.name.lower().endswith(suffix))
    if ".npz" in suffixes or not suffixes:
        return _counts(read_interactions(source), source)
    found = _column_names(source)
    chosen = {
        argument: next((name for name in names if name in found), None)
        for argument, names in (("user", USER_COLUMNS), ("item", ITEM_COLUMNS), ("value", VALUE_COLUMNS))
    }
    for argument, names in (("user", USER_COLUMNS), ("item", ITEM_COLUMNS)):
        if chosen[argument] is None:
            raise InputError(
                f"{source}: no column of {argument}s among {', '.join(found)}; name it {names[0]!r} (also understood: "
                f"{', '.join(names[1:])})"
            )
    return _counts(read_interactions(source, **chosen), source)


def _column_names(source: Path) -> list[str]:
    try:
        if source.suffix.lower() == ".parquet":
            from pyarrow.parquet import read_schema

            return list(read_schema(source).names)
        separator = "," if ".csv" in source.name.lower() else "\t"
        return [str(name) for name in pd.read_csv(source, sep=separator, nrows=0).columns]
    except (ValueError, OSError) as error:
        raise InputError(f"{source} cannot be read: {str(error).splitlines()[0]}") from error


def _counts(data: Interactions, source: Path) -> scipy.sparse.csr_array:
    """All libraries take counts above zero only: what is not stored and what is negative means nothing to some."""
    matrix = scipy.sparse.csr_array(data.matrix, dtype=np.float32, copy=True)
    matrix.data[matrix.data < 0] = 0
    matrix.eliminate_zeros()
    if not matrix.nnz:
        raise InputError(f"{source} holds no count above zero")
    return matrix


def _pairs(source: Path) -> scipy.sparse.csr_array:
    frame = pd.read_parquet(source, columns=["user", "item"])
    return _matrix(frame["user"], frame["item"], np.ones(len(frame)), binary=True)


def _ratings(source: Path) -> scipy.sparse.csr_array:
    """MovieLens 100K with the ratings for counts."""
    frame = pd.read_csv(source, sep="\t", header=None, names=["user", "item", "rating", "timestamp"])
    return _matrix(frame["user"], frame["item"], frame["rating"])


def _plays(source: Path) -> scipy.sparse.csr_array:
    frame = pd.read_csv(source, sep="\t")
    return _matrix(frame["userID"], frame["artistID"], frame["weight"])


def _purchases(_: Path | None) -> scipy.sparse.csr_array:
    """Online Retail II with the number of invoices for counts; quantities go to the thousands."""
    frame = load_online_retail().drop_duplicates(["customer", "product", "invoice"])
    return _matrix(frame["customer"], frame["product"], np.ones(len(frame)))


def _matrix(users: pd.Series, items: pd.Series, values: object, *, binary: bool = False) -> scipy.sparse.csr_array:
    codes = tuple(pd.factorize(ids, sort=True)[0] for ids in (users, items))
    matrix = scipy.sparse.csr_array((np.asarray(values, dtype=np.float32), codes))
    matrix.sum_duplicates()
    if binary:
        matrix.data[:] = 1.0
    return matrix


MOVIELENS_FILE = "ml-1m-ncf/train.parquet"
REAL = {
    MOVIELENS: RealSet(MOVIELENS_FILE, _pairs),
    "ml-1m-ncf": RealSet(MOVIELENS_FILE, _pairs),
    "ml-100k": RealSet("ml-100k/u.data", _ratings),
    "lastfm-2k": RealSet("lastfm-2k/user_artists.dat.gz", _plays),
    "online_retail": RealSet(None, _purchases),
}


def load(path: str) -> scipy.sparse.csr_array:
    """Read a data set: counts, users x items, canonical, float32."""
    matrix = scipy.sparse.csr_array(scipy.sparse.load_npz(path))
    matrix.has_canonical_format = True
    return matrix
