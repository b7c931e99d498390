"""Where `prepare` reads and writes: inputs by name, folder and pattern; one process at a time; whole or not at all."""

import errno
import gzip
import os

import pytest
from prepared_files import cells_of, prepared
from systems import LINKS

from implicit_wmf.errors import InputError
from implicit_wmf.interactions import Interactions
from implicit_wmf.store import Store, preparing, write_store
from implicit_wmf.store.workspace import working_folder


@pytest.fixture
def lines(tmp_path):
    """Files in folders, each with a line of its own."""
    names = ["one.csv", "in/b.csv", "in/a/c.tsv", "in/a/d.txt.gz", "in/.hidden.csv", "in/_SUCCESS", "in/_old/e.csv"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"u,i\n{name},x\n".replace(",", "\t" if ".t" in name else ",")
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["one.csv"], ["one.csv"]),
        (["in"], ["in/a/c.tsv", "in/a/d.txt.gz", "in/b.csv"]),
        (["in/*.csv", "one.csv"], ["in/b.csv", "one.csv"]),
        (["in/**/*.t*"], ["in/a/c.tsv", "in/a/d.txt.gz"]),
        (["i?"], ["in/a/c.tsv", "in/a/d.txt.gz", "in/b.csv"]),
        (["in/[ab]*"], ["in/a/c.tsv", "in/a/d.txt.gz", "in/b.csv"]),
        (["in/a/**"], ["in/a/c.tsv", "in/a/d.txt.gz"]),
        (iter(["one.csv"]), ["one.csv"]),
    ],
)
def test_inputs_are_found(lines, monkeypatch, inputs, expected):
    monkeypatch.chdir(lines)
    prepared(inputs, "s")
    assert sorted(user for user, _ in cells_of("s")) == expected
    assert Store.open("s").source["inputs"] == [str(lines / name) for name in Store.open("s").source["inputs"]]


@pytest.mark.parametrize("name", ["odd[1]*?{a}'b.csv", "odd[1]*?{a}'b.parquet"])
def test_names_that_look_like_patterns(tmp_path, name):
    import pandas as pd

    frame = pd.DataFrame({"u": [1], "i": [2]})
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    (tmp_path / "odd1xya'b.csv").write_text("u,i\nwrong,file\n")
    prepared(path, tmp_path / "s")
    assert cells_of(tmp_path / "s") == {(1, 2): 1}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs: none given"),
        (["no.csv"], "there is no file .*no.csv"),
        (["no*.csv"], r"no file is named like .*no\*.csv"),
        (["empty"], "the folder .*empty holds no files"),
        (["m?xed"], r"(?s)read.me' in the folder .*mixed: unknown suffix"),
        (["store"], "store is a store, which was prepared already; name the tables"),
        (["store/*.parquet"], "no file is named like"),
        (["n" * 300 + ".csv"], "inputs: .* cannot be read: File name too long"),
        (["mixed"], r"(?s)read.me' in the folder .*mixed: unknown suffix.*pattern such as '.*mixed/\*.csv'"),
        (["one.csv", "in", "in/b.csv"], "b.csv is named twice"),
        (["zero.csv"], "zero.csv is empty"),
        (["header.csv"], "no lines below"),
        (["matrix.npz"], "is a matrix, not a table"),
        (["in", "columns.csv"], "columns.csv: no column 'u'; the columns are 'U', 'i'"),
        (["broken.parquet"], "broken.parquet cannot be read as Parquet"),
        (["cut.csv.gz"], "cut.csv.gz cannot be read: Compressed file ended before"),
        (["plain.csv.gz"], "plain.csv.gz cannot be read: Not a gzipped file"),
        (["quote.csv"], "quote.csv, line 1: a quote opens here and is never closed, in the header"),
    ],
)
def test_inputs_that_cannot_be_read(lines, inputs, message):
    (lines / "empty/_x").mkdir(parents=True)
    (lines / "mixed").mkdir()
    write_store(lines / "store", Interactions.from_matrix([[1.0]]))
    for name, content in {
        "mixed/read.me": b"-",
        "zero.csv": b"",
        "header.csv": b"u,i\n",
        "matrix.npz": b"-",
        "columns.csv": b"U,i\n1,2\n",
        "broken.parquet": b"PAR1-",
        "cut.csv.gz": gzip.compress(b"u,i\n" + os.urandom(5000).hex(",").encode())[:-2000],
        "plain.csv.gz": b"u,i\n",
        "quote.csv": b'"u,i\n1,2\n',
    }.items():
        (lines / name).write_bytes(content)
    before = sorted(lines.rglob("*"))
    with pytest.raises(InputError, match=message):
        prepared([lines / name for name in inputs], lines / "s")
    assert sorted(lines.rglob("*")) == before


def test_a_store_inside_its_input_is_no_input(lines):
    for _ in range(2):
        (lines / "in/b.csv").write_text("u,i\na,b\n,c\n")
        prepared(lines / "in", lines / "in/s", on_error="skip")
        assert ("a", "b") in cells_of(lines / "in/s")
        assert (lines / "in/s.rejects.csv").exists()


@LINKS
@pytest.mark.parametrize("inputs", [".", "*", "**", "**/*.*", "[!x]*"])
def test_what_a_run_makes_is_no_input_of_the_next(lines, monkeypatch, inputs):
    """Nor are other stores, hidden files, and links that lead in a circle."""
    for name in ("in/_SUCCESS", "in/_old/e.csv"):
        (lines / name).unlink()
    (lines / "in/_old").rmdir()
    (lines / "one.csv").write_text("u,i\none.csv,x\n,y\n")
    (lines / "in/around").symlink_to(lines)
    monkeypatch.chdir(lines)
    if inputs in ("**", "**/*.*"):  # as patterns, these follow links
        (lines / "in/around").unlink()
    write_store(lines / "other", Interactions.from_matrix([[1.0]]))
    for _ in range(2):
        result = prepared(inputs, "plays", on_error="skip")
        assert (result.lines, result.rejected) == (5, 1)
        assert (lines / "plays.rejects.csv").exists()


def test_file_systems_without_locks(lines, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    prepared(lines / "one.csv", lines / "s")
    assert cells_of(lines / "s") == {("one.csv", "x"): 1}


@pytest.mark.parametrize("limit", ["100MB", "0.5 GiB", 10**9, 10**25])
def test_sizes_of_memory(lines, limit):
    prepared(lines / "one.csv", lines / "s", memory_limit=limit)
    assert cells_of(lines / "s") == {("one.csv", "x"): 1}


def test_what_is_no_store_is_left_alone(lines):
    (lines / "s").mkdir()
    (lines / "s/mine").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a store; it was left alone"):
        prepared(lines / "no.csv", lines / "s")
    assert (lines / "s/mine").read_text() == "mine"


def test_a_store_is_replaced_at_the_end(lines):
    prepared(lines / "one.csv", lines / "s")
    (lines / "bad.csv").write_text("u,i\n,x\n")
    with pytest.raises(InputError):
        prepared(lines / "bad.csv", lines / "s")
    assert cells_of(lines / "s") == {("one.csv", "x"): 1}
    prepared(lines / "in/b.csv", lines / "s")
    assert cells_of(lines / "s") == {("in/b.csv", "x"): 1}


def test_two_at_once(lines):
    with working_folder(lines / "s"):
        with pytest.raises(InputError, match="another process prepares a store in"):
            prepared(lines / "one.csv", lines / "s")
        prepared(lines / "one.csv", lines / "other")
    prepared(lines / "one.csv", lines / "s")


def test_inputs_that_change_meanwhile_are_noticed(lines, monkeypatch):
    monkeypatch.setattr(preparing.LineLists, "fill", lambda *_: 0)
    with pytest.raises(InputError, match="1 lines were read where 0 were kept and 0 rejected: an input changed"):
        prepared(lines / "one.csv", lines / "s")
