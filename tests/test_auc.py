"""AUC by hand, against scikit-learn, and of models with and without ranks."""

import numpy as np
import pandas as pd
import pytest
from fixed_lists import GOOD, Lists, as_interactions, noisy_models
from sklearn.metrics import roc_auc_score

from implicit_wmf import WMF
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import compare, evaluate, evaluate_users, ranks
from implicit_wmf.popularity import MostPopular
from implicit_wmf.target_ranks import rank_counts


class Scores:
    """A model that scores all items, and lists those above a threshold."""

    def __init__(self, scores, least=-np.inf):
        self.scores, self.least = np.asarray(scores, dtype=float), least
        self.liked = None

    def recommend(self, users, N=10, filter_already_liked_items=True):
        ids, found = np.full((len(users), N), -1), np.full((len(users), N), np.nan)
        for row, user in enumerate(users):
            score = self.scores[user]
            listed = [item for item in np.argsort(-score, kind="stable") if self.listed(user, item)][:N]
            ids[row, : len(listed)], found[row, : len(listed)] = listed, score[listed]
        return ids, found

    def listed(self, user, item):
        return self.scores[user, item] >= self.least and not self.liked[user, item]


def test_auc_by_hand():
    train = as_interactions([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]])
    test = as_interactions([[1, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 1]])
    model = Scores([[-1, -7, -5, -7, -9, -10], [-1, -7, -5, -7, -9, -10]])
    model.liked = train.matrix.toarray() > 0
    # the first user's targets are items 1 and 4 (0 is in train), the others 2, 3 and 5. Item 1 (-7) is below 2 (-5),
    # level with 3, above 5: 1.5 of 3; item 4 (-9) is above 5 only: 1 of 3. All candidates of the second are targets.
    table = evaluate(model, train, test, metrics=["auc", "hit@1"])
    assert table["value"].tolist() == [2.5 / 6, 0.5]
    assert table["users"].tolist() == [1, 2]
    # without the items below -8 in the lists, item 4 is level with 5, and both are below the rest: 1.5 + 0.5
    model.least = -8
    assert evaluate(model, train, test, metrics="auc")["value"].tolist() == [2.0 / 6]


class Ranked(Scores):
    """The same model, of factors, that also ranks targets."""

    def rank_counts(self, users, targets, seen=None):
        vectors = np.ascontiguousarray(self.scores[users])
        return rank_counts(vectors, np.eye(self.scores.shape[1]), targets, seen)


@pytest.mark.parametrize("batch_size", [1, 9, 4096])
@pytest.mark.parametrize("kind", [Scores, Ranked])
def test_auc_equals_scikit_learn(monkeypatch, kind, batch_size):
    monkeypatch.setattr(ranks, "_DENSE", 70)  # two users at a time
    rng = np.random.default_rng(1)
    dense = rng.random((23, 31)) < 0.4
    held_out = dense & (rng.random(dense.shape) < 0.4)
    liked = dense & ~held_out
    model = kind(rng.integers(0, 8, dense.shape))  # many ties
    model.liked = liked
    frame = evaluate_users(
        model, as_interactions(liked), as_interactions(held_out), metrics="auc", batch_size=batch_size
    )
    expected = [roc_auc_score(held_out[user][~liked[user]], model.scores[user][~liked[user]]) for user in frame["user"]]
    assert len(expected) > 20
    np.testing.assert_allclose(frame["auc"], expected, rtol=1e-12)


def test_auc_of_a_fitted_model_is_that_of_its_lists():
    class OnlyLists:
        def __init__(self, model):
            self.recommend = model.recommend

    train, test, _ = noisy_models()
    for model in (WMF(4, iterations=2, random_state=0).fit(train), MostPopular().fit(train)):
        frame = evaluate_users(model, train, test, metrics=["auc"])
        of_lists = evaluate_users(OnlyLists(model), train, test, metrics=["auc"])
        pd.testing.assert_frame_equal(frame, of_lists, check_exact=True)
        assert 0.3 < frame["auc"].mean() < 0.8


def test_auc_reports_what_a_model_returns_wrongly(train, held_out):
    model = Ranked(np.full((6, 5), np.nan))
    with pytest.raises(
        InputError, match="model 'bad': rank_counts: the user factors hold nan in row 0: the model's factors may have"
    ):
        compare({"bad": model}, train, held_out, metrics="auc")
    with pytest.raises(InputError, match=r"ids of shape \(2, 3\); asked for were \(2, 5\)"):
        evaluate(Lists(GOOD), train, held_out, metrics=["auc"])
