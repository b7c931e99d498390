"""What the objectives refuse, and the words they say it in."""

import numpy as np
import pytest
from scipy import sparse

from implicit_wmf import InputError
from implicit_wmf.objectives import KLDivergence, ObservedSquares, SymmetricSquares, WeightedSquares

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
        (
            lambda: ObservedSquares(ONES, ONES),
            "observed must be sparse, a boolean array, or .* got ndarray of dtype float64",
        ),
        (
            lambda: ObservedSquares(ONES, (np.array([0]), np.array([4]))),
            "observed columns: 4 at position 0 is out of range",
        ),
        (lambda: ObservedSquares(ONES, ONES > 0, -1), "regularization must be a finite number of at least 0"),
        (lambda: KLDivergence(-ONES, C=ONES), "A is -1 at row 0, column 0"),
        (lambda: KLDivergence(ONES, C=-ONES), "C is -1 at row 0, column 0"),
        (lambda: KLDivergence(ONES, C=ONES).value(-np.ones((3, 3))), "X is -1 at row 0, column 0"),
        (lambda: KLDivergence(ONES, C=ONES).value(np.ones((3, 4))), r"X has shape \(3, 4\); \(3, 3\) is needed"),
        (lambda: KLDivergence(ONES, B=ONES), r"B has shape \(3, 4\); \(3, 3\) is needed"),
        (lambda: KLDivergence(ONES), "give B, C or both"),
        (lambda: KLDivergence(ONES, C=[[1, 2, np.inf, 4]]), "C is inf at row 0, column 2"),
        (lambda: KLDivergence(ONES.T, C=ONES), r"C has shape \(3, 4\); \(3, 3\) is needed"),
        (lambda: KLDivergence(sparse.csr_array(-np.eye(3)), C=ONES), "A is -1 at row 0, column 0"),
        (
            lambda: WeightedSquares(sparse.csr_array([[0.0, np.nan]]), sparse.csr_array([[1.0, 0.0]])),
            "Y is nan at row 0",
        ),
        (lambda: WeightedSquares([[0.0, np.nan]], sparse.csr_array([[1.0, 0.0]])), "Y is nan at row 0, column 1"),
        (lambda: WeightedSquares(ONES, ONES * 1j), "C: dtype complex128 does not hold real numbers"),
        (lambda: WeightedSquares(ONES, sparse.csr_array(ONES * 1j)), "C: dtype complex128 does not hold real"),
        (lambda: WeightedSquares([["1"]], [[1]]), "Y: dtype <U1 does not hold real numbers"),
        (lambda: WeightedSquares([[1, 2], [3]], ONES), "Y is not a rectangular matrix of numbers"),
        (lambda: WeightedSquares(np.ma.masked_less(ONES, 2), ONES), "Y is a masked array"),
        (lambda: WeightedSquares(ONES[0], ONES[0]), r"C must be a matrix that is not empty, got shape \(4,\)"),
        (lambda: WeightedSquares(ONES, sparse.coo_array(ONES[0])), r"C must be a matrix .* got shape \(4,\)"),
        (lambda: WeightedSquares(ONES, sparse.csr_array((0, 4))), r"C must be a matrix .* got shape \(0, 4\)"),
        (
            lambda: WeightedSquares(ONES, ONES).value(np.ones((3, 2)), np.ones((4, 3))),
            r"H has shape \(4, 3\); \(4, 2\)",
        ),
        (
            lambda: WeightedSquares(ONES, ONES).value(np.full((3, 1), np.nan), np.ones((4, 1))),
            "W is nan at row 0, column 0",
        ),
        (
            lambda: ObservedSquares(ONES, np.ones((4, 3), dtype=bool)),
            r"observed has shape \(4, 3\); \(3, 4\) is needed",
        ),
        (lambda: ObservedSquares(ONES, sparse.csr_array(ONES.T)), r"observed has shape \(4, 3\); \(3, 4\) is needed"),
        (lambda: ObservedSquares(ONES, (np.array([-1]), np.array([0]))), "observed rows: -1 at position 0 is negative"),
        (lambda: ObservedSquares(ONES, ([0, 1], [2])), "observed has 2 row and 1 column indices"),
        (lambda: ObservedSquares(ONES, ([0], [1], [2])), "observed is a tuple of 3"),
        (lambda: ObservedSquares(ONES, ([0.0], [1])), "observed rows: expected integers"),
        (lambda: ObservedSquares(ONES * np.nan, ONES > 0), "M is nan at row 0, column 0"),
        (lambda: ObservedSquares(sparse.csr_array(np.nan * np.eye(2)), ([1], [1])), "M is nan at row 1, column 1"),
        (lambda: ObservedSquares(ONES, ONES > 0, None), "regularization must be a finite number .* got None"),
        (lambda: SymmetricSquares(ONES, ONES), r"P has shape \(3, 4\); it must be square"),
        (lambda: SymmetricSquares(np.ones((2, 2)), np.ones((3, 3))), r"R has shape \(2, 2\); \(3, 3\) is needed"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("C", lambda broken: WeightedSquares(np.eye(3), broken)),
        ("Y", lambda broken: WeightedSquares(broken, np.eye(3))),
        ("M", lambda broken: ObservedSquares(broken, np.eye(3) > 0)),
        ("observed", lambda broken: ObservedSquares(np.eye(3), broken)),
        ("A", lambda broken: KLDivergence(broken, C=np.eye(3))),
        ("P", lambda broken: SymmetricSquares(np.eye(3), broken)),
        ("R", lambda broken: SymmetricSquares(broken, np.eye(3))),
    ],
)
def test_broken_sparse_matrices_do_not_reach_compiled_code(part, name, make):
    broken = sparse.csr_array(np.eye(3))
    getattr(broken, part)[1] = 10**6
    with pytest.raises(InputError, match=rf"{name}: matrix.{part}"):
        make(broken)
