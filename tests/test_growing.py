"""New interactions taken in: what is solved anew, what stays, and what the model then holds."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import reference
from conftest import COMPILED, awkward_counts, to_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from implicit_wmf import WMF, InputError, Interactions
from implicit_wmf.growing import add_interactions

USERS, ITEMS = (30, 80) if COMPILED else (9, 12)
BACKGROUNDS = {
    "none": {},
    "schemes": {"user_background": "user", "item_background": "item"},
    "popularity": {"item_background": "popularity", "popularity_exponent": 0.8},
}
WEIGHTINGS = ["linear", "log", "ials", "raw"]


def fitted(counts, **settings):
    settings = {"factors": 5, "iterations": 3, "random_state": 0, "regularization": 0.3, "dtype": "float64"} | settings
    return WMF(**settings).fit(counts)


def new_cells(seed=7):
    """A few cells of known and unknown users and items, by position: users USERS and up, items ITEMS and up."""
    generator = np.random.default_rng(seed)
    dense = np.full((USERS + 3, ITEMS + 2), np.nan)
    rows, columns = [0, 2, 2, 5, USERS, USERS, USERS + 2], [1, 1, ITEMS, 0, 1, 2, ITEMS]
    dense[rows, columns] = generator.integers(1, 4, size=len(rows)).astype(float)
    dense[1, 3] = -1.0
    return dense


def grown_counts(known, new):
    """The sum, literally; NaN where nothing is stored."""
    grown = np.full(new.shape, np.nan)
    grown[: known.shape[0], : known.shape[1]] = known
    both = ~np.isnan(grown) & ~np.isnan(new)
    return np.where(both, np.nan_to_num(grown) + np.nan_to_num(new), np.where(np.isnan(grown), new, grown))


def concerned(known, new):
    """Users and items with new cells, and the unknown ones."""
    stored = ~np.isnan(new)
    users, items = stored.any(axis=1), stored.any(axis=0)
    users[known.shape[0] :], items[known.shape[1] :] = True, True
    return np.flatnonzero(users), np.flatnonzero(items)


def solve(C, P, fixed, penalty):
    rows = np.zeros((len(C), fixed.shape[1]))
    wanted = np.flatnonzero((C * P).any(axis=1))
    rows[wanted] = reference.solve_rows(C[wanted], P[wanted], fixed, penalty[wanted])
    return rows


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_rows_concerned_are_solved_as_said_and_others_stay(weighting, background, iterations):
    known, new = awkward_counts(USERS, ITEMS), new_cells()
    options = {"weighting": weighting, "unobserved_weight": 0.4, "alpha": 2.0, "regularization_exponent": 0.5}
    model = fitted(to_sparse(known), **options, **BACKGROUNDS[background])
    W, H = np.zeros((USERS + 3, 5)), np.zeros((ITEMS + 2, 5))
    W[:USERS], H[:ITEMS] = model.user_factors, model.item_factors
    before, history = (W.copy(), H.copy()), model.history

    assert model.partial_fit(to_sparse(new), iterations=iterations) is model
    names = ("unobserved_weight", "user_background", "item_background", "popularity_exponent")
    shared = {name: getattr(model.config, name) for name in names}
    C, P = reference.confidence_and_preference(grown_counts(known, new), weighting, alpha=2.0, **shared)
    penalties = reference.penalties(C, 0.3, 0.5)
    users, items = concerned(known, new)
    W[users] = solve(C[users], P[users], H, penalties[0][users])
    for _ in range(iterations):
        H[items] = solve(C.T[items], P.T[items], W, penalties[1][items])
        W[users] = solve(C[users], P[users], H, penalties[0][users])
    assert_allclose(model.user_factors, W, rtol=1e-8, atol=1e-10)
    assert_allclose(model.item_factors, H, rtol=1e-8, atol=1e-10)
    for actual, old, rows in zip((model.user_factors, model.item_factors), before, (users, items), strict=True):
        untouched = np.setdiff1d(np.arange(len(old)), rows)
        assert untouched.size
        assert_array_equal(actual[untouched], old[untouched])
    assert model.history is history
    assert_array_equal(np.isnan(grown_counts(known, new)), ~(stored_pattern(model.interactions.matrix)))
    assert_allclose(model.interactions.matrix.toarray(), np.nan_to_num(grown_counts(known, new)))


def stored_pattern(matrix):
    ones = sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
    return ones.toarray() > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_users_concerned_have_what_folding_in_gives(dtype):
    known, new = awkward_counts(USERS, ITEMS), new_cells()
    model = fitted(to_sparse(known), dtype=dtype, user_background="user", item_background="popularity")
    model.partial_fit(to_sparse(new))
    users = concerned(known, new)[0]
    folded = model.fold_in_users(model.interactions.matrix[users])
    assert model.user_factors.dtype == dtype
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert_allclose(model.user_factors[users], folded, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_solve_lowers_the_objective_of_the_grown_data(background):
    known, new = awkward_counts(USERS, ITEMS), new_cells()
    objective = []
    for iterations in (1, 2, 4):
        model = fitted(to_sparse(known), **BACKGROUNDS[background])
        model.partial_fit(to_sparse(new), iterations=iterations)
        objective.append(model.loss())
    # of rows that are 0 before they are solved
    W, H = np.zeros((USERS + 3, 5)), np.zeros((ITEMS + 2, 5))
    old = fitted(to_sparse(known), **BACKGROUNDS[background])
    W[:USERS], H[:ITEMS] = old.user_factors, old.item_factors
    C, P = reference.confidence_and_preference(grown_counts(known, new), "linear", **BACKGROUNDS[background])
    penalty = np.full(USERS + 3, 0.3), np.full(ITEMS + 2, 0.3)
    unsolved = reference.loss(C, P, W, H, *penalty)
    assert unsolved > objective[0] > objective[1] > objective[2]


def test_a_chain_of_new_rows_is_reached_as_far_as_said():
    """User a, known, takes item x; new user b takes x and y: b and y are reached. New user c takes item z alone: 0."""
    known = np.array([[1.0, 1.0, 0], [1.0, 0, 1.0], [0, 1.0, 1.0]])
    new = np.zeros((5, 6))
    new[0, 3] = new[3, 3] = new[3, 4] = new[4, 5] = 1
    model = fitted(known, factors=2).partial_fit(new)
    assert model.user_factors[3].any()
    assert model.item_factors[3].any()
    assert not model.user_factors[4].any()
    assert not model.item_factors[5].any()
    assert not model.item_factors[4].any()  # solved before its only user was reached
    model = fitted(known, factors=2).partial_fit(new, iterations=2)
    assert model.item_factors[4].any()
    assert not model.user_factors[4].any()


def frame_of(lines, value="n"):
    return pd.DataFrame(lines, columns=["who", "what", value])


class TestIds:
    @pytest.fixture
    def named(self, frame):
        data = Interactions.from_frame(frame, user="who", item="what", value="n")
        return WMF(2, iterations=3, random_state=0).fit(data)

    def test_known_ids_keep_their_positions_and_unknown_ones_follow(self, named):
        users, items = list(named.interactions.users), list(named.interactions.items)
        new = frame_of([["zoe", "tea", 1], ["amy", "gin", 2], ["eva", "jam", 3]])
        named.partial_fit(Interactions.from_frame(new, user="who", item="what", value="n"))
        assert list(named.interactions.users) == [*users, "amy", "zoe"]
        assert list(named.interactions.items) == [*items, "gin"]
        row, column = named.interactions.user_indices("eva")[0], named.interactions.item_indices("jam")[0]
        assert named.interactions.matrix[row, column] == 4 + 3
        assert named.user_factors.shape == (6, 2)
        lists = named.recommend_frame(["amy", "zoe"])
        assert set(lists["user"]) == {"amy", "zoe"}
        assert "gin" not in set(lists.loc[lists["user"] == "amy", "item"])
        named.partial_fit(Interactions.from_frame(new, user="who", item="what", value="n"))  # all known by now
        assert named.interactions.shape == (6, 4)
        assert named.interactions.matrix[row, column] == 4 + 3 + 3

    def test_saved_and_loaded_again(self, named, tmp_path):
        new = frame_of([["zoe", "tea", 1], ["amy", "gin", 2]])
        named.partial_fit(Interactions.from_frame(new, user="who", item="what", value="n"))
        named.save(tmp_path / "model")
        loaded = WMF.load(tmp_path / "model", mmap=True)
        assert loaded.interactions.users.equals(named.interactions.users)
        assert_array_equal(loaded.user_factors, named.user_factors)
        assert_array_equal(loaded.interactions.matrix.toarray(), named.interactions.matrix.toarray())
        again = Interactions.from_frame(frame_of([["bob", "gin", 1], ["new", "tea", 1]]), user="who", item="what")
        named.partial_fit(again)
        loaded.partial_fit(again)
        assert_array_equal(loaded.item_factors, named.item_factors)

    def test_whole_numbers_stay_whole(self):
        big = 2**53 + 1
        known = Interactions.from_matrix([[1.0, 2.0]], users=[big], items=["a", "b"])
        new = Interactions.from_matrix([[1.0], [1.0]], users=[big - 1, big], items=["b"])
        model = fitted(known).partial_fit(new)
        assert model.interactions.users.tolist() == [big, big - 1]
        mixed = Interactions.from_matrix([[1.0]], users=[0.5], items=["b"])
        model.partial_fit(mixed)
        assert model.interactions.users.tolist() == [big, big - 1, 0.5]

    def test_positions_stay_positions(self):
        model = fitted(to_sparse(awkward_counts(USERS, ITEMS)))
        model.partial_fit(to_sparse(new_cells()))
        assert model.interactions.users.equals(pd.RangeIndex(USERS + 3))
        assert isinstance(model.interactions.users, pd.RangeIndex)
        model.partial_fit([[1.0]])  # smaller than the model
        assert model.interactions.shape == (USERS + 3, ITEMS + 2)

    @pytest.mark.parametrize(
        ("known", "new", "message"),
        [
            (["a", "b"], None, "its users are positions, such as 0, those of the model text, such as 'a'; give"),
            ([7, 9], None, "its users are positions, such as 0, those of the model numbers, such as 7; give"),
            (None, ["a", "b"], "its users are text, such as 'a', those of the model positions, such as 0; give"),
            ([7, 9], ["7", "9"], "its users are text, such as '7', those of the model numbers, such as 7; give"),
            (["a", "b"], [7, 9], "Interactions with text for users"),
            ([("a", 1), 2], None, "its users are positions"),
        ],
    )
    def test_ids_of_another_kind_are_refused(self, known, new, message):
        cells = [[1.0, 2.0], [0.0, 1.0]]
        model = fitted(Interactions.from_matrix(cells, users=known))
        state = model._fitted
        with pytest.raises(InputError, match=message):
            model.partial_fit(Interactions.from_matrix(cells, users=new))
        assert model._fitted is state

    def test_mixed_ids_and_whole_numbers_beyond_the_positions_are_taken(self):
        cells = [[1.0, 2.0], [0.0, 1.0]]
        mixed = fitted(Interactions.from_matrix(cells, users=["a", 1]))
        mixed.partial_fit(Interactions.from_matrix(cells, users=["b", "a"]))
        assert mixed.interactions.users.tolist() == ["a", 1, "b"]
        numbered = fitted(cells)
        numbered.partial_fit(Interactions.from_matrix(cells, users=[700, 1]))
        assert numbered.interactions.users.tolist() == [0, 1, 700]
        assert numbered.interactions.matrix.toarray().tolist() == [[1, 2], [0, 2], [1, 2]]

    def test_timestamps(self):
        def stamped(rows, columns, times):
            return Interactions.from_triples(rows, columns, timestamps=times, users=["a", "b"], items=["x", "y"])

        known, new = stamped([0, 1, 1], [1, 0, 1], [5, 6, 7]), stamped([1, 1], [0, 1], [9, 2])
        grown = add_interactions(known, new)[0]
        assert grown.timestamps.tolist() == [5, 9, 7]
        assert grown.matrix.toarray().tolist() == [[0, 1], [2, 2]]
        unstamped = Interactions(new.matrix, new.users, new.items)
        assert add_interactions(known, unstamped)[0].timestamps is None
        dates = stamped([0], [0], np.array(["2020-01-01"], "datetime64[s]"))
        with pytest.raises(InputError, match=r"data: its timestamps are datetime64\[s\], those of the model int64"):
            add_interactions(known, dates)


lines = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(-2, 3)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=60)
@given(lines, lines)
def test_adding_interactions_is_aggregating_all_lines(known, new):
    def interactions(lines):
        frame = frame_of(lines)
        return Interactions.from_frame(frame, user="who", item="what", value="n")

    old, added = interactions(known), interactions(new)
    grown, rows, columns = add_interactions(old, added)
    assert grown.users.tolist() == [*old.users, *(user for user in added.users if user not in set(old.users))]
    assert grown.items.tolist() == [*old.items, *(item for item in added.items if item not in set(old.items))]
    sums = {}
    for user, item, value in known + new:
        sums[user, item] = sums.get((user, item), 0) + value
    cells = grown.matrix.tocoo()
    pairs = zip(grown.users[cells.coords[0]], grown.items[cells.coords[1]], strict=True)
    assert dict(zip(pairs, cells.data.tolist(), strict=True)) == sums
    assert set(grown.users[rows]) == {user for user, _, _ in new}
    assert set(grown.items[columns]) == {item for _, item, _ in new}
    assert sorted(rows) == rows.tolist()


def test_backgrounds_that_are_arrays_grow_by_their_mean():
    a, b = np.linspace(0, 3, USERS), np.arange(ITEMS) + 1.0
    known, new = awkward_counts(USERS, ITEMS), new_cells()
    model = fitted(to_sparse(known), user_background=a, item_background=b)
    model.partial_fit(to_sparse(new))
    assert_allclose(model.config.user_background, [*a, a.mean(), a.mean(), a.mean()])
    assert_allclose(model.config.item_background, [*b, b.mean(), b.mean()])
    assert np.isfinite(model.loss())
    users = concerned(known, new)[0]
    base = np.outer(np.append(a, [a.mean()] * 3) / a.mean(), np.append(b, [b.mean()] * 2) / b.mean())
    grown = grown_counts(known, new)
    C, P = base + np.abs(np.nan_to_num(grown)), (np.nan_to_num(grown) > 0) * 1.0
    expected = solve(C[users], P[users], model.item_factors, np.full(users.size, 0.3))
    assert_allclose(model.user_factors[users], expected, rtol=1e-8, atol=1e-10)
    model.fit(model.interactions)  # of the grown shape

    other = fitted(to_sparse(known), user_background=a).set_params(user_background=None, alpha=3.0)
    other.partial_fit(to_sparse(new))
    assert other.config.user_background is None
    assert other.config.alpha == 3.0
    assert np.isfinite(other.loss())


def test_without_factors_it_fits():
    counts = to_sparse(awkward_counts(USERS, ITEMS))
    first, usual = WMF(3, random_state=0).partial_fit(counts), WMF(3, random_state=0).fit(counts)
    assert_array_equal(first.user_factors, usual.user_factors)


def test_same_bits_for_any_number_of_threads():
    known, new = to_sparse(awkward_counts(USERS, ITEMS)), to_sparse(new_cells())
    one, many = (fitted(known, dtype="float32", num_threads=count).partial_fit(new) for count in (1, 4))
    assert_array_equal(one.user_factors, many.user_factors)
    assert_array_equal(one.item_factors, many.item_factors)


def test_new_users_and_items_without_any_cell():
    model = fitted(to_sparse(awkward_counts(USERS, ITEMS)))
    model.partial_fit(sparse.csr_array((USERS + 2, ITEMS + 1)))
    assert model.interactions.shape == (USERS + 2, ITEMS + 1)
    assert_array_equal(model.user_factors[USERS:], 0)
    assert_array_equal(model.item_factors[ITEMS:], 0)


class TestRefusals:
    @pytest.fixture
    def model(self):
        model = fitted(to_sparse(awkward_counts(USERS, ITEMS)), dtype="float32", user_background=np.ones(USERS))
        before = model._fitted, model.config, model.user_factors.copy(), model.item_factors.copy()
        yield model
        assert model._fitted is before[0]
        assert model.config is before[1]
        assert_array_equal(model.user_factors, before[2])
        assert_array_equal(model.item_factors, before[3])

    def test_values(self, model):
        bad = np.zeros((USERS + 1, ITEMS))
        bad[2, 3] = np.inf
        with pytest.raises(InputError, match="row 2, column 3"):
            model.partial_fit(bad)
        bad[2, 3] = 1e300
        with pytest.raises(InputError, match=r"data, its users in the model's order as rows: the confidence of value"):
            model.partial_fit(bad)

    def test_a_row_without_a_finite_solution(self, model):
        bad = np.zeros((USERS + 1, ITEMS))
        bad[0, 0], bad[USERS] = 1, 3e38
        with pytest.raises(InputError, match="data, its users .* as rows: row 1 has no finite solution in float32"):
            model.partial_fit(bad)

    @pytest.mark.parametrize("iterations", [0, -1, 1.5, True, None])
    def test_iterations(self, model, iterations):
        with pytest.raises(InputError, match="iterations must be a whole number of at least 1, got"):
            model.partial_fit([[1.0]], iterations=iterations)

    def test_sums_that_overflow(self):
        model = fitted(np.array([[3e38, 1]], np.float32), weighting="ials")
        state = model._fitted
        with pytest.raises(InputError, match="row 0, column 0 overflows float32"):
            model.partial_fit(np.array([[3e38, 1]], np.float32))
        assert model._fitted is state

    def test_a_model_of_confidences(self):
        P = np.array([[1.0, 0], [0, 1.0]])
        model = WMF(1, random_state=0).fit(P, confidence=P + 1)
        with pytest.raises(InputError, match="partial_fit cannot take in data where the model was fitted with confid"):
            model.partial_fit(P)


def test_all_that_the_state_holds_is_carried_over():
    """A field that is added to the saved model must be thought of here."""
    names = {"config", "user_factors", "item_factors", "interactions", "history", "confidence", "extra"}
    model = fitted(to_sparse(awkward_counts(USERS, ITEMS))).partial_fit([[1.0]])
    assert {field.name for field in fields(model._fitted) if field.init} == names
