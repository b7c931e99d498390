"""Strong generalization: users folded in are measured as one after the other by hand."""

import numpy as np
import pandas as pd
import pytest
from conftest import awkward_counts, to_sparse

from implicit_wmf import WMF, Interactions, MostPopular
from implicit_wmf.errors import InputError
from implicit_wmf.evaluation.catalogue import popularity_ranks
from implicit_wmf.evaluation.folded import evaluate_folded
from implicit_wmf.item_knn import ItemKNN


class TestFoldedIn:
    @pytest.fixture
    def parts(self):
        """Training users, and the fold-in part and targets of others: one has no targets, one nothing to fold in."""
        dense = np.where(awkward_counts(40, 15) > 0, 1.0, np.nan)
        train, fold_in, targets = (np.full(dense.shape, np.nan) for _ in range(3))
        train[:25] = dense[:25]
        generator = np.random.default_rng(0)
        first = generator.random(dense.shape) < 0.6
        fold_in[25:] = np.where(first, dense, np.nan)[25:]
        targets[25:] = np.where(first, np.nan, dense)[25:]
        targets[30] = np.nan
        fold_in[31] = np.nan
        targets[32, np.flatnonzero(~np.isnan(fold_in[32]))[0]] = 1.0  # stored in both: cannot be recommended
        return tuple(Interactions.from_matrix(to_sparse(part)) for part in (train, fold_in, targets))

    @pytest.mark.parametrize("make", [MostPopular, ItemKNN, lambda: WMF(3, iterations=3, random_state=0)])
    def test_values_equal_those_of_one_user_after_the_other(self, parts, make):
        train, fold_in, targets = parts
        model = make().fit(train)
        table = evaluate_folded(model, fold_in, targets, metrics=["hit@1", "recall@5"], bootstrap=0)
        hits, recalls = [], []
        have, want = (np.nan_to_num(part.matrix.toarray()) > 0 for part in (fold_in, targets))
        for user in range(40):
            relevant = set(np.flatnonzero(want[user] & ~have[user]))
            if not relevant or not have[user].any():
                continue
            ids, _ = model.recommend(user_items=fold_in.matrix[[user]], N=5)
            hits.append(ids[0, 0] in relevant)
            recalls.append(len(relevant & set(ids[0])) / len(relevant))
        assert table["value"].tolist() == pytest.approx([np.mean(hits), np.mean(recalls)])
        assert table["users"].tolist() == [len(hits)] * 2
        assert 0 < np.mean(recalls) < 1

    def test_who_was_left_out_is_counted(self, parts):
        train, fold_in, targets = parts
        table = evaluate_folded(MostPopular().fit(train), fold_in, targets, metrics="hit@1")
        assert table.attrs["without_history"] == 1
        assert table.attrs["without_targets"] >= 26
        assert table["users"][0] + sum(table.attrs.values()) == 40

    def test_batches_change_nothing(self, parts):
        train, fold_in, targets = parts
        model = WMF(3, iterations=3, random_state=0).fit(train)
        names = ["ndcg@5", "coverage@2", "auc"]
        one, many = (evaluate_folded(model, fold_in, targets, metrics=names, batch_size=b) for b in (1, 100))
        pd.testing.assert_frame_equal(one, many)

    def test_by_default_recall_is_that_of_the_papers_that_fold_in(self, parts):
        train, fold_in, targets = parts
        table = evaluate_folded(MostPopular().fit(train), fold_in, targets, bootstrap=0)
        assert table["metric"].tolist() == ["capped_recall@20", "ndcg@100"]

    def test_popularity_is_that_of_training(self, parts):
        class Foreign:
            def __init__(self, model):
                self.recommend = model.recommend

        train, fold_in, targets = parts
        model = WMF(3, iterations=3, random_state=0).fit(train)
        names = ["popularity_rank@3", "hit@3"]
        table = evaluate_folded(model, fold_in, targets, metrics=names)
        have, want = (np.nan_to_num(part.matrix.toarray()) > 0 for part in (fold_in, targets))
        asked = np.flatnonzero((want & ~have).any(axis=1) & have.any(axis=1))
        ids, _ = model.recommend(user_items=fold_in.matrix[asked], N=3)
        ranks = popularity_ranks(train.matrix)
        assert (ranks != popularity_ranks(fold_in.matrix)).any()
        listed = np.where(ids >= 0, ranks[ids], np.nan)
        assert table["value"][0] == pytest.approx(np.nanmean(np.nanmean(listed, axis=1)), rel=1e-12)
        with pytest.raises(InputError, match="popularity_rank counts users in training, which Foreign does not tell"):
            evaluate_folded(Foreign(model), fold_in, targets, metrics=names)
        pd.testing.assert_frame_equal(
            evaluate_folded(Foreign(model), fold_in, targets, metrics=names, train=train), table
        )
        with pytest.raises(InputError, match="train and fold_in have different items"):
            evaluate_folded(model, fold_in, targets, metrics=names, train=np.ones((3, 4)))
        assert evaluate_folded(Foreign(model), fold_in, targets, metrics="hit@3")["users"].tolist() == [asked.size]

    def test_items_are_compared_with_the_models(self, parts):
        names = [f"item {place}" for place in range(15)]
        train, fold_in, targets = (Interactions(part.matrix, part.users, pd.Index(names)) for part in parts)
        model = MostPopular().fit(train)
        expected = evaluate_folded(model, fold_in, targets)
        pd.testing.assert_frame_equal(evaluate_folded(model, fold_in.matrix, targets), expected)
        other = Interactions(fold_in.matrix, fold_in.users, pd.Index(names[::-1]))
        with pytest.raises(InputError, match="fold_in.items are other ids than those that the model was fitted on"):
            evaluate_folded(model, other, other)
        with pytest.raises(InputError, match="fold_in has 15 items, but the model was fitted on 14"):
            evaluate_folded(MostPopular().fit(train.matrix[:, :14]), fold_in, targets)
        with pytest.raises(InputError, match="this MostPopular has no factors yet"):
            evaluate_folded(MostPopular(), fold_in, targets)
        with pytest.raises(InputError, match="the model, of type object, has no recommend"):
            evaluate_folded(object(), fold_in, targets)

    def test_a_model_that_keeps_to_known_users_is_refused(self, parts):
        class KnowsUsers:
            def recommend(self, users, N=10, filter_already_liked_items=True):
                raise AssertionError("must not be reached")

        with pytest.raises(InputError, match="model: recommend of KnowsUsers takes no user_items"):
            evaluate_folded(KnowsUsers(), *parts[1:])

    def test_a_models_own_error_is_its_own(self, parts):
        class Broken:
            def recommend(self, *, user_items, N=10, filter_already_liked_items=True):
                return None + 1

        with pytest.raises(TypeError, match="NoneType"):
            evaluate_folded(Broken(), *parts[1:])

    def test_a_model_that_lists_what_was_folded_in_is_refused(self, parts):
        class Repeats:
            def recommend(self, *, user_items, N=10, filter_already_liked_items=True):
                ids = np.tile(np.arange(N), (user_items.shape[0], 1))
                return ids, np.zeros(ids.shape)

        with pytest.raises(InputError, match="unusable ids"):
            evaluate_folded(Repeats(), *parts[1:], metrics="hit@15")

    def test_parts_of_other_shapes_are_refused(self, parts):
        train, fold_in, _ = parts
        with pytest.raises(InputError, match=r"shape \(40, 15\)"):
            evaluate_folded(MostPopular().fit(train), fold_in, Interactions.from_matrix(np.ones((3, 15))))
