"""Cells of canonical CSR matrices against dense ones."""

import numpy as np
import pytest
from conftest import to_sparse

from implicit_wmf import _csr


@pytest.fixture(params=[(4, 9), (9, 4), (1, 6)])
def pair(request):
    """Two matrices of one shape that is not square, dense with NaN where nothing is stored."""
    generator = np.random.default_rng(request.param[0])
    matrices = generator.integers(-1, 3, (2, *request.param)).astype(float) / 2
    matrices[generator.random(matrices.shape) < 0.5] = np.nan
    matrices[0, 0, 0] = -0.5  # between -1 and 0
    return matrices


def dense(cells):
    out = np.full(cells.shape, np.nan)
    rows = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
    out[rows, cells.indices] = cells.data
    return out


def test_rows_and_positive_cells(pair):
    for matrix in pair:
        cells = to_sparse(matrix)
        assert _csr.rows_of_cells(cells.indptr).tolist() == np.nonzero(~np.isnan(matrix))[0].tolist()
        assert _csr.positive_in_columns(cells).tolist() == (np.nan_to_num(matrix) > 0).sum(axis=0).tolist()


def test_cells_are_kept_dropped_and_joined(pair):
    one, other = map(to_sparse, pair)
    np.testing.assert_array_equal(dense(_csr.keep_cells(one, one.data > 0)), np.where(pair[0] > 0, pair[0], np.nan))
    np.testing.assert_array_equal(dense(_csr.drop_cells(one, other)), np.where(np.isnan(pair[1]), pair[0], np.nan))
    joined = _csr.join_cells(one, other)
    joined.sort_indices()
    np.testing.assert_array_equal(np.isnan(dense(joined)), np.isnan(pair).all(axis=0))
    assert _csr.join_cells(None, other) is other


def test_kernels_get_places_of_one_type_that_they_cannot_change(pair):
    cells = to_sparse(pair[0])
    indptr, indices = _csr.kernel_cells(cells)
    assert (indptr.dtype, indices.dtype) == (np.int64, np.int32)
    assert (indptr.tolist(), indices.tolist()) == (cells.indptr.tolist(), cells.indices.tolist())
    assert not indptr.flags.writeable
    assert not indices.flags.writeable
