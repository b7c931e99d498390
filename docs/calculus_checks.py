"""The checks of docs/calculus.md: each prints what it found, and asserts it.

What is printed is a bound that the code asserts, or the deviation of a formula that fails, which is far from 0: both
are the same on every machine.
"""

import numpy as np
from scipy import sparse

from implicit_wmf.objectives import (
    KLDivergence,
    ObservedSquares,
    SymmetricSquares,
    WeightedSquares,
    check_gradient,
)


def differences(f, X):
    """Differentiate f by each entry of X by central differences: an array of X's shape."""
    gradient, step = np.zeros(X.shape), 1e-5
    for entry in np.ndindex(X.shape):
        shift = np.zeros(X.shape)
        shift[entry] = step
        gradient[entry] = (f(X + shift) - f(X - shift)) / (2 * step)
    return gradient


def deviation(found, expected):
    """Largest deviation of an entry, relative to the largest entry."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def agrees(name, found, expected, bound=1e-7):
    """Assert that two arrays agree, and say so."""
    assert deviation(found, expected) < bound, name
    print(f"{name}: relative deviation below {bound:g}")


def fails(name, found, expected):
    """Assert that two arrays are far apart, and say how far."""
    assert deviation(found, expected) > 0.1, name
    print(f"{name}: FAILS, relative deviation {deviation(found, expected):.2g}")


def rows():
    """Question 1: gradients of rows and entries."""
    rng = np.random.default_rng(1)
    Y, C = rng.standard_normal((5, 7)), rng.random((5, 7))
    W, H = rng.standard_normal((5, 3)), rng.standard_normal((7, 3))
    objective = WeightedSquares(Y, C)

    expected = differences(lambda W: (C * (Y - W @ H.T) ** 2).sum(), W)
    by_rows = [objective.row_gradient(k, W, H) for k in range(5)]
    by_entries = [[objective.entry_gradient(k, column, W, H) for column in range(3)] for k in range(5)]
    agrees("rows, against differences", np.array(by_rows), expected)
    agrees("entries, against differences", np.array(by_entries), expected)


def kronecker():
    """Question 1: the row systems are the blocks of the Kronecker system."""
    rng = np.random.default_rng(1)
    Y, C, H = rng.standard_normal((5, 7)), rng.random((5, 7)), rng.standard_normal((7, 3))
    objective = WeightedSquares(Y, C)
    row_by_row = np.array([np.linalg.solve(*objective.row_system(k, H)) for k in range(5)])

    K = np.kron(np.eye(5), H)  # K @ W.ravel() is (W @ H.T).ravel(): rows stacked
    system = K.T @ np.diag(C.ravel()) @ K
    at_once = np.linalg.solve(system, K.T @ (C * Y).ravel()).reshape(5, 3)
    agrees("solved at once, against row by row", at_once, row_by_row, 1e-10)

    blocks = system.reshape(5, 3, 5, 3).swapaxes(1, 2)
    off_diagonal = blocks[~np.eye(5, dtype=bool)]
    assert not off_diagonal.any()
    print(f"numbers in the Kronecker system: {system.size}, of which {off_diagonal.size} are zeros between the blocks")


def hadamard():
    """Question 2: both gradients of the weighted sum of squares."""
    rng = np.random.default_rng(2)
    Y, C = rng.standard_normal((6, 8)), rng.random((6, 8)) * (rng.random((6, 8)) < 0.4)
    W, H = rng.standard_normal((6, 3)), rng.standard_normal((8, 3))
    dW, dH = WeightedSquares(sparse.csr_array(Y), sparse.csr_array(C)).gradient(W, H)

    M = Y - W @ H.T
    agrees("df/dW, against the formula", dW, -2 * (C * M) @ H, 1e-12)
    agrees("df/dH, against the formula", dH, -2 * (C * M).T @ W, 1e-12)
    agrees("df/dW, against differences", dW, differences(lambda W: (C * (Y - W @ H.T) ** 2).sum(), W))
    agrees("df/dH, against differences", dH, differences(lambda H: (C * (Y - W @ H.T) ** 2).sum(), H))


def known():
    """Question 3: known entries anywhere."""
    rng = np.random.default_rng(3)
    M, E = rng.standard_normal((6, 5)), rng.random((6, 5)) < 0.5
    U, V, lam = rng.standard_normal((6, 2)), rng.standard_normal((5, 2)), 0.3
    dU, dV = ObservedSquares(M, E, regularization=lam).gradient(U, V)

    def f(U, V):
        return ((M - U @ V.T)[E] ** 2).sum() / 2 + lam / 2 * ((U**2).sum() + (V**2).sum())

    A = E * (M - U @ V.T)
    agrees("df/dU, against the formula", dU, -A @ V + lam * U, 1e-12)
    agrees("df/dV, against the formula", dV, -A.T @ U + lam * V, 1e-12)
    agrees("df/dU, against differences", dU, differences(lambda U: f(U, V), U))
    agrees("df/dV, against differences", dV, differences(lambda V: f(U, V), V))


def submatrix():
    """Question 3: a known submatrix, and the formula that forgets the product."""
    rng = np.random.default_rng(4)
    M, U, V, lam = rng.standard_normal((6, 5)), rng.standard_normal((6, 2)), rng.standard_normal((5, 2)), 0.3
    J1, J2 = np.eye(6)[[0, 2, 3]], np.eye(5)[:, [1, 4]]
    S1, S2 = J1.T @ J1, J2 @ J2.T

    expected = differences(lambda U: ((J1 @ (M - U @ V.T) @ J2) ** 2).sum(), U)
    fails("-2 J1'J1 M J2J2' V", -2 * S1 @ M @ S2 @ V, expected)
    agrees("-2 J1'J1 (M - UV') J2J2' V", -2 * S1 @ (M - U @ V.T) @ S2 @ V, expected)

    mask = np.outer(S1.diagonal(), S2.diagonal()) > 0
    dU, dV = ObservedSquares(M, mask, regularization=lam).gradient(U, V)
    agrees("with 1/2 and lambda, df/dU", dU, -S1 @ (M - U @ V.T) @ S2 @ V + lam * U, 1e-12)
    agrees("with 1/2 and lambda, df/dV", dV, -S2 @ (M - U @ V.T).T @ S1 @ U + lam * V, 1e-12)


def projected():
    """Question 3: the projected form in the wrong order."""
    rng = np.random.default_rng(5)
    M, U, V = (rng.standard_normal((4, 4)) for _ in range(3))
    E = rng.random((4, 4)) < 0.5
    A = E * (M - U @ V.T)

    expected = differences(lambda U: (E * (M - U @ V.T) ** 2).sum() / 2, U)
    wrong = V @ E.T @ A
    best = (wrong * expected).sum() / (wrong**2).sum()
    fails("-V E'A", -wrong, expected)
    fails("V E'A times the number that fits best", best * wrong, expected)
    agrees("-A V", -A @ V, expected)


def quotient():
    """Question 4: the divergence and the generalised one."""
    rng = np.random.default_rng(6)
    A, B, C = rng.random((5, 6)), rng.random((3, 5)), rng.random((4, 6))
    X = rng.random((3, 4)) + 0.1
    P = B.T @ X @ C
    (plain,) = KLDivergence(A, B, C, generalized=False).gradient(X)
    (general,) = KLDivergence(A, B, C).gradient(X)

    agrees("plain, against the formula", plain, -B @ (A / P) @ C.T, 1e-12)
    agrees("plain, against differences", plain, differences(lambda X: (A * np.log(A / (B.T @ X @ C))).sum(), X))
    constant = np.outer(B.sum(axis=1), C.sum(axis=1))
    agrees("generalised, against the formula", general, plain + constant, 1e-12)
    agrees(
        "generalised, against differences",
        general,
        differences(lambda X: (A * np.log(A / (B.T @ X @ C)) - A + B.T @ X @ C).sum(), X),
    )


def shape():
    """Question 4: one gradient in three arrangements."""
    rng = np.random.default_rng(6)
    A, B, C = rng.random((5, 6)), rng.random((3, 5)), rng.random((4, 6))
    X = rng.random((3, 4)) + 0.1
    (gradient,) = KLDivergence(A, B, C, generalized=False).gradient(X)
    Q = A / (B.T @ X @ C)

    def f(x):
        return (A * np.log(A / (B.T @ x.reshape((3, 4), order="F") @ C))).sum()

    stacked = differences(f, X.ravel(order="F"))  # by vec(X), the columns of X one below the other
    agrees("vec form, against -(C kron B) vec(A / P)", stacked, -np.kron(C, B) @ Q.ravel(order="F"))
    agrees("vec form, folded by columns", stacked.reshape((3, 4), order="F"), gradient)
    fails("vec form, folded by rows", stacked.reshape((3, 4), order="C"), gradient)
    agrees("-C (A / P)' B', transposed", (-C @ Q.T @ B.T).T, gradient, 1e-12)


def plain_nmf():
    """Question 4: non-negative matrix factorization as the case of an identity."""
    rng = np.random.default_rng(7)
    A = rng.random((6, 7)) * (rng.random((6, 7)) < 0.6)
    W, H = rng.random((6, 2)) + 0.1, rng.random((2, 7)) + 0.1
    (dW,) = KLDivergence(sparse.csr_array(A), C=H).gradient(W)
    (dH,) = KLDivergence(sparse.csr_array(A), B=W.T).gradient(H)

    def f(W, H):
        P, positive = W @ H, A > 0
        return (A[positive] * np.log(A[positive] / P[positive])).sum() + (P - A).sum()

    agrees("df/dW, against the formula", dW, (1 - A / (W @ H)) @ H.T, 1e-12)
    agrees("df/dH, against the formula", dH, W.T @ (1 - A / (W @ H)), 1e-12)
    agrees("df/dW, against differences", dW, differences(lambda W: f(W, H), W))
    agrees("df/dH, against differences", dH, differences(lambda H: f(W, H), H))


def gram():
    """Question 5: the gradient, as a matrix and by entries."""
    rng = np.random.default_rng(8)
    R, P, G = rng.standard_normal((6, 6)), rng.standard_normal((6, 6)), rng.standard_normal((6, 3))
    (gradient,) = SymmetricSquares(R, P).gradient(G)

    M = P * (G @ G.T) - R
    agrees("against the formula", gradient, 2 * (P * M + P.T * M.T) @ G, 1e-12)
    agrees("against differences", gradient, differences(lambda G: ((R - P * (G @ G.T)) ** 2).sum(), G))

    g = G[:, 0]
    by_entries = np.array(
        [
            sum(P[i, k] * (P[i, k] * g[i] * g[k] - R[i, k]) * g[i] for i in range(6))
            + sum(P[k, j] * (P[k, j] * g[k] * g[j] - R[k, j]) * g[j] for j in range(6))
            for k in range(6)
        ]
    )
    half = differences(lambda g: ((R - P * np.outer(g, g)) ** 2).sum() / 2, g)
    agrees("one column, half the objective: by entries", by_entries, half)
    agrees("one column, half the objective: the class", SymmetricSquares(R, P).gradient(g[:, None])[0][:, 0] / 2, half)


def symmetric_only():
    """Question 5: the formula that needs symmetry."""
    rng = np.random.default_rng(9)
    R, P, G = rng.standard_normal((6, 6)), rng.standard_normal((6, 6)), rng.standard_normal((6, 3))

    def compare(outcome, name, R, P):
        expected = differences(lambda G: ((R - P * (G @ G.T)) ** 2).sum(), G)
        outcome(f"4 (P o M) G, {name}", 4 * (P * (P * (G @ G.T) - R)) @ G, expected)

    compare(fails, "any R and P", R, P)
    compare(fails, "P symmetric, any R", R, P + P.T)
    compare(fails, "R symmetric, any P", R + R.T, P)
    compare(agrees, "both symmetric", R + R.T, P + P.T)


def your_own():
    """Check an objective that is not of the package."""

    class Logistic:
        """Sum of log(1 + exp(z)) - y z over all cells, where z = w_i . h_j."""

        def __init__(self, Y):
            self.Y = Y

        def value(self, W, H):
            Z = W @ H.T
            return float((np.logaddexp(0, Z) - self.Y * Z).sum())

        def gradient(self, W, H):
            S = 1 / (1 + np.exp(-W @ H.T)) - self.Y
            return S @ H, S.T @ W

    rng = np.random.default_rng(10)
    Y, W, H = rng.random((5, 7)) < 0.3, rng.standard_normal((5, 3)), rng.standard_normal((7, 3))
    found = check_gradient(Logistic(Y), [W, H])
    assert found.relative < 1e-7
    print("relative deviation below 1e-07")

    class Slip(Logistic):
        def gradient(self, W, H):
            dW, dH = super().gradient(W, H)
            dH[4, 1] *= -1
            return dW, dH

    print("largest deviation at (factor, row, column)", check_gradient(Slip(Y), [W, H]).where)
