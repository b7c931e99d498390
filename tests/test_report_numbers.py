"""The numbers behind the pictures, against literal loops and NumPy's own."""

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, awkward_counts, to_sparse

from implicit_wmf import WMF, InputError, Interactions, MostPopular, NotFittedError
from implicit_wmf.datasets import load_online_retail
from implicit_wmf.report import item_map, labels, numbers


@pytest.fixture(scope="module")
def model():
    return WMF(factors=4, iterations=3, random_state=0).fit(to_sparse(np.nan_to_num(awkward_counts(), nan=0).clip(0)))


def unit(factors):
    factors = np.asarray(factors, dtype=np.float64)
    lengths = np.linalg.norm(factors, axis=1)
    return factors / np.where(lengths > 0, lengths, 1)[:, None]


class TestPopularity:
    def test_counts_and_skew_are_those_of_loops(self):
        dense = awkward_counts(users=30, items=250)
        data = to_sparse(dense)
        taken = [[bool(value > 0) for value in row] for row in dense]  # NaN > 0 is false
        per_user = sorted(sum(row) for row in taken)
        per_item = sorted((sum(column) for column in zip(*taken, strict=True)), reverse=True)
        found = numbers.skew(data)
        pairs = sum(per_user)
        gaps = sum(abs(one - other) for one in per_item for other in per_item)
        assert numbers.popularity(data).tolist() == [sum(column) for column in zip(*taken, strict=True)]
        assert found[:3] == (30, 250, pairs)
        assert found.density == pairs / 7500
        assert found.pairs_per_user_median == (per_user[14] + per_user[15]) / 2
        assert found.pairs_per_user_most == per_user[-1]
        assert found.users_per_item_median == (per_item[124] + per_item[125]) / 2
        assert found.users_per_item_most == per_item[0]
        assert found.top_share == (per_item[0] + per_item[1]) / pairs  # 1 % of 250, rounded down
        assert found.gini == pytest.approx(gaps / (2 * 249 * pairs))  # mean difference, relative

    def test_one_cell_and_none(self):
        one = numbers.skew(np.array([[3.0]]))
        assert one[:-1] == (1, 1, 1, 1.0, 1.0, 1, 1.0, 1, 1.0)
        none = numbers.skew(Interactions.from_triples([], [], shape=(2, 3)))
        assert none[:8] == (2, 3, 0, 0.0, 0.0, 0, 0.0, 0)
        assert np.isnan([one.gini, none.gini, none.top_share]).all()

    def test_groups_fill_up_from_the_head(self):
        counts = np.array([1, 0, 5, 2, 2, 0])
        # in falling order 5, 2, 2, 1, 0, 0: the pairs before each are 0, 5, 7, 9, 10, 10 of 10
        assert numbers.popularity_groups(counts, 2).tolist() == [1, 1, 0, 1, 1, 1]
        assert numbers.popularity_groups(counts, 10).tolist() == [3, 3, 0, 1, 2, 3]
        assert numbers.popularity_groups(np.zeros(3, np.int64)).tolist() == [0, 0, 0]

    def test_groups_have_about_equal_shares(self):
        counts = np.random.default_rng(0).geometric(0.02, 3000)
        groups = numbers.popularity_groups(counts)
        assert np.abs(np.bincount(groups, counts) / counts.sum() - 0.1).max() <= counts.max() / counts.sum()
        for group in range(9):
            assert counts[groups == group].min() >= counts[groups == group + 1].max()


class TestExposure:
    def test_lists_are_counted(self):
        lists = np.random.default_rng(0).integers(-1, 7, (50, 4)).astype(np.int32)
        expected = [sum(int(one == item) for row in lists for one in row) for item in range(9)]
        assert numbers.exposure(lists, 9).tolist() == expected
        assert numbers.exposure(lists[0], 9).sum() == np.count_nonzero(lists[0] >= 0)
        assert numbers.exposure(np.full((3, 2), -1), 2).tolist() == [0, 0]

    @pytest.mark.parametrize(
        ("lists", "message"),
        [
            ([[0, 1], [2, 9]], r"lists holds 9 at \(1, 1\); items run from 0 to 4.*another model"),
            ([[0, -2]], r"lists holds -2 at \(0, 1\)"),
            ([[0.0, 1.0]], "lists: expected positions of items.*met float64"),
            ([[0], [1, 2]], "lists: expected lists of one length"),
            (3, "lists: expected an array .*met 0 dimensions"),
        ],
    )
    def test_refusals(self, lists, message):
        with pytest.raises(InputError, match=message):
            numbers.exposure(lists, 5)

    def test_names_are_in_the_message(self):
        with pytest.raises(InputError, match="lists 'mine' holds 5"):
            numbers.named_lists({"ok": [0], "mine": [5]}, 5)
        with pytest.raises(InputError, match="lists is empty"):
            numbers.named_lists({}, 5)


class TestSpectrum:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_eigenvalues_are_squared_singular_values(self, dtype):
        factors = np.random.default_rng(0).normal(size=(300, 7)).astype(dtype)
        values, rank = numbers.spectrum(factors)
        expected = np.linalg.svd(factors.astype(float), compute_uv=False) ** 2
        shares = expected / expected.sum()
        assert values == pytest.approx(expected)
        assert rank == pytest.approx(np.prod(shares**-shares))

    def test_known_ranks(self):
        generator = np.random.default_rng(0)
        orthonormal = np.linalg.qr(generator.normal(size=(50, 6)))[0]
        assert numbers.spectrum(orthonormal)[1] == pytest.approx(6)
        one = np.outer(generator.normal(size=40), [1.0, 2.0, -3.0])
        values, rank = numbers.spectrum(one)
        assert rank == pytest.approx(1)
        assert values[1:].tolist() == [0, 0]
        assert numbers.spectrum(np.ones((5, 1)))[1] == 1
        zeros, none = numbers.spectrum(np.zeros((4, 3), np.float32))
        assert (zeros.tolist(), none) == ([0, 0, 0], 0)

    def test_mapped_factors(self, tmp_path):
        factors = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
        np.save(tmp_path / "factors.npy", factors)
        mapped = np.load(tmp_path / "factors.npy", mmap_mode="r")
        assert numbers.spectrum(mapped)[0].tolist() == numbers.spectrum(factors)[0].tolist()

    def test_refusals(self):
        with pytest.raises(InputError, match="not finite"):
            numbers.spectrum(np.array([[1.0, np.nan]]))
        with pytest.raises(InputError, match="model: object has no item_factors"):
            numbers.factors_of(object(), "item")
        with pytest.raises(NotFittedError):
            numbers.factors_of(WMF(), "item")


class TestHistory:
    def test_records_and_table_give_the_same(self, model):
        of_records = numbers.objective_table(model.history)
        pd.testing.assert_frame_equal(of_records, numbers.objective_table(model.history_frame()))
        assert of_records["loss"].tolist() == [record.loss for record in model.history]
        assert list(of_records) == ["epoch", "loss", "stored", "background", "regularization"]

    def test_the_best_epoch_is_the_first_metrics(self):
        table = pd.DataFrame(
            {"epoch": [2, 4, 6], "loss": 1.0, "b@5": [0.1, 0.3, 0.3], "a": [0.9, np.nan, 0.1], "seconds": 1.0}
        )
        assert numbers.validation_table(table, None)[::2] == ("b@5", 4)
        name, values, best = numbers.validation_table(table, "a")
        assert (name, best, values.to_numpy().tolist()) == ("a", 4, [[2, 0.9], [6, 0.1]])

    @pytest.mark.parametrize(
        ("history", "message"),
        [
            ([], "history: it has no epochs"),
            (None, "history: met NoneType"),
            ([1, 2], "history: met list"),
            (pd.DataFrame({"a": [1]}), "history: it has no columns epoch and loss"),
            (pd.DataFrame({"epoch": [1], "loss": [np.nan]}), "history: no epoch has a loss.*track_loss"),
        ],
    )
    def test_refusals(self, history, message):
        with pytest.raises(InputError, match=message):
            numbers.objective_table(history)

    def test_what_was_not_measured(self, model):
        with pytest.raises(InputError, match="no metric was measured.*validation="):
            numbers.validation_table(model.history, None)
        table = pd.DataFrame({"epoch": [1], "loss": [1.0], "recall@10": [0.5], "auc": [0.6]})
        with pytest.raises(InputError, match=r"metric: 'recall@1' was not measured; did you mean 'recall@10'\?"):
            numbers.validation_table(table, "recall@1")
        with pytest.raises(InputError, match=r"metric: 'x' was not measured; there are recall@10, auc"):
            numbers.validation_table(table, "x")


class TestMetricCurves:
    def test_rows_of_each_model_by_k(self):
        table = pd.DataFrame(
            {
                "model": ["b", "b", "a", "a", "b"],
                "metric": ["recall@10", "recall@5", "recall@5", "ndcg@5", "auc"],
                "value": [0.2, 0.1, np.nan, 0.4, 0.5],
                "low": 0.0,
                "high": 1.0,
            }
        )
        curves = numbers.metric_curves(table, "recall")
        assert list(curves) == ["b"]
        assert curves["b"].to_dict("list") == {"k": [5, 10], "value": [0.1, 0.2], "low": [0, 0], "high": [1, 1]}
        assert list(numbers.metric_curves(table.drop(columns=["model", "low", "high"]), "ndcg")) == [""]

    def test_refusals(self):
        table = pd.DataFrame({"metric": ["recall@5", "auc"], "value": [np.nan, 0.5]})
        with pytest.raises(InputError, match=r"metric: 'recoll' is not in the table; did you mean 'recall'\?"):
            numbers.metric_curves(table, "recoll")
        with pytest.raises(InputError, match="all values of 'recall' are NaN"):
            numbers.metric_curves(table, "recall")
        with pytest.raises(InputError, match="there is none with a length of lists"):
            numbers.metric_curves(table[1:], "auc")
        with pytest.raises(InputError, match="table: it has no columns"):
            numbers.metric_curves({"metric": 1}, "recall")


class TestItemMap:
    def test_neighbours_are_those_of_similar_items(self, model):
        groups = item_map.nearest_items(model.item_factors, np.array([3, 0]), 5)
        expected = model.similar_items([3, 0], N=6)[0]
        assert [group.tolist() for group in groups] == expected.tolist()

    def test_items_of_zeros_have_and_are_no_neighbours(self):
        factors = np.array([[1.0, 0], [0, 0], [2, 0], [0, 1]])
        groups = item_map.nearest_items(factors, np.array([0, 1]), 3)
        assert [group.tolist() for group in groups] == [[0, 2, 3], [1]]

    def test_anchors_are_far_apart(self):
        generator = np.random.default_rng(0)
        factors, popularity = generator.normal(size=(150, 3)), generator.permutation(150)
        factors[np.argmax(popularity)] = 0  # the most popular one is like nothing
        found = item_map.far_apart(factors, popularity, 4)
        vectors, best = unit(factors), sorted(range(150), key=lambda item: -popularity[item])[1:101]
        chosen = [best[0]]
        while len(chosen) < 4:
            alike = {item: max(vectors[item] @ vectors[one] for one in chosen) for item in best if item not in chosen}
            chosen.append(min(alike, key=alike.get))
        assert found.tolist() == chosen
        assert item_map.far_apart(np.zeros((3, 2)), np.arange(3), 2).size == 0

    def test_groups_stand_at_the_corners(self):
        generator = np.random.default_rng(1)
        directions = np.linalg.qr(generator.normal(size=(8, 8)))[0][:5]
        factors = np.vstack([directions, np.repeat(directions, 3, axis=0) + 0.02 * generator.normal(size=(15, 8))])
        found = item_map.map_items(factors, np.arange(5), 3)
        middles = np.stack([places.mean(axis=0) for places in found.places])
        assert np.hypot(*middles.T) == pytest.approx(1, abs=0.01)
        assert np.diff(np.sort(np.arctan2(*middles.T))) == pytest.approx(2 * np.pi / 5, abs=0.01)
        again = item_map.map_items(factors, np.arange(5), 3)
        assert np.array_equal(again.others, found.others)

    def test_the_map_is_linear(self, model):
        found = item_map.map_items(model.item_factors, np.array([0, 1, 2]), 2)
        vectors = unit(model.item_factors)
        shown = vectors[vectors.any(axis=1)]
        design = np.column_stack([shown, np.ones(len(shown))])
        assert design @ np.linalg.lstsq(design, found.others, rcond=None)[0] == pytest.approx(found.others, abs=1e-5)

    def test_two_groups_are_seen_where_all_items_differ_most(self):
        generator = np.random.default_rng(2)
        factors = np.column_stack([generator.normal(size=200), np.zeros(200), generator.normal(size=200), np.ones(200)])
        found = item_map.map_items(factors, np.array([0, 1]), 0)
        singular = np.linalg.svd(unit(factors) - unit(factors).mean(axis=0))[1]
        assert np.var(found.others, axis=0) == pytest.approx(singular[:2] ** 2 / 200)

    def test_likeness_is_the_mean_cosine_of_the_neighbours(self, model):
        found = item_map.map_items(model.item_factors, np.array([3, 0]), 5)
        cosines = model.similar_items([3, 0], N=6)[1]
        assert found.likeness == pytest.approx(cosines[:, 1:].mean(axis=1).tolist(), abs=1e-6)
        alone = item_map.map_items(model.item_factors, np.array([3]), 0)
        assert np.isnan([*alone.likeness, alone.chance]).all()

    @pytest.mark.parametrize(("width", "stretched"), [(4, 1.0), (16, 1.0), (16, 5.0)])
    def test_by_chance_is_what_noise_has(self, width, stretched, monkeypatch):
        noise = np.random.default_rng(width).standard_normal((2000, width)) * np.linspace(1, stretched, width)
        anchors = np.arange(8)
        found = item_map.map_items(noise, anchors, 4)
        vectors = unit(noise)
        nearest = np.sort(vectors[:8] @ vectors.T, axis=1)[:, -5:-1]
        assert found.likeness == pytest.approx(nearest.mean(axis=1).tolist())
        assert found.chance == pytest.approx(nearest.mean(), abs=0.04)
        monkeypatch.setattr(item_map, "_ROWS", 300)
        assert item_map.map_items(noise, anchors, 4).chance == pytest.approx(found.chance)

    @pytest.mark.skipif(not COMPILED, reason="fits the shop data")
    def test_the_shops_groups_are_far_above_chance_and_those_of_shuffled_purchases_are_not(self):
        purchases = load_online_retail()
        shuffled = purchases.assign(product=purchases["product"].sample(frac=1, random_state=0).to_numpy())
        above = []
        for table in (purchases, shuffled):
            data = Interactions.from_frame(table, user="customer", item="product")
            fitted = WMF(64, weighting="log", regularization=40, iterations=4, random_state=0).fit(data)
            chosen = item_map.far_apart(fitted.item_factors, numbers.popularity(data), 5)
            found = item_map.map_items(fitted.item_factors, chosen, 4)
            above.append(np.array(found.likeness) - found.chance)
        assert above[0].min() > 0.2
        assert np.abs(above[1]).max() < 0.1

    @pytest.mark.parametrize("factors", [np.ones((1, 1)), np.zeros((4, 3)), np.ones((6, 2)), np.arange(5.0)[:, None]])
    def test_degenerate_factors_have_places(self, factors):
        anchors = np.arange(min(len(factors), 3))
        found = item_map.map_items(factors, anchors, 4)
        assert all(np.isfinite(places).all() and places.shape[1] == 2 for places in [*found.places, found.others])
        assert [group[0] for group in found.groups] == anchors.tolist()

    def test_of_many_items_some_are_shown(self):
        factors = np.random.default_rng(0).normal(size=(1000, 2))
        assert item_map.map_items(factors, np.array([0]), 2, shown=70).others.shape == (70, 2)


class TestLabels:
    def test_what_has_room_stays(self):
        assert labels.spread([5.0, 1.0, 9.0], 2, 0, 10).tolist() == [5, 1, 9]

    def test_neighbours_are_moved_apart_about_their_middle(self):
        assert labels.spread([4.0, 4.0, 9.5], 2, 0, 10).tolist() == [3, 5, 9.5]
        assert labels.spread([0.0, 0.0, 0.0], 1, 0, 10).tolist() == [0, 1, 2]

    @pytest.mark.parametrize("seed", range(20))
    def test_gaps_and_bounds_hold(self, seed):
        wanted = np.random.default_rng(seed).uniform(-2, 12, 8)
        found = labels.spread(wanted, 1.2, 0, 10)
        assert np.diff(np.sort(found)).min() >= 1.2 - 1e-9
        assert found.min() >= -1e-9
        assert found.max() <= 10 + 1e-9
        assert np.argsort(found, kind="stable").tolist() == np.argsort(wanted, kind="stable").tolist()

    @pytest.mark.parametrize("seed", range(5))
    def test_blocks_do_not_overlap(self, seed):
        generator = np.random.default_rng(seed)
        sizes = [(100.0, 60.0)] * 5
        targets = list(generator.uniform(0, 350, (5, 2)))
        found = labels.place(sizes, targets, np.array(targets), np.zeros((0, 2)), (370, 370))
        boxes = [(x, y, x + 100, y + 60) for x, y in found]
        for number, (left, bottom, right, top) in enumerate(boxes):
            assert min(left, bottom) >= 0
            assert max(right, top) <= 370
            for other in boxes[:number]:
                assert right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom
        assert found == labels.place(sizes, targets, np.array(targets), np.zeros((0, 2)), (370, 370))

    def test_marks_stay_free_where_there_is_room(self):
        marks = np.array([[200.0, 200.0], [230.0, 200.0]])
        ((x, y),) = labels.place([(100, 60)], [marks[0]], marks, np.zeros((0, 2)), (400, 400))
        assert not any(x <= a <= x + 100 and y <= b <= y + 60 for a, b in marks)

    def test_what_does_not_fit_has_no_place(self):
        targets = [np.array([10.0, 10.0])] * 2
        found = labels.place([(80, 80), (80, 80)], targets, np.zeros((0, 2)), np.zeros((0, 2)), (100, 100))
        assert sum(one is None for one in found) == 1


def test_most_popular_has_no_history():
    fitted = MostPopular().fit(np.eye(3))
    with pytest.raises(InputError, match="no epochs"):
        numbers.objective_table(fitted.history)
