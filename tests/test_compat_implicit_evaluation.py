"""Splits and metrics of the interface of implicit: against the real ones, and by hand."""

import numpy as np
import pytest
from implicit_twins import confidences, fitted, twins
from scipy.sparse import csr_matrix

from implicit_wmf import InputError
from implicit_wmf.compat import implicit as compat


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_train_test_split_as_implicit(evaluation, share):
    data = confidences()
    expected = evaluation.train_test_split(data, share, random_state=5)
    for ours, theirs in zip(compat.train_test_split(data, share, random_state=5), expected, strict=True):
        assert type(ours) is type(theirs)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.toarray(), theirs.toarray())


def test_train_test_split_keeps_positive_cells_to_test():
    data = confidences()
    train, test = compat.train_test_split(data, 0.5, random_state=1)
    assert test.data.min() > 0
    assert train.nnz + test.nnz < data.nnz
    assert (train.multiply(test)).nnz == 0
    assert ((train + test) != data)[data > 0].sum() == 0


@pytest.mark.parametrize("settings", [{}, {"K": 3}, {"K": 2, "train_only_size": 0.5}])
def test_leave_k_out(settings):
    data, K = csr_matrix(np.tri(12, 14, -1)), settings.get("K", 1)  # a user with each number of cells
    train, test = compat.leave_k_out_split(data, **settings, random_state=1)
    np.testing.assert_array_equal((train + test).toarray(), data.toarray())
    assert train.nnz + test.nnz == data.nnz
    counts, held = np.diff(data.indptr), np.diff(test.indptr)
    assert set(held[counts > K + 1]) == ({0, K} if "train_only_size" in settings else {K})
    assert not held[counts <= K + 1].any()
    again = compat.leave_k_out_split(data, **settings, random_state=1)[1]
    np.testing.assert_array_equal(again.toarray(), test.toarray())
    other = compat.leave_k_out_split(data, **settings, random_state=2)[1]
    assert (other != test).nnz > 0


@pytest.mark.parametrize("seed", range(3))
def test_leave_k_out_chooses_the_users_that_implicit_does(evaluation, seed):
    data = confidences(empty=False)  # implicit takes positions among the users that have cells for their ids
    ours, theirs = (
        module.leave_k_out_split(data, 2, train_only_size=0.4, random_state=seed)[1] for module in (compat, evaluation)
    )
    np.testing.assert_array_equal(np.diff(ours.indptr), np.diff(theirs.indptr))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"K": 0}, "K must be at least 1, got 0"), ({"train_only_size": 1.0}, "train_only_size must be at least 0 and")],
)
def test_leave_k_out_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        compat.leave_k_out_split(confidences(), **settings)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("K", [1, 3, 10])
def test_metrics_as_implicit(peer, evaluation, seed, K):
    train, test = evaluation.train_test_split(confidences(empty=False, seed=seed), 0.7, random_state=seed)
    theirs, ours = twins(peer, data=train)
    arguments = {"K": K, "show_progress": False}
    expected = evaluation.ranking_metrics_at_k(theirs, train, test, **arguments)
    for model in (theirs, ours):
        got = compat.ranking_metrics_at_k(model, train, test, **arguments)
        assert got == pytest.approx(expected, rel=1e-9)
    for name in ("precision_at_k", "mean_average_precision_at_k", "ndcg_at_k", "AUC_at_k"):
        values = [getattr(module, name)(ours, train, test, **arguments) for module in (compat, evaluation)]
        assert values[0] == pytest.approx(values[1], rel=1e-9)


class Lists:
    """Always the same lists."""

    def __init__(self, ids):
        self.ids = np.array(ids)

    def recommend(self, users, rows, N):
        assert rows.shape[0] == len(users)
        return self.ids[users][:, :N], None


def test_metrics_by_hand():
    model = Lists([[0, 1, 2], [9, 9, 9], [3, -1, -1]])
    test = csr_matrix(([1, 1, 1], ([0, 0, 2], [1, 4, 3])), shape=(3, 5))
    got = compat.ranking_metrics_at_k(model, csr_matrix((3, 5)), test, K=3, show_progress=False)
    first = compat.precision_at_k(model, csr_matrix((3, 5)), test, K=1, show_progress=False)
    assert first == pytest.approx(1 / (1 + 1))
    discount = 1 / np.log2([2, 3, 4])
    assert got["precision"] == pytest.approx((1 + 1) / (2 + 1))
    assert got["map"] == pytest.approx(np.mean([(1 / 2) / 2, 1]))
    assert got["ndcg"] == pytest.approx(np.mean([discount[1] / discount[:2].sum(), 1]))
    # user 0: item 1 comes before 2; of item 3, not in the list, (1 hit + 2 liked) / 2 are taken to come before it
    assert got["auc"] == pytest.approx(np.mean([(1 + (1 + 2) / 2 * 1) / (2 * 3), (1 * 2 + (1 + 1) / 2 * 2) / 4]))


def test_metrics_refuse_nothing_to_test_on():
    with pytest.raises(InputError, match="test_user_items stores no cell"):
        compat.ndcg_at_k(fitted(), confidences(), csr_matrix((30, 40)), show_progress=False)
    with pytest.raises(InputError, match=r"test_user_items has shape \(30, 39\), train_user_items \(30, 40\)"):
        compat.ndcg_at_k(fitted(), confidences(), csr_matrix((30, 39)), show_progress=False)
