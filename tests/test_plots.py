"""The pictures: they show the numbers, nothing in a name is more than text, and odd inputs still make pictures."""

import subprocess
import sys
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import awkward_counts, to_sparse

from implicit_wmf import WMF, InputError, Interactions, MissingExtraError, MostPopular
from implicit_wmf.evaluation import compare, evaluate
from implicit_wmf.factorizers import ObservedMF, SymmetricMF
from implicit_wmf.report import (
    figures,
    plot_exposure,
    plot_item_map,
    plot_metric,
    plot_objective,
    plot_popularity,
    plot_spectrum,
    plot_validation,
)

pytest.importorskip("matplotlib")
NASTY = [
    "$5 & $6 <b>", "two\nlines\r\tand a tab", "緑茶", "🍵 tea", "", "x" * 500, "שלום", "مرحبا", "\ud800half",
    "\u202egnp", "_under", "$\\frac{", "  ", "é\x00\x1b[31m", "$", "100 %",
]  # fmt: skip


@pytest.fixture(scope="module")
def data():
    counts = awkward_counts()
    return Interactions.from_matrix(to_sparse(np.where(counts > 0, counts, np.nan)))


@pytest.fixture(scope="module")
def held_out(data):
    """An item that each user does not have, of all but those who have most."""
    free = data.matrix.toarray()[:20] == 0
    users, items = np.arange(20), [np.flatnonzero(row)[number % row.sum()] for number, row in enumerate(free)]
    return Interactions.from_triples(users, items, shape=data.shape)


@pytest.fixture(scope="module")
def model(data, held_out):
    return WMF(factors=4, iterations=4, random_state=0).fit(data, validation=held_out, metric="recall@5")


@pytest.fixture(scope="module")
def table(model, data, held_out):
    models = {"mine": model, "most popular": MostPopular().fit(data)}
    metrics = ["recall@5", "recall@10", "recall@20", "ndcg@10", "auc"]
    return compare(models, data, held_out, metrics=metrics, bootstrap=50)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def overlapping(boxes):
    return [
        (one, other) for number, one in enumerate(boxes) for other in boxes[:number]
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]  # fmt: skip


def check_drawn(ax):
    """The figure is well-formed, and all of its text lies inside it, none on another."""
    svg = figures.to_svg(ax)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    figure = ax.figure
    figure.draw_without_rendering()
    shown = [*ax.texts, ax.xaxis.label, ax.yaxis.label, *(ax.get_legend().get_texts() if ax.get_legend() else [])]
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        shown += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [text.get_window_extent() for text in shown if text.get_text() and text.get_visible()]
    width, height = figure.get_size_inches() * figure.dpi
    assert min(min(box.x0, box.y0) for box in boxes) >= -1
    assert max(box.x1 for box in boxes) <= width + 1
    assert max(box.y1 for box in boxes) <= height + 1
    assert overlapping([text.get_window_extent() for text in ax.texts]) == []


class TestObjective:
    def test_lines_are_the_records(self, model):
        ax = plot_objective(model.history)
        for line, part in zip(ax.lines, ["loss", "stored", "background", "regularization"], strict=True):
            assert line.get_xydata().tolist() == [[record.epoch, getattr(record, part)] for record in model.history]
        assert ax.get_ylim()[0] == 0
        assert legend_texts(ax)[0] == f"objective {figures.short(model.history[-1].loss)}"
        assert {line.get_marker() for line in ax.lines} == {"o", "s", "^", "D"}
        check_drawn(ax)

    def test_high_starts_are_drawn_on_a_logarithmic_axis(self):
        table = pd.DataFrame({"epoch": [1, 2, 3], "loss": [1e6, 20, 10], "stored": [1e6, 20, 10], "background": 0.0})
        ax = plot_objective(table)
        assert ax.get_yscale() == "log"
        assert texts(ax) == ["last epoch: objective \u221250 %"]
        assert legend_texts(ax) == ["objective 10", "stored 10", "background 0"]
        check_drawn(ax)

    def test_other_estimators_and_few_epochs(self, data):
        check_drawn(plot_objective(ObservedMF(factors=2, iterations=2).fit(data).history))
        one = plot_objective(WMF(factors=2, iterations=1).fit(data).history)
        assert texts(one) == []  # no change to be told of
        assert len(legend_texts(one)) == 4
        check_drawn(one)
        check_drawn(plot_objective(pd.DataFrame({"epoch": [1, 2], "loss": [-3.0, -4.0]})))
        check_drawn(plot_objective(pd.DataFrame({"epoch": [1, 2], "loss": [0.0, 0.0]})))

    def test_without_losses(self, data):
        fitted = WMF(factors=2, iterations=1).fit(data, track_loss=False)
        with pytest.raises(InputError, match="history: no epoch has a loss"):
            plot_objective(fitted.history)


class TestValidation:
    def test_the_best_epoch_is_marked(self, model):
        ax = plot_validation(model.history)
        curve, star = ax.lines
        values = [record.validation["recall@5"] for record in model.history]
        assert curve.get_ydata().tolist() == values
        assert star.get_xydata().tolist() == [[model.best_epoch, max(values)]]
        assert texts(ax) == [f"best epoch {model.best_epoch}: {max(values):.4f}"]
        assert ax.get_ylabel() == "recall@5"
        check_drawn(ax)

    @pytest.mark.parametrize("best", [1, 2, 50, 99])
    def test_its_label_is_in_the_picture(self, best):
        epochs = np.arange(1, 100)
        check_drawn(plot_validation(pd.DataFrame({"epoch": epochs, "loss": np.nan, "m": -np.abs(epochs - best)})))

    def test_one_epoch(self):
        check_drawn(plot_validation(pd.DataFrame({"epoch": [1], "loss": [1.0], "ndcg@10": [0.25]})))


class TestMetric:
    def test_curves_and_bands(self, table):
        ax = plot_metric(table)
        rows = table[table["metric"].str.startswith("recall")]
        for line, band, name in zip(ax.lines, ax.collections, ["mine", "most popular"], strict=True):
            part = rows[rows["model"] == name]
            assert line.get_xdata().tolist() == [5, 10, 20]
            assert line.get_ydata().tolist() == part["value"].tolist()
            assert set(part["low"]) | set(part["high"]) == set(band.get_paths()[0].vertices[:, 1])
        assert legend_texts(ax) == ["mine", "most popular"]
        assert ax.lines[0].get_linewidth() > ax.lines[1].get_linewidth()
        check_drawn(ax)

    def test_one_length_shows_a_line_a_model(self, table):
        ax = plot_metric(table, "ndcg")
        assert [label.get_text() for label in ax.get_yticklabels()] == ["mine", "most popular"]
        assert ax.get_xlabel() == "ndcg@10"
        assert ax.lines[1].get_xdata()[0] == table.loc[table["metric"] == "ndcg@10", "value"].iloc[0]
        check_drawn(ax)

    def test_evaluate_without_intervals(self, model, data, held_out):
        table = evaluate(model, data, held_out, metrics=["ndcg@1", "ndcg@10"], bootstrap=0)
        ax = plot_metric(table, "ndcg")
        assert ax.get_legend() is None
        check_drawn(ax)
        check_drawn(plot_metric(table[:1], "ndcg"))

    def test_values_of_zero_and_none(self, table):
        zeros = table.assign(value=0.0, low=0.0, high=np.nan)
        check_drawn(plot_metric(zeros))
        check_drawn(plot_metric(zeros, "ndcg"))
        some = table.assign(value=table["value"].where(table["model"] == "mine"))
        assert len(plot_metric(some).lines) == 1

    @pytest.mark.parametrize("metric", ["recall", "ndcg"])
    def test_names_of_models_are_text(self, table, metric):
        for name in NASTY:
            if "\ud800" not in name:  # which no table of pandas holds
                check_drawn(plot_metric(table.replace({"model": {"mine": name}}), metric))

    def test_many_lengths_keep_their_ticks_apart(self, table):
        lengths = [*range(1, 21), 50, 100]
        rows = [{"metric": f"hit@{k}", "value": k / 100, "low": k / 110, "high": k / 90} for k in lengths]
        ax = plot_metric(pd.DataFrame(rows), "hit")
        check_drawn(ax)
        assert overlapping([label.get_window_extent() for label in ax.get_xticklabels()]) == []
        assert ax.get_xticks()[-1] == 100


class TestPopularity:
    def test_the_marks_are_shares_of_the_head(self, data):
        ax = plot_popularity(data)
        counts = np.sort((data.matrix.toarray() > 0).sum(axis=0))[::-1]
        marks = [line.get_xydata()[0].tolist() for line in ax.lines[2:]]
        expected = [[top / 80, counts[:top].sum() / counts.sum()] for top in (1, 8, 40)]
        assert np.array(marks) == pytest.approx(np.array(expected))
        curve = ax.lines[1].get_xydata()
        assert curve[:3, 0].tolist() == [0, 1 / 80, 2 / 80]
        assert curve[1, 1] == counts[0] / counts.sum()
        check_drawn(ax)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 250)])
    def test_little_data(self, shape):
        check_drawn(plot_popularity(np.ones(shape)))

    def test_skewed_data(self):
        check_drawn(plot_popularity(np.hstack([np.ones((50, 1)), np.zeros((50, 500))])))

    def test_no_pairs(self):
        with pytest.raises(InputError, match="interactions: no value is positive"):
            plot_popularity(Interactions.from_triples([], [], shape=(2, 3)))


class TestExposure:
    def test_shares_of_each_group(self):
        counts = np.zeros((6, 4))
        counts[:, 0], counts[:3, 1], counts[:2, 2], counts[:1, 3] = 1, 1, 1, 1  # of 12: 6, 3, 2, 1
        ax = plot_exposure(counts, {"mine": np.array([[0, 3], [1, -1]]), "none": np.full((2, 2), -1)})
        assert [bar.get_height() for bar in ax.patches] == pytest.approx([1 / 2, 1 / 4, 1 / 6, 1 / 12])
        assert ax.lines[0].get_ydata() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
        assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "1", "1", "1"]
        assert legend_texts(ax) == ["what people take", "mine", "none (nothing listed)"]
        check_drawn(ax)

    def test_of_a_model(self, model, data):
        lists = model.recommend(np.arange(data.shape[0]), N=5)[0]
        check_drawn(plot_exposure(data, lists))
        check_drawn(plot_exposure(data, dict.fromkeys(NASTY, lists)))
        check_drawn(plot_exposure(np.ones((1, 1)), [[0]]))


class TestSpectrum:
    def test_shares_and_ranks(self, model):
        ax = plot_spectrum(model)
        squares = np.linalg.svd(model.item_factors.astype(float), compute_uv=False) ** 2
        assert ax.lines[1].get_ydata() == pytest.approx(squares / squares.sum(), rel=1e-4)
        rank = np.exp(-np.sum(squares / squares.sum() * np.log(squares / squares.sum())))
        assert ax.get_legend().get_texts()[1].get_text() == f"items: effective rank {rank:.1f} of 4"
        check_drawn(ax)

    def test_the_same_factors_are_drawn_once(self):
        fitted = SymmetricMF(factors=2, random_state=0).fit(np.array([[1.0, 2.0, 0], [2.0, 4.0, 0], [0, 0, 1]]))
        assert len(plot_spectrum(fitted).lines) == 1

    def test_one_factor_and_none(self, data):
        check_drawn(plot_spectrum(MostPopular().fit(data)))
        check_drawn(plot_spectrum(WMF(factors=3, iterations=2).fit(data, confidence=data.matrix * 0)))


class TestItemMap:
    def test_groups_are_neighbours_with_their_names(self, model, data):
        names = pd.Series({item: f"item {item}" for item in data.items})
        ax = plot_item_map(model, names, items=[7, 20, 33], neighbours=3)
        listed, cosines = model.similar_items([7, 20, 33], N=4)
        assert [text for text in texts(ax) if "alike" not in text] == [
            f"item {data.items[item]}" for item in listed.reshape(-1)
        ]
        assert texts(ax)[::5] == [f"alike: {alike:.2f}" for alike in cosines[:, 1:].mean(axis=1)]
        check_drawn(ax)

    def test_by_default_five_popular_ones(self, model, data):
        ax = plot_item_map(model)
        assert len(texts(ax)) == 30
        assert texts(ax)[1] == str(data.items[np.argmax((data.matrix.toarray() > 0).sum(axis=0))])
        check_drawn(ax)

    @pytest.mark.parametrize("first", range(0, len(NASTY), 4))
    def test_names_are_text(self, model, data, first):
        names = {item: NASTY[(first + number) % len(NASTY)] for number, item in enumerate(data.items)}
        ax = plot_item_map(model, names, items=[7, 20], neighbours=6)
        check_drawn(ax)
        wanted = [names[data.items[item]] for item in model.similar_items([7, 20], N=7)[0].reshape(-1)]
        shown = [text for text in texts(ax) if not text.startswith("alike")]
        for name, text in zip(wanted, shown, strict=True):
            assert not text.strip("x\u2026") or len(text) <= 19
            if name.isascii() and name.isprintable() and 0 < len(name.strip()) <= 19:
                assert text == name

    def test_many_groups_are_shortened_not_overlapping(self, model):
        ax = plot_item_map(model, items=range(5, 12), neighbours=10)
        assert len(texts(ax)) >= 7
        check_drawn(ax)

    def test_a_model_of_noise_has_no_more_than_chance_and_groups_have(self, data):
        class Fitted:
            interactions = data

            def __init__(self, factors):
                self.user_factors = self.item_factors = factors

        generator = np.random.default_rng(0)
        noise = generator.standard_normal((80, 12))
        kinds = generator.standard_normal((10, 12))[np.arange(80) % 10] + 0.2 * noise
        for factors, at_least, at_most in [(noise, -0.25, 0.1), (kinds, 0.25, 1)]:
            ax = plot_item_map(Fitted(factors))
            alike = [float(text.split()[1]) for text in texts(ax) if text.startswith("alike")]
            above = np.array(alike) - float(ax.get_xlabel().split()[-1])
            assert above.min() > at_least
            assert above.max() < at_most

    def test_little_to_map(self, data):
        check_drawn(plot_item_map(MostPopular().fit(np.ones((2, 1)))))
        check_drawn(plot_item_map(MostPopular().fit(data)))
        zeros = WMF(factors=3, iterations=2).fit(data, confidence=data.matrix * 0)
        check_drawn(plot_item_map(zeros))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"items": range(8)}, "items holds 8 positions; give 1 to 7"),
            ({"items": []}, "items holds 0 positions"),
            ({"items": [80]}, "items holds 80 at position 0"),
            ({"neighbours": 11}, "neighbours is 11; give a whole number from 0 to 10"),
            ({"neighbours": True}, "neighbours is True"),
            ({"names": ["tea"]}, "names must be a mapping or a Series .*got list"),
        ],
    )
    def test_refusals(self, model, arguments, message):
        with pytest.raises(InputError, match=message):
            plot_item_map(model, **arguments)


def test_given_axes_are_drawn_into_and_nothing_else_is_touched(model, data, table):
    figure = figures.new_axes(9, 9).figure
    figure.clear()
    other, *panels = figure.subplots(4, 2).reshape(-1)
    before = (figure.get_size_inches().tolist(), other.get_children(), other.get_xlim())
    lists = model.recommend(np.arange(data.shape[0]), N=5)[0]
    drawn = [
        plot_objective(model.history, ax=panels[0]), plot_validation(model.history, ax=panels[1]),
        plot_metric(table, ax=panels[2]), plot_popularity(data, ax=panels[3]), plot_exposure(data, lists, ax=panels[4]),
        plot_spectrum(model, ax=panels[5]), plot_item_map(model, ax=panels[6]),
    ]  # fmt: skip
    assert drawn == panels
    assert (figure.get_size_inches().tolist(), other.get_children(), other.get_xlim()) == before
    assert ElementTree.fromstring(figures.to_svg(panels[0])).tag.endswith("svg")


def test_files_are_the_same_each_time_and_refer_to_nothing(model):
    first, again = (plot_item_map(model, {0: "<script>"}) for _ in range(2))
    svg = figures.to_svg(first)
    assert svg == figures.to_svg(again)
    assert figures.to_png(first) == figures.to_png(again)
    root = ElementTree.fromstring(svg)
    links = [value for one in root.iter() for name, value in one.attrib.items() if name.endswith("href")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert not list(root.iter("{http://www.w3.org/2000/svg}text"))


def test_png_has_the_asked_resolution():
    from matplotlib.image import imread

    assert imread(BytesIO(figures.to_png(figures.new_axes(2, 1), dpi=50))).shape[:2] == (50, 100)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        (" two\n lines ", "two lines"),
        ("a\u202eb\x00c", "abc"),
        ("\ud800x", "□x"),
        ("1234567890X", "123456789…"),
        ("", ""),
    ],
)
def test_text_is_one_line_that_can_be_shown(text, shown):
    assert figures.printable(text, 10) == shown


def test_numbers_are_short():
    values = [0, 0.05, 512, 1500, 1.5e6, 2e9, 1e20, -2500, 0.00001]
    assert [figures.short(value) for value in values] == [
        "0", "0.05", "512", "1.5k", "1.5M", "2G", "1e+20", "-2.5k", "1e-05",
    ]  # fmt: skip
    assert [figures.percent(share) for share in (0, 0.004, 0.1234, 0.999, 1)] == [
        "0 %", "0.4 %", "12 %", "99.9 %", "100 %",
    ]  # fmt: skip


def test_missing_matplotlib_names_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"needs matplotlib, .*pip install 'implicit_wmf\[plot\]'"):
        plot_objective(model.history)


def test_importing_the_plots_loads_no_matplotlib_and_drawing_no_pyplot():
    code = """
import sys, implicit_wmf.report
assert "matplotlib" not in sys.modules
implicit_wmf.report.plot_popularity([[1, 0], [1, 1]])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
