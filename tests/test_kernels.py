"""Kernels by themselves, against NumPy and against what their callers rely on."""

import numpy as np
import pytest
from conftest import COMPILED
from row_problems import make_rows, one_row

from implicit_wmf.kernels.gram import add_gram, make_panel, make_sum
from implicit_wmf.kernels.jit import aligned, whole_tiles
from implicit_wmf.kernels.linalg import add_products, cholesky, solve_factored
from implicit_wmf.kernels.objective import sum_stored_cells
from implicit_wmf.kernels.rows import (
    ANY,
    EMPTY,
    PRIMAL,
    make_scratch,
    set_diagonal,
    solve_dual,
    solve_primal,
    solve_small_dual,
)
from implicit_wmf.kernels.solve import solve_rows

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


WIDTH = {np.float32: 16, np.float64: 8}  # of a tile


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize("length", [0, 1, 7, 33])
def test_products_fill_the_upper_triangle(tiles, length, dtype):
    size = tiles * WIDTH[dtype]
    generator = np.random.default_rng(size + length)
    left, right = generator.standard_normal((2, 40, size)).astype(dtype)
    start = generator.standard_normal((size, size)).astype(dtype)
    out = start.copy()
    add_products(left, right, size, length, out)
    expected = start + left[:length].T @ right[:length]
    upper = np.triu_indices(size)
    np.testing.assert_allclose(out[upper], expected[upper], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 10)
    below = np.tril(np.ones((size, size), dtype=bool), k=-WIDTH[dtype])
    np.testing.assert_array_equal(out[below], start[below])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_cholesky_solves(tiles, dtype):
    size = tiles * WIDTH[dtype]
    generator = np.random.default_rng(size)
    root = generator.standard_normal((size, size))
    matrix = (root @ root.T + size * np.eye(size)).astype(dtype)
    x = generator.standard_normal(size).astype(dtype)
    factor, solution = np.triu(matrix), (matrix @ x).astype(dtype)
    assert cholesky(factor, size)
    solve_factored(factor, size, solution)
    np.testing.assert_allclose(solution, x, rtol=1e-3 if dtype == np.float32 else 1e-10, atol=1e-4)


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
@pytest.mark.parametrize("place", [0, 5, 11, 15])
def test_cholesky_reports_a_pivot_that_is_not_positive(bad, place):
    matrix = np.eye(16)
    matrix[place, place] = bad
    assert not cholesky(matrix, 16)


def solve_exactly(rows, start, stop, fixed, spectrum, solved):
    return solve_rows(rows, start, stop, fixed, spectrum, np.zeros(stop, np.uint16), 0.0, make_scratch(fixed), solved)


def solve_by_cg(rows, start, stop, fixed, spectrum, steps, solved):
    return solve_rows(
        rows, start, stop, fixed, spectrum, np.full(stop, steps, np.uint16), 0.0, make_scratch(fixed), solved
    )


@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_one_row_by_hand(solver):
    # d = 1: (a spectrum + sum weights h^2 + lambda) w = sum targets h = (3 x 5 + 2 x 1 + 1 x 4 + 2) w = 2 x 1 + 6 x 2
    fixed, solved = whole_tiles(np.array([[1.0], [2.0]])), np.array([[9.0]])
    rows = one_row([2.0, 1.0], [2.0, 6.0], regularization=2.0, background=3.0)
    if solver == "exact":
        assert solve_exactly(rows, 0, 1, fixed, np.full(8, 5.0), solved) == -1
    else:
        assert solve_by_cg(rows, 0, 1, fixed, np.full(8, 5.0), 3, solved) == -1
    assert solved[0, 0] == pytest.approx(14 / 23, rel=1e-12)


def test_rows_outside_the_block_are_left_alone():
    generator = np.random.default_rng(0)
    count, columns = 6, 9
    cells = np.tile(np.array([1, 4, 8], dtype=np.int32), count)
    rows = make_rows(np.arange(0, 3 * count + 1, 3), cells, np.ones(3 * count), np.ones(3 * count))
    fixed = whole_tiles(generator.standard_normal((columns, 5)))
    whole, part = np.full((count, 5), 7.0), np.full((count, 5), 7.0)
    assert solve_exactly(rows, 0, count, fixed, np.ones(8), whole) == -1
    assert solve_exactly(rows, 2, 4, fixed, np.ones(8), part) == -1
    np.testing.assert_array_equal(part[2:4], whole[2:4])
    assert (part[[0, 1, 4, 5]] == 7).all()


def test_the_first_row_without_a_solution_is_reported():
    # confidence far below the background: the system is negative definite
    fixed, solved = whole_tiles(np.ones((1, 2))), np.zeros((1, 2))
    rows = one_row([-100.0], [1.0])
    assert solve_exactly(rows, 0, 1, fixed, np.ones(8), solved) == 0
    assert solve_by_cg(rows, 0, 1, fixed, np.full(8, np.nan), 3, solved) == 0
    solved[:] = 0.5
    assert solve_by_cg(rows, 0, 1, fixed, np.ones(8), 3, solved) == 0


def test_conjugate_gradients_leave_a_direction_of_negative_curvature_to_exact_rows():
    # diag(A) = (.5, .5) is positive, A = [[.5, -1.5], [-1.5, .5]] is not
    fixed, solved = whole_tiles(np.array([[1.0, 1.0]])), np.array([[0.1, 0.2]])
    rows = one_row([-1.5], [1.0])
    assert solve_by_cg(rows, 0, 1, fixed, np.ones(8), 3, solved) == 0
    np.testing.assert_array_equal(solved, [[0.1, 0.2]])


@pytest.mark.skipif(not COMPILED, reason="the interpreted kernels warn of the overflow")
@pytest.mark.parametrize("start", [1e25, 1e-25, 0.0])
def test_a_start_that_leaves_the_range_of_float32_is_solved_exactly(start):
    fixed = whole_tiles(np.full((3, 16), 0.1 if start else 0.0, np.float32))
    rows = one_row([1.0] * 3, [1e-24 if start == 1e-25 else 1.0] * 3, dtype=np.float32)
    exact, solved, steps = np.zeros((1, 16), np.float32), np.full((1, 16), start, np.float32), np.full(1, 9, np.uint16)
    assert solve_exactly(rows, 0, 1, fixed, np.ones(16), exact) == -1
    assert solve_rows(rows, 0, 1, fixed, np.ones(16), steps, 0.01, make_scratch(fixed), solved) == -1
    np.testing.assert_array_equal(solved, exact)
    assert steps[0] == (10 if start else 0)


def test_a_scratch_may_come_from_other_rows():
    generator = np.random.default_rng(0)
    fixed = generator.standard_normal((9, 16))
    scratch = make_scratch(whole_tiles(fixed))
    for number in range(3):
        rows = one_row(np.ones(9), np.ones(9), regularization=1.0 + number % 2, background=1.0)
        spectrum = np.full(16, 1.0 + number)
        kept, fresh = np.zeros((2, 1, 16))
        assert solve_rows(rows, 0, 1, fixed, spectrum, np.zeros(1, np.uint16), 0.0, scratch, kept) == -1
        assert solve_exactly(rows, 0, 1, fixed, spectrum, fresh) == -1
        np.testing.assert_array_equal(kept, fresh)


@pytest.mark.skipif(not COMPILED, reason="the interpreted kernels warn of the division")
def test_columns_of_padding_do_not_make_a_system_singular():
    fixed, solved = whole_tiles(np.eye(3)), np.zeros((1, 3))
    spectrum = np.array([1.0, 1, 1, -1, -1, -1, -1, -1])  # as training pads it
    rows = one_row([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], regularization=0.0, background=0.0)
    assert solve_exactly(rows, 0, 1, fixed, spectrum, solved) == -1
    np.testing.assert_allclose(solved, [[1, 0.5, 0.25]])


@pytest.mark.parametrize("shape", [(3, 16), (0, 16), (1, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aligned_arrays_begin_at_a_cache_line(shape, dtype):
    array = aligned(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.size == 0 or array.ctypes.data % 64 == 0


def test_a_row_solved_already_is_kept_by_conjugate_gradients():
    fixed = whole_tiles(np.array([[1.0, 0.5], [0.2, 2.0], [1.5, 1.0]]))
    rows = one_row([2.0, 1.0, 3.0], [2.0, 6.0, 1.0])
    spectrum = np.array([0.5, 4.0, 1, 1, 1, 1, 1, 1])
    exact = np.zeros((1, 2))
    assert solve_exactly(rows, 0, 1, fixed, spectrum, exact) == -1
    again = exact.copy()
    assert solve_by_cg(rows, 0, 1, fixed, spectrum, 50, again) == -1
    np.testing.assert_allclose(again, exact, rtol=1e-13)


def test_stored_cells_by_hand():
    # p = 2 and 6
    sums = np.zeros(2)
    sum_stored_cells(
        np.array([0, 2]), np.array([0, 1], dtype=np.int32), np.array([4.0, 6.5]), np.array([1.0, 0.0]),
        np.array([3.0, 6.0]), np.array([[2.0]]), np.array([[1.0], [3.0]]), sums,
    )  # fmt: skip
    assert sums.tolist() == [4 * 1 + 6.5 * 36, 3 * 4 + 6 * 36]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 4, 7, 20])
def test_the_ways_to_solve_a_row_agree(count, dtype):
    generator = np.random.default_rng(count)
    factors = 32
    fixed = generator.standard_normal((count, factors)).astype(dtype)
    targets = np.arange(count)  # the first weight is 0, and so is its target
    rows = one_row(np.arange(count), targets, dtype=dtype)
    solutions = []
    for solve in (solve_small_dual, solve_dual, solve_primal):
        scratch = make_scratch(fixed)
        assert set_diagonal(rows, 0, np.linspace(0.5, 3, factors), scratch.diagonal) == 1.5
        assert solve(rows, 0, fixed, scratch)
        solutions.append(scratch.solution.copy())
    system = fixed.T * np.arange(count) @ fixed + np.diag(np.linspace(0.5, 3, factors) + 1)
    expected = np.linalg.solve(system.astype(float), fixed.T.astype(float) @ targets)
    for solution in solutions:
        np.testing.assert_allclose(solution, expected, rtol=1e-3 if dtype == np.float32 else 1e-10, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "targets", "kind"),
    [
        ([1.0, 2.0], [1.0, 0.0], ANY),
        ([1.0, 0.0], [1.0, 0.0], ANY),
        ([1.0, 0.0], [1.0, 1.0], PRIMAL),
        ([1.0, -0.5], [1.0, 0.0], PRIMAL),
        ([1.0, 2.0], [0.0, 0.0], EMPTY),
    ],
)
def test_weights_that_the_dual_cannot_have_are_seen(weights, targets, kind):
    assert one_row(weights, targets).kinds.tolist() == [kind]


def test_the_diagonal_follows_the_row():
    rows = make_rows(np.arange(4), np.zeros(3, np.int32), np.ones(3), np.ones(3))
    rows.background[2] = 2.0
    diagonal = make_scratch(np.ones((1, 8))).diagonal
    spectrum = np.arange(8.0)
    for row, background in ((0, 1), (1, 1), (2, 2), (0, 1)):
        assert set_diagonal(rows, row, spectrum, diagonal) == 1
        np.testing.assert_array_equal(diagonal.entries, background * spectrum + 1)
        np.testing.assert_array_equal(diagonal.inverse, 1 / (background * spectrum + 1))


def test_preconditioning_makes_conjugate_gradients_fast_on_a_steep_spectrum():
    generator = np.random.default_rng(0)
    factors = 32
    fixed, solved, exact = generator.standard_normal((5, factors)), np.zeros((1, factors)), np.zeros((1, factors))
    spectrum = 10.0 ** np.linspace(-3, 6, factors)
    rows = one_row(np.full(5, 1e-3), np.ones(5), regularization=0.0)
    assert solve_exactly(rows, 0, 1, fixed, spectrum, exact) == -1
    assert solve_by_cg(rows, 0, 1, fixed, spectrum, 12, solved) == -1
    np.testing.assert_allclose(solved, exact, rtol=1e-5, atol=1e-6)


def steep_row():
    """A row whose weights are strong against its diagonal, its fixed side and a spectrum."""
    generator = np.random.default_rng(0)
    fixed = generator.standard_normal((20, 32)) * np.geomspace(1, 0.01, 32)
    return one_row(np.full(20, 50.0), np.ones(20), regularization=0.01), fixed, np.geomspace(1, 1e-4, 32)


def residual_size(rows, fixed, spectrum, vector):
    """residual' diag(A)^-1 residual, which the tolerance is about."""
    system = np.diag(rows.background[0] * spectrum + rows.regularization[0]) + fixed.T * rows.values @ fixed
    residual = fixed.T @ rows.targets - system @ vector
    return residual**2 @ (1 / np.diag(system))


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 0.001])
def test_steps_go_on_until_the_residual_has_fallen_to_the_tolerance(tolerance):
    rows, fixed, spectrum = steep_row()
    solved, steps = np.full((1, 32), 0.1), np.array([500], np.uint16)
    before = residual_size(rows, fixed, spectrum, solved[0])
    assert solve_rows(rows, 0, 1, fixed, spectrum, steps, tolerance, make_scratch(fixed), solved) == -1
    assert 0 < steps[0] < 100
    # the last step's residual is expected from the one before, not computed
    assert residual_size(rows, fixed, spectrum, solved[0]) <= 5 * tolerance * before
    if steps[0] > 1:  # 0 would ask for the exact solution
        with_one_less = np.full((1, 32), 0.1)
        solve_by_cg(rows, 0, 1, fixed, spectrum, steps[0] - 1, with_one_less)
        assert residual_size(rows, fixed, spectrum, with_one_less[0]) > tolerance * before


def test_a_row_that_does_not_get_there_in_its_steps_is_solved_exactly():
    rows, fixed, spectrum = steep_row()
    exact, solved, steps = np.zeros((1, 32)), np.full((1, 32), 0.1), np.array([2], np.uint16)
    assert solve_exactly(rows, 0, 1, fixed, spectrum, exact) == -1
    assert solve_rows(rows, 0, 1, fixed, spectrum, steps, 1e-9, make_scratch(fixed), solved) == -1
    assert steps[0] == 3
    np.testing.assert_array_equal(solved, exact)


def test_one_number_may_stand_for_all_cells():
    generator = np.random.default_rng(0)
    fixed, spectrum = generator.standard_normal((9, 16)), np.linspace(1, 2, 16)
    each = one_row(np.full(9, 3.0), np.full(9, 3.5))
    one = each._replace(
        values=np.array([1.5]), value_step=0, scale=2.0, targets=np.array([0.5]), target_step=0, follow=1.0
    )
    for steps in (0, 2):
        solutions = np.zeros((2, 1, 16))
        for rows, solved in zip((each, one), solutions, strict=True):
            assert (
                solve_rows(rows, 0, 1, fixed, spectrum, np.array([steps], np.uint16), 0.0, make_scratch(fixed), solved)
                == -1
            )
        np.testing.assert_allclose(solutions[0], solutions[1], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factors", [1, 8, 11])
def test_gram_of_some_rows(factors, dtype):
    generator = np.random.default_rng(factors)
    matrix, scale = generator.standard_normal((150, factors)).astype(dtype), generator.random(150)
    out = make_sum(matrix)
    add_gram(matrix, scale, 7, 140, make_panel(matrix), out)
    part = matrix[7:140].astype(float)
    np.testing.assert_allclose(np.triu(out)[:factors, :factors], np.triu((part.T * scale[7:140]) @ part), rtol=1e-12)
    assert not out[factors:].any()
    assert not out[:, factors:].any()
