"""The data sets, made once and kept in the cache folder as SciPy .npz files."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

import implicit_wmf
from implicit_wmf import Interactions
from implicit_wmf.datasets import load_online_retail, synthetic
from implicit_wmf.errors import InputError
from implicit_wmf.tables import READABLE, read_interactions

from .shapes import Shape

MOVIELENS = "MovieLens 1M"
SEED = 0
ROOT = Path(__file__).parent.parent
# What the columns of a table may be called, the likeliest first.
USER_COLUMNS = ("user", "user_id", "userId", "userID", "customer", "customer_id")
ITEM_COLUMNS = ("item", "item_id", "itemId", "itemID", "movieId", "artistID", "product", "stock_code")
VALUE_COLUMNS = ("count", "plays", "quantity", "weight", "value", "rating")

_DATASETS = Path(implicit_wmf.__file__).parent / "datasets"
# What a change of which changes the counts.
SYNTHETIC_MAKERS = (_DATASETS / "synthetic.py",)
SHIPPED_MAKERS = (_DATASETS / "online_retail.npz", _DATASETS / "online_retail.py", Path(__file__))


@dataclass(frozen=True)
class RealSet:
    """A set that is known by name.

    Attributes
    ----------
    file : str or None
        Where it is in the data folder; none for what ships.
    counts : callable
        How its counts are read from there.
    archive : str or None
        Where the publisher's archive is that unpacks to the file; none for what a script makes.
    """

    file: str | None
    counts: Callable[[Path], scipy.sparse.csr_array]
    archive: str | None = None


def data_folder() -> Path:
    """Where the sets that may not be redistributed would be."""
    return Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))


def movielens_source() -> Path:
    """Where MovieLens 1M would be."""
    return data_folder() / MOVIELENS_FILE


def ncf_files() -> tuple[Path, Path]:
    """Return the files to fit on and to evaluate with of MovieLens 1M in the split of Neural Collaborative Filtering.

    Raises
    ------
    InputError
        Where one is absent, with the command that makes both.
    """
    train, test = movielens_source(), movielens_source().with_name("test.parquet")
    for path in (train, test):
        if not path.is_file():
            raise InputError(
                f"there is no {path}; set IMPLICIT_WMF_DATA to a folder that holds {path.parent.name}/{path.name}, or "
                f"make it: {_ncf_command(train)}"
            )
    return train, test


def _ncf_command(train: Path) -> str:
    """Spell what makes both files from the authors' archive, which --download fetches unless it is there."""
    folder, archive = shlex.quote(str(train.parent)), shlex.quote(str(train.parent / "ncf.zip"))
    script = shlex.quote(str(ROOT / "data_scripts" / "ml_1m_ncf.py"))
    out = shlex.quote(str(train))
    return f"mkdir -p {folder} && {shlex.quote(sys.executable)} {script} {archive} --download -o {out}"


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
        # the generator's streams of random numbers may be others in another NumPy
        stamp = _stamp(np.__version__, *map(_digest, SYNTHETIC_MAKERS))
        return f"synthetic-{data.users}-{data.items}-{data.interactions}-{SEED}-{stamp}"
    source = _source(data)
    name = "-".join(str(data).lower().split()) if str(data) in REAL else Path(data).stem
    if source is None:
        return f"{name}-{_stamp(*map(_digest, SHIPPED_MAKERS))}"
    # As far as the folder knows: files of one's own may be too large to be read once more for their digest.
    status = source.stat()
    return f"{name}-{_stamp(_digest(Path(__file__)), source.resolve(), status.st_size, status.st_mtime_ns)}"


def _stamp(*facts: object) -> str:
    """Tell apart what was made by other versions or from other files: old counts must not pass for new ones."""
    known = "\0".join(map(str, (implicit_wmf.__version__, *facts)))
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _source(data: str | Path) -> Path | None:
    """File that a set is read from; None for what ships with the package."""
    if str(data) in REAL:
        return _named_source(REAL[str(data)])
    if not Path(data).is_file():
        raise InputError(f"data {str(data)!r} is neither a file nor one of {', '.join(REAL)}")
    return Path(data)


def _named_source(known: RealSet) -> Path | None:
    if known.file is None:
        return None
    source = data_folder() / known.file
    if source.is_file():
        return source
    if known.archive is None:
        # more than is needed here, and what the same command makes
        return ncf_files()[0]
    # the archive's own is not compressed
    unpacked = source.with_name(source.name.removesuffix(".gz"))
    if unpacked.is_file():
        return unpacked
    raise InputError(
        f"there is no {source}; set IMPLICIT_WMF_DATA to a folder that holds {known.file}, or fetch {known.archive} "
        f"and unpack {unpacked.name} to {unpacked}"
    )


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
    "ml-100k": RealSet("ml-100k/u.data", _ratings, "https://files.grouplens.org/datasets/movielens/ml-100k.zip"),
    "lastfm-2k": RealSet(
        "lastfm-2k/user_artists.dat.gz",
        _plays,
        "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
    ),
    "online_retail": RealSet(None, _purchases),
}


def load(path: str) -> scipy.sparse.csr_array:
    """Read a data set: counts, users x items, canonical, float32."""
    matrix = scipy.sparse.csr_array(scipy.sparse.load_npz(path))
    matrix.has_canonical_format = True
    return matrix
