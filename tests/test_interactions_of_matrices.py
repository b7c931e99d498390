"""Interactions from matrices and from triples of indices, where test_interactions.py has tables and ids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines_and_cells import HOW, cells, reference
from scipy import sparse

from implicit_wmf._cells import index_dtype
from implicit_wmf.errors import InputError
from implicit_wmf.interactions import Interactions, as_interactions


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


@pytest.mark.parametrize("dense", [[[0, 2, 0], [3, 0, 0]], np.array([[0, 2], [3, 0]], order="F")])
def test_dense_zeros_are_stored_where_that_is_asked_for(dense):
    data = Interactions.from_matrix(dense, keep_zeros=True)
    assert cells(data) == {cell: (value, None) for cell, value in np.ndenumerate(np.asarray(dense))}


def test_a_table_is_no_matrix_and_the_argument_is_named():
    with pytest.raises(InputError, match=r"train: met a table \(DataFrame\), .* give Interactions.from_frame\(train, "):
        as_interactions(pd.DataFrame([[1]]), "train")
    with pytest.raises(InputError, match="train: matrix: nan at row 0, column 0"):
        as_interactions([[np.nan]], "train")
    data = Interactions.from_matrix([[1]])
    assert as_interactions(data) is data


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


def test_ids_alone_give_the_shape_of_triples():
    data = Interactions.from_triples([1, 1], [0, 0], users=["a", "b", "c"])
    assert (list(data.users), list(data.items)) == (["a", "b", "c"], [0])
    assert data.matrix.toarray().tolist() == [[0], [2], [0]]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((2**31 - 1,), np.int32),
        ((2**31,), np.int64),
        ((1, 2**31), np.int64),
        ((2**40, 1), np.int64),
        ((0, 5), np.int32),
    ],
)
def test_indices_have_32_bits_as_long_as_they_count_that_far(counts, expected):
    assert index_dtype(*counts) is expected
    assert np.iinfo(expected).max >= max(counts)


def test_the_class_itself_keeps_what_it_is_given_read_only():
    matrix = sparse.csr_array(np.eye(2))
    data = Interactions(matrix, pd.RangeIndex(2), pd.RangeIndex(2))
    for part in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(data.matrix, part), getattr(matrix, part))
        assert not getattr(data.matrix, part).flags.writeable
        assert getattr(matrix, part).flags.writeable


def test_tables_are_no_matrices():
    polars = pytest.importorskip("polars")
    for table in (pd.DataFrame({"a": [1, 0], "b": [0, 1]}), polars.DataFrame({"a": [1, 0], "b": [0, 1]})):
        with pytest.raises(
            InputError,
            match=r"^data: met a table \(DataFrame\), which does not say what its users and items are; give "
            r"Interactions.from_frame\(data, user=..., item=...\), or .to_numpy\(\) of one that is users x items$",
        ):
            as_interactions(table)
        assert as_interactions(table.to_numpy()).shape == (2, 2)
