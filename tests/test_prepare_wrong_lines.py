"""Lines that cannot be used: refused with their places, or kept in a file of their own; none is dropped in silence."""

import gzip
import os

import numpy as np
import pytest
from prepared_files import cells_of, prepared, rejected_of
from systems import needs_posix

from implicit_wmf.errors import InputError
from implicit_wmf.store import Store, records
from implicit_wmf.store.writing import StoreWriter

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

WRONG = (
    b'u,i,v,t\na,"two\nlines",1,2020-01-01\n\n,x,1,2020-01-01\na,,1,2020-01-01\na,x,,2020-01-01\n\r\na,x,one,2020-01-01\n'
    b"a,x,nan,2020-01-01\na,x,-inf,2020-01-01\na,x,1e39,2020-01-01\na,x,1,\na,x,1,soon\na,x,1\na,x,1,2020-01-01,\n"
    b'a,\xff,1,2020-01-01\n"a,x,1,2020-01-01\nb,x,5,2020-01-02\n\0,x,1,2020-01-01\n'
)
REASONS = {
    5: ("the user id is missing", ",x,1,2020-01-01"),
    6: ("the item id is missing", "a,,1,2020-01-01"),
    7: ("the value is missing", "a,x,,2020-01-01"),
    9: ("the value is not a number", "a,x,one,2020-01-01"),
    10: ("the value is not finite", "a,x,nan,2020-01-01"),
    11: ("the value is not finite", "a,x,-inf,2020-01-01"),
    12: ("the value does not fit float32", "a,x,1e39,2020-01-01"),
    13: ("the time is missing", "a,x,1,"),
    14: ("the time is not of the kind of the others: numbers, or ISO 8601 such as 2011-12-09T12:50:00", "a,x,1,soon"),
    15: ("3 fields where the header has 4", "a,x,1"),
    16: ("5 fields where the header has 4", "a,x,1,2020-01-01,"),
    17: ("not UTF-8", r"a,\xff,1,2020-01-01"),
    18: ("a quote opens here and is never closed", '"a,x,1,2020-01-01'),
    20: ("a NUL byte", "\0,x,1,2020-01-01"),
}
COLUMNS = {"value": "v", "timestamp": "t"}


@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz"])
def test_every_kind_of_wrong_line_is_kept(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(WRONG) if name.endswith("gz") else WRONG)
    result = prepared(path, tmp_path / "s", on_error="skip", **COLUMNS)
    assert cells_of(tmp_path / "s") == {("a", "two\nlines"): 1, ("b", "x"): 5}
    assert (result.lines, result.rejected) == (2 + len(REASONS), len(REASONS))
    _, lines = rejected_of(tmp_path / "s.rejects.csv")
    assert lines == [[str(path), str(line), *told] for line, told in REASONS.items()]


def test_the_first_wrong_lines_are_named(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(WRONG)
    with pytest.raises(InputError) as error:
        prepared(path, tmp_path / "s", **COLUMNS)
    told = str(error.value).split("\n")
    assert told[0] == "14 lines cannot be used:"
    assert told[1:6] == [
        f"  {path}, line {line}: {reason}: {text!r}" for line, (reason, text) in list(REASONS.items())[:5]
    ]
    assert told[6] == "  and 9 more"
    assert "  2: the value is not finite" in told
    assert "--on-error skip" in told[-1]
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]


def test_wrong_lines_of_plain_files_are_found_again(tmp_path):
    """DuckDB reads these files; their lines are numbered by reading them once more."""
    for name, end in (("a.csv", "\n"), ("b.csv", "\r\n")):
        lines = ["u,i,v", 'a,"x, y",1', '"q""\r\nr",,2' if end == "\r\n" else '"q""\nr",,2', "b,x,bad", "c,x,3"]
        (tmp_path / name).write_bytes(end.join(lines).encode())
    (tmp_path / "c.csv").write_text("v,u,i\n1,a,x\n")
    prepared([tmp_path / f"{name}.csv" for name in "abc"], tmp_path / "s", value="v", on_error="skip")
    assert cells_of(tmp_path / "s") == {("a", "x, y"): 2, ("c", "x"): 6, ("a", "x"): 1}
    _, lines = rejected_of(tmp_path / "s.rejects.csv")
    assert [(one[0][-5:], *one[1:]) for one in lines] == [
        ("a.csv", "3", "the item id is missing", '"q""\nr",,2'),
        ("a.csv", "5", "the value is not a number", "b,x,bad"),
        ("b.csv", "3", "the item id is missing", '"q""\r\nr",,2'),
        ("b.csv", "5", "the value is not a number", "b,x,bad"),
    ]


def test_rows_of_parquet_count_from_0(tmp_path):
    columns = {
        "u": pyarrow.array([1, None, 3, 4, 5, 6], pyarrow.int64()),
        "i": ["x", "x", None, "x", "x", "y, z"],
        "v": [1.0, 1.0, 1.0, float("nan"), None, 2.0],
    }
    for name in ("a", "b"):
        parquet.write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet", row_group_size=2)
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(InputError, match=r"(?s)8 lines cannot be used:\n  .*a\.parquet, row 1: the user id is missing"):
        prepared(files, tmp_path / "s", value="v")
    result = prepared(files, tmp_path / "s", value="v", on_error="skip", rejects=tmp_path / "r.csv")
    assert cells_of(tmp_path / "s") == {(1, "x"): 2, (6, "y, z"): 4}
    assert (result.lines, result.rejected, result.rejects) == (12, 8, tmp_path / "r.csv")
    _, lines = rejected_of(tmp_path / "r.csv")
    assert lines[:4] == [
        [str(files[0]), "1", "the user id is missing", ",x,1.0"],
        [str(files[0]), "2", "the item id is missing", "3,,1.0"],
        [str(files[0]), "3", "the value is not finite", "4,x,nan"],
        [str(files[0]), "4", "the value is missing", "5,x,"],
    ]
    assert [one[1] for one in lines[4:]] == ["1", "2", "3", "4"]


def test_a_header_among_the_lines_leaves_ids_whole(tmp_path):
    (tmp_path / "in.csv").write_text("u,i,v\n1,2,3\nu,i,v\n4,5,6\n")
    prepared(tmp_path / "in.csv", tmp_path / "s", value="v", on_error="skip")
    assert cells_of(tmp_path / "s") == {(1, 2): 3, (4, 5): 6}


@pytest.mark.parametrize(
    ("times", "wrong"), [(["7", "8", "2020-01-01"], ["4"]), (["2020-01-01", "2020-01-02", "7", "x"], ["4", "5"])]
)
def test_times_of_the_rarer_kind_are_wrong(tmp_path, times, wrong):
    (tmp_path / "in.csv").write_text("u,i,t\n" + "".join(f"1,2,{one}\n" for one in times))
    prepared(tmp_path / "in.csv", tmp_path / "s", timestamp="t", on_error="skip")
    assert [one[1] for one in rejected_of(tmp_path / "s.rejects.csv")[1]] == wrong


def test_an_open_quote_is_not_followed_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_LONGEST_RECORD", 40)
    (tmp_path / "in.csv").write_text("u,i\n" + "a,b\n" * 3 + '"c,d\n' + "e,f\n" * 20 + 'g,"h\ni"\n')
    result = prepared(tmp_path / "in.csv", tmp_path / "s", on_error="skip")
    assert cells_of(tmp_path / "s") == {("a", "b"): 3, ("e", "f"): 20, ("g", "h\ni"): 1}
    assert (result.rejected, rejected_of(result.rejects)[0]) == (1, [(5, '"c,d')])


def test_nothing_is_left(tmp_path):
    (tmp_path / "in.csv").write_text("u,i\na,\n,b\n")
    for on_error in ("skip", "refuse"):
        with pytest.raises(InputError) as error:
            prepared(tmp_path / "in.csv", tmp_path / "s", on_error=on_error)
        assert str(error.value).split("\n") == [
            "none of the lines can be used, of 2:",
            f"  {tmp_path}/in.csv, line 2: the item id is missing: 'a,'",
            f"  {tmp_path}/in.csv, line 3: the user id is missing: ',b'",
            "how many, and why:",
            "  1: the user id is missing",
            "  1: the item id is missing",
            "are the columns the right ones?",
        ]
        assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]


def test_rejects_of_former_runs_are_replaced_and_removed(tmp_path):
    path, rejects = tmp_path / "in.csv", tmp_path / "s.rejects.csv"
    path.write_text("u,i\na,b\n,c\n,d\n")
    prepared(path, tmp_path / "s", on_error="skip")
    path.write_text("u,i\na,b\nc,\n")
    prepared(path, tmp_path / "s", on_error="skip")
    assert rejected_of(rejects)[0] == [(3, "c,")]
    path.write_text("u,i\na,b\n")
    assert prepared(path, tmp_path / "s", on_error="skip").rejects is None
    assert not rejects.exists()


@needs_posix("has no pipes among its files")
def test_other_files_are_not_replaced_by_rejects(tmp_path):
    (tmp_path / "in.csv").write_text("u,i\na,b\n")
    (tmp_path / "mine.csv").write_text("my,own\n")
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for rejects, message in (
        ("mine.csv", "mine.csv exists and is not a file of rejects"),
        ("in", "is a folder"),
        ("no/r.csv", "there is no folder .*no for r.csv"),
        ("s", "s would be in the place of the store .*s; name a file outside it"),
        ("s/r.csv", "r.csv would be in the place of the store"),
        ("", "would be in the place of the store"),
        ("pipe", "pipe exists and is not a file of rejects"),
    ):
        with pytest.raises(InputError, match=f"rejects: .*{message}"):
            prepared(tmp_path / "in.csv", tmp_path / "s", on_error="skip", rejects=tmp_path / rejects)
    with pytest.raises(InputError, match="rejects: no effect unless on_error is 'skip'"):
        prepared(tmp_path / "in.csv", tmp_path / "s", rejects=tmp_path / "r.csv")
    assert (tmp_path / "mine.csv").read_text() == "my,own\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "in.csv", "mine.csv", "pipe"]


def test_what_is_beside_the_store_matters_to_rejects_alone(tmp_path):
    (tmp_path / "in.csv").write_text("u,i\na,b\n,c\n")
    (tmp_path / "s.rejects.csv").write_text("my,own\n")
    with pytest.raises(InputError, match="1 line cannot be used"):
        prepared(tmp_path / "in.csv", tmp_path / "s")
    with pytest.raises(InputError, match=r"s.rejects.csv exists and is not a file of rejects"):
        prepared(tmp_path / "in.csv", tmp_path / "s", on_error="skip")
    result = prepared(tmp_path / "in.csv", tmp_path / "new" / "s", on_error="skip")
    assert rejected_of(result.rejects)[0] == [(3, ",c")]
    assert sorted(one.name for one in (tmp_path / "new").iterdir()) == ["s", "s.rejects.csv"]


def test_rejects_appear_with_the_store(tmp_path, monkeypatch):
    """A former store keeps the rejects of its own lines."""
    path = tmp_path / "in.csv"
    path.write_text("u,i\na,b\n,c\n")
    prepared(path, tmp_path / "s", on_error="skip")
    before = {one.name: one.stat().st_ino for one in tmp_path.iterdir()}
    path.write_text("u,i\na,b\nc,\n")

    def fail(writer):
        assert (tmp_path / ".s.rejects.csv.tmp").read_text().endswith('"c,"\n')
        raise OSError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "finish", fail)
        with pytest.raises(InputError, match="no more"):
            prepared(path, tmp_path / "s", on_error="skip")
    assert {one.name: one.stat().st_ino for one in tmp_path.iterdir()} == before
    prepared(path, tmp_path / "s", on_error="skip")
    assert rejected_of(tmp_path / "s.rejects.csv")[0] == [(3, "c,")]


def test_fractions_among_floating_ids_are_wrong(tmp_path):
    users = [1.0, 2.5, None, float("nan"), float("inf"), -7.0, 2.0**70]
    columns = {"file_row_number": users, "i": [1.5, *[2.0] * 6]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet", row_group_size=2)
    names = {"user": "file_row_number", "on_error": "skip"}
    prepared(tmp_path / "in.parquet", tmp_path / "s", **names)
    assert Store.open(tmp_path / "s").users.dtype == np.int64
    assert cells_of(tmp_path / "s") == {(-7, 2): 1}
    assert [one[1:3] for one in rejected_of(tmp_path / "s.rejects.csv")[1]] == [
        ["0", "the item id is no whole number"],
        ["1", "the user id is no whole number"],
        ["2", "the user id is missing"],
        ["3", "the user id is missing"],
        ["4", "the user id is no whole number"],
        ["6", "the user id is no whole number"],
    ]


def test_rows_of_a_large_file_are_found(tmp_path):
    rows = np.arange(1_000_000)
    users = pyarrow.array(rows, mask=rows % 99_991 == 5)
    parquet.write_table(pyarrow.table({"u": users, "i": rows}), tmp_path / "in.parquet", row_group_size=50_000)
    prepared(tmp_path / "in.parquet", tmp_path / "s", on_error="skip", num_threads=4)
    lines = rejected_of(tmp_path / "s.rejects.csv")[0]
    assert lines == [(int(row), f",{row}") for row in rows[rows % 99_991 == 5]]
