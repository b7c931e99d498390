"""Conjugate gradients step by step, against the literal method on dense systems."""

import numpy as np
import pytest
from row_problems import make_rows, one_row

from implicit_wmf.kernels.jit import whole_tiles
from implicit_wmf.kernels.rows import make_scratch
from implicit_wmf.kernels.solve import solve_rows

FACTORS = 11  # with columns of padding


def problem(cells, negative=False, seed=0):
    """A row of so many cells that asks for many steps: its fixed side, its spectrum, and the dense system A w = b."""
    generator = np.random.default_rng(seed)
    fixed = generator.standard_normal((cells + 3, FACTORS)) * np.geomspace(1, 0.05, FACTORS)
    weights, targets = generator.uniform(0.5, 20, cells), generator.uniform(-1, 3, cells)
    if negative:
        weights[::3] = -0.01
    rows = one_row(weights, targets, regularization=0.3, background=0.5)
    spectrum = np.geomspace(3, 0.01, FACTORS)
    stored = fixed[:cells]
    A = np.diag(0.5 * spectrum + 0.3) + stored.T * weights @ stored
    return rows, whole_tiles(fixed), np.pad(spectrum, (0, 16 - FACTORS), constant_values=-1), A, stored.T @ targets


def literal(A, b, start, steps):
    """Iterates of conjugate gradients preconditioned by A's diagonal, and residual' diag(A)^-1 residual at each."""
    vector, residual = start.copy(), b - A @ start
    direction = residual / np.diag(A)
    slopes, iterates = [residual @ direction], [vector.copy()]
    for _ in range(steps):
        length = slopes[-1] / (direction @ A @ direction)
        vector, residual = vector + length * direction, residual - length * A @ direction
        image = residual / np.diag(A)
        slopes.append(residual @ image)
        direction = image + slopes[-1] / slopes[-2] * direction
        iterates.append(vector.copy())
    return iterates, np.array(slopes)


def improve(problem, start, steps, tolerance=0.0):
    rows, fixed, spectrum, *_ = problem
    solved, taken = start[None].copy(), np.array([steps], np.uint16)
    assert solve_rows(rows, 0, 1, fixed, spectrum, taken, tolerance, make_scratch(fixed), solved) == -1
    return solved[0], int(taken[0])


@pytest.mark.parametrize("cells", [1, 3, 4, 7, 8, 30])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_so_many_steps_are_the_literal_ones(cells, negative, steps):
    case = problem(cells, negative)
    start = np.random.default_rng(1).standard_normal(FACTORS)
    iterates, slopes = literal(*case[3:], start, steps)
    assert slopes.min() > 0
    solved, taken = improve(case, start, steps)
    assert taken == steps
    np.testing.assert_allclose(solved, iterates[-1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("tolerance", [0.5, 0.1, 1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("cells", [4, 9, 30])
def test_the_last_step_is_the_first_that_is_expected_to_do(tolerance, cells):
    case = problem(cells, seed=3)
    start = np.full(FACTORS, 0.2)
    iterates, slopes = literal(*case[3:], start, 40)
    goal, expected = tolerance * slopes[0], 0
    while not slopes[expected] <= goal:
        expected += 1
        before = expected - 1  # the step to come is the last if it does as its forerunner did
        if before > 0 and slopes[before] * (slopes[before] / slopes[before - 1]) <= goal:
            break
    solved, taken = improve(case, start, 40, tolerance)
    assert taken == expected
    np.testing.assert_allclose(solved, iterates[expected], rtol=1e-7, atol=1e-9)


def test_a_start_of_zeros_begins_from_the_targets():
    case = problem(9)
    iterates, _ = literal(*case[3:], np.zeros(FACTORS), 2)
    np.testing.assert_allclose(improve(case, np.zeros(FACTORS), 2)[0], iterates[-1], rtol=1e-9)


def test_an_exact_start_takes_no_step():
    case = problem(9)
    exact = np.linalg.solve(*case[3:])
    solved, taken = improve(case, exact, 5)
    assert taken == 0
    np.testing.assert_array_equal(solved, exact)


def test_a_start_without_any_residual_is_left_as_it_is():
    # one factor, b = 2 x 3, A = 1 + 1 x 1 + 2 x 3^2 = 20, so that nothing is rounded
    rows = one_row([2.0], [20.0], regularization=1.0, background=1.0)
    fixed = whole_tiles(np.array([[3.0]]))
    solved, taken = np.array([[3.0]]), np.array([4], np.uint16)
    assert solve_rows(rows, 0, 1, fixed, np.r_[1.0, np.full(7, -1.0)], taken, 0.0, make_scratch(fixed), solved) == -1
    assert (taken[0], solved[0, 0]) == (0, 3.0)


def test_more_steps_than_factors_end_at_the_solution():
    case = problem(30, seed=5)
    solved, taken = improve(case, np.ones(FACTORS), 200)
    np.testing.assert_allclose(solved, np.linalg.solve(*case[3:]), rtol=1e-9)
    assert 2 < taken < 60


def test_rows_after_an_empty_one_are_solved_too_and_say_what_they_took():
    rows = make_rows(np.array([0, 1, 1, 2]), np.array([0, 1], np.int32), np.ones(2), np.ones(2))
    fixed = whole_tiles(np.array([[1.0, 2.0], [2.0, 1.0]]))
    solved, taken = np.full((3, 2), 7.0), np.array([3, 3, 0], np.uint16)
    assert solve_rows(rows, 0, 3, fixed, np.ones(8), taken, 0.0, make_scratch(fixed), solved) == -1
    assert taken.tolist()[1:] == [0, 0]
    assert solved[1].tolist() == [0, 0]
    # (1 + 1 + h h') w = h
    np.testing.assert_allclose(solved[[0, 2]], [[1 / 7, 2 / 7], [2 / 7, 1 / 7]], rtol=1e-9)


def test_a_scratch_of_another_spectrum_is_not_believed():
    fixed = whole_tiles(np.array([[1.0, 2.0]]))
    scratch, solved = make_scratch(fixed), np.zeros((1, 2))
    rows = one_row([1.0], [1.0], regularization=0.0)
    for spectrum in (np.full(8, 1.0), np.full(8, 4.0)):
        assert solve_rows(rows, 0, 1, fixed, spectrum, np.zeros(1, np.uint16), 0.0, scratch, solved) == -1
        expected = np.linalg.solve(spectrum[0] * np.eye(2) + np.outer([1, 2], [1, 2]), [1, 2])
        np.testing.assert_allclose(solved[0], expected, rtol=1e-12)
