"""The prepare command, and info of a store."""

import re

import pytest
from prepared_files import cells_of, contents_of

from implicit_wmf.store import Store

COLUMNS = ("--user", "u", "--item", "i")


def test_prepare_and_info(run, tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.csv").write_text(f"u,i,v,t\nb,x{number},2,2020-01-0{number + 1}\na,x0,1,2020-01-01\n")
    options = (*COLUMNS, "--value", "v", "--timestamp", "t", "--memory-limit", "1GB", "--shards", 2)
    code, out, err = run("prepare", "*.csv", "-o", "s", *options)
    assert (code, err) == (0, "")
    assert out.startswith("read 14 lines: 8 pairs of 2 users and 7 items, in 2 shards\nwrote s in ")
    assert re.search(r" s \([\d,]+ lines a second, memory limit 1GB\)\n$", out)
    assert cells_of("s") == {("b", f"x{number}"): 2 for number in range(7)} | {("a", "x0"): 7}
    code, out, err = run("info", "s")
    assert (code, err) == (0, "")
    assert "s: Store(2 users x 7 items, 8 pairs, 2 shards)\n" in out
    assert "  lines = 14\n" in out
    assert f"  inputs = {tmp_path / '0.csv'}, " in out
    assert "4.csv, and 2 more\n" in out
    assert "  columns = user = u, item = i, value = v, timestamp = t\n" in out


def test_minimum_counts(run, tmp_path):
    (tmp_path / "in.csv").write_text("u,i\na,x\na,y\nb,x\nb,y\nc,x\nc,c\n")
    code, out, _ = run("prepare", "in.csv", "-o", "s", *COLUMNS, "--min-user-count", 2, "--min-item-count", 2, "-q")
    assert (code, "4 pairs of 2 users and 2 items, in 1 shard\n" in out) == (0, True)
    assert set(cells_of("s")) == {("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")}


def test_wrong_lines(run, tmp_path):
    (tmp_path / "in.csv").write_text("u,i\na,x\n,y\na\n")
    code, out, err = run("prepare", "in.csv", "-o", "s", *COLUMNS)
    assert (code, out) == (1, "")
    assert err.startswith("error: 2 lines cannot be used:\n")
    assert f"  {tmp_path}/in.csv, line 3: the user id is missing: ',y'\n" in err
    code, out, err = run("prepare", "in.csv", "-o", "s", *COLUMNS, "--on-error", "skip")
    assert (code, err) == (0, "")
    assert f"skipped 2 lines, which {tmp_path}/s.rejects.csv has with their reasons\n" in out
    code, _, err = run("prepare", "in.csv", "-o", "s", *COLUMNS, "--on-error", "skip", "--rejects", "in.csv")
    assert (code, "in.csv exists and is not a file of rejects" in err) == (1, True)
    assert run("prepare", "in.csv", "-o", "t", *COLUMNS, "--on-error", "skip", "--rejects", "r.csv")[0] == 0
    assert (tmp_path / "r.csv").read_text() == (tmp_path / "s.rejects.csv").read_text()


def test_a_store_of_the_same_lines_is_the_same(run, tmp_path):
    (tmp_path / "in.csv").write_text("u,i\na,x\nb,y\n")
    for name in "st":
        assert run("prepare", "in.csv", "-o", name, *COLUMNS, "-q")[0] == 0
    assert contents_of(tmp_path / "s") == contents_of(tmp_path / "t")
    Store.open(tmp_path / "s").verify()


@pytest.mark.parametrize("missing", ["--user", "--item", "--output"])
def test_required_options(run, missing):
    options = dict(zip(["--user", "--item", "--output"], "uis", strict=True))
    del options[missing]
    code, _, err = run("prepare", "in.csv", *(word for pair in options.items() for word in pair))
    assert (code, f"Missing option '{missing}'" in err) == (2, True)
