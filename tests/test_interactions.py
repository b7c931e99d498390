from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from implicit_wmf.errors import InputError
from implicit_wmf.interactions import Interactions

LINES = st.lists(
    st.tuples(
        st.sampled_from(["b", "a", "é", "", "aa"]),
        st.sampled_from([3, -1, 2**40, 0]),
        st.integers(-50, 50).map(lambda number: number / 4),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=30,
)
HOW = st.sampled_from(["sum", "max", "last", "count"])


def reference(lines, how, timed=True):
    """Value and last time of each pair, by dictionaries."""
    groups = {}
    for user, item, value, time in lines:
        groups.setdefault((user, item), []).append((value, time))
    result = {}
    for pair, entries in groups.items():
        values = [value for value, _ in entries]
        latest = max(time for _, time in entries)
        last = [value for value, time in entries if time == latest][-1] if timed else values[-1]
        result[pair] = ({"sum": sum(values), "max": max(values), "last": last, "count": len(values)}[how], latest)
    return result


def cells(data):
    """The stored cells by raw id, and a check of what kernels rely on."""
    matrix = data.matrix
    assert isinstance(matrix, sparse.csr_array)
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.data.dtype in (np.float32, np.float64)
    found = {}
    for row in range(matrix.shape[0]):
        start, stop = matrix.indptr[row : row + 2]
        assert (np.diff(matrix.indices[start:stop]) > 0).all()
        for place in range(start, stop):
            key = (data.users[row], data.items[matrix.indices[place]])
            time = None if data.timestamps is None else data.timestamps[place]
            found[key] = (matrix.data[place], time)
    assert len(found) == data.nnz
    return found


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


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-9, 9), st.integers(0, 3)), max_size=25), HOW
)
def test_triples_agree_with_dictionaries(lines, how):
    rows, columns, values, moments = (np.array([line[k] for line in lines], dtype=np.int64) for k in range(4))
    data = Interactions.from_triples(rows, columns, values, shape=(5, 4), aggregate=how, timestamps=moments)
    assert data.shape == (5, 4)
    assert cells(data) == reference(lines, how)


def test_sums_accumulate_in_float64():
    values = np.array([2**24, 1, 1, -(2**24)], dtype=np.float32)
    data = Interactions.from_triples([0] * 4, [0] * 4, values)
    assert data.matrix.data.tolist() == [2.0]
    assert data.matrix.dtype == np.float32


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [
        ("bool", "f4"),
        ("int8", "f4"),
        ("uint16", "f4"),
        ("int32", "f8"),
        ("int64", "f8"),
        ("float32", "f4"),
        ("f8", "f8"),
    ],
)
def test_data_dtype(given_dtype, expected):
    values = np.array([1, 0, 1]).astype(given_dtype)
    for data in (
        Interactions.from_triples([0, 1, 1], [0, 0, 1], values),
        Interactions.from_matrix(sparse.csr_array((values, ([0, 1, 1], [0, 0, 1])))),
    ):
        assert data.matrix.dtype == np.dtype(expected)
        assert data.matrix.data.tolist() == [1, 0, 1]


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


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_sparse_layout(layout, kind):
    dense = np.array([[0, 2.5, 0, 1], [0, 0, 0, 0], [3, 0, 0, 4]])
    given_matrix = getattr(sparse, f"{layout}_{kind}")(dense)
    data = Interactions.from_matrix(given_matrix)
    np.testing.assert_array_equal(data.matrix.toarray(), dense)
    assert len(cells(data)) == 4
    assert repr(data) == "Interactions(3 users x 4 items, 4 pairs)"


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_unsorted_duplicates_and_stored_zeros(index_dtype):
    indptr, indices = np.array([0, 4, 4, 5], dtype=index_dtype), np.array([2, 0, 2, 1, 0], dtype=index_dtype)
    matrix = sparse.csr_array((np.array([1.0, 0.0, 5.0, 2.0, 3.0]), indices, indptr), shape=(3, 3))
    matrix.has_canonical_format = True
    expected = {(0, 0): (0, None), (0, 1): (2, None), (0, 2): (6, None), (2, 0): (3, None)}
    assert cells(Interactions.from_matrix(matrix)) == expected
    assert (
        cells(Interactions.from_matrix(sparse.csr_matrix((matrix.data, indices, indptr), shape=(3, 3)).tocsc()))
        == expected
    )
    assert indices.tolist() == [2, 0, 2, 1, 0]


@pytest.mark.parametrize("dense", [[[0, 2], [3, 0]], np.array([[0, 2], [3, 0]], order="F"), np.array([[False, True]])])
def test_dense_zeros_are_not_stored(dense):
    data = Interactions.from_matrix(dense)
    assert data.matrix.toarray().tolist() == np.asarray(dense).tolist()
    assert data.nnz == np.count_nonzero(dense)


def test_nothing_is_shared_with_the_given_matrix():
    matrix = sparse.csr_array(np.eye(3))
    data = Interactions.from_matrix(matrix)
    for part in ("data", "indices", "indptr"):
        assert not np.shares_memory(getattr(matrix, part), getattr(data.matrix, part))
    values = np.array([1.0, 2.0])
    assert not np.shares_memory(Interactions.from_triples([0, 1], [0, 1], values, timestamps=values).timestamps, values)


def broken(layout, **parts):
    matrix = sparse.random_array((4, 4), density=0.5, format=layout, rng=np.random.default_rng(0))
    for name, part in parts.items():
        setattr(matrix, name, part(getattr(matrix, name)))
    return matrix


def changed(place, value):
    def change(array):
        array = array.copy()
        array[place] = value
        return array

    return change


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"indices": changed(2, 4)}, "matrix.indices: 4 at position 2 is out of range for a size of 4"),
        ({"indices": changed(0, -1)}, "matrix.indices: -1 at position 0 is negative"),
        ({"indptr": changed(0, 1)}, "matrix.indptr: 1 at position 0; it must start at 0"),
        ({"indptr": changed(1, 99)}, "matrix.indptr: .* at position 2; it must start at 0 and never fall"),
        ({"indptr": changed(4, 10**6)}, "matrix: indptr promises 1000000 entries"),
        ({"indptr": lambda a: a[:-1]}, r"matrix.indptr: expected 5 integers, met int32 of shape \(4,\)"),
        ({"data": lambda a: a[:-3]}, "matrix: indptr promises"),
        ({"data": changed(1, np.nan)}, "matrix: nan at row . *, column .; give finite"),
        ({"data": lambda a: a.astype(complex)}, "matrix: dtype complex128 does not hold real numbers"),
    ],
)
def test_broken_compressed_matrices_are_refused(layout, parts, message):
    with pytest.raises(InputError, match=message):
        Interactions.from_matrix(broken(layout, **parts))


def test_broken_coo_bsr_and_lil_are_refused():
    with pytest.raises(InputError, match="matrix.row: 9 at position 0 is out of range"):
        Interactions.from_matrix(broken("coo", row=changed(0, 9)))
    with pytest.raises(InputError, match="matrix: row, col and data have shapes"):
        Interactions.from_matrix(broken("coo", data=lambda a: a[:-1]))
    with pytest.raises(InputError, match="matrix.indices: 77 at position 0 is out of range"):
        Interactions.from_matrix(broken("bsr", indices=changed(0, 77)))
    lil = sparse.lil_array(np.eye(3))
    lil.rows[1] = [0, 1, 2]
    with pytest.raises(InputError, match="matrix: its lists of columns and of values differ"):
        Interactions.from_matrix(lil)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), "matrix: expected 2 dimensions .* met 1"),
        (np.ones((2, 2, 2)), "matrix: expected 2 dimensions .* met 3"),
        (np.array([[1.0, np.inf]]), "matrix: inf at row 0, column 1"),
        (np.ones((0, 3)), "matrix.shape: expected two positive integers"),
        ([["a"]], "matrix: dtype <U1 does not hold real numbers"),
        ([[1], [1, 2]], "matrix: not a rectangular array"),
        (None, "matrix: dtype object does not hold real numbers"),
        (pd.DataFrame([[1]]), "matrix: met a DataFrame; use from_frame"),
        (np.ma.masked_equal([[1, 0]], 0), "matrix: met a masked array"),
        (sparse.coo_array(np.ones(3)), "matrix: expected 2 dimensions .* met 1"),
        (sparse.coo_array((1, 2**31)), "items: 2147483648 is more than the 2147483647"),
    ],
)
def test_bad_matrices_are_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        Interactions.from_matrix(matrix)


def test_ids_of_a_matrix():
    data = Interactions.from_matrix(np.eye(2), users=["a", "b"], items=[(1, 2), (3, 4)])
    assert data.item_indices((3, 4)).tolist() == [1]
    with pytest.raises(InputError, match="users: 1 ids given for 2 users"):
        Interactions.from_matrix(np.eye(2), users=["a"])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0, -1], [0, 0]), {}, "rows: -1 at position 1 is negative"),
        (([0, 1], [0, 5]), {"shape": (2, 5)}, "columns: 5 at position 1 is out of range for a size of 5"),
        (([0, 1], [0, 1]), {"users": ["a"]}, "rows: 1 at position 1 is out of range for a size of 1"),
        (([0.0], [0]), {}, "rows: expected integers, met dtype float64"),
        (([[0]], [0]), {}, "rows: expected a 1-D array, met 2"),
        (([0, 1], [0]), {}, "columns: 1 given for 2 rows"),
        (([0], [0], [1.0, 2.0]), {}, "values: 2 given for 1 rows"),
        (([0], [0], ["x"]), {}, "values: 'x' at position 0 is not a real number"),
        (([0], [0], [[1.0]]), {}, "values: expected a 1-D array"),
        (([0], [0], [np.nan]), {}, "values: the value at position 0 is missing or NaN"),
        (([0], [0]), {"timestamps": [1, 2]}, "timestamps: 2 given for 1 rows"),
        (([0], [0]), {"shape": (-1, 2)}, r"shape: expected two positive integers .* met \(-1, 2\)"),
        (([0], [0]), {"shape": (1.5, 2)}, "shape: expected two positive integers"),
        (([0], [0]), {"shape": 3}, "shape: expected two positive integers"),
        (([2**31], [0]), {}, "rows: 2147483649 is more than"),
        (([], []), {}, "rows: empty; give at least one line, or a shape"),
        (([0, 0], [0, 0], np.float32([3e38, 3e38])), {}, "values: the value of row 0, column 0 overflows float32"),
        (([0, 0], [0, 0], [1e308, 1e308]), {}, "values: the value of row 0, column 0 overflows float64"),
        (([0], [0]), {"users": ["a", "b"], "shape": (3, 1)}, "users: 2 ids given for 3 users"),
    ],
)
def test_bad_triples_are_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        Interactions.from_triples(*arguments, **options)


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
