"""Each register-blocked operation against its twin in plain Python, which defines it."""

import numpy as np
import pytest
from conftest import COMPILED

from implicit_wmf.kernels import simd
from implicit_wmf.kernels.jit import inner

pytestmark = pytest.mark.skipif(not COMPILED, reason="interpreted, the two are one")
DTYPES = [np.float32, np.float64]


def tolerance(dtype):
    return {"rtol": 2e-4, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}


@inner
def add_outer(left, i, right, j, length, out):
    simd.add_outer(left, i, right, j, length, out)


@inner
def factor(matrix, i):
    return simd.factor(matrix, i)


@inner
def solve(matrix, i, j):
    simd.solve(matrix, i, j)


@inner
def forward(matrix, i, x, size):
    simd.substitute_forward(matrix, i, x, size)


@inner
def back(matrix, i, x, size):
    simd.substitute_back(matrix, i, x, size)


@inner
def gather(source, picks, at, k, scales, roots, out):
    simd.gather_transposed(source, picks, at, k, scales, roots, out)


@inner
def dots(matrix, picks, vector):
    return simd.dots(matrix, picks, vector)


@inner
def add_rows(matrix, picks, coefficients, out):
    simd.add_rows(matrix, picks, coefficients, out)


@inner
def add_rows_and_squares(matrix, picks, coefficients, weights, out, squares):
    simd.add_rows_and_squares(matrix, picks, coefficients, weights, out, squares)


@inner
def score_tiles(users, items, length, thresholds, at, tile, hits, rounds):
    reached = False
    for _ in range(rounds):  # a tile's sums begin at 0 each time
        reached = simd.score_tile(users, items, length, thresholds, at, tile, hits)
    return reached


@inner
def lowest_bit(bits):
    return simd.lowest_bit(bits)


def width(dtype):
    return 64 // np.dtype(dtype).itemsize


def positive_definite(size, dtype, seed=0):
    root = np.random.default_rng(seed).standard_normal((size, size))
    return (root @ root.T + size * np.eye(size)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 5])
def test_add_outer(length, dtype):
    tile = width(dtype)
    generator = np.random.default_rng(length)
    left, right = generator.standard_normal((2, 5, 3 * tile)).astype(dtype)
    out = generator.standard_normal((3 * tile, 3 * tile)).astype(dtype)
    expected = out.copy()
    simd._add_outer_plain(left, tile, right, 2 * tile, length, expected)
    add_outer(left, tile, right, 2 * tile, length, out)
    np.testing.assert_allclose(out, expected, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_factor_and_solve_make_a_cholesky_factor(dtype):
    tile = width(dtype)
    size = 3 * tile
    matrix = positive_definite(size, dtype)
    compiled, plain = matrix.copy(), matrix.copy()
    for i in range(0, size, tile):
        assert factor(compiled, i)
        assert simd._factor_plain(plain, i)
        np.testing.assert_allclose(
            compiled[i : i + tile, i : i + tile], plain[i : i + tile, i : i + tile], **tolerance(dtype)
        )
        for j in range(i + tile, size, tile):
            solve(compiled, i, j)
            simd._solve_plain(plain, i, j)
    np.testing.assert_allclose(compiled, plain, **tolerance(dtype))
    expected = np.linalg.cholesky(matrix.astype(float)).T
    np.testing.assert_allclose(np.triu(compiled, 1), np.triu(expected, 1), **tolerance(dtype))
    np.testing.assert_allclose(1 / np.diag(compiled), np.diag(expected), **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_factor_reports_a_pivot_that_is_not_positive(bad, dtype):
    tile = width(dtype)
    for place in (0, 1, tile - 1):
        matrix = np.eye(tile, dtype=dtype)
        matrix[place, place] = bad
        assert not factor(matrix.copy(), 0)
        assert not simd._factor_plain(matrix, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_substitution(tiles, dtype):
    tile = width(dtype)
    size = tiles * tile
    upper = np.ascontiguousarray(np.linalg.cholesky(positive_definite(size, float)).T.astype(dtype))
    upper[np.diag_indices(size)] = 1 / np.diag(upper)
    x = np.random.default_rng(1).standard_normal(size).astype(dtype)
    for ours, plain, order in (
        (forward, simd._substitute_forward_plain, range(tiles)),
        (back, simd._substitute_back_plain, reversed(range(tiles))),
    ):
        first, second = x.copy(), x.copy()
        for step in order:
            ours(upper, step * tile, first, size)
            plain(upper, step * tile, second, size)
            np.testing.assert_allclose(first, second, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_transposed(dtype):
    tile = width(dtype)
    generator = np.random.default_rng(3)
    source = generator.standard_normal((9, 2 * tile)).astype(dtype)
    picks = generator.integers(0, 9, 2 * tile).astype(np.int32)
    scales, roots = generator.random((2, 2 * tile)).astype(dtype)
    out, expected = np.zeros((2, 2 * tile, 2 * tile), dtype)
    gather(source, picks, tile, tile, scales, roots, out)
    simd._gather_transposed_plain(source, picks, tile, tile, scales, roots, expected)
    np.testing.assert_allclose(out, expected, **tolerance(dtype))
    np.testing.assert_allclose(
        out[tile:, tile:], (source[picks].T * roots * scales[:, None])[tile:, tile:], **tolerance(dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tiles", [1, 3, 4, 9])
@pytest.mark.parametrize("count", [1, 4])
def test_picked_rows(count, tiles, dtype):
    generator = np.random.default_rng(tiles)
    matrix = generator.standard_normal((11, tiles * width(dtype))).astype(dtype)
    vector, out, squares = generator.standard_normal((3, matrix.shape[1])).astype(dtype)
    coefficients, weights = (tuple(generator.standard_normal(count).astype(dtype)) for _ in range(2))
    picks = tuple(generator.integers(0, 11, count).astype(np.int32))
    np.testing.assert_allclose(dots(matrix, picks, vector), simd._dots_plain(matrix, picks, vector), **tolerance(dtype))
    ours, plain = (out.copy(), squares.copy()), (out.copy(), squares.copy())
    add_rows(matrix, picks, coefficients, ours[0])
    simd._add_rows_plain(matrix, picks, coefficients, plain[0])
    np.testing.assert_allclose(ours[0], plain[0], **tolerance(dtype))
    add_rows_and_squares(matrix, picks, coefficients, weights, *ours)
    simd._add_rows_and_squares_plain(matrix, picks, coefficients, weights, *plain)
    np.testing.assert_allclose(ours, plain, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 33])
@pytest.mark.parametrize("level", [-np.inf, 0.0, 2.0, np.inf])
def test_score_tile(level, length, dtype):
    lanes = width(dtype)
    generator = np.random.default_rng(length)
    users, items = generator.integers(-2, 3, (2, 40, lanes)).astype(dtype)  # exact, so that ties are ties
    thresholds = level + np.arange(3 * lanes, dtype=dtype)
    found = np.full((lanes, lanes), 7, dtype), np.full(lanes * lanes // 64, 7, np.uint64)
    expected = tuple(array.copy() for array in found)
    reached = score_tiles(users, items, length, thresholds, lanes, *found, 3)
    assert reached == simd._score_tile_plain(users, items, length, thresholds, lanes, *expected)
    for ours, plain in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_score_that_is_not_a_number_reaches_nothing():
    users = np.full((1, 16), np.nan, np.float32)
    tile, hits = np.zeros((16, 16), np.float32), np.zeros(4, np.uint64)
    thresholds = np.full(16, -np.inf, np.float32)
    assert not score_tiles(users, np.ones((1, 16), np.float32), 1, thresholds, 0, tile, hits, 1)


@pytest.mark.parametrize("bits", [1, 2, 3, 12, 1 << 15, (1 << 63)])
def test_lowest_bit(bits):
    assert lowest_bit(np.uint64(bits)) == simd._lowest_bit_plain(np.uint64(bits)) == (bits & -bits).bit_length() - 1


def test_padding_is_to_whole_tiles():
    assert [simd.padded(size, 16) for size in (0, 1, 16, 17)] == [0, 16, 16, 32]
