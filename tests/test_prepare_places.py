"""Where `prepare` reads and writes: inputs by name, folder and pattern; one process at a time; whole or not at all."""

import errno
import gzip
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from prepared_files import cells_of, contents_of, prepared

from implicit_wmf.errors import InputError
from implicit_wmf.store import Store, preparing
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": None}, "user: None given; name the column"),
        ({"user": "i"}, "user and item both name column 'i'"),
        ({"value": 3}, "value: 3 given"),
        ({"min_user_count": 0}, "min_user_count must be a whole number of at least 1"),
        ({"min_item_count": 1.5}, "min_item_count must be"),
        ({"shards": 0}, "shards must be"),
        ({"num_threads": 0}, "num_threads must be"),
        ({"on_error": "ignore"}, "on_error must be one of 'refuse', 'skip'"),
        ({"memory_limit": "2 XB"}, "memory_limit must be a size such as '4GB'.* got '2 XB'"),
        ({"memory_limit": "5MB"}, "memory_limit is '5MB', which is too little; give at least 100MB"),
        ({"memory_limit": -1}, "memory_limit must be a size .* got -1"),
    ],
)
def test_arguments(lines, options, message):
    with pytest.raises(InputError, match=message):
        prepared(lines / "one.csv", lines / "s", **options)


@pytest.mark.parametrize("limit", ["100MB", "0.5 GiB", 10**9])
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


@pytest.mark.parametrize("step", ["gather_cells", "find_core", "shard_edges"])
def test_a_full_disk_leaves_nothing(lines, monkeypatch, step):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr(preparing, step, fail)
    before = sorted(lines.rglob("*"))
    with pytest.raises(InputError, match="preparing .*s failed: somewhere No space left on device; make room"):
        prepared(lines / "one.csv", lines / "s")
    assert sorted(lines.rglob("*")) == before


def test_inputs_that_change_meanwhile_are_noticed(lines, monkeypatch):
    monkeypatch.setattr(preparing.LineLists, "fill", lambda *_: 0)
    with pytest.raises(InputError, match="1 lines were read where 0 were kept and 0 rejected: an input changed"):
        prepared(lines / "one.csv", lines / "s")


def start(folder, *, lines=400_000):
    """Begin to prepare a file that takes some time."""
    path = folder / "big.csv"
    if not path.exists():
        generator = random.Random(0)
        rows = (
            f"{generator.randrange(5000)},{generator.randrange(900)},{generator.random():.3f}" for _ in range(lines)
        )
        path.write_text("u,i,v\n" + "\n".join(rows) + "\n")
    command = [sys.executable, "-m", "implicit_wmf", "prepare", "big.csv", "-o", "s", "--user", "u", "--item", "i"]
    return subprocess.Popen([*command, "--value", "v"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_work(process, folder):
    while process.poll() is None and not (folder / ".s.preparing").exists():
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
def test_killed_and_run_again(tmp_path):
    (tmp_path / "big.csv").write_text("u,i,v\n1,2,3\n")
    start(tmp_path).communicate()
    first = contents_of(tmp_path / "s")
    (tmp_path / "big.csv").unlink()
    generator = random.Random(1)
    outcomes = set()
    for _ in range(4):
        process = start(tmp_path)
        wait_for_work(process, tmp_path)
        time.sleep(generator.uniform(0, 1.5))
        process.kill()
        process.communicate()
        outcomes.add(contents_of(tmp_path / "s") == first)
        Store.open(tmp_path / "s").verify()
    assert True in outcomes
    output, _ = start(tmp_path).communicate()
    assert output.startswith(b"read 400,000 lines")
    prepared(tmp_path / "big.csv", tmp_path / "clean", value="v")
    assert contents_of(tmp_path / "s") == contents_of(tmp_path / "clean")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.csv", "clean", "s"]


def test_ctrl_c_leaves_nothing(tmp_path):
    process = start(tmp_path)
    wait_for_work(process, tmp_path)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["big.csv"]
