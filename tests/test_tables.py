from __future__ import annotations

import builtins
import csv
import datetime
import gzip
import os
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from implicit_wmf.errors import InputError, MissingExtraError
from implicit_wmf.interactions import Interactions
from implicit_wmf.persistence import check_can_save
from implicit_wmf.tables import match_ids, read_ids, read_interactions, read_table, write_table

TEXT = "user,item,n,when,note\n00123,7,2,2020-01-01,a\n124,-3,1.5,2020-01-02T03:00:00+01:00,\n00123,7,4,2020-02-01,NA\n"


def save(folder, text, name="in.csv"):
    path = folder / name
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["in.csv", "in.CSV", "in.tsv", "in.txt", "in.csv.gz", "in.tsv.gz"])
def test_text_formats(tmp_path, name):
    text = TEXT if "csv" in name.lower() else TEXT.replace(",", "\t")
    data = read_interactions(save(tmp_path, text, name), user="user", item="item", value="n", timestamp="when")
    assert list(data.users) == ["00123", "124"]
    assert data.items.dtype == np.int64
    assert list(data.items) == [-3, 7]
    assert data.matrix.toarray().tolist() == [[0, 6], [1.5, 0]]
    assert data.timestamps.astype("M8[s]").astype(str).tolist() == ["2020-02-01T00:00:00", "2020-01-02T02:00:00"]


def test_parquet_keeps_its_types(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "in.parquet"
    write_table(pd.DataFrame({"u": ["00123", "9"], "i": [5, 4], "v": [1, 2], "x": [None, "y"]}), path)
    data = read_interactions(path, user="u", item="i", value="v")
    assert (list(data.users), list(data.items)) == (["00123", "9"], [4, 5])
    assert data.matrix.toarray().tolist() == [[0, 1], [2, 0]]
    assert list(read_table(path, ["v", "u"]).columns) == ["v", "u"]
    with pytest.raises(InputError, match="no column 'w'; the columns are 'u', 'i', 'v', 'x'"):
        read_table(path, ["w"])


def write_parquet(path, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


DAYS = [datetime.date(2020, 1, 1), datetime.date(2020, 3, 1)]


@pytest.mark.parametrize("kind", ["date32", "date64", "iso", "category"])
def test_parquet_dates_and_decimals_and_text(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    if kind.startswith("date"):
        times = pyarrow.array(DAYS, type=getattr(pyarrow, kind)())
    else:
        times = pyarrow.array(list(map(str, DAYS)))
        times = times.dictionary_encode() if kind == "category" else times
    values = [Decimal("1.50"), Decimal("2.25")] if kind == "date32" else ["1.50", "2.25"]
    path = write_parquet(tmp_path / "in.parquet", u=times, i=["x", "x"], v=values, t=times)
    data = read_interactions(path, user="u", item="i", value="v", timestamp="t")
    assert data.matrix.toarray().tolist() == [[1.5], [2.25]]
    assert data.timestamps.astype("M8[D]").tolist() == DAYS
    if kind.startswith("date"):
        assert data.users.to_numpy().astype("M8[D]").tolist() == DAYS
    check_can_save(tmp_path / "model", data)


def test_numeric_text_timestamps_are_numbers_in_parquet_as_in_csv(tmp_path):
    path = write_parquet(tmp_path / "in.parquet", u=["a", "a"], i=["x", "x"], t=["20200101", "5.5"])
    assert read_interactions(path, user="u", item="i", timestamp="t").timestamps.tolist() == [20200101]


def test_arrow_tables_hold_dates_and_decimals():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"u": [Decimal(7), Decimal(5)], "i": DAYS, "v": [Decimal("1.5"), Decimal("2.5")], "t": DAYS})
    data = Interactions.from_frame(table, user="u", item="i", value="v", timestamp="t")
    assert data.users.tolist() == [5, 7]
    assert data.items.to_numpy().astype("M8[D]").tolist() == DAYS
    assert data.matrix.toarray().tolist() == [[0, 2.5], [1.5, 0]]
    assert data.timestamps.astype("M8[D]").tolist() == DAYS[::-1]


def test_parquet_decimal_ids(tmp_path):
    big = 2**53 + 1
    path = write_parquet(
        tmp_path / "in.parquet", u=[Decimal(big), Decimal(big - 1)], i=[Decimal("1.5"), Decimal("2.0")]
    )
    data = read_interactions(path, user="u", item="i")
    assert data.users.dtype == np.int64
    assert data.users.tolist() == [big - 1, big]
    assert data.items.tolist() == [Decimal("1.5"), Decimal("2.0")]  # left as they are: no float merges them


def test_parquet_columns_of_the_wrong_kind(tmp_path):
    path = write_parquet(tmp_path / "in.parquet", u=["a", "b"], v=["1", "two"], t=["2020-01-01", "soon"], d=DAYS)
    for options, message in (
        ({"value": "v"}, r"value column 'v': 'two' at row 1 of .*in\.parquet is not a number"),
        ({"timestamp": "t"}, r"timestamp column 't': 'soon' at row 1 of .*in\.parquet is neither a number nor"),
        ({"value": "d"}, "value column 'd': .* is not a real number"),
    ):
        with pytest.raises(InputError, match=message):
            read_interactions(path, user="u", item="v", **options)


def test_fields_of_any_length(tmp_path):
    long = "y" * 200_000
    limit = csv.field_size_limit()
    path = save(tmp_path, f"u,i,n\na,{long},1\nb,x,two\n")
    with pytest.raises(InputError, match="'two' at line 3"):
        read_interactions(path, user="u", item="i", value="n")
    assert read_table(path, ["i"])["i"].tolist() == [long, "x"]
    assert read_table(save(tmp_path, f"u,{long}\na,1\n"), ["u"])["u"].tolist() == ["a"]
    assert csv.field_size_limit() == limit


def test_parquet_places_are_rows(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "in.parquet"
    write_table(pd.DataFrame({"u": ["a", None], "i": [5, 4]}), path)
    with pytest.raises(InputError, match=r"the id at row 1 of .*in\.parquet is missing"):
        read_interactions(path, user="u", item="i")


@pytest.mark.parametrize(
    "ids",
    [["NA", "null", "None", "nan"], ["1", "x"], ["1.0", "2"], ["+1", "2"], [" 1", "2"], ["-0", "1"], ["1_0", "2"],
     ["9223372036854775808", "1"], ["٣", "1"], ["x" * 500, "1"], ["True", "False"], ["1e5", "2"]],
)  # fmt: skip
def test_text_ids_are_kept_letter_by_letter(tmp_path, ids):
    path = save(tmp_path, "u,i\n" + "".join(f"{one},{k}\n" for k, one in enumerate(ids)))
    assert read_table(path, ["u"])["u"].tolist() == ids
    data = read_interactions(path, user="u", item="i")
    assert list(data.users) == sorted(ids)
    assert data.user_indices(ids).tolist() == [sorted(ids).index(one) for one in ids]


def test_exact_integers_become_integers(tmp_path):
    ids = [-(2**63), 2**63 - 1, 0, -7]
    column = read_table(save(tmp_path, "u,i\n" + "".join(f"{one},1\n" for one in ids)), ["u"])["u"]
    assert column.dtype == np.int64
    assert column.tolist() == ids


def test_given_text_ids_keep_the_file_text(tmp_path):
    path = save(tmp_path, "u,i\n124,5\n")
    data = read_interactions(path, user="u", item="i", users=["00123", "124"], items=[5, 6])
    assert data.matrix.toarray().tolist() == [[0, 0], [1, 0]]
    assert match_ids(pd.Series([124]), pd.Index(["00123"])).tolist() == ["124"]
    assert match_ids(pd.Series([124]), pd.Index([124])).tolist() == [124]
    assert match_ids(pd.Series([124]), None).tolist() == [124]


def test_given_ids_that_are_none_are_refused_by_argument(tmp_path):
    path = save(tmp_path, "u,i\n124,5\n")
    for name, ids, message in (("users", "abc", "met 'abc'"), ("items", [5, 5], "the id 5 at position 1 was given")):
        with pytest.raises(InputError, match=f"{name}: .*{message}"):
            read_interactions(path, user="u", item="i", **{name: ids})


def test_the_longest_integer_ids_among_text(tmp_path):
    largest = 2**64 - 1
    data = pd.Index(np.array([3, largest], dtype=np.uint64))
    known, unknown = read_ids(save(tmp_path, f"u\n{largest}\n{largest}0\n-0\n-\n+3\n"), "u", data)
    assert (known.tolist(), unknown.tolist()) == ([largest], [f"{largest}0", "-0", "-", "+3"])


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_given_integer_ids_take_the_integers_among_text(tmp_path, dtype):
    texts = ["124", "x", "00123", "-5", "124", "1.0", "٣", "9" * 5000, None]
    matched = match_ids(pd.Series(texts, dtype=dtype, index=range(5, 14)), [124, -5, 123])
    assert matched.tolist() == [124, "x", "00123", -5, 124, "1.0", "٣", "9" * 5000, None]
    assert matched.index.tolist() == list(range(5, 14))
    known, unknown = read_ids(save(tmp_path, "u\nx\n124\n007\n124\n7\n"), "u", pd.Index([7, 124]))
    assert (known.tolist(), unknown.tolist()) == ([124, 7], ["x", "007"])
    assert [type(one) for one in known] == [int, int]


def test_read_ids_matches_integers_to_text_and_names_a_missing_one(tmp_path):
    known, unknown = read_ids(save(tmp_path, "u,n\n5,1\n124,2\n5,3\n"), "u", pd.Index(["00123", "124"]))
    assert (known.tolist(), unknown.tolist()) == (["124"], ["5"])
    for text, line in (("u,n\na,1\n,2\n", 3), ('u\na\n\n""\nb\n', 4)):
        with pytest.raises(InputError, match=rf"column 'u': the id at line {line} of .*in\.csv is missing"):
            read_ids(save(tmp_path, text), "u", pd.Index(["a"]))


def test_columns_outside_ids_are_inferred_and_order_is_the_callers(tmp_path):
    frame = read_table(save(tmp_path, TEXT), ["n", "user"], ids=["user"])
    assert list(frame.columns) == ["n", "user"]
    assert frame["n"].tolist() == [2, 1.5, 4]
    assert frame["user"].tolist() == ["00123", "124", "00123"]


def test_quotes_blank_lines_and_byte_order_marks(tmp_path):
    text = '\ufeffu,i,v\r\n"a,\nb",x,1\r\n\r\n   \r\nc,"y",oops\r\n'
    path = save(tmp_path, text)
    assert read_table(path, ["u"])["u"].tolist() == ["a,\nb", "c"]
    with pytest.raises(InputError, match=r"value column 'v': 'oops' at line 6 of .*in\.csv is not a number"):
        read_interactions(path, user="u", item="i", value="v")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("u,i\na,1\n,2\n", {}, "user column 'u': the id at line 3 of .* is missing"),
        ("u,i\na,1\nb\n", {}, "item column 'i': the id at line 3 of .* is missing"),
        ("u,i\na,1\nb,2,3\n", {}, "in.csv, line 3: more fields than the 2 of the header"),
        ("u,i\na,1,9\nb,2,3\n", {}, "in.csv, line 2: more fields than the 2"),
        ('u,i\na,1\n"b,2\nc,3\n', {}, "in.csv, line 3: a quote opens here and is never closed; close it"),
        ("u,i,v\na,1,NA\n", {"value": "v"}, "value column 'v': 'NA' at line 2 of .* is not a number"),
        ("u,i,v\na,1,\n", {"value": "v"}, "value column 'v': the value at line 2 of .* is missing"),
        ("u,i,v\na,1,1\nb,1,inf\n", {"value": "v"}, "value column 'v': inf at line 3 of"),
        ("u,i,t\na,1,2020-01-01\nb,1,soon\n", {"timestamp": "t"}, "timestamp column 't': 'soon' at line 3 .* ISO 8601"),
        (
            "u,i,t\na,1,2020-01-01\nb,1,\n",
            {"timestamp": "t"},
            "timestamp column 't': the timestamp at line 3 .*missing",
        ),
        ("u,i,rating\na,1,1\n", {"value": "ratings"}, "no column 'ratings'; the columns are .*did you mean 'rating'"),
        ("u,i,u\na,1,1\n", {}, "2 columns are named 'u'"),
        ("u,i\n", {}, "has no lines below its header"),
        ("", {}, "in.csv is empty"),
        ("\n\n", {}, "in.csv is empty"),
        (b"u,i\na,1\n\xff\xfe,2\n", {}, "in.csv, line 3: not UTF-8 .*save it as UTF-8"),
        ("u,i\na,1\n", {"user": None}, "^name the column of user ids in .*in.csv with option --user"),
        ("u,i\na,1\n", {"item": None}, "^name the column of item ids in .*in.csv with option --item"),
        ("u,i\na,1\n", {"item": "u"}, "--user and --item both name column 'u' of .*in.csv"),
        ('u,i\n"a\nb",1\n\n\n"c\n,2\nd,3\n', {}, "in.csv, line 6: a quote opens here"),
        ('u,i\na,1\n"b' + 50_000 * "word\n", {}, "in.csv, line 3: a quote opens here"),
        ('u,"i\na,1\nb,2\n', {}, "no column 'i'; .*; a quote in the header may not be closed"),
        ("u;i\na;1\n", {}, "no column 'u'; the columns are 'u;i'; the fields seem to be separated by ';'"),
        ("u\ti\na\t1\n", {}, "no column 'u'; .* seem to be separated by '.t': a .csv has commas, a .tsv tabs"),
        ("user,i\na,1\n", {}, r"no column 'u'; the columns are 'user', 'i'$"),
        ('u,i,v\n"a\nb",1,1\n"c\n\nd",2,x\ne,3,4\n', {"value": "v"}, "'x' at line 4 of"),
        ("u,i\na,1\n", {"aggregate": "mean"}, "aggregate: 'mean' is unknown"),
    ],
)
def test_bad_text_is_refused(tmp_path, text, options, message):
    with pytest.raises(InputError, match=message):
        read_interactions(save(tmp_path, text), **({"user": "u", "item": "i"} | options))


def test_numeric_timestamps_stay_numbers(tmp_path):
    data = read_interactions(save(tmp_path, "u,i,t\na,1,20200101\na,1,5\n"), user="u", item="i", timestamp="t")
    assert data.timestamps.tolist() == [20200101]


def test_bad_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="^there is no file .*none.csv"):
        read_interactions(tmp_path / "none.csv", user="u", item="i")
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))} is a folder; name a file"):
        read_table(tmp_path, ["u"])
    with pytest.raises(InputError, match=r"'in.xlsx' has an unknown suffix; known are .csv, .tsv, .txt, .csv.gz"):
        read_table(save(tmp_path, "u\n", "in.xlsx"), ["u"])
    (tmp_path / "fake.csv.gz").write_text("u,i\n1,2\n")
    with pytest.raises(InputError, match="fake.csv.gz cannot be read"):
        read_table(tmp_path / "fake.csv.gz", ["u"])
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"u,i\n" + b"1,2\n" * 9)[:-9])
    with pytest.raises(InputError, match="cut.csv.gz cannot be read"):
        read_table(cut, ["u"])


def test_parquet_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_table(save(tmp_path, "u,i\n", "in.parquet"), ["u"])


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia"])
def test_npz(tmp_path, layout):
    dense = np.array([[0, 2.0], [3.0, 0], [0, 0]])
    sparse.save_npz(tmp_path / "in.npz", sparse.coo_array(dense).asformat(layout))
    assert read_interactions(tmp_path / "in.npz").matrix.toarray().tolist() == dense.tolist()
    with pytest.raises(InputError, match=r"in\.npz is a matrix, without columns or lines; leave out option --value"):
        read_interactions(tmp_path / "in.npz", value="v")
    with pytest.raises(InputError, match=r"^in\.npz is a matrix, not a table"):
        read_table(tmp_path / "in.npz", ["u"])


def test_foreign_npz_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    np.savez(tmp_path / "objects.npz", format=np.array([{}], dtype=object), allow_pickle=True)
    save(tmp_path, "no zip", "text.npz")
    for name in ("other", "objects", "text"):
        with pytest.raises(InputError, match=f"{name}.npz is not a matrix written by .*save_npz, or it is damaged$"):
            read_interactions(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_written_tables_read_back(tmp_path, suffix):
    frame = pd.DataFrame(
        {"user": ["a,b", 'q"\n', "é\t"], "rank": [1, 2, 3], "score": [0.1, -2.5, 1e-9]}, index=[9, 9, 9]
    )
    path = tmp_path / f"out{suffix}"
    path.write_text("old")
    write_table(frame, str(path))
    back = read_table(path, list(frame.columns), ids=["user"])
    assert back.to_dict("list") == frame.to_dict("list")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(self, file, **options):
        file.write("half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(InputError, match="out.csv cannot be written: disk full"):
        write_table(pd.DataFrame({"a": [1]}), path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]


def test_bad_targets_are_refused(tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(InputError, match="'out.xls' has an unknown suffix; tables are written as .csv, .tsv, .parquet"):
        write_table(frame, tmp_path / "out.xls")
    with pytest.raises(InputError, match="there is no folder .*none for out.csv"):
        write_table(frame, tmp_path / "none" / "out.csv")
    with pytest.raises(InputError, match="is a folder; name a file"):
        write_table(frame, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(InputError, match=r"the folder of .*out\.csv may not be written to"):
            write_table(frame, tmp_path / "out.csv")
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="^Parquet cannot hold this table"):
        write_table(pd.DataFrame({"a": [1, "x"]}), tmp_path / "out.parquet")


def test_missing_pyarrow_is_named(tmp_path, monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return original(name, *arguments, **options)

    path = save(tmp_path, "x", "in.parquet")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"Reading Parquet files needs pyarrow.*implicit_wmf\[parquet\]"):
        read_table(path, ["u"])
    with pytest.raises(MissingExtraError, match="Writing Parquet files needs pyarrow"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "out.parquet")
