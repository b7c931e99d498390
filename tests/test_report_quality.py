"""How good the model is, as the report words it."""

import re

import numpy as np
import pandas as pd
import pytest

from implicit_wmf import WMF, Interactions, ItemKNN, MostPopular
from implicit_wmf.evaluation import METRICS, compare, split_random
from implicit_wmf.evaluation.metrics import parse_metric
from implicit_wmf.report.page import Picture, Table, Text
from implicit_wmf.report.quality import _MEANINGS, found_words, quality_section

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def quality():
    generator = np.random.default_rng(0)
    taste = np.arange(60)[:, None] % 2 == np.arange(40) % 2
    users, items = np.nonzero(taste & (generator.random((60, 40)) < 0.6))
    whole = Interactions.from_triples(users, items, shape=(60, 40))
    train, test = split_random(whole, within_users=True, random_state=0)
    model = WMF(4, iterations=3, random_state=0).fit(train)
    metrics = ["recall@5", "recall@10", "ndcg@5", "ndcg@10", "coverage@10", "auc"]
    models = {"WMF": model, "item-kNN": ItemKNN().fit(train), "most popular": MostPopular().fit(train)}
    return compare(models, train, test, metrics=metrics)


def two(metric="recall@10", **columns):
    """A model and a baseline on 100 users."""
    first = {"model": "WMF", "metric": metric, "value": 0.3, "low": 0.2, "high": 0.4, "users": 100}
    paired = {"difference": -0.1, "difference_low": -0.15, "difference_high": -0.05}
    rows = [first | dict.fromkeys(paired, np.nan), first | {"model": "kNN", "value": 0.2} | paired]
    return pd.DataFrame(rows).assign(**columns)


def blocks_of(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def said(table):
    return [block.text for block in blocks_of(quality_section(table), Text)]


def test_the_numbers_are_those_of_compare(quality):
    (table,) = blocks_of(quality_section(quality), Table)
    assert list(table.header) == ["", "recall@10", "ndcg@10", "coverage@10", "auc"]
    for name, *cells in table.rows:
        for metric, cell in zip(table.header[1:], cells, strict=True):
            (row,) = quality[(quality["model"] == name) & (quality["metric"] == metric)].itertuples()
            expected = [row.value] if np.isnan(row.low) else [row.value, row.low, row.high]
            assert [float(number) for number in re.findall(r"\d\.\d+", cell)] == pytest.approx(expected, abs=6e-5)
    sample, *sentences = said(quality)
    assert sample == "Measured on 60 users."
    differing = quality[quality["metric"].isin(table.header) & quality["difference_low"].notna()]
    assert len(sentences) == len(differing) == 6
    for sentence, row in zip(sentences, differing.itertuples(), strict=True):
        assert sentence.startswith(f"{row.metric}: {row.model} is {abs(row.difference):.4f} ")
        assert ("behind WMF" in sentence) == (row.difference < 0)
        assert ("may be chance" not in sentence) == (row.difference_low > 0 or row.difference_high < 0)
    assert table.caption == "In brackets: where the mean lies, with 95 % confidence."
    assert [picture.alt.split()[0] for picture in blocks_of(quality_section(quality), Picture)] == ["recall", "ndcg"]


def test_one_model_and_one_length(quality):
    own = quality[(quality["model"] == "WMF") & (quality["metric"] == "recall@5")].drop(columns="model")
    own = own.drop(columns=[name for name in own if name.startswith("difference")])
    section = quality_section(own)
    (table,) = blocks_of(section, Table)
    assert (list(table.header), [row[0] for row in table.rows]) == (["", "recall@5"], ["the model"])
    assert len(section.blocks) == 2
    assert f"on average {100 * own['value'].iloc[0]:.2g} % (the model)." in found_words(own, None)[0]
    assert said(None)[0].startswith("Nothing was held out")


def test_who_was_asked_and_who_left_out():
    table = two()
    table.attrs = {"without_targets": 1250, "without_history": 3}
    assert said(table)[0] == (
        "Measured on 100 users. Left out: 1,250 who took nothing new in the held-out part, 3 who had taken nothing "
        "before."
    )
    table.attrs = {"without_targets": 0, "without_history": 0}
    assert said(table)[0] == "Measured on 100 users."
    assert "asked what 100 users went on to take" in found_words(table, None)[0]
    without = table.drop(columns="users")
    assert said(without) == said(table)[1:]
    assert "asked what users went on to take" in found_words(without, None)[0]


@pytest.mark.parametrize("users", [3, 29, 30])
def test_few_users_prove_nothing(users):
    lengths = [two(f"{name}@{k}", users=users) for name in ("recall", "ndcg") for k in (5, 10)]
    table = pd.concat(lengths, ignore_index=True)
    section = quality_section(table)
    (shown,) = blocks_of(section, Table)
    assert shown.rows[0][1] == ("0.3000 (0.2000 to 0.4000)" if users == 30 else "0.3000")
    assert shown.caption.startswith("In brackets" if users == 30 else "Means over users; too few to say")
    assert (f"Measured on {users} users. These are too few" in said(table)[0]) == (users < 30)
    assert len(said(table)) == (3 if users == 30 else 1)
    assert len(found_words(table, None)) == (1 if users == 30 else 2)
    curve = blocks_of(section, Picture)[0]
    assert ("Bands are 95 %" in curve.caption) == (users == 30)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "kNN is 0.1000 behind WMF on the same users (95 % interval 0.0500 to 0.1500)."),
        ({"difference_high": 0.02}, "0.1000 behind WMF on the same users (95 % interval -0.0200 to 0.1500), which may"),
        (
            {"difference": 0.1, "difference_low": 0.05, "difference_high": 0.15},
            "kNN is 0.1000 ahead of WMF on the same users (95 % interval 0.0500 to 0.1500).",
        ),
        (
            {"difference": 0.00001, "difference_low": -0.1, "difference_high": 0.15},
            "kNN is level with WMF on the same users (95 % interval -0.1000 to 0.1500).",
        ),
        (dict.fromkeys(("difference", "difference_low", "difference_high"), 0.0), "level with WMF for every user."),
        ({"difference_low": -0.1, "difference_high": -0.1}, "not told apart from WMF: too little to say."),
    ],
    ids=["behind", "perhaps", "ahead", "level", "alike", "without width"],
)
def test_differences_are_worded_by_their_numbers(columns, words):
    table = two()
    for name, value in columns.items():
        table.loc[1, name] = value
    assert words in said(table)[1]


@pytest.mark.parametrize("metric", ["popularity_rank@10", "gini@10", "coverage@10"])
def test_higher_is_not_better_everywhere(metric):
    assert "lower than WMF" in said(two(metric))[1]
    assert "ahead" not in str(said(two(metric, difference=0.1, difference_low=0.05, difference_high=0.15)))


def test_an_interval_without_width_is_not_shown():
    table = two(value=0.0, low=0.0, high=0.0)
    (shown,) = blocks_of(quality_section(table), Table)
    assert [row[1] for row in shown.rows] == ["0.0000", "0.0000"]
    mixed = pd.concat([two(), two("ndcg@10", low=0.0, high=0.0)], ignore_index=True)
    assert blocks_of(quality_section(mixed), Table)[0].caption.endswith("; left out where there is too little to say.")


def test_ranks_are_not_written_as_shares():
    assert blocks_of(quality_section(two("popularity_rank@10", value=1234.56, low=1000.0, high=1500.0)), Table)[0].rows[
        0
    ][1] == ("1,234.6 (1,000.0 to 1,500.0)")


def test_every_metric_is_explained():
    assert set(_MEANINGS) == {*METRICS, "auc", "popularity_rank", "coverage", "gini"}
    every = pd.concat([two(name if name == "auc" else f"{name}@10") for name in _MEANINGS], ignore_index=True)
    intro = quality_section(every).intro
    for name, meaning in _MEANINGS.items():
        assert parse_metric(name if name == "auc" else f"{name}@10").name == name
        assert f"{name if name == 'auc' else f'{name}@10'}: {meaning}" in intro


def test_nothing_is_said_of_what_was_not_measured():
    assert found_words(None, None) == found_words(two("ndcg@10"), None) == found_words(two(value=np.nan), None) == []
    assert blocks_of(quality_section(two(value=np.nan, low=np.nan, high=np.nan)), Table)[0].rows[0][1] == "not known"
