"""Files in the forms that publishers of data sets give them, for the tests of the scripts that read those."""

import importlib
import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import scipy.sparse

from implicit_wmf.tables import read_table

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "data_scripts"
DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))


def script(name):
    """Import a module of data_scripts, no part of the package; last on the path, so that it shadows nothing."""
    if str(SCRIPTS) not in sys.path:
        sys.path.append(str(SCRIPTS))
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """For the files that import it."""

    def refuse(*_, **__):
        raise AssertionError("a script went to the network without being asked to")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path, **members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def cells(path):
    """The matrix in a file as {(row, column): value}."""
    matrix = scipy.sparse.coo_array(scipy.sparse.load_npz(path))
    places = zip(matrix.row.tolist(), matrix.col.tolist(), strict=True)
    return dict(zip(places, matrix.data.tolist(), strict=True))


def by_id(path):
    """The matrix in a file as {(user, item): value}, by the ids beside it."""
    users, items = (read_table(path.with_suffix(f".{side}s.csv"), [side])[side].tolist() for side in ("user", "item"))
    return {(users[row], items[column]): value for (row, column), value in cells(path).items()}
