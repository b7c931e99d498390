from __future__ import annotations

import datetime as dt
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from lines_and_cells import HOW, LINES, cells, reference
from scipy import sparse

from implicit_wmf.errors import InputError, MissingExtraError
from implicit_wmf.interactions import Interactions


@given(LINES, HOW)
def test_frame_agrees_with_dictionaries(lines, how):
    frame = pd.DataFrame(lines, columns=["u", "i", "v", "t"])
    data = Interactions.from_frame(frame, user="u", item="i", value="v", timestamp="t", aggregate=how)
    assert cells(data) == reference(lines, how)
    assert list(data.users) == sorted({line[0] for line in lines})
    assert list(data.items) == sorted({line[1] for line in lines})


@given(LINES, HOW)
def test_frame_without_timestamps_takes_the_later_line_for_last(lines, how):
    frame = pd.DataFrame(lines, columns=["u", "i", "v", "t"])
    data = Interactions.from_frame(frame, user="u", item="i", value="v", aggregate=how)
    expected = {pair: (value, None) for pair, (value, _) in reference(lines, how, timed=False).items()}
    assert cells(data) == expected


IDS = {
    "int": [3, 1, 3],
    "text": ["b", "a", "b"],
    "mixed": ["1", 1, "1"],
    "tuples": [(2, "x"), (1, "y"), (2, "x")],
    "ragged tuples": [(2, "x"), (1,), (2, "x")],
    "dates": [pd.Timestamp("2020-02-01"), pd.Timestamp("2020-01-01"), pd.Timestamp("2020-02-01")],
    "plain dates": [dt.date(2020, 2, 1), dt.date(2020, 1, 1), dt.date(2020, 2, 1)],
    "float": [1.5, -2.0, 1.5],
    "huge": [2**70, 1, 2**70],
    "bytes": [b"b", b"a", b"b"],
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_any_kind(kind):
    ids = IDS[kind]
    data = Interactions.from_frame(pd.DataFrame({"u": pd.Series(ids), "i": [0, 0, 0]}), user="u", item="i")
    assert list(data.users) == (ids[:2] if kind == "mixed" else [ids[1], ids[0]])
    assert dict(zip(data.users, data.matrix.toarray()[:, 0], strict=True)) == {ids[0]: 2, ids[1]: 1}
    for one in ids[:2]:
        assert data.user_indices(one).tolist() == [list(data.users).index(one)]
    assert data.user_indices(ids).tolist() == [list(data.users).index(one) for one in ids]


@pytest.mark.parametrize("dtype", ["Int64", "string", "category", "uint8", "UInt32"])
def test_ids_of_extension_dtypes(dtype):
    column = pd.Series(["3", "1", "3"] if dtype == "string" else [3, 1, 3]).astype(dtype)
    data = Interactions.from_frame(pd.DataFrame({"u": column, "i": [0, 0, 1]}), user="u", item="i")
    assert list(data.users) == sorted(set(column))
    assert data.matrix.toarray().tolist() == [[1, 0], [1, 1]]


def test_unused_categories_are_not_users():
    column = pd.Categorical(["c", "a"], categories=["c", "b", "a"])
    data = Interactions.from_frame(pd.DataFrame({"u": column, "i": [0, 1]}), user="u", item="i")
    assert list(data.users) == ["a", "c"]
    assert data.matrix.toarray().tolist() == [[0, 1], [1, 0]]


def test_missing_category_is_refused():
    column = pd.Categorical(["c", None, "c"])
    with pytest.raises(InputError, match="user column 'u': the id at line 1 is missing"):
        Interactions.from_frame(pd.DataFrame({"u": column, "i": [0, 1, 2]}), user="u", item="i")


def test_line_order_does_not_matter_and_the_index_of_the_frame_is_ignored():
    frame = pd.DataFrame({"u": list("bca"), "i": [2, 0, 1], "v": [1.0, 2.0, 3.0]}, index=[7, 7, 7])
    one = Interactions.from_frame(frame, user="u", item="i", value="v")
    other = Interactions.from_frame(frame.iloc[::-1], user="u", item="i", value="v")
    assert list(one.users) == list(other.users) == ["a", "b", "c"]
    assert one.matrix.toarray().tolist() == other.matrix.toarray().tolist() == [[0, 3, 0], [0, 0, 1], [2, 0, 0]]


def test_given_ids_fix_rows_and_columns():
    frame = pd.DataFrame({"u": ["a", "b"], "i": [5, 6]})
    data = Interactions.from_frame(frame, user="u", item="i", users=["z", "b", "a"], items=pd.Index([6, 5, 4]))
    assert data.matrix.toarray().tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(
        InputError, match=r"user column 'u': 1 ids are not among the given ones: 'b' \(first at line 1\)"
    ):
        Interactions.from_frame(frame, user="u", item="i", users=["a"])


def test_time_zones_become_utc_and_the_last_time_is_kept():
    moments = pd.to_datetime(["2020-01-01T02:00:00+02:00", "2020-01-01T01:00:00+02:00"], utc=False)
    frame = pd.DataFrame({"u": [1, 1], "i": [1, 1], "v": [5, 7], "t": moments})
    data = Interactions.from_frame(frame, user="u", item="i", value="v", timestamp="t", aggregate="last")
    assert data.timestamps.tolist() == np.array(["2020-01-01T00:00:00"], dtype=data.timestamps.dtype).tolist()
    assert data.matrix.data.tolist() == [5]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_tables(library):
    module = pytest.importorskip(library)
    columns = {
        "u": ["b", "a", "b"],
        "i": [2, 1, 2],
        "v": [1.0, 2.0, 3.0],
        "t": [dt.datetime(2020, 1, d) for d in (1, 3, 2)],
    }
    frame = module.DataFrame(columns) if library == "polars" else module.table(columns)
    data = Interactions.from_frame(frame, user="u", item="i", value="v", timestamp="t")
    assert list(data.users) == ["a", "b"]
    assert data.matrix.toarray().tolist() == [[2, 0], [0, 4]]
    assert data.timestamps.astype("M8[D]").tolist() == [dt.date(2020, 1, 3), dt.date(2020, 1, 2)]
    with pytest.raises(InputError, match="item: no column 'x'; the columns are 'u', 'i', 'v', 't'"):
        Interactions.from_frame(frame, user="u", item="x")
    gaps = {"u": ["b", None], "i": [1, 2]}
    with pytest.raises(InputError, match="the id at line 1 is missing"):
        Interactions.from_frame(
            module.DataFrame(gaps) if library == "polars" else module.table(gaps), user="u", item="i"
        )


def test_arrow_stream_without_columns():
    pyarrow = pytest.importorskip("pyarrow")

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return pyarrow.table({"u": [4, 4], "i": ["x", "y"]}).__arrow_c_stream__(requested_schema)

    data = Interactions.from_frame(Stream(), user="u", item="i")
    assert (list(data.users), list(data.items)) == ([4], ["x", "y"])


def test_lazy_frames_and_strangers_are_refused():
    polars = pytest.importorskip("polars")
    with pytest.raises(InputError, match="frame: expected a pandas, polars or Arrow table, met dict"):
        Interactions.from_frame({"u": [1]}, user="u", item="i")
    with pytest.raises(InputError, match="frame: .*met LazyFrame; collect it first"):
        Interactions.from_frame(polars.LazyFrame({"u": [1]}), user="u", item="i")


GOOD = {"u": ["a", "b", "c"], "i": [1, 2, 3], "v": [1.0, 2.0, 3.0], "t": [1, 2, 3]}
BAD_COLUMNS = [
    ("u", ["a", None, "c"], "user column 'u': the id at line 1 is missing"),
    ("i", [1, np.nan, 2], "item column 'i': the id at line 1 is missing"),
    ("i", pd.array([1, 2, pd.NA], dtype="Int64"), "item column 'i': the id at line 2 is missing"),
    ("u", [pd.NaT, pd.Timestamp(0), pd.Timestamp(0)], "user column 'u': the id at line 0 is missing"),
    ("u", [[1], [2], [3]], "user column 'u': ids must be hashable"),
    ("v", [1.0, np.nan, 2.0], "value column 'v': the value at line 1 is missing or NaN"),
    ("v", [1.0, 2.0, -np.inf], "value column 'v': -inf at line 2; give finite"),
    ("v", pd.array([1, pd.NA, 2], dtype="Int64"), "value column 'v': the value at line 1 is missing"),
    ("v", ["1", "2", "3"], "value column 'v': '1' at line 0 is not a real number"),
    ("v", np.array([1, "x", 3], dtype=object), "value column 'v': 'x' at line 1 is not a real number"),
    ("v", np.array([1, 2, 3], dtype=object), r"numbers kept as dtype object; convert them with astype\(float\)"),
    ("v", [1j, 2, 3], "value column 'v': .*1j.* at line 0 is not a real number"),
    ("v", pd.to_datetime(["2020"] * 3), "value column 'v': .* at line 0 is not a real number"),
    ("t", [1.0, np.nan, 2.0], "timestamp column 't': the timestamp at line 1 is missing"),
    ("t", [pd.Timestamp(0), pd.NaT, pd.NaT], "timestamp column 't': the timestamp at line 1 is missing"),
    ("t", [1.0, 2.0, np.inf], "timestamp column 't': inf at line 2"),
    (
        "t",
        ["x", "y", "z"],
        "timestamp column 't': dtype .* such as 'x' is neither .*; parse it with pandas.to_datetime",
    ),
]


@pytest.mark.parametrize(("name", "column", "message"), BAD_COLUMNS)
def test_bad_columns_are_refused(name, column, message):
    frame = pd.DataFrame(GOOD).assign(**{name: pd.Series(column)})
    with pytest.raises(InputError, match=message):
        Interactions.from_frame(frame, user="u", item="i", value="v", timestamp="t")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "w"}, "user: no column 'w'; the columns are 'u', 'i', 'v', 't'"),
        ({"value": "w"}, "value: no column 'w'"),
        ({"user": None}, "user: None given; name the column"),
        ({"aggregate": "mean"}, "aggregate: 'mean' is unknown; choose one of sum, max, last, count"),
        ({"users": ["a", "b", "a"]}, "users: the id 'a' at position 2 was given before"),
        ({"items": [1, None]}, "items: the id at position 1 is missing"),
        ({"users": "abc"}, "users: expected a sequence of ids, met 'abc'"),
        ({"users": [["a"], ["b"]]}, "users: ids must be hashable"),
    ],
)
def test_bad_options_of_a_frame_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Interactions.from_frame(pd.DataFrame(GOOD), **({"user": "u", "item": "i"} | options))


def test_empty_frame_and_repeated_column_names_are_refused():
    with pytest.raises(InputError, match="frame: the table is empty"):
        Interactions.from_frame(pd.DataFrame({"u": [], "i": []}), user="u", item="i")
    with pytest.raises(InputError, match="user: 2 columns are named 'u'"):
        Interactions.from_frame(pd.DataFrame([[1, 2, 3]], columns=["u", "u", "i"]), user="u", item="i")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]), [("a", 1), ("b", 2)]),
        (pd.Categorical(["b", "a"]), ["b", "a"]),
        (pd.Series([7, 5], index=[1, 0], name="x"), [7, 5]),
        ([2**53 + 1, 0.5], [2**53 + 1, 0.5]),
    ],
)
def test_given_ids_are_taken_as_they_are(ids, expected):
    data = Interactions.from_matrix(np.eye(2), users=ids)
    assert list(data.users) == expected
    assert data.users.name is None
    assert data.user_indices(expected).tolist() == [0, 1]


def test_given_ids_of_two_dimensions_are_refused():
    with pytest.raises(InputError, match="users: the ids have 2 dimensions; give a flat sequence"):
        Interactions.from_matrix(np.eye(2), users=np.eye(2))


def test_unknown_ids_are_named():
    data = Interactions.from_matrix(np.eye(3), users=[10, 20, 2**53 + 1])
    assert data.user_indices([20, 10]).dtype == np.int64
    assert data.user_indices([20, 10, 20]).tolist() == [1, 0, 1]
    assert data.user_indices([]).tolist() == []
    assert data.user_indices(np.float64(20)).tolist() == [1]
    with pytest.raises(InputError, match=r"users: 6 of 7 ids are unknown: 1, 2, 3, 4, 5, \.\.\.; the data hold 3 ids"):
        data.user_indices([10, 1, 2, 3, 4, 5, 6])
    for unknown in ("10", 2.0**53, None, [True], [np.nan], [[1]]):
        with pytest.raises(InputError, match="unknown|hashable"):
            data.user_indices(unknown)


def test_the_class_itself_refuses_what_is_not_canonical():
    index = pd.RangeIndex(2)
    unsorted = sparse.csr_array((np.ones(2), np.array([1, 0]), np.array([0, 2, 2])), shape=(2, 2))
    with pytest.raises(InputError, match="matrix: not canonical"):
        Interactions(unsorted, index, index)
    good = sparse.csr_array(np.eye(2))
    with pytest.raises(InputError, match="users: expected a pandas Index of 2 ids"):
        Interactions(good, pd.RangeIndex(3), index)
    with pytest.raises(InputError, match="timestamps: 1 given for 2 pairs"):
        Interactions(good, index, index, np.array([1]))
    with pytest.raises(InputError, match="matrix: inf at row 1, column 1"):
        Interactions(sparse.csr_array(np.diag([1.0, np.inf])), index, index)
    with pytest.raises(InputError, match="matrix: expected a float csr_array, met csc_array"):
        Interactions(good.tocsc(), index, index)


def test_arrow_tables_name_the_extra_that_reads_them(monkeypatch):
    class Table:
        def __arrow_c_stream__(self):
            raise AssertionError("it was read")

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Reading Arrow tables needs pyarrow.*'implicit_wmf\[parquet\]'"):
        Interactions.from_frame(Table(), user="who", item="what")
