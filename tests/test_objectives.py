"""Values and gradients of the objectives against literal dense formulas, finite differences and complex steps."""

import numpy as np
import pytest
from scipy import sparse

from implicit_wmf import InputError
from implicit_wmf.objectives import (
    KLDivergence,
    ObservedSquares,
    SymmetricSquares,
    WeightedSquares,
    check_gradient,
)

DIMENSIONS = [1, 4, 17]


def random_matrix(shape, seed=0, density=0.4):
    """Normal entries with zeros among them, an empty row and an empty column."""
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal(shape) * (generator.random(shape) < density)
    matrix[1], matrix[:, 2] = 0, 0
    return matrix


def weighted(d, as_sparse):
    Y, C = random_matrix((7, 9), 1), np.abs(random_matrix((7, 9), 2))
    convert = sparse.csr_array if as_sparse else np.asarray
    return (
        WeightedSquares(convert(Y), convert(C)),
        lambda W, H: (C * (Y - W @ H.T) ** 2).sum(),
        factors((7, d), (9, d)),
    )


def observed(d, as_sparse):
    M, known = random_matrix((6, 8), 3, 1.0), random_matrix((6, 8), 4) != 0
    pattern = sparse.csr_array(known) if as_sparse else known
    return (
        ObservedSquares(M, pattern, 0.7),
        lambda U, V: 0.5 * (known * (M - U @ V.T) ** 2).sum() + 0.35 * ((U**2).sum() + (V**2).sum()),
        factors((6, d), (8, d)),
    )


def symmetric(d, as_sparse):
    R, P = random_matrix((8, 8), 5), random_matrix((8, 8), 6)
    convert = sparse.csr_array if as_sparse else np.asarray
    return SymmetricSquares(convert(R), convert(P)), lambda G: ((R - P * (G @ G.T)) ** 2).sum(), factors((8, d))


def divergence(d, as_sparse, generalized=True):
    A = np.abs(random_matrix((6, 9), 7, 0.5))
    B, C = (
        np.abs(np.random.default_rng(seed).standard_normal(shape)) + 0.1 for seed, shape in ((8, (d, 6)), (9, (5, 9)))
    )

    def value(X):
        P = B.T @ X @ C
        total = (A[A > 0] * np.log(A[A > 0] / P[A > 0])).sum()
        return total + (P - A).sum() if generalized else total

    data = sparse.csr_array(A) if as_sparse else A
    return KLDivergence(data, B, C, generalized=generalized), value, [np.abs(f) + 0.1 for f in factors((d, 5))]


def divergence_only(d, as_sparse):
    return divergence(d, as_sparse, generalized=False)


def factors(*shapes):
    generator = np.random.default_rng(42)
    return [generator.standard_normal(shape) for shape in shapes]


def complex_steps(function, point):
    """Derivatives from imaginary steps: no difference is taken, so they are exact to rounding."""
    gradients = []
    for number, factor in enumerate(point):
        gradient = np.zeros_like(factor)
        for at in np.ndindex(*factor.shape):
            shifted = [other.astype(complex) for other in point]
            shifted[number][at] += 1e-30j
            gradient[at] = function(*shifted).imag / 1e-30
        gradients.append(gradient)
    return gradients


CASES = [weighted, observed, symmetric, divergence, divergence_only]


@pytest.fixture(params=[(case, d, form) for case in CASES for d in DIMENSIONS for form in (False, True)],
                ids=lambda p: f"{p[0].__name__}-{p[1]}-{'sparse' if p[2] else 'dense'}")  # fmt: skip
def case(request):
    make, d, as_sparse = request.param
    return make(d, as_sparse)


def test_value_equals_the_literal_formula(case):
    objective, literal, point = case
    assert objective.value(*point) == pytest.approx(literal(*point), rel=1e-12)


def test_gradient_agrees_with_finite_differences(case):
    objective, _, point = case
    assert check_gradient(objective, point).relative < 1e-7


def test_gradient_agrees_with_complex_steps_of_the_literal_formula(case):
    objective, literal, point = case
    for ours, expected, factor in zip(objective.gradient(*point), complex_steps(literal, point), point, strict=True):
        assert ours.shape == factor.shape
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_row_and_entry_gradients_are_those_of_the_whole(case):
    objective, _, point = case
    gradient = objective.gradient(*point)[0]
    scale = np.abs(gradient).max()
    for k in range(len(gradient)):
        np.testing.assert_allclose(objective.row_gradient(k, *point), gradient[k], rtol=1e-10, atol=1e-12 * scale)
        for column in range(gradient.shape[1]):
            entry = objective.entry_gradient(k, column, *point)
            assert entry == pytest.approx(gradient[k, column], rel=1e-10, abs=1e-12 * scale)


@pytest.mark.parametrize("make", [weighted, observed])
@pytest.mark.parametrize("d", DIMENSIONS)
def test_row_system_is_solved_where_the_row_gradient_is_zero(make, d):
    objective, _, (W, H) = make(d, True)
    for k in range(len(W)):
        A, b = objective.row_system(k, H)
        np.testing.assert_allclose(A @ W[k] - b, objective.row_gradient(k, W, H), rtol=1e-9, atol=1e-10)


def test_known_cells_may_come_as_pattern_mask_or_pairs():
    M, known = random_matrix((6, 8), 3, 1.0), random_matrix((6, 8), 4) != 0
    point = factors((6, 2), (8, 2))
    values = [
        ObservedSquares(entries, form, 0.1).value(*point)
        for entries in (M, np.where(known, M, np.nan), sparse.csr_array(M))
        for form in (known, sparse.csr_array(known), np.nonzero(known))
    ]
    assert values == pytest.approx([values[0]] * 9, rel=1e-14)


def test_a_known_submatrix_is_a_mask_of_rows_and_columns():
    # J1' J1 and J2 J2' select rows 0, 2, 3 and columns 1, 4: -J1'J1 (M - U V') J2J2' V + lambda U
    M = random_matrix((5, 6), 3, 1.0)
    rows, columns = [0, 2, 3], [1, 4]
    known = np.zeros(M.shape, dtype=bool)
    known[np.ix_(rows, columns)] = True
    U, V = factors((5, 3), (6, 3))
    J1, J2 = np.eye(5)[rows], np.eye(6)[:, columns]
    expected = -J1.T @ J1 @ (M - U @ V.T) @ J2 @ J2.T @ V + 0.2 * U
    np.testing.assert_allclose(ObservedSquares(M, known, 0.2).gradient(U, V)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_plain_factorization_is_the_divergence_with_one_side_given(as_sparse):
    A = np.abs(random_matrix((6, 9), 7, 0.5))
    W, H = (np.abs(f) + 0.1 for f in factors((6, 3), (3, 9)))
    data = sparse.csr_array(A) if as_sparse else A
    for objective, factor in ((KLDivergence(data, C=H), W), (KLDivergence(data, B=W.T), H)):
        P = W @ H
        expected = (A[A > 0] * np.log(A[A > 0] / P[A > 0])).sum() + (P - A).sum()
        assert objective.value(factor) == pytest.approx(expected, rel=1e-12)
        assert check_gradient(objective, [factor]).relative < 1e-7
        gradient = objective.gradient(factor)[0]
        np.testing.assert_allclose(objective.row_gradient(1, factor), gradient[1], rtol=1e-10)
        assert objective.entry_gradient(1, 2, factor) == pytest.approx(gradient[1, 2], rel=1e-10)


def test_the_divergence_is_zero_where_the_prediction_is_the_data():
    W, H = (np.abs(f) for f in factors((6, 3), (3, 9)))
    objective = KLDivergence(W @ H, C=H)
    assert objective.value(W) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(objective.gradient(W)[0], 0, atol=1e-12)


def test_predictions_of_zero_make_the_divergence_infinite_where_there_is_data():
    A, C = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    X = np.array([[0.0, 0.0], [1.0, 3.0]])
    objective = KLDivergence(A, C=C)
    assert objective.value(X) == np.inf
    gradient = objective.gradient(X)[0]
    assert gradient.tolist() == [[-np.inf, 1.0], [1.0, 1 - 2 / 3]]
    assert objective.row_gradient(0, X).tolist() == [-np.inf, 1.0]
    assert objective.entry_gradient(0, 0, X) == -np.inf
    # a prediction of 0 where A is 0 too adds nothing
    assert KLDivergence(np.diag([0.0, 2.0]), C=C).value(X) == pytest.approx(2 * np.log(2 / 3) - 2 + 4)


def test_check_gradient_finds_what_is_wrong():
    class Wrong:
        def value(self, X):
            return float((X**2).sum())

        def gradient(self, X):
            gradient = 2 * X
            gradient[1, 0] += 0.5
            return (gradient,)

    found = check_gradient(Wrong(), [np.arange(6.0).reshape(3, 2)])
    assert found.absolute == pytest.approx(0.5, rel=1e-6)
    assert found.relative == pytest.approx(0.05, rel=1e-6)
    assert found.where == (0, 1, 0)


def test_sums_are_the_same_in_blocks_of_a_few_cells(monkeypatch):
    objective, _, point = weighted(4, True)
    whole = objective.gradient(*point)
    monkeypatch.setattr("implicit_wmf.objectives.cells._BLOCK_CELLS", 3)
    for part, expected in zip(objective.gradient(*point), whole, strict=True):
        np.testing.assert_array_equal(part, expected)


ONES = np.ones((3, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedSquares(ONES, -ONES), r"C is -1 at row 0, column 0; it must be finite and at least 0"),
        (lambda: WeightedSquares(ONES, np.where(np.eye(3, 4), np.nan, 1)), r"C is nan at row 0, column 0"),
        (lambda: WeightedSquares(ONES, ONES.T), r"Y has shape \(3, 4\); \(4, 3\) is needed"),
        (
            lambda: WeightedSquares(ONES, ONES).value(np.ones((3, 2)), np.ones((3, 2))),
            r"H has shape \(3, 2\); \(4, 2\)",
        ),
        (lambda: ObservedSquares(ONES, ONES > 2), "observed has no cell at all"),
        (lambda: ObservedSquares(ONES, ONES), "observed must be sparse, boolean"),
        (lambda: ObservedSquares(ONES, (np.array([0]), np.array([4]))), "column indices outside 0 to 3"),
        (lambda: ObservedSquares(ONES, ONES > 0, -1), "regularization must be a finite number of at least 0"),
        (lambda: KLDivergence(-ONES, C=ONES), "A is -1 at row 0, column 0"),
        (lambda: KLDivergence(ONES, C=-ONES), "C is -1 at row 0, column 0"),
        (lambda: KLDivergence(ONES, C=ONES).value(-np.ones((3, 3))), "X is -1 at row 0, column 0"),
        (lambda: KLDivergence(ONES, C=ONES).value(np.ones((3, 4))), r"X has shape \(3, 4\); \(3, 3\) is needed"),
        (lambda: KLDivergence(ONES, B=ONES), r"B has shape \(3, 4\); \(3, 3\) is needed"),
        (lambda: KLDivergence(ONES), "give B, C or both"),
        (lambda: SymmetricSquares(ONES, ONES), r"P has shape \(3, 4\); it must be square"),
        (lambda: SymmetricSquares(np.ones((2, 2)), np.ones((3, 3))), r"R has shape \(2, 2\); \(3, 3\) is needed"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
