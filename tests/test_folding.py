"""New users and items: the very rows that training would give, from the literal objective."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from conftest import COMPILED, awkward_counts, to_sparse
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from implicit_wmf import WMF, InputError, Interactions, NotFittedError, new_rows
from implicit_wmf.confidence import weigh
from implicit_wmf.training import half_sweep

USERS, ITEMS = (30, 80) if COMPILED else (9, 12)
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
SCHEMES = {
    "none": {},
    "schemes": {"user_background": "user", "item_background": "item"},
    "popularity": {"item_background": "popularity", "popularity_exponent": 0.8},
    "arrays": {
        "user_background": np.linspace(0, 3, USERS),
        "item_background": np.random.default_rng(5).random(ITEMS),
    },
}
WEIGHTINGS = ["linear", "log", "ials", "raw"]


def fitted(counts, confidence=None, **settings):
    settings = {"factors": 5, "iterations": 2, "random_state": 0, "regularization": 0.3} | settings
    return WMF(**settings).fit(counts, confidence=confidence)


def new_data(rows, columns, seed=1):
    """Rows of all lengths, empty and full ones, known negatives and zeros."""
    return awkward_counts(rows, columns, seed)


def scales_of_new(known, new, scheme, columns, exponent):
    """Background factors of new rows: by the scheme, relative to the fitted rows' mean."""
    made = {
        "user": lambda taken: taken,
        "item": lambda taken: columns - taken,
        "popularity": lambda taken: taken**exponent,
    }.get(scheme if isinstance(scheme, str) else None, lambda taken: np.ones(len(taken)))
    return made((new > 0).sum(axis=1).astype(float)) / made((known > 0).sum(axis=1).astype(float)).mean()


def literal_rows(known, new, config, side="user"):
    """C, P and penalties of new users' rows (or, of transposed counts, of new items' columns)."""
    if side == "item":
        known, new = known.T, new.T
    names, strengths = ["user_background", "item_background"], config.regularizations
    own, other = names if side == "user" else names[::-1]
    strength = strengths[0 if side == "user" else 1]
    full = reference.background(
        (np.nan_to_num(known) > 0) if side == "user" else (np.nan_to_num(known.T) > 0),
        1.0, config.user_background, config.item_background, config.popularity_exponent,
    )  # fmt: skip
    columns = full.sum(axis=0) if side == "user" else full.sum(axis=1)
    a = scales_of_new(known, new, getattr(config, own), known.shape[1], config.popularity_exponent)
    base = config.unobserved_weight * np.outer(a, columns / columns.mean())
    C, P = base.copy(), np.zeros_like(base)
    for i, j in zip(*np.nonzero(~np.isnan(new)), strict=True):
        r = new[i, j]
        weight = {"linear": abs(r), "log": np.log1p(abs(r) / config.log_epsilon), "ials": float(r != 0)}
        C[i, j] = abs(r) if config.weighting == "raw" else base[i, j] + config.alpha * weight[config.weighting]
        if r > 0:
            P[i, j] = config.alpha / C[i, j] if config.weighting == "ials" else 1.0
    return C, P, strength * C.sum(axis=1) ** config.regularization_exponent


def solve_rows(C, P, fixed, penalty):
    """The literal solution; rows without any preference are 0, though they may have neither weight nor penalty."""
    rows = np.zeros((len(C), fixed.shape[1]))
    wanted = np.flatnonzero((C * P).any(axis=1))
    rows[wanted] = reference.solve_rows(C[wanted], P[wanted], fixed, penalty[wanted])
    return rows


def assert_rows_close(actual, expected, tolerance):
    norms = np.linalg.norm(expected, axis=1)
    assert np.isfinite(actual).all()
    assert (np.linalg.norm(actual - expected, axis=1) <= tolerance * np.maximum(norms, 1e-3)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_folded_rows_solve_the_literal_normal_equations(weighting, scheme, dtype):
    known, new = awkward_counts(USERS, ITEMS), new_data(7, ITEMS)
    settings = {
        "unobserved_weight": 0.4, "alpha": 2.0, "regularization_exponent": 0.5, "user_regularization": 0.7,
    } | SCHEMES[scheme]  # fmt: skip
    model = fitted(to_sparse(known), weighting=weighting, dtype=dtype, **settings)
    rows = model.fold_in_users(to_sparse(new))
    assert rows.dtype == dtype
    assert rows.shape == (7, 5)
    C, P, penalty = literal_rows(known, new, model.config)
    assert_rows_close(rows, solve_rows(C, P, model.item_factors, penalty), TOLERANCE[dtype])

    columns = new_data(USERS, 6, seed=2)
    folded = model.fold_in_items(to_sparse(columns))
    assert folded.shape == (6, 5)
    C, P, penalty = literal_rows(known, columns, model.config, "item")
    assert_rows_close(folded, solve_rows(C, P, model.user_factors, penalty), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scheme", ["none", "schemes", "popularity"])
@pytest.mark.parametrize("solver", ["auto", "exact", "cg"])
def test_folding_in_the_training_rows_gives_the_rows_of_a_half_sweep(solver, scheme, dtype):
    counts = to_sparse(awkward_counts(USERS, ITEMS))
    model = fitted(counts, dtype=dtype, solver=solver, regularization_exponent=1.0, **SCHEMES[scheme])
    config = replace(model.config, solver="exact")
    problem = weigh(counts.astype(dtype), config)
    item_factors, solved = model.item_factors.copy(), model.user_factors.copy()
    half_sweep(problem.users, (item_factors, item_factors), (solved, solved), config)
    rows = model.fold_in_users(counts)
    assert_rows_close(rows @ model.item_factors.T, solved @ item_factors.T, TOLERANCE[dtype])  # a rotation apart
    user_factors, solved = model.user_factors.copy(), model.item_factors.copy()
    half_sweep(problem.items, (user_factors, user_factors), (solved, solved), config)
    columns = model.fold_in_items(counts)
    assert_rows_close(columns @ model.user_factors.T, solved @ user_factors.T, TOLERANCE[dtype])
    if solver == "exact":  # the last half-sweep of training
        assert_rows_close(columns, model.item_factors, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_confidences_as_given(dtype):
    generator = np.random.default_rng(3)
    P, C = np.full((2, USERS, ITEMS), np.nan)
    P[generator.random(P.shape) < 0.3] = 1.0
    C[~np.isnan(P)] = generator.choice([0, 0.1, 3.0], np.count_nonzero(~np.isnan(P)))
    model = fitted(to_sparse(P), to_sparse(C), dtype=dtype, user_background="user", item_background="popularity")
    config, stored = model.config, ~np.isnan(P)
    taken = stored & (C > 0)
    full_C, full_P = reference.general_confidence_and_preference(
        P, C, user_background="user", item_background="popularity"
    )
    # the training rows again, and then a row with a preference without confidence and a confidence without preference
    rows = model.fold_in_users(to_sparse(P), confidence=to_sparse(C))
    penalty = np.full(USERS, config.regularization)
    assert_rows_close(rows, reference.solve_rows(full_C, full_P, model.item_factors, penalty), TOLERANCE[dtype])
    columns = model.fold_in_items(to_sparse(P), confidence=to_sparse(C))
    penalty = np.full(ITEMS, config.regularization)
    assert_rows_close(columns, reference.solve_rows(full_C.T, full_P.T, model.user_factors, penalty), TOLERANCE[dtype])

    new_P, new_C = np.full((2, 1, ITEMS), np.nan)
    new_P[0, [1, 3]], new_C[0, [3, 5]] = [2.0, -1.0], [4.0, 7.0]
    base = 1 / taken.sum(axis=1).mean() * np.sqrt(taken.sum(axis=0)) / np.sqrt(taken.sum(axis=0)).mean()
    expected_C = np.where(np.isnan(new_C), base, new_C)
    expected = reference.solve_rows(expected_C, np.nan_to_num(new_P), model.item_factors, [config.regularization])
    row = model.fold_in_users(to_sparse(new_P), confidence=to_sparse(new_C))
    assert_rows_close(row, expected, TOLERANCE[dtype])


def test_counts_model_takes_confidences_of_new_rows():
    model = fitted(to_sparse(awkward_counts(USERS, ITEMS)), dtype="float64")
    P, C = np.zeros((1, ITEMS)), np.full((1, ITEMS), 2.0)
    P[0, 1] = 1
    expected = reference.solve_rows(C, P, model.item_factors, [model.config.regularization])
    assert_rows_close(model.fold_in_users(P, confidence=C), expected, 1e-10)


@pytest.mark.parametrize("factors", [1, 16, 17, 65])
def test_kinds_of_input_and_single_rows_agree(factors):
    counts = awkward_counts(USERS, ITEMS)
    model = fitted(to_sparse(counts), factors=factors, dtype="float64")
    new = np.maximum(np.nan_to_num(new_data(7, ITEMS)), 0)
    rows = model.fold_in_users(new)
    for other in (sparse.csr_matrix(new), sparse.coo_array(new), Interactions.from_matrix(new), new.tolist()):
        assert_array_equal(model.fold_in_users(other), rows)
    assert_array_equal(model.transform(new), rows)
    alone = np.vstack([model.fold_in_users(sparse.csr_array(row[None])) for row in new])
    assert_rows_close(alone, rows, 1e-9)
    assert_array_equal(rows[3], 0)  # an empty row


def test_rotating_only_the_columns_that_are_touched_gives_the_same(monkeypatch):
    counts, new = to_sparse(awkward_counts(USERS, ITEMS)), to_sparse(new_data(7, ITEMS))
    few = fitted(counts, dtype="float64").fold_in_users(new)
    for cells, share in ((1, 10**6), (1, 0)):
        monkeypatch.setattr(new_rows, "BLAS_ROWS", cells)
        monkeypatch.setattr(new_rows, "_SPARSE", share)
        model = fitted(counts, dtype="float64")
        for _ in range(2):
            assert_allclose(model.fold_in_users(new), few, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_same_bits_for_any_number_of_threads(threads):
    counts = to_sparse(awkward_counts(USERS, ITEMS))
    new = sparse.vstack([to_sparse(new_data(7, ITEMS))] * 300, format="csr")
    alone = fitted(counts, factors=17, num_threads=1).fold_in_users(new)
    assert_array_equal(fitted(counts, factors=17, num_threads=threads).fold_in_users(new), alone)


def test_what_is_kept_for_the_next_call_belongs_to_the_fit():
    first, second = (to_sparse(awkward_counts(USERS, ITEMS, seed)) for seed in (0, 1))
    new = to_sparse(new_data(7, ITEMS))
    model = fitted(first)
    before = model.fold_in_users(new), model.fold_in_items(first)
    assert_array_equal(model.fold_in_users(new), before[0])
    model.fit(second)
    fresh = fitted(second)
    assert_array_equal(model.fold_in_users(new), fresh.fold_in_users(new))
    assert_array_equal(model.fold_in_items(first), fresh.fold_in_items(first))
    assert not np.array_equal(model.fold_in_users(new), before[0])


def test_the_model_stays_as_it_was_and_hyper_parameters_are_those_of_the_fit():
    counts, new = to_sparse(awkward_counts(USERS, ITEMS)), to_sparse(new_data(7, ITEMS))
    model = fitted(counts)
    state, users, items = model._fitted, model.user_factors.copy(), model.item_factors.copy()
    rows = model.fold_in_users(new)
    model.set_params(regularization=50.0, alpha=9.0)
    assert_array_equal(model.fold_in_users(new), rows)
    model.fold_in_items(counts)
    assert model._fitted is state
    assert_array_equal(model.user_factors, users)
    assert_array_equal(model.item_factors, items)


def test_a_memory_mapped_model_folds_in(tmp_path):
    counts, new = to_sparse(awkward_counts(USERS, ITEMS)), to_sparse(new_data(7, ITEMS))
    model = fitted(counts, user_background="user", item_background="item")
    model.save(tmp_path / "model")
    loaded = WMF.load(tmp_path / "model", mmap=True)
    assert_array_equal(loaded.fold_in_users(new), model.fold_in_users(new))
    assert_array_equal(loaded.fold_in_items(counts), model.fold_in_items(counts))


def test_recommend_for_new_users_is_folding_in_and_brute_force():
    counts, new = to_sparse(awkward_counts(USERS, ITEMS)), to_sparse(new_data(7, ITEMS))
    model = fitted(counts, dtype="float64")
    scores = model.fold_in_users(new) @ model.item_factors.T
    scores[new.toarray() != 0] = -np.inf
    stored = sparse.csr_array((np.ones(new.nnz), new.indices, new.indptr), shape=new.shape).toarray() > 0
    scores[stored] = -np.inf
    ids, values = model.recommend(user_items=new, N=5)
    for row, (found, value) in enumerate(zip(ids, values, strict=True)):
        best = np.argsort(-scores[row], kind="stable")[:5]
        best = best[np.isfinite(scores[row, best])]
        assert_array_equal(found, np.append(best, np.full(5 - best.size, -1)))
        assert_allclose(value[: best.size], scores[row, best], rtol=1e-9, atol=1e-12)


class TestIds:
    @pytest.fixture
    def named(self, frame):
        data = Interactions.from_frame(frame, user="who", item="what", value="n")
        return WMF(2, iterations=3, random_state=0, dtype="float64").fit(data)

    def test_columns_and_rows_are_found_by_their_ids(self, named):
        assert list(named.interactions.items) == ["jam", "rye", "tea"]
        new = Interactions.from_triples([0, 0, 1], [0, 1, 0], [2.0, 0.0, 1.0], users=["x", "y"], items=["tea", "jam"])
        expected = named.fold_in_users(sparse.csr_array(([2.0, 0.0, 1.0], ([0, 0, 1], [2, 0, 2])), shape=(2, 3)))
        assert_array_equal(named.fold_in_users(new), expected)
        weights = Interactions.from_matrix([[3.0, 1.0], [2.0, 0.5]], users=["x", "y"], items=["tea", "jam"])
        moved = sparse.csr_array(([3.0, 1.0, 2.0, 0.5], ([0, 0, 1, 1], [2, 0, 2, 0])), shape=(2, 3))
        assert_array_equal(
            named.fold_in_users(new, confidence=weights),
            named.fold_in_users(sparse.csr_array([[0, 0, 2.0], [0, 0, 1.0]]), confidence=moved),
        )
        column = Interactions.from_matrix([[2.0], [1.0]], users=["eva", "bob"], items=["oat"])
        assert list(named.interactions.users) == ["ann", "bob", "cy", "eva"]
        assert_array_equal(named.fold_in_items(column), named.fold_in_items([[0.0], [1.0], [0.0], [2.0]]))

    def test_unknown_ids_are_named(self, named):
        new = Interactions.from_matrix([[1.0, 2.0]], users=["x"], items=["tea", "gin"])
        with pytest.raises(InputError, match=r"user_items: 1 items are not in the model: 'gin'; leave them out, or "):
            named.fold_in_users(new)
        with pytest.raises(InputError, match="user_items: 1 users are not in the model: 'x'"):
            named.fold_in_items(new)

    def test_confidences_of_other_ids_are_refused(self, named):
        new, other = (Interactions.from_matrix([[1.0]], users=["x"], items=[item]) for item in ("tea", "jam"))
        with pytest.raises(InputError, match="confidence: its items are not those of data"):
            named.fold_in_users(new, confidence=other)


class TestRefusals:
    @pytest.fixture
    def model(self):
        return fitted(to_sparse(awkward_counts(USERS, ITEMS)))

    def test_other_shapes(self, model):
        with pytest.raises(InputError, match=f"user_items has {ITEMS - 1} items; the model was fitted on {ITEMS}"):
            model.fold_in_users(np.ones((2, ITEMS - 1)))
        with pytest.raises(InputError, match=f"user_items has {ITEMS} users; the model was fitted on {USERS}"):
            model.fold_in_items(np.ones((ITEMS, USERS)))
        with pytest.raises(InputError, match="user_items: matrix: expected 2 dimensions"):
            model.fold_in_users(np.ones(ITEMS))
        with pytest.raises(InputError, match=f"confidence is 1 users x {ITEMS} items; data is 2 users"):
            model.fold_in_users(np.ones((2, ITEMS)), confidence=np.ones((1, ITEMS)))

    def test_values_that_cannot_be_used(self, model):
        new = np.ones((2, ITEMS))
        new[1, 4] = np.nan
        with pytest.raises(InputError, match=r"user_items: .*row 1, column 4"):
            model.fold_in_users(new)
        new[1, 4] = 1e300
        with pytest.raises(InputError, match=r"user_items: the confidence of value 1e\+300 \(row 1, column 4\) overf"):
            model.fold_in_users(new)
        with pytest.raises(InputError, match=r"user_items, its columns as rows: .* \(row 1, column 2\) overflows"):
            column = np.ones((USERS, 3))
            column[2, 1] = 1e300
            model.fold_in_items(column)
        with pytest.raises(InputError, match="confidence is -1 at row 0, column 0; it must be at least 0"):
            model.fold_in_users(np.ones((1, ITEMS)), confidence=-np.ones((1, ITEMS)))

    def test_a_row_without_a_finite_solution_is_named(self, model):
        new = np.zeros((3, ITEMS))
        new[:, :5], new[1] = 1, 3e38
        with pytest.raises(InputError, match=r"user_items: row 1 has no finite solution in float32: scale its values"):
            model.fold_in_users(new)
        assert np.isfinite(model.fold_in_users(new[[0, 2]])).all()

    def test_a_model_of_confidences_needs_them(self):
        P = to_sparse(np.abs(awkward_counts(USERS, ITEMS)))
        model = fitted(P, P)
        for fold_in in (model.fold_in_users, model.fold_in_items, model.transform):
            with pytest.raises(InputError, match="confidence: the model was fitted with confidences; fold_in_"):
                fold_in(P)
        with pytest.raises(InputError, match="user_items: the model was fitted with confidences, which are needed"):
            model.recommend(user_items=P)

    def test_without_factors(self):
        with pytest.raises(NotFittedError, match="call fit first"):
            WMF().fold_in_users([[1.0]])
