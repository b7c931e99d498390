"""Single rows and their reasons in the interface of implicit: against the real one, and against literal numpy."""

import numpy as np
import pytest
import reference
from implicit_twins import assert_same_answer, confidences, dense_problem, fitted, twins
from scipy.sparse import csr_matrix

from implicit_wmf import InputError


@pytest.mark.parametrize("alpha", [1.0, 5.0])
def test_recalculated_rows(peer, alpha):
    data = confidences()
    theirs, ours = twins(peer, alpha=alpha, regularization=0.3)
    users, columns = [4, 0, 3], csr_matrix(data.T)
    np.testing.assert_allclose(
        ours.recalculate_user(users, data[users]), theirs.recalculate_user(users, data[users]), atol=2e-4
    )
    np.testing.assert_allclose(ours.recalculate_user(0, data[9]), theirs.recalculate_user(0, data[9]), atol=2e-4)
    np.testing.assert_allclose(ours.recalculate_item(1, columns[2]), theirs.recalculate_item(1, columns[2]), atol=2e-4)
    assert ours.recalculate_item([5, 6], columns[5:7]).shape == (2, 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_recalculated_rows_solve_their_equations(dtype):
    data, model = confidences(), fitted(alpha=3.0, regularization=0.2, dtype=dtype)
    C, P = dense_problem(data, 3.0)
    tolerance = 2e-4 if dtype == np.float32 else 1e-9
    users = reference.solve_rows(C, P, model.item_factors, np.full(30, 0.2))
    np.testing.assert_allclose(model.recalculate_user(range(30), data), users, atol=tolerance)
    items = reference.solve_rows(C.T, P.T, model.user_factors, np.full(40, 0.2))
    np.testing.assert_allclose(model.recalculate_item(range(40), csr_matrix(data.T)), items, atol=tolerance)
    model.regularization = 2.0  # is not forgotten by what is kept for the next call
    users = reference.solve_rows(C, P, model.item_factors, np.full(30, 2.0))
    np.testing.assert_allclose(model.recalculate_user(range(30), data), users, atol=tolerance)


def test_partial_fit_grows_the_model_as_implicit_does(peer):
    data = confidences()
    theirs, ours = twins(peer)
    for model in (theirs, ours):
        model.partial_fit_users([1, 33], data[[7, 8]])
        columns = csr_matrix(data.T)[[9, 11]]
        model.partial_fit_items(np.array([41, 0]), columns)
    assert ours.user_factors.shape == (34, 6)
    assert ours.item_factors.shape == (42, 6)
    np.testing.assert_allclose(ours.user_factors, theirs.user_factors, atol=2e-4)
    np.testing.assert_allclose(ours.item_factors, theirs.item_factors, atol=2e-4)
    assert_same_answer(
        ours.recommend(33, None, filter_already_liked_items=False, N=5),
        theirs.recommend(33, None, filter_already_liked_items=False, N=5),
    )


def test_partial_fit_changes_the_given_rows_alone():
    data, model = confidences(), fitted()
    before = model.user_factors
    model.partial_fit_users([31, 2], data[[7, 8]])
    expected = np.vstack([before, np.zeros((2, 6), np.float32)])
    expected[[31, 2]] = model.recalculate_user([31, 2], data[[7, 8]])
    np.testing.assert_array_equal(model.user_factors, expected)
    with pytest.raises(InputError, match="item_users has 1 rows; give one for each id, of which there are 2"):
        model.partial_fit_items([1, 2], csr_matrix((1, 30)))
    with pytest.raises(IndexError, match="userids holds -1"):
        model.partial_fit_users([-1], data[0])
    with pytest.raises(InputError, match="item_users must be a CSR matrix, got NoneType"):
        model.recalculate_item(0, None)


# explain


def test_explain_as_implicit(peer):
    data = confidences()
    theirs, ours = twins(peer, regularization=0.5)
    for user, item in [(0, 3), (7, 2), (3, 1)]:
        total, contributions, weights = theirs.explain(user, data, item, N=4)
        got_total, got, got_weights = ours.explain(user, data, item, N=4)
        assert got_total == pytest.approx(total, rel=1e-4, abs=1e-6)
        assert [i for i, _ in got] == [i for i, _ in contributions]
        np.testing.assert_allclose([s for _, s in got], [s for _, s in contributions], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(np.triu(got_weights[0]), np.triu(weights[0]), atol=1e-3)
        assert ours.explain(user, data, item, user_weights=weights)[0] == pytest.approx(total, rel=1e-4, abs=1e-6)


def test_contributions_add_up_to_the_score_of_the_recalculated_user():
    data, model = confidences(), fitted(dtype=np.float64)
    for user in range(30):
        vector = model.recalculate_user(user, data[user])
        for item in (0, 17):
            total, contributions, weights = model.explain(user, data, item, N=40)
            assert total == pytest.approx(vector @ model.item_factors[item], rel=1e-6, abs=1e-9)
            assert sum(score for _, score in contributions) == pytest.approx(total, abs=1e-9)
            assert {i for i, _ in contributions} == set(np.flatnonzero(data[[user]].toarray()[0] > 0))
            assert model.explain(user, data, item, weights, N=2)[:2] == (total, contributions[:2])
    with pytest.raises(IndexError, match="userid holds 30"):
        model.explain(30, data, 0)
    with pytest.raises(IndexError, match="itemid holds 40"):
        model.explain(0, data, 40)
    with pytest.raises(InputError, match="user_items must be a CSR matrix, got ndarray"):
        model.explain(0, data.toarray(), 0)
