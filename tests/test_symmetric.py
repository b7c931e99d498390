"""SymmetricMF: planted factors, the literal objective, starts, borders."""

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from damage import replace_array
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.linalg import orthogonal_procrustes

from implicit_wmf import InputError, Interactions, NotFittedError
from implicit_wmf.factorizers import SymmetricMF, symmetric_starts
from implicit_wmf.factorizers.symmetric_objectives import Penalized, UnweightedSymmetricSquares
from implicit_wmf.objectives import SymmetricSquares, check_gradient


def literal_loss(R, P, G):
    return sum(
        (R[i, j] - P[i, j] * sum(a * b for a, b in zip(G[i], G[j], strict=True))) ** 2 for i, j in np.ndindex(*R.shape)
    )


def cliques():
    """Two groups of products that go together, and by weight do not go with each other: one factor holds one group."""
    group = np.repeat([0, 1], [6, 4])
    same = group[:, None] == group
    P = np.where(same, 1.0, 2.0)
    return P * same, P


def sparse_counts(n=24, seed=0):
    """Counts with an empty row and column, a stored 0, a negative count, not symmetric."""
    generator = np.random.default_rng(seed)
    dense = generator.integers(1, 5, (n, n)) * (generator.random((n, n)) < 0.1)
    dense[3], dense[:, 3], dense[0, 1] = 0, 0, -2
    counts = sparse.coo_array(dense.astype(float))
    rows, columns = np.append(counts.row, 7), np.append(counts.col, 3)
    return sparse.csr_array((np.append(counts.data, 0.0), (rows, columns)), shape=counts.shape)


@pytest.fixture
def fitted():
    R, P = cliques()
    return SymmetricMF(1, starts=6, random_state=0).fit(R, P)


# what it finds

WEIGHTS = {
    "none": lambda generator, shape: None,
    "ones": lambda generator, shape: np.ones(shape),
    "positive": lambda generator, shape: generator.random(shape) + 0.1,
    "any sign": lambda generator, shape: generator.standard_normal(shape),
    "upper triangle": lambda generator, shape: np.triu(generator.random(shape) + 0.1),
    "sparse mask": lambda generator, shape: sparse.csr_array((generator.random(shape) < 0.5).astype(float)),
    "sparse, one-sided": lambda generator, shape: sparse.csc_array(np.triu(generator.random(shape), 1) > 0.3) * 0.7,
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("n", "r"), [(16, 1), (24, 3), (60, 5)] if COMPILED else [(16, 1), (24, 3)])
def test_planted_factors_are_recovered_up_to_rotation(n, r, kind):
    generator = np.random.default_rng(1000 * n + r)
    planted = generator.standard_normal((n, r))
    P = WEIGHTS[kind](generator, (n, n))
    weights = np.ones((n, n)) if P is None else P.toarray() if sparse.issparse(P) else P
    R = weights * (planted @ planted.T)
    model = SymmetricMF(r, random_state=0).fit(sparse.csr_array(R) if sparse.issparse(P) else R, P)
    rotation, _ = orthogonal_procrustes(model.G, planted)
    assert np.abs(model.G @ rotation - planted).max() < 1e-6
    if r == 1:
        assert min(np.abs(model.G - planted).max(), np.abs(model.G + planted).max()) < 1e-6


def test_sparse_counts_without_weights_recover_planted_groups():
    planted = np.zeros((60, 4))
    planted[np.arange(60), np.arange(60) % 4] = np.random.default_rng(5).random(60) + 0.5
    R = sparse.csr_array(planted @ planted.T)  # a quarter of the cells
    model = SymmetricMF(4, random_state=0).fit(R)
    rotation, _ = orthogonal_procrustes(model.G, planted)
    assert np.abs(model.G @ rotation - planted).max() < 1e-6


def test_without_weights_the_best_eigenvectors_are_found():
    generator = np.random.default_rng(0)
    R = generator.standard_normal((30, 30))
    eigenvalues = np.linalg.eigvalsh((R + R.T) / 2)
    model = SymmetricMF(4, random_state=0).fit(R)
    best = (R**2).sum() - (np.maximum(eigenvalues[-4:], 0) ** 2).sum()  # Eckart and Young, of the symmetric part
    assert_allclose(model.loss(), best, rtol=1e-12)
    penalized = SymmetricMF(4, regularization=2.0, random_state=0).fit(R)  # takes lambda / 2 off each eigenvalue
    assert_allclose(np.linalg.eigvalsh(penalized.G.T @ penalized.G), eigenvalues[-4:] - 1, rtol=1e-6)


@pytest.mark.parametrize("regularization", [0.0, 0.7])
def test_the_gradient_of_the_literal_objective_is_zero(regularization):
    generator = np.random.default_rng(2)
    R, P = generator.standard_normal((2, 20, 20))
    G = SymmetricMF(3, regularization=regularization, random_state=0).fit(R, P).G
    M = P * (G @ G.T) - R
    gradient = 2 * (P * M + P.T * M.T) @ G + 2 * regularization * G
    terms = 2 * (np.abs(P * M) + np.abs(P.T * M.T)) @ np.abs(G)
    assert np.abs(gradient / terms).max() < 1e-7


def test_several_starts_find_what_one_may_miss(fitted):
    # with one factor each group alone is a local minimum: the other group's 16 or 36 cells stay wrong
    assert_allclose(np.unique(fitted.start_losses.round(6)), [16, 36])
    assert_allclose(fitted.loss(), 16)
    assert_allclose(np.abs(fitted.G[:, 0]), np.repeat([1, 0], [6, 4]), atol=1e-6)
    R, P = cliques()
    single = [SymmetricMF(1, starts=1, random_state=seed).fit(R, P).loss() for seed in range(8)]
    assert max(single) > 35


def test_more_starts_begin_with_the_same_ones(fitted):
    R, P = cliques()
    assert_array_equal(SymmetricMF(1, starts=3, random_state=0).fit(R, P).start_losses, fitted.start_losses[:3])


def test_negative_part_is_left_and_zero_is_approached():
    model = SymmetricMF(2, random_state=0).fit(-np.eye(5))
    assert_allclose(model.loss(), 5)
    assert np.abs(model.G).max() < 1e-3


def test_rows_that_no_weight_looks_at_are_zero():
    R, P = np.ones((5, 5)), np.ones((5, 5))
    P[2], P[:, 2] = 0, 0
    model = SymmetricMF(1, random_state=0).fit(R, P)
    assert_allclose(np.abs(model.G[:, 0]), [1, 1, 0, 1, 1], atol=1e-7)
    assert model.G[2, 0] == 0
    assert_allclose(model.loss(), 9)  # what R holds there is the objective's, whatever G is


def test_regularization_keeps_factors_small_where_the_lowest_objective_is_at_infinity():
    R, P = np.ones((2, 2)), np.array([[1.0, 1.0], [1.0, 0.0]])
    R[0, 0] = 0  # g_0 falls towards 0 and g_1 rises, with g_0 g_1 = 1
    assert np.abs(SymmetricMF(1, random_state=0).fit(R, P).G).max() > 10
    assert np.abs(SymmetricMF(1, regularization=0.1, random_state=0).fit(R, P).G).max() < 3


def test_one_thing():
    assert_allclose(np.abs(SymmetricMF(1, random_state=0).fit([[4.0]]).G), [[2]])


@pytest.mark.parametrize("power", [-60, 8, 60])
def test_scaled_data_have_scaled_factors_to_the_bit(power):
    R, P = np.random.default_rng(0).standard_normal((2, 12, 12))
    one = SymmetricMF(2, starts=2, random_state=0).fit(R, P)
    other = SymmetricMF(2, starts=2, random_state=0).fit(R * 4.0**power, P)
    assert_array_equal(other.G, one.G * 2.0**power)


# the objective


@pytest.mark.parametrize("weights", ["none", "positive", "any sign", "sparse mask"])
def test_loss_is_the_literal_double_loop(weights):
    generator = np.random.default_rng(4)
    R, P = generator.standard_normal((9, 9)), WEIGHTS[weights](generator, (9, 9))
    model = SymmetricMF(2, starts=1, iterations=4, random_state=0).fit(R, P)
    dense = np.ones((9, 9)) if P is None else P.toarray() if sparse.issparse(P) else P
    assert_allclose(model.loss(), literal_loss(R, dense, model.G), rtol=1e-12)
    penalized = SymmetricMF(2, regularization=3.0, starts=1, iterations=4, random_state=0).fit(R, P)
    expected = literal_loss(R, dense, penalized.G) + 3 * sum(g**2 for g in penalized.G.ravel())
    assert_allclose(penalized.loss(), expected, rtol=1e-12)
    other = generator.standard_normal((9, 9))
    assert_allclose(model.loss(other), literal_loss(other, np.ones((9, 9)), model.G), rtol=1e-12)
    assert_allclose(model.loss(sparse.csr_array(other), dense), literal_loss(other, dense, model.G), rtol=1e-12)


def test_loss_of_sparse_counts_counts_every_cell():
    R = sparse_counts()
    model = SymmetricMF(3, starts=1, iterations=5, random_state=0).fit(R)
    assert_allclose(model.loss(), literal_loss(R.toarray(), np.ones(R.shape), model.G), rtol=1e-12)


@pytest.mark.parametrize("r", [1, 4, 17])
def test_unweighted_objective_equals_the_dense_one(r):
    R = sparse_counts()
    G = np.random.default_rng(r).standard_normal((24, r))
    one, other = UnweightedSymmetricSquares(R), SymmetricSquares(R.toarray(), np.ones(R.shape))
    assert_allclose(one.value(G), other.value(G), rtol=1e-12)
    gradient = other.gradient(G)[0]
    assert_allclose(one.gradient(G)[0], gradient, rtol=0, atol=1e-12 * np.abs(gradient).max())
    assert check_gradient(one, [G]).relative < 1e-7
    assert check_gradient(Penalized(one, 5.0), [G]).relative < 1e-7


def test_unweighted_objective_is_never_below_zero():
    G = np.random.default_rng(0).standard_normal((30, 2))
    objective = UnweightedSymmetricSquares(sparse.csr_array(G @ G.T))
    assert 0 <= objective.value(G) < 1e-12 * (G @ G.T).sum() ** 2


def test_unweighted_objective_refuses_what_does_not_fit():
    with pytest.raises(InputError, match=r"R has shape \(2, 3\); it must be square"):
        UnweightedSymmetricSquares(sparse.csr_array(np.ones((2, 3))))
    with pytest.raises(InputError, match=r"G has shape \(3, 1\); \(2, 1\) is needed"):
        UnweightedSymmetricSquares(sparse.csr_array(np.eye(2))).value(np.ones((3, 1)))


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_large_sparse_counts_are_never_dense():
    n = 200_000  # n x n would be 320 GB
    R = sparse.csr_array((np.ones(6), ([0, 1, 0, 1, 7, 9], [0, 1, 1, 0, 9, 7])), shape=(n, n))
    model = SymmetricMF(1, starts=2, random_state=0, iterations=50).fit(R)
    assert_allclose(model.loss(), 2, rtol=1e-6)
    assert_allclose(np.abs(model.G[:2, 0]), 1, atol=1e-4)


def test_dense_sparse_and_interactions_are_the_same_data():
    generator = np.random.default_rng(0)
    R, P = generator.standard_normal((12, 12)), generator.random((12, 12)) + 0.5
    R[2], P[1, 4], P[5, 6] = 0, 0, 0
    fits = [
        SymmetricMF(2, starts=2, random_state=0).fit(convert(R), convert(P))
        for convert in (np.asarray, sparse.csr_array, sparse.coo_matrix, Interactions.from_matrix, np.asfortranarray)
    ]
    for other in fits[1:]:
        assert_allclose(other.loss(), fits[0].loss(), rtol=1e-12)


def test_history_is_that_of_the_best_start(fitted):
    losses = [record.loss for record in fitted.history]
    assert losses[-1] == fitted.loss() == fitted.start_losses.min()
    assert losses == sorted(losses, reverse=True)
    assert [record.epoch for record in fitted.history] == list(range(1, len(losses) + 1))
    assert all(record.seconds >= 0 for record in fitted.history)
    assert list(pd.DataFrame(fitted.history)) == ["epoch", "loss", "seconds", "validation"]


def test_iterations_and_tolerance_end_a_start():
    R, P = np.random.default_rng(0).standard_normal((2, 20, 20))
    steps = {
        tolerance: len(SymmetricMF(3, starts=1, tolerance=tolerance, random_state=0).fit(R, P).history)
        for tolerance in (1e-2, 1e-4, 0)
    }
    assert steps[1e-2] < steps[1e-4] < steps[0] < 1000
    assert len(SymmetricMF(3, starts=1, iterations=7, random_state=0).fit(R, P).history) == 7


# saving, lists


@pytest.mark.parametrize("mmap", [False, True])
def test_starts_and_weights_are_saved(tmp_path, mmap):
    generator = np.random.default_rng(0)
    R = generator.standard_normal((8, 8))
    P = sparse.csr_array(generator.standard_normal((8, 8)) * (generator.random((8, 8)) < 0.8))
    model = SymmetricMF(2, starts=3, random_state=7).fit(R, P)
    model.save(tmp_path / "m")
    loaded = SymmetricMF.load(tmp_path / "m", mmap=mmap)
    assert_array_equal(loaded.G, model.G)
    assert_array_equal(loaded.start_losses, model.start_losses)
    assert loaded.loss() == model.loss()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("extra_start_losses", None, "it lacks start_losses"),
        ("extra_start_losses", np.zeros((6, 1)), r"start_losses is float64\(6, 1\), expected float64\(None,\)"),
        ("extra_start_losses", np.zeros(6, np.float32), r"start_losses is float32\(6,\), expected float64"),
        ("user_factors", np.ones((10, 1)), "user_factors.npy and item_factors.npy differ, which are both G"),
    ],
)
def test_damaged_models_are_refused(fitted, tmp_path, name, array, message):
    fitted.save(tmp_path / "m")
    replace_array(tmp_path / "m", name, array)
    with pytest.raises(InputError, match=f"m is damaged: {message}"):
        SymmetricMF.load(tmp_path / "m")


def test_lists_leave_out_what_R_stores_unless_P_hides_it():
    G = np.array([[3.0], [2.0], [1.0]])
    R, P = G @ G.T, np.ones((3, 3))
    P[0, 1] = P[1, 0] = 0  # hidden, to be predicted
    model = SymmetricMF(1, random_state=0).fit(P * R + (P == 0), P)
    ids, scores = model.recommend(0, N=2)
    assert ids.tolist() == [1, -1]
    assert_allclose(scores[0], 6, atol=1e-6)
    assert model.recommend(0, N=3, filter_already_liked_items=False)[0].tolist() == [0, 1, 2]


def test_lists_leave_out_the_thing_itself():
    G = np.array([[3.0], [2.0], [1.0], [0.5]])
    R = sparse.csr_array(np.triu(G @ G.T, 2))  # stores the cells (0, 2), (0, 3) and (1, 3)
    model = SymmetricMF(1, random_state=0).fit(R + sparse.csr_array(np.diag([0, 0, 1.0, 0])), R + R.T)
    ids, _ = model.recommend([3, 0, 2, 0], N=4)
    assert [sorted(row) for row in ids.tolist()] == [[-1, 0, 1, 2], [-1, -1, -1, 1], [-1, 0, 1, 3], [-1, -1, -1, 1]]
    masked, _ = SymmetricMF(1, random_state=0).fit(R, np.ones((4, 4)) - np.eye(4)).recommend(0, N=4)
    assert masked.tolist() == [1, -1, -1, -1]  # P stores 0 on the diagonal, and it is left out nonetheless


# parameters and refusals


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0), ("regularization", -1),
        ("starts", 0), ("starts", 1.5), ("iterations", 0), ("tolerance", -1e-9), ("tolerance", np.nan),
        ("init_scale", 0), ("num_threads", 0), ("random_state", -1),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"^{name} must be .*, got "):
        SymmetricMF(**{name: value})


NAN = np.array([[1.0, 2.0], [np.nan, 1.0]])
NAMED = Interactions.from_matrix(np.eye(2), users=["a", "b"], items=["a", "b"])


@pytest.mark.parametrize(
    ("R", "P", "message"),
    [
        (np.ones((3, 4)), None, r"R has shape \(3, 4\); it must be square, because rows and columns share factors"),
        (np.eye(3), np.ones((3, 4)), r"P has shape \(3, 4\); it must be square"),
        (np.eye(3), np.eye(2), r"P has shape \(2, 2\), R \(3, 3\); give a weight for every cell of R"),
        (NAN, None, "R: matrix: nan at row 1, column 0"),
        (sparse.csr_array(NAN), None, "R: matrix: nan at row 1, column 0"),
        (np.eye(2), NAN, "P: matrix: nan at row 1, column 0"),
        (np.eye(2), np.array([[1, np.inf], [0, 1]]), "P: matrix: inf at row 0, column 1"),
        (np.zeros((2, 2)), None, "nothing to fit: no cell where R is not 0"),
        (np.eye(2), np.zeros((2, 2)), "nothing to fit: no cell where both R and P are not 0"),
        (np.eye(2), sparse.csr_array([[0, 1.0], [1, 0]]), "nothing to fit: no cell where both R and P are not 0"),
        (1e200 * np.eye(2), None, r"R has values up to 1e\+200, whose squares float64 cannot add up; scale it"),
        (np.eye(2), 1e-200 * np.eye(2), "P has values up to 1e-200, whose squares"),
        ("words", None, "^R: "),
        (None, None, "^R: "),
        (np.ones(3), None, "R: matrix: expected 2 dimensions"),
        (
            Interactions.from_matrix(np.eye(2), users=["a", "b"], items=["b", "a"]),
            None,
            "R: its users are not its items",
        ),
        (
            NAMED,
            Interactions.from_matrix(np.eye(2), users=["a", "c"], items=["a", "c"]),
            "P: its ids are not those of R, in the same order",
        ),
    ],
)
def test_data_that_make_no_sense_are_refused_and_leave_the_model(fitted, R, P, message):
    before = fitted.G
    with pytest.raises(InputError, match=message):
        fitted.fit(R, P)
    assert fitted.G is before


def test_loss_refuses_what_does_not_fit(fitted):
    with pytest.raises(InputError, match="P: give the R that it belongs to as well"):
        fitted.loss(P=np.ones((10, 10)))
    with pytest.raises(InputError, match=r"R has shape \(2, 2\); the model was fitted on \(10, 10\)"):
        fitted.loss(np.eye(2))


def test_unfitted_model_says_so():
    for use in (lambda m: m.G, lambda m: m.start_losses):
        with pytest.raises(NotFittedError, match="this SymmetricMF has no factors yet: call fit first"):
            use(SymmetricMF())


# while it runs


def test_progress_shows_starts_and_the_lowest_objective(capsys, fitted):
    R, P = cliques()
    fitted.fit(R, P, progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert f"loss={fitted.loss():.6g}" in shown
    fitted.fit(R, P, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("ended", [0, 2])
def test_interrupt_keeps_the_best_start_that_ended(monkeypatch, fitted, ended):
    before, whole = fitted.G, fitted.start_losses
    descend, calls = symmetric_starts.descend, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) > ended:
            raise KeyboardInterrupt
        return descend(*arguments)

    monkeypatch.setattr(symmetric_starts, "descend", interrupted)
    R, P = cliques()
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(R, P)
    if ended == 0:
        assert fitted.G is before
    else:
        assert_array_equal(fitted.start_losses, whole[:ended])
        assert fitted.loss() == whole[:ended].min() == fitted.history[-1].loss
