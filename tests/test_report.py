"""The report as a whole: what it says, in one file that needs nothing else. test_report_browser.py uses it."""

import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import awkward_counts, to_sparse

from implicit_wmf import (
    WMF,
    InputError,
    Interactions,
    ItemKNN,
    MissingExtraError,
    MostPopular,
    NotFittedError,
    WMFConfig,
)
from implicit_wmf.evaluation import compare, split_random
from implicit_wmf.report import sections, write_report
from implicit_wmf.report.page import Facts, Picture, Table, Text

pytest.importorskip("matplotlib")


class Page(HTMLParser):
    """Texts of a page by tag, its pictures' descriptions, and whatever it refers to."""

    def __init__(self, path):
        super().__init__()
        self.texts, self.alts, self.references, self.open = {}, [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.references += [named[name] for name in ("src", "href") if name in named]
        if tag == "img":
            self.alts.append(named["alt"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


@pytest.fixture(scope="module")
def fitted():
    generator = np.random.default_rng(0)
    taste = np.arange(60)[:, None] % 2 == np.arange(40) % 2
    users, items = np.nonzero(taste & (generator.random((60, 40)) < 0.6))
    frame = pd.DataFrame({"who": [f"u{user:02}" for user in users], "what": [f"{item:03}" for item in items]})
    train, test = split_random(
        Interactions.from_frame(frame, user="who", item="what"), within_users=True, random_state=0
    )
    model = WMF(4, iterations=3, random_state=0).fit(train, validation=test, metric="ndcg@5")
    metrics = ["recall@5", "recall@10", "ndcg@5", "ndcg@10", "coverage@10", "auc"]
    models = {"WMF": model, "item-kNN": ItemKNN().fit(train), "most popular": MostPopular().fit(train)}
    return model, compare(models, train, test, metrics=metrics)


def blocks_of(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def test_a_report_is_one_file_with_everything(fitted, tmp_path):
    model, quality = fitted
    names = {item: f"Item <b>{item}</b> & $co$" for item in model.interactions.items}
    path = write_report(model, tmp_path / "report.html", names=names, quality=quality)
    page = Page(path)
    assert [one for one in page.references if not one.startswith(("data:", "#"))] == []
    headings = [
        "In short",
        "The data",
        "The fit",
        "How good is it?",
        "What is recommended",
        "What the model learned",
        "Settings",
    ]
    assert [text for text in page.texts["h2"] if text in headings] == headings
    assert len(page.alts) == len(set(page.alts)) == 8
    assert f"{model.interactions.nnz:,} (" in " ".join(page.texts["dd"])
    assert "<b>" not in path.read_text(encoding="utf-8")
    assert {"factors", "regularization", "random_state"} <= {text for texts in page.texts.values() for text in texts}
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    first = path.read_bytes()
    assert write_report(model, path, names=pd.Series(names), quality=quality).read_bytes() == first


def test_the_numbers_of_quality_are_those_of_compare(fitted):
    _, quality = fitted
    (table,) = blocks_of(sections.quality_section(quality), Table)
    assert list(table.header) == ["", "recall@10", "ndcg@10", "coverage@10", "auc"]
    for name, *cells in table.rows:
        for metric, cell in zip(table.header[1:], cells, strict=True):
            (row,) = quality[(quality["model"] == name) & (quality["metric"] == metric)].itertuples()
            expected = [row.value] if np.isnan(row.low) else [row.value, row.low, row.high]
            assert [float(number) for number in re.findall(r"\d\.\d+", cell)] == pytest.approx(expected, abs=6e-5)
    said = [text.text for text in blocks_of(sections.quality_section(quality), Text)]
    differing = quality[quality["metric"].isin(table.header) & quality["difference_low"].notna()]
    assert len(said) == len(differing) == 6
    for sentence, row in zip(said, differing.itertuples(), strict=True):
        assert sentence.startswith(f"{row.metric}: {row.model} is {abs(row.difference):.4f} ")
        assert ("behind WMF" in sentence) == (row.difference < 0)
        assert ("may be chance" not in sentence) == (row.difference_low > 0 or row.difference_high < 0)


def test_the_first_words_say_what_was_found(fitted):
    model, quality = fitted
    (text,) = sections.short_section(model, quality).blocks
    found = quality[quality["metric"] == "recall@10"].set_index("model")["value"]
    assert f"{found['WMF']:.1%} by WMF" in text.text
    assert f"and {found['most popular']:.1%} by most popular was found" in text.text
    assert "found." not in sections.short_section(model, None).blocks[0].text


def test_quality_of_one_model_and_of_one_length(fitted):
    _, quality = fitted
    own = quality[(quality["model"] == "WMF") & (quality["metric"] == "recall@5")].drop(columns="model")
    section = sections.quality_section(own.drop(columns=[name for name in own if name.startswith("difference")]))
    (table,) = blocks_of(section, Table)
    assert (list(table.header), len(table.rows), len(section.blocks)) == (["", "recall@5"], 1, 1)
    assert "--test" in blocks_of(sections.quality_section(None), Text)[0].text


def test_the_data_are_described_as_they_are(fitted):
    model, _ = fitted
    facts = dict(blocks_of(sections.data_section(model), Facts)[0].rows)
    dense = model.interactions.matrix.toarray() > 0
    assert facts["Users"] == "60"
    assert facts["Items of a user"].startswith(f"{np.median(dense.sum(1)):g} in the middle, {dense.sum(1).max()} at")
    assert facts["Users of an item"].endswith(f"{dense.sum(0).max()} at most")
    assert facts["Share of the most popular 1 % of items"].startswith(f"{dense.sum(0).max() / dense.sum():.0%}")


def test_every_hyper_parameter_is_in_the_settings_and_the_chosen_ones_come_first(fitted):
    model, _ = fitted
    chosen, defaults = blocks_of(sections.settings_section(model), Table)
    assert [row[0] for row in chosen.rows] == ["factors", "iterations", "random_state"]
    assert {row[0] for row in (*chosen.rows, *defaults.rows)} == set(WMFConfig.names())
    array = WMF(2, user_background=np.arange(1.0, 31), iterations=1).fit(to_sparse(awkward_counts()))
    assert ("user_background", "an array of 30 numbers") in [
        row[:2] for row in blocks_of(sections.settings_section(array), Table)[0].rows
    ]


@pytest.mark.parametrize(
    "counts",
    [np.ones((1, 1)), np.ones((1, 2)), np.ones((2, 1)), np.diag([-1.0, -2.0]), awkward_counts()],
    ids=["one cell", "one user", "one item", "known negatives only", "awkward"],
)
@pytest.mark.parametrize("settings", [{}, {"iterations": 0}, {"factors": 1}], ids=str)
def test_reports_of_next_to_nothing(counts, settings, tmp_path):
    model = WMF(**{"factors": 3, "iterations": 2, "random_state": 0} | settings).fit(to_sparse(counts))
    page = Page(write_report(model, tmp_path / "r.html"))
    assert "The data" in page.texts["h2"]


def test_a_fit_without_losses_and_given_confidences(tmp_path):
    dense = np.nan_to_num(awkward_counts())
    model = WMF(3, iterations=2, random_state=0).fit(np.sign(dense), confidence=np.abs(dense) + 0.5)
    assert write_report(model, tmp_path / "r.html").stat().st_size > 10_000
    silent = WMF(3, iterations=2, random_state=0).fit(to_sparse(awkward_counts()), track_loss=False)
    assert blocks_of(sections.fit_section(silent), Picture) == []
    assert "nan" not in str(sections.fit_section(silent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": MostPopular()}, "model is of MostPopular; the report is of a fitted WMF"),
        ({"path": "report.pdf"}, "'report.pdf' has an unknown suffix; a report is written as .html or .htm"),
        ({"path": "none/report.html"}, "there is no folder none for report.html; create it first"),
        ({"quality": {"recall@10": 0.1}}, "quality is no table that `compare` returns"),
        ({"quality": pd.DataFrame({"metric": []})}, "quality is no table that `compare` returns"),
        ({"users": ["u00", "stranger"]}, "stranger"),
        ({"max_users": -1}, "max_users"),
    ],
)
def test_refusals_come_before_the_work_and_leave_what_is_there(fitted, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").write_text("kept")
    monkeypatch.setattr("implicit_wmf.report.writing.data_section", lambda model: pytest.fail("worked in vain"))
    asked = {"model": fitted[0], "path": "report.html"} | change
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        write_report(**asked)
    assert (tmp_path / "report.html").read_text() == "kept"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_model_that_was_not_fitted(tmp_path):
    with pytest.raises(NotFittedError):
        write_report(WMF(), tmp_path / "r.html")


def test_without_matplotlib(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'implicit_wmf[plot]'")):
        write_report(fitted[0], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_report(fitted, tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("kept")

    def full(target, content):
        target.write_bytes(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("implicit_wmf.report.writing.write_bytes", full)
    with pytest.raises(InputError, match=r"r\.html cannot be written: No space left on device"):
        write_report(fitted[0], path)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("kept", 1)
