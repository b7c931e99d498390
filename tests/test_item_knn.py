import numpy as np
import pytest
from conftest import awkward_counts, to_sparse
from scipy.sparse import csr_array

from implicit_wmf import Interactions
from implicit_wmf.errors import InputError, NotFittedError
from implicit_wmf.evaluation import evaluate
from implicit_wmf.item_knn import ItemKNN

SIMILARITIES = [
    {"similarity": "cosine"},
    {"similarity": "cosine", "shrinkage": 3.5},
    {"similarity": "cosine", "weighting": "tfidf"},
    {"similarity": "cosine", "weighting": "bm25", "shrinkage": 1.0},
    {"similarity": "jaccard"},
    {"similarity": "jaccard", "shrinkage": 2.0},
    {"similarity": "conditional"},
    {"similarity": "conditional", "popularity_exponent": 0.0, "shrinkage": 5.0},
]


def literal_weights(values, weighting):
    """Weighted values by the loops of their definitions."""
    users, items = values.shape
    if weighting is None:
        return values
    lengths = values.sum(axis=0)
    out = np.zeros(values.shape)
    for u in range(users):
        taken = np.count_nonzero(values[u])
        for i in np.flatnonzero(values[u]):
            r = values[u, i]
            if weighting == "tfidf":
                out[u, i] = np.sqrt(r) * np.log(items / taken)
            else:
                norm = 1.2 * (1 - 0.75 + 0.75 * lengths[i] / lengths.mean())
                out[u, i] = 2.2 * r / (r + norm) * np.log(1 + (items - taken + 0.5) / (taken + 0.5))
    return out


def literal_similarity(values, similarity, shrinkage=0.0, weighting=None, popularity_exponent=0.5):
    """s_ij of all pairs of items, 0 on the diagonal and where nobody has both."""
    x = literal_weights(values, weighting)
    items = x.shape[1]
    table = np.zeros((items, items))
    for i in range(items):
        for j in range(items):
            both = np.count_nonzero((values[:, i] > 0) & (values[:, j] > 0))
            one, other = np.count_nonzero(values[:, i]), np.count_nonzero(values[:, j])
            if i == j or not both:
                continue
            if similarity == "cosine":
                table[i, j] = x[:, i] @ x[:, j] / (np.linalg.norm(x[:, i]) * np.linalg.norm(x[:, j]) + shrinkage)
            elif similarity == "jaccard":
                table[i, j] = both / (one + other - both + shrinkage)
            else:
                table[i, j] = both / (one * other**popularity_exponent + shrinkage)
    return table


def literal_neighbours(table, K, by_rows):
    """Keep the K largest of each column, or row; ties to the smaller index."""
    kept = np.zeros(table.shape)
    for item in range(len(table)):
        line = table[item] if by_rows else table[:, item]
        best = [i for i in np.lexsort((np.arange(line.size), -line))[:K] if line[i] > 0]
        if by_rows:
            kept[item, best] = line[best]
        else:
            kept[best, item] = line[best]
    return kept


def distinct_counts(users=40, items=17, seed=0):
    """Counts with irregular values, so that no two similarities are equal but for rounding."""
    dense = awkward_counts(users, items, seed)
    noise = np.random.default_rng(seed + 1).random(dense.shape)
    return np.where(dense > 0, dense + noise, dense)


@pytest.mark.parametrize("settings", SIMILARITIES, ids=str)
def test_similarities_equal_the_loops_of_their_definitions(settings):
    dense = distinct_counts()
    values = np.where(dense > 0, dense, 0)
    table = literal_similarity(values, **settings)
    model = ItemKNN(neighbours=17, **settings).fit(to_sparse(dense))
    np.testing.assert_allclose(model.item_similarity.toarray(), table, rtol=1e-12)
    assert table.any()


@pytest.mark.parametrize("K", [1, 3, 15])
@pytest.mark.parametrize("settings", SIMILARITIES[:4], ids=str)
def test_each_item_keeps_its_most_similar_ones(K, settings):
    dense = distinct_counts()
    values = np.where(dense > 0, dense, 0)
    expected = literal_neighbours(literal_similarity(values, **settings), K, by_rows=False)
    model = ItemKNN(K, **settings).fit(to_sparse(dense))
    np.testing.assert_allclose(model.item_similarity.toarray(), expected, rtol=1e-12)
    assert np.count_nonzero(expected, axis=0).max() == K


def test_conditional_similarity_keeps_the_most_similar_of_the_item_that_is_given():
    # Item 0 is everyone's; 1 and 2 are rare. Whoever has 1 has 0 for certain, whoever has 0 seldom has 1.
    values = np.array([[1, 1, 0, 0]] + [[1, 0, 1, 1]] * 2 + [[1, 0, 0, 1]] * 3)
    model = ItemKNN(1, similarity="conditional", popularity_exponent=0).fit(values)
    expected = np.zeros((4, 4))
    expected[0, 3] = 5 / 6
    expected[1, 0] = expected[2, 0] = expected[3, 0] = 1
    np.testing.assert_allclose(model.item_similarity.toarray(), expected)


def test_equal_similarities_go_to_the_smaller_index():
    model = ItemKNN(2, similarity="jaccard").fit(np.ones((3, 5)))
    kept = model.item_similarity.toarray()
    expected = np.zeros((5, 5))
    for item, neighbours in enumerate([(1, 2), (0, 2), (0, 1), (0, 1), (0, 1)]):
        expected[list(neighbours), item] = 1
    assert (kept == expected).all()


@pytest.mark.parametrize("settings", SIMILARITIES, ids=str)
def test_lists_and_scores_equal_the_dense_product(settings):
    dense = distinct_counts()
    data = to_sparse(dense)
    model = ItemKNN(4, **settings).fit(data)
    values = np.where(dense > 0, dense, 0)
    profiles = values if settings["similarity"] == "cosine" else (values > 0).astype(float)
    table = profiles @ model.item_similarity.toarray()
    np.testing.assert_allclose(model.score(np.arange(40)[:, None], np.arange(17)), table, rtol=1e-12)
    ids, scores = model.recommend(np.arange(40), N=20)
    assert ids.shape == scores.shape == (40, 20)
    assert ids.dtype == np.int32
    for user in range(40):
        unseen = np.where(np.isnan(dense[user]), table[user], 0)
        kept = ids[user][ids[user] >= 0]
        np.testing.assert_allclose(scores[user][: kept.size], np.sort(unseen[unseen > 0])[::-1], rtol=1e-12)
        np.testing.assert_allclose(unseen[kept], scores[user][: kept.size], rtol=1e-12)
        assert len(set(kept)) == kept.size == np.count_nonzero(unseen)
        assert (ids[user][kept.size :] == -1).all()
        assert np.isnan(scores[user][kept.size :]).all()


def test_equal_scores_go_to_the_smaller_index():
    values = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]])
    ids, scores = ItemKNN(similarity="jaccard").fit(values).recommend(2, N=3)
    assert ids.tolist() == [0, 1, 2]
    assert (scores == scores[0]).all()


def test_an_item_without_a_neighbour_among_the_users_is_not_listed():
    values = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]])
    model = ItemKNN().fit(values)
    ids, scores = model.recommend([2], N=3)
    assert ids.tolist() == [[1, -1, -1]]
    assert np.isnan(scores[0, 1:]).all()
    assert model.score(2, [1, 2, 3]).tolist() == [pytest.approx(1 / np.sqrt(2)), 0, 0]
    assert model.score(2, 3) == 0.0


def test_who_has_nothing_gets_nothing():
    model = ItemKNN().fit(np.array([[1, 1, 1], [0, 0, 0]]))
    assert ItemKNN().fit(to_sparse(np.array([[1, 1, 1], [np.nan] * 3]))).recommend(1)[0].tolist() == [-1] * 10
    assert model.recommend(1, filter_already_liked_items=False)[0].tolist() == [-1] * 10
    assert ItemKNN().fit(np.zeros((2, 3))).item_similarity.nnz == 0


def test_known_negatives_count_nothing_and_are_not_recommended():
    with_negative = np.array([[1, 1, -1], [1, 1, 1], [1, np.nan, np.nan]])
    without = np.nan_to_num(np.where(with_negative < 0, 0, with_negative))
    model = ItemKNN().fit(to_sparse(with_negative))
    assert (model.item_similarity.toarray() == ItemKNN().fit(without).item_similarity.toarray()).all()
    assert model.recommend(0)[0].tolist() == [-1] * 10
    assert sorted(model.recommend(0, 3, filter_already_liked_items=False)[0]) == [0, 1, 2]


class TestFilters:
    @pytest.fixture
    def fitted(self):
        return ItemKNN().fit(np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0, 1, 0, 1, 0]]))

    def ranked(self, fitted, user):
        table = fitted.score(user, np.arange(5))
        return sorted(np.flatnonzero(table > 0), key=lambda item: (-table[item], item))

    def test_liked_items_are_left_out_or_kept(self, fitted):
        everything = self.ranked(fitted, 2)
        assert fitted.recommend(2, 5, filter_already_liked_items=False)[0].tolist() == everything
        unseen = [item for item in everything if item not in (1, 3)]
        assert fitted.recommend(2, 5)[0].tolist() == unseen + [-1] * (5 - len(unseen))

    def test_some_items_are_never_listed(self, fitted):
        ids = fitted.recommend([1, 2], 5, filter_items=[2, 4])[0]
        assert set(ids.ravel()) == {-1, 0, 1, 3}

    def test_only_some_items_are_listed(self, fitted):
        assert fitted.recommend([1, 2], 2, items=[4])[0].tolist() == [[4, -1], [4, -1]]
        assert fitted.recommend(1, 2, items=[2, 4], filter_items=[4])[0].tolist() == [2, -1]

    def test_each_user_has_items_to_leave_out(self, fitted):
        hidden = csr_array(np.array([[0, 1, 1, 0, 0], [0, 0, 0, 0, 1]]))
        ids = fitted.recommend([1, 2], 5, filter_items=hidden)[0]
        assert [sorted(row[row >= 0]) for row in ids] == [[3, 4], [0, 2]]
        ids = fitted.recommend([1, 2], 5, filter_items=hidden, filter_already_liked_items=False)[0]
        assert [sorted(row[row >= 0]) for row in ids] == [[3, 4], [0, 1, 2, 3]]

    def test_each_user_has_items_to_choose_from(self, fitted):
        own = csr_array(np.array([[1, 1, 1, 0, 0], [0, 1, 0, 0, 1]]))
        ids, scores = fitted.recommend([1, 2], 5, items=own)
        assert [row[row >= 0].tolist() for row in ids] == [
            [item for item in self.ranked(fitted, 1) if item in (1, 2)],
            [4],
        ]
        assert (scores[ids >= 0] > 0).all()
        ids = fitted.recommend([1, 2], 5, items=own, filter_items=[4, 2])[0]
        assert ids[:, 0].tolist() == [1, -1]

    def test_a_user_of_a_longer_list_of_own_items_is_not_anothers(self, fitted):
        own = csr_array(np.array([[0, 1, 1, 1, 1], [1, 0, 0, 0, 0]]))
        assert fitted.recommend([1, 2], 1, items=own)[0][1].tolist() == [0]


def test_new_users_get_the_lists_of_users_who_have_the_same():
    data = to_sparse(distinct_counts())
    model = ItemKNN(5).fit(data)
    known = model.recommend(np.arange(40), 8)
    new = model.recommend(user_items=data, N=8)
    assert (known[0] == new[0]).all()
    assert np.array_equal(known[1], new[1], equal_nan=True)
    swapped = model.recommend([1, 0], 8, user_items=data[[5, 6]])
    assert (swapped[0] == known[0][[5, 6]]).all()
    assert model.recommend(0, 8, user_items=data[[5]])[0].tolist() == known[0][5].tolist()


def test_new_users_are_served_by_what_was_fitted_whatever_was_set_since():
    data = to_sparse(distinct_counts())
    model = ItemKNN(5).fit(data)
    before = model.recommend(user_items=data)
    model.set_params(similarity="jaccard")
    after = model.recommend(user_items=data)
    assert np.array_equal(before[1], after[1], equal_nan=True)


@pytest.mark.parametrize("settings", SIMILARITIES[:5], ids=str)
def test_the_number_of_threads_changes_no_bit(settings):
    data = to_sparse(distinct_counts(60, 31))
    results = []
    for threads in (1, 2, 5):
        model = ItemKNN(6, num_threads=threads, **settings).fit(data)
        S = model.item_similarity
        table = model.score(np.arange(60)[:, None], np.arange(31))
        results.append((S.indptr, S.indices, S.data, *model.recommend(np.arange(60)), table))
    for other in results[1:]:
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(results[0], other, strict=True))


def test_scores_of_pairs_do_not_depend_on_their_order():
    model = ItemKNN(5).fit(to_sparse(distinct_counts()))
    table = model.score(np.arange(40)[:, None], np.arange(17))
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 40, (6, 50)), generator.integers(0, 17, (6, 50))
    assert (model.score(users, items) == table[users, items]).all()
    assert model.score([], []).shape == (0,)
    assert type(model.score(3, 4)) is float


def test_tiny_values_that_vanish_in_products_do_no_harm():
    values = np.full((3, 4), 1e-100)
    model = ItemKNN().fit(values)
    similarity = model.item_similarity.toarray()
    np.testing.assert_allclose(similarity, 1 - np.eye(4), rtol=1e-12)
    small = ItemKNN(shrinkage=1).fit(values)  # similarities of 1e-200, times 1e-200: nothing is left of the scores
    rows = csr_array(np.full((2, 4), 1e-200))
    assert (small.recommend(user_items=rows, filter_already_liked_items=False)[0] == -1).all()


@pytest.mark.parametrize("value", [1e200, 1e-200])
def test_values_whose_squares_leave_float64_are_refused(value):
    with pytest.raises(InputError, match=r"data: the values of item 1, up to 1e[+-]200, are out of range when squared"):
        ItemKNN().fit(np.array([[1.0, value], [1.0, 0.0]]))


def test_integer_counts_of_any_storage_are_taken():
    dense = np.random.default_rng(0).integers(0, 3, (9, 7))
    expected = ItemKNN().fit(dense.astype(float)).item_similarity.toarray()
    wide = csr_array(dense)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for data in (wide, wide.tocsc(), wide.tocoo(), np.asfortranarray(dense)):
        assert (ItemKNN().fit(data).item_similarity.toarray() == expected).all()


def test_one_user_and_one_item():
    model = ItemKNN().fit(np.ones((1, 1)))
    assert model.item_similarity.shape == (1, 1)
    assert model.recommend(0, 2, filter_already_liked_items=False)[0].tolist() == [-1, -1]


def test_raw_ids_are_recommended(frame):
    data = Interactions.from_frame(frame, user="who", item="what", value="n")
    listed = ItemKNN().fit(data).recommend_frame(["bob"], N=5)
    assert list(listed.columns) == ["user", "item", "rank", "score"]
    assert listed["item"].tolist() == ["tea"]


def test_it_is_evaluated_as_other_models_are():
    generator = np.random.default_rng(0)
    dense = generator.random((30, 12)) < 0.4
    held = dense & (generator.random(dense.shape) < 0.3)
    train, test = Interactions.from_matrix(csr_array(dense & ~held)), Interactions.from_matrix(csr_array(held))
    table = evaluate(ItemKNN().fit(train), train, test, metrics=["hit@3", "auc"], bootstrap=0)
    assert table["value"].between(0, 1).all()
    assert table["users"].gt(20).all()


class TestSettings:
    def test_they_can_be_read_and_changed(self):
        model = ItemKNN(20, shrinkage=2.0)
        assert repr(model) == "ItemKNN(neighbours=20, shrinkage=2.0)"
        assert repr(model.set_params(neighbours=100, weighting="tfidf")) == "ItemKNN(shrinkage=2.0, weighting='tfidf')"
        assert ItemKNN.from_config(model.config).get_params() == model.get_params()
        with pytest.raises(InputError, match="no hyper-parameter 'K'; there are neighbours, similarity"):
            model.set_params(K=3)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"neighbours": 0}, "neighbours must be a whole number of at least 1, got 0"),
            ({"similarity": "pearson"}, "similarity must be one of 'cosine', 'jaccard', 'conditional', got 'pearson'"),
            ({"shrinkage": -1}, "shrinkage must be a finite number at least 0, got -1"),
            ({"weighting": "idf"}, "weighting must be one of 'tfidf', 'bm25', got 'idf'"),
            (
                {"similarity": "jaccard", "weighting": "bm25"},
                "weighting is 'bm25', but 'jaccard' similarity only looks",
            ),
            ({"popularity_exponent": np.nan}, "popularity_exponent must be a finite number"),
            ({"num_threads": 0}, "num_threads must be a whole number of at least 1, got 0"),
        ],
    )
    def test_wrong_ones_are_refused(self, settings, message):
        with pytest.raises(InputError, match=message):
            ItemKNN(**settings)


class TestRefusals:
    @pytest.fixture
    def fitted(self):
        return ItemKNN().fit(np.ones((3, 4)))

    @pytest.mark.parametrize("ask", [lambda m: m.recommend(0), lambda m: m.score(0, 0), lambda m: m.item_similarity])
    def test_before_fit(self, ask):
        with pytest.raises(NotFittedError, match="this ItemKNN has no neighbours yet: call fit first"):
            ask(ItemKNN())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "users: give positions, or user_items with a row for each user"),
            ({"users": [0, 3]}, "users holds 3 at position 1; indices run from 0 to 2"),
            ({"users": 0, "N": 0}, "N must be a whole number of at least 1"),
            ({"users": 0, "items": [4]}, "items holds 4 at position 0; indices run from 0 to 3"),
            ({"users": 0, "filter_items": [-1]}, "filter_items holds -1 at position 0"),
            ({"users": [0, 1], "filter_items": csr_array((1, 4))}, r"filter_items has shape \(1, 4\); \(2, 4\)"),
            ({"users": [0, 1], "items": csr_array((2, 5))}, r"items has shape \(2, 5\); \(2, 4\)"),
            ({"users": [0, 1], "user_items": csr_array((1, 4))}, r"user_items has shape \(1, 4\); \(2, 4\)"),
            ({"user_items": csr_array((2, 3))}, r"user_items has shape \(2, 3\); \(users, 4\)"),
        ],
    )
    def test_of_what_cannot_be_recommended(self, fitted, arguments, message):
        with pytest.raises(InputError, match=message):
            fitted.recommend(**arguments)

    def test_of_pairs_out_of_range(self, fitted):
        with pytest.raises(InputError, match="items holds 4 at position 1"):
            fitted.score([0, 0], [1, 4])
        with pytest.raises(InputError, match="do not broadcast"):
            fitted.score([0, 1], [0, 1, 2])

    def test_a_failed_fit_leaves_the_model_as_it_was(self, fitted):
        before = fitted.recommend(0, filter_already_liked_items=False)
        with pytest.raises(InputError, match="matrix"):
            fitted.fit(np.array([[1.0, np.nan]]))
        after = fitted.recommend(0, filter_already_liked_items=False)
        assert np.array_equal(before[1], after[1], equal_nan=True)
