"""Values and gradients of the objectives against literal dense formulas, finite differences and complex steps."""

import os

import numpy as np
import pytest
from scipy import sparse

from implicit_wmf import InputError, kernels
from implicit_wmf.objectives import (
    KLDivergence,
    ObservedSquares,
    SymmetricSquares,
    WeightedSquares,
    check_gradient,
)

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
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


def divergence(d, as_sparse, given="BC", generalized=True):
    """With d the rows of X, or without B its columns."""
    A = np.abs(random_matrix((6, 9), 7, 0.5))
    rows, columns = d if "B" in given else 6, 5 if given == "BC" else d if given == "C" else 9
    sides = {"B": positive((rows, 6), 8), "C": positive((columns, 9), 9)}
    B, C = (sides[name] if name in given else np.eye(size) for name, size in (("B", 6), ("C", 9)))

    def value(X):
        P = B.T @ X @ C
        total = (A[A > 0] * np.log(A[A > 0] / P[A > 0])).sum()
        return total + (P - A).sum() if generalized else total

    data = sparse.csr_array(A) if as_sparse else A
    objective = KLDivergence(data, **{name: sides[name] for name in given}, generalized=generalized)
    return objective, value, [positive((rows, columns), 10)]


def divergence_only(d, as_sparse):
    return divergence(d, as_sparse, generalized=False)


def divergence_with_left(d, as_sparse):
    return divergence(d, as_sparse, "B")


def divergence_with_right(d, as_sparse):
    return divergence(d, as_sparse, "C")


def positive(shape, seed):
    return np.abs(np.random.default_rng(seed).standard_normal(shape)) + 0.1


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


CASES = [
    weighted,
    observed,
    symmetric,
    divergence,
    divergence_only,
    divergence_with_left,
    divergence_with_right,
]


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
        for entries in (
            M,
            np.where(known, M, np.nan),
            sparse.csr_array(M),
            sparse.csc_array(np.where(known, M, np.nan)),
        )
        for form in (known, sparse.csr_array(known), np.nonzero(known), tuple(np.tile(np.nonzero(known), 2)))
    ]
    assert values == pytest.approx([values[0]] * 16, rel=1e-14)


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


@pytest.mark.parametrize("given", ["B", "C", "BC"])
@pytest.mark.parametrize("generalized", [False, True])
def test_infinite_slopes_reach_only_entries_that_can_raise_the_prediction(given, generalized):
    generator = np.random.default_rng(3)
    A, B, C, X = (generator.integers(0, 3, shape) * 1.0 for shape in ((4, 5), (3, 4), (2, 5), (3, 2)))
    B, C = (B if "B" in given else np.eye(4)), (C if "C" in given else np.eye(5))
    X = np.where(generator.random((len(B), len(C))) < 0.3, 1.0, 0.0)
    P = B.T @ X @ C
    expected = np.zeros_like(X)
    for (k, column), (i, j) in ((at, cell) for at in np.ndindex(X.shape) for cell in np.ndindex(A.shape)):
        reach = B[k, i] * C[column, j]
        if reach > 0 and A[i, j] > 0:
            expected[k, column] -= reach * A[i, j] / P[i, j] if P[i, j] > 0 else np.inf
        expected[k, column] += reach * generalized
    assert np.isinf(expected).any() and not np.isinf(expected).all()
    sides = {name: side for name, side in (("B", B), ("C", C)) if name in given}
    for data in (A, sparse.csr_array(A)):
        objective = KLDivergence(data, **sides, generalized=generalized)
        np.testing.assert_allclose(objective.gradient(X)[0], expected, rtol=1e-13)
        np.testing.assert_allclose([objective.row_gradient(k, X) for k in range(len(X))], expected, rtol=1e-13)
        entries = [objective.entry_gradient(k, column, X) for k, column in np.ndindex(X.shape)]
        np.testing.assert_allclose(np.reshape(entries, X.shape), expected, rtol=1e-13)


def test_the_divergence_keeps_its_digits_next_to_the_minimum():
    W, H = positive((6, 3), 0), 1e6 * positive((3, 9), 1)
    data = W @ H
    # of P = (1 + e) A: sum A (e - log(1 + e)), e^2 / 2 for a small e
    assert KLDivergence(data, C=H).value(W * (1 + 1e-6)) == pytest.approx(data.sum() * 5e-13, rel=1e-5)


def test_the_divergence_is_finite_where_the_quotient_is_not():
    value = KLDivergence([[1e10]], C=[[1e-300]], generalized=False).value([[1.0]])
    assert value == pytest.approx(1e10 * (10 + 300) * np.log(10), rel=1e-12)


def test_targets_without_weight_count_however_small_they_are():
    R, P = np.array([[1e9, 1e-3], [2e-3, 0.0]]), np.diag([1.0, 0.0])
    objective = SymmetricSquares(R, sparse.csr_array(sparse.coo_array(([1.0], ([0], [0])), shape=P.shape)))
    assert objective.value([[np.sqrt(1e9)], [1.0]]) == pytest.approx(5e-6, rel=1e-6)


def untidy(matrix, layout):
    """The same matrix in another layout: cells in any order, some in two halves, zeros stored."""
    rows, columns = np.nonzero(matrix + (np.indices(matrix.shape).sum(axis=0) % 5 == 0))
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(rows.size), 2))
    rows, columns = rows[order], columns[order]
    triple = sparse.coo_array((matrix[rows, columns] / 2, (rows, columns)), shape=matrix.shape)
    if layout == "coo":
        return triple
    if layout == "csc":
        return triple.tocsc()
    # scipy sorts and adds up when it converts, so write this one by hand
    order = np.argsort(rows, kind="stable")
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=matrix.shape[0])))
    untidy = sparse.csr_array((triple.data[order], columns[order], indptr), shape=matrix.shape)
    for part in (untidy.data, untidy.indices, untidy.indptr):
        part.flags.writeable = False
    return untidy


@pytest.mark.parametrize("layout", ["coo", "csc", "csr"])
def test_sparse_data_may_be_untidy_and_are_left_alone(layout):
    Y, C = random_matrix((7, 7), 1), np.abs(random_matrix((7, 7), 2))
    known = untidy(C, layout)
    pattern = np.zeros(C.shape, dtype=bool)
    pattern[known.tocoo().row, known.tocoo().col] = True
    assert pattern.sum() > (C > 0).sum()
    W, H = positive((7, 4), 3), positive((7, 4), 4)
    before = known.toarray()
    for ours, expected, point in (
        (WeightedSquares(untidy(Y, layout), known), WeightedSquares(Y, C), (W, H)),
        (ObservedSquares(untidy(Y, layout), known, 0.1), ObservedSquares(Y, pattern, 0.1), (W, H)),
        (KLDivergence(known, C=H.T), KLDivergence(C, C=H.T), (W,)),
        (SymmetricSquares(untidy(Y, layout), known), SymmetricSquares(Y, C), (W,)),
    ):
        assert ours.value(*point) == pytest.approx(expected.value(*point), rel=1e-13)
        for one, other in zip(ours.gradient(*point), expected.gradient(*point), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(known.toarray(), before)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_data_are_copied(form):
    Y, C, W, H = form(np.ones((3, 4))), form(np.ones((3, 4))), positive((3, 1), 0), positive((1, 4), 1)
    objectives = [WeightedSquares(Y, C), KLDivergence(C, C=H)]
    before = [objectives[0].value(W, H.T), objectives[1].value(W)]
    for given in (Y, C) if form is np.asarray else (Y.data, C.data):
        given[...] = 7
    H_then, H[...] = H.copy(), 7
    assert [objectives[0].value(W, H_then.T), objectives[1].value(W)] == before


def test_nothing_of_the_size_of_the_whole_matrix_is_formed():
    n = 70_000  # n^2 is more than 32 bits count and than memory holds
    at = (np.array([3, n - 1, n - 1]), np.array([5, 5, n - 1]))
    data = sparse.csr_array(sparse.coo_array(([1.0, 2.0, 3.0], at), shape=(n, n)))
    ones = np.ones((n, 1))
    for objective, point, value, last in (
        (WeightedSquares(data, data), (ones, ones), 0 + 2 * 1 + 3 * 4, -2 * (2 * 1 + 3 * 2)),
        (ObservedSquares(data, at), (ones, ones), (0 + 1 + 4) / 2, -(1 + 2)),
        (SymmetricSquares(data, data), (ones,), 0, 0),
        (KLDivergence(data, C=ones.T), (ones,), 2 * np.log(2) + 3 * np.log(3) - 6 + float(n) ** 2, n - 2 - 3),
        (KLDivergence(data, B=ones.T), (ones.T,), 2 * np.log(2) + 3 * np.log(3) - 6 + float(n) ** 2, n - 3),
    ):
        assert objective.value(*point) == pytest.approx(value, rel=1e-14)
        gradient = objective.gradient(*point)[0]
        assert gradient[-1, -1] == last
        k, column = (size - 1 for size in gradient.shape)
        assert objective.row_gradient(k, *point)[-1] == last
        assert objective.entry_gradient(k, column, *point) == last


@pytest.mark.skipif(not COMPILED, reason="without Numba there are no signatures")
def test_read_only_arrays_compile_nothing_more():
    objective, _, point = weighted(4, True)
    objective.value(*point), objective.gradient(*point)
    compiled = (kernels.cells.cell_products, kernels.cells.combine_rows)
    before = [len(kernel.signatures) for kernel in compiled]  # other tests may have called them otherwise
    assert min(before) > 0
    for factor in point:
        factor.flags.writeable = False
        objective.value(*point), objective.gradient(*point), objective.value(*map(np.asfortranarray, point))
    assert [len(kernel.signatures) for kernel in compiled] == before


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_are_the_same_in_blocks_of_a_few_cells(monkeypatch, threads):
    objective, _, point = weighted(4, True)
    value, whole = objective.value(*point), objective.gradient(*point)
    monkeypatch.setattr("implicit_wmf.objectives.cells._BLOCK_CELLS", 3)
    monkeypatch.setattr("implicit_wmf.threads.available_threads", lambda: threads)
    assert len(objective._cells._edges) > 3
    assert objective.value(*point) == value
    for part, expected in zip(objective.gradient(*point), whole, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_rows_and_columns_out_of_range_are_refused(case):
    objective, _, point = case
    rows, columns = point[0].shape
    for k in (-1, rows):
        with pytest.raises(InputError, match=rf"k is {k}; it must be from 0 to {rows - 1}"):
            objective.row_gradient(k, *point)
        with pytest.raises(InputError, match=f"k is {k}"):
            objective.entry_gradient(k, 0, *point)
        if hasattr(objective, "row_system"):
            with pytest.raises(InputError, match=f"k is {k}"):
                objective.row_system(k, point[1])
    for column in (-1, columns):
        with pytest.raises(InputError, match=f"column is {column}; it must be from 0 to {columns - 1}"):
            objective.entry_gradient(0, column, *point)
    with pytest.raises(InputError, match="k must be an integer, got 0.5"):
        objective.row_gradient(0.5, *point)
    assert np.array_equal(objective.row_gradient(np.int32(0), *point), objective.row_gradient(0, *point))
