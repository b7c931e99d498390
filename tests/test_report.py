"""The report as a whole: what it says, in one file that needs nothing else. test_report_browser.py uses it."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

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
    __version__,
)
from implicit_wmf.evaluation import compare, split_random
from implicit_wmf.report import sections, write_report, writing
from implicit_wmf.report.page import Facts, Picture, Table, Text
from implicit_wmf.report.quality import quality_section
from implicit_wmf.training import EpochRecord

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
            self.texts.setdefault(self.open[-1], []).append(data.strip().replace("\u00a0", " "))


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


def table(**columns):
    return pd.DataFrame([{"metric": "recall@10", "value": 0.5, "low": 0.4, "high": 0.6} | columns])


def blocks_of(section, kind):
    return [block for block in section.blocks if isinstance(block, kind)]


def test_a_report_is_one_file_with_everything(fitted, tmp_path):
    model, quality = fitted
    names = {item: f"Item <b>{item}</b> & $co$" for item in model.interactions.items}
    path = write_report(model, tmp_path / "report.html", names=names, quality=quality)
    page = Page(path)
    assert f"Fitted on 60 users and 40 items; implicit_wmf {__version__}" in page.texts["p"]
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


def test_a_note_says_what_was_measured(fitted, tmp_path):
    model, quality = fitted
    note = "Measured on a second model <of them>."
    page = Page(write_report(model, tmp_path / "r.html", quality=quality, quality_note=note))
    assert page.texts["p"].count(note) == 1
    assert [text.text for text in blocks_of(quality_section(quality, note), Text)][0] == note
    said, without = (sections.short_section(model, quality, one).blocks[0].text for one in (note, None))
    assert "Then a model with the same settings was asked what 60 users" in said
    assert said.replace("a model with the same settings", "it") == without
    assert said in page.texts["p"]


def test_the_first_words_say_what_was_found(fitted):
    model, quality = fitted
    (text,) = sections.short_section(model, quality).blocks
    found = quality[quality["metric"] == "recall@10"].set_index("model")["value"]
    shares = [f"{100 * found[name]:.2g} % ({name})" for name in ("WMF", "item-kNN", "most popular")]
    assert f"lists of 10 items held on average {shares[0]}, {shares[1]} and {shares[2]}." in text.text
    assert f"{model.interactions.nnz} pairs of 60 users and 40 items: who took what. It knows" in text.text
    assert "on average" not in sections.short_section(model, None).blocks[0].text
    short = sections.short_section(model, quality[quality["metric"] == "recall@5"]).blocks[0].text
    assert "lists of 5 items" in short


def test_the_data_are_described_as_they_are(fitted):
    model, _ = fitted
    section = sections.data_section(model)
    dense = model.interactions.matrix.toarray() > 0
    of_user, of_item, pairs = dense.sum(1), dense.sum(0), dense.sum()
    assert np.median(of_user) != np.median(of_item)
    top = f"{100 * of_item.max() / pairs:.2g} % of all pairs"
    assert dict(blocks_of(section, Facts)[0].rows) == {
        "Users": "60",
        "Items": "40",
        "Pairs of a user and an item": f"{pairs} ({100 * dense.mean():.2g} % of all that could be)",
        "Items of a user": f"{np.median(of_user):g} in the middle, {of_user.max()} at most",
        "Users of an item": f"{np.median(of_item):g} in the middle, {of_item.max()} at most",
        "Share of the top item": top,
    }
    assert blocks_of(section, Picture)[0].alt == f"Popularity of 40 items; top item: {top}."


def test_what_users_did_not_want_is_told_apart():
    model = WMF(2, iterations=1, random_state=0).fit(to_sparse(awkward_counts()))
    dense = np.nan_to_num(awkward_counts())
    facts = dict(blocks_of(sections.data_section(model), Facts)[0].rows)
    short = sections.short_section(model, None).blocks[0].text
    wanted, unwanted = (dense > 0).sum(), (dense < 0).sum()
    assert facts["Pairs of a user and an item"].startswith(f"{wanted:,} (")
    assert facts["Pairs with a negative value"] == str(unwanted)
    assert f"shown {wanted:,} pairs of 30 users and 80 items: who took what, and how often. Besides, " in short
    assert f"Besides, {unwanted} with a negative value: what somebody did not want." in short


def test_given_confidences_are_not_called_counts(tmp_path):
    dense = np.nan_to_num(awkward_counts())
    model = WMF(3, iterations=2, random_state=0).fit(to_sparse(np.sign(dense)), confidence=np.abs(dense) + 0.5)
    page = Page(write_report(model, tmp_path / "r.html"))
    facts = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    others = dense.size - (dense > 0).sum()
    assert facts["Pairs with a positive preference"].startswith(f"{(dense > 0).sum():,} (")
    assert facts["Pairs with a preference of 0 or less"] == f"{others:,}"
    words = " ".join(page.texts["p"])
    assert "80 items with a positive preference, and how far to trust each. Besides, " in words
    assert "how often" not in words
    assert "not on this page: the confidences that were given with the data." in words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([9, 1, 1, 1, 1, 1, 1, 1, 1, 1], "The most popular item has half of all pairs: a few items have most, and"),
        ([4] * 10, "The 5 most popular items (50 %) have half of all pairs: about as many as if all were equally"),
        ([4, 2, 2, 2, 2, 1, 1, 1, 1, 0], "The 3 most popular items (30 %) have half of all pairs. The further the"),
        ([2], "There is only one item. The further"),
    ],
    ids=["long tail", "uniform", "between", "one item"],
)
def test_the_tail_is_called_long_where_it_is(counts, words):
    dense = (np.arange(9)[:, None] < counts).astype(float)
    model = WMF(1, iterations=1, random_state=0).fit(to_sparse(np.where(dense > 0, dense, np.nan)))
    assert blocks_of(sections.data_section(model), Picture)[0].caption.startswith(words)


def history(validated):
    records = [EpochRecord(1, 90.5, 1, 2, 3, 1.0), EpochRecord(2, 20.25, 1, 2, 3, 1.5), EpochRecord(3, 7, 1, 2, 3, 3.5)]
    return [replace(one, validation={"ndcg@5": 0.5}) for one in records] if validated else records


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (2, {"Epochs": "3; the factors are those of epoch 2", "Objective after epoch 2": "20.25"}),
        (3, {"Epochs": "3", "Objective at the end": "7"}),
    ],
)
def test_the_fit_is_described_as_it_went(best, expected):
    model = SimpleNamespace(history=history(best < 3), best_epoch=best)
    section = sections.fit_section(model)
    assert dict(blocks_of(section, Facts)[0].rows) == {"Time": "6.0 s in all, 2.00 s an epoch"} | expected
    assert [one.alt for one in blocks_of(section, Picture)] == [
        "The objective and its three parts over 3 epochs.",
        *(["ndcg@5 on held-out interactions by epoch; the best is epoch 2."] if best < 3 else []),
    ]


def test_a_fit_without_losses_or_epochs():
    silent = WMF(3, iterations=2, random_state=0).fit(to_sparse(awkward_counts()), track_loss=False)
    section = sections.fit_section(silent)
    assert blocks_of(section, Picture) == []
    assert [label for label, _ in section.blocks[0].rows] == ["Epochs", "Time"]
    model = WMF(3, iterations=0, random_state=0).fit(to_sparse(awkward_counts()))
    assert sections.fit_section(model).blocks == [Text("The model has no record of its fit: it ran for no epochs.")]
    assert "not fitted beyond its random start" in sections.short_section(model, None).blocks[0].text
    assert "random numbers which a fit begins with" in str(sections.learned_section(model, None).blocks[0].caption)


@pytest.mark.parametrize("most", [60, 7])
def test_the_lists_are_the_models_own(fitted, monkeypatch, most):
    model, _ = fitted
    drawn = []
    monkeypatch.setattr(sections, "LISTED_USERS", most)
    draw = sections.plot_exposure
    monkeypatch.setattr(sections, "plot_exposure", lambda data, lists: drawn.append(lists) or draw(data, lists))
    section = sections.lists_section(model)
    users = np.arange(60) if most == 60 else np.array([0, 9, 19, 29, 39, 49, 59])
    (lists,) = drawn
    assert lists.keys() == {"WMF", "most popular"}
    np.testing.assert_array_equal(lists["WMF"], model.recommend(users, 10)[0])
    popular = MostPopular().fit(model.interactions)
    np.testing.assert_array_equal(lists["most popular"], popular.recommend(users, 10)[0])
    listed = len(set(lists["WMF"].ravel().tolist()) - {-1})
    assert dict(blocks_of(section, Facts)[0].rows) == {
        "Lists": f"10 items for each of {most} users{', evenly spaced' if most == 7 else ''}",
        "Items that appear in a list": f"{listed} of 40 ({100 * listed / 40:.{3 if listed == 40 else 2}g} %)",
    }


def effective_rank(factors):
    shares = np.linalg.svd(factors.astype(float), compute_uv=False) ** 2
    shares /= shares.sum()
    return np.exp(-(shares * np.log(shares)).sum())


def test_effective_ranks_are_of_their_sides(counts):
    model = WMF(8, iterations=3, random_state=0).fit(counts)
    users, items = (f"{effective_rank(one):.1f}" for one in (model.user_factors, model.item_factors))
    assert users != items
    picture, _ = blocks_of(sections.learned_section(model, None), Picture)
    assert picture.alt == f"Weight of each of 8 directions; effective rank {users} of users, {items} of items."
    assert f"effective rank: {users} for users and {items} for items." in picture.caption


@pytest.mark.parametrize(
    ("rank", "caption", "short"),
    [
        (0.0, "All of them are 0", "It found nothing"),
        (1.4, "regularization is too high, or popularity is all", "little more than what is popular"),
        (3.9, "That is far below 16: fewer numbers may do", "which items go together"),
        (9.0, "9.0 for users and 9.0 for items.", "which items go together"),
        (15.0, "more numbers may find more", "which items go together"),
    ],
)
def test_conclusions_hang_on_the_rank(monkeypatch, counts, rank, caption, short):
    model = WMF(16, iterations=1, random_state=0).fit(counts)
    monkeypatch.setattr(sections, "spectrum", lambda factors: (None, rank))
    told = blocks_of(sections.learned_section(model, None), Picture)[0].caption
    assert caption in told
    assert rank != 9.0 or told.endswith(caption)
    assert ("fewer numbers" in told) == (rank == 3.9)
    assert short in sections.short_section(model, None).blocks[0].text


def test_every_hyper_parameter_is_in_the_settings_and_the_chosen_ones_come_first(fitted):
    model, _ = fitted
    chosen, defaults = blocks_of(sections.settings_section(model), Table)
    assert [row[0] for row in chosen.rows] == ["factors", "iterations", "random_state"]
    assert {row[0] for row in (*chosen.rows, *defaults.rows)} == set(WMFConfig.names())
    assert "by default regularization." in {row[2] for row in defaults.rows if row[0] == "item_regularization"}.pop()
    assert "--" not in str((chosen, defaults))


def test_settings_can_be_typed_again_or_say_what_is_missing(fitted, counts):
    said = blocks_of(sections.settings_section(fitted[0]), Text)
    assert [one.text for one in said] == [
        "In Python: WMF(factors=4, iterations=3, random_state=0).",
        "Needed as well, and not on this page: the held-out data that the epoch was chosen by.",
    ]
    own = WMF(2, user_background=np.arange(1.0, 31), iterations=1, regularization=0.123456789).fit(counts)
    section = sections.settings_section(own)
    rows = {row[0]: row[1] for row in blocks_of(section, Table)[0].rows}
    assert rows["user_background"] == "an array of 30 numbers"
    assert float(rows["regularization"]) == 0.123456789
    assert "the numbers of user_background; the seed: " in blocks_of(section, Text)[1].text
    plain = WMF(2, iterations=1, random_state=0).fit(counts)
    assert len(blocks_of(sections.settings_section(plain), Text)) == 1


@pytest.mark.parametrize(
    "counts",
    [np.ones((1, 1)), np.ones((1, 2)), np.ones((2, 1)), np.diag([-1.0, -2.0]), awkward_counts()],
    ids=["one cell", "one user", "one item", "known negatives only", "awkward"],
)
@pytest.mark.parametrize("settings", [{}, {"iterations": 0}, {"factors": 1}], ids=str)
def test_reports_of_next_to_nothing(counts, settings, tmp_path):
    model = WMF(**{"factors": 3, "iterations": 2, "random_state": 0} | settings).fit(to_sparse(counts))
    page = Page(write_report(model, tmp_path / "r.html"))
    facts = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    pairs = int((np.nan_to_num(counts) > 0).sum())
    assert facts["Pairs of a user and an item"].startswith(f"{pairs:,} (")
    assert (facts["Users"], facts["Items"]) == tuple(map(str, counts.shape))
    assert ("No user took any item." in page.texts["p"]) == (pairs == 0)
    shown = [text for texts in page.texts.values() for text in texts if "Content-Security" not in text]
    assert not [text for text in shown if len(text) < 2000 and re.search(r"\b(nan|inf)\b", text)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": MostPopular()}, "model is of MostPopular; the report is of a fitted WMF"),
        ({"path": "report.pdf"}, "'report.pdf' has an unknown suffix; a report is written as .html or .htm"),
        ({"path": "none/report.html"}, "there is no folder none for report.html; create it first"),
        ({"quality": {"recall@10": 0.1}}, "quality is no table that `compare` returns"),
        ({"quality": pd.DataFrame({"metric": []})}, "quality is no table that `compare` returns"),
        ({"quality": table().iloc[:0]}, "quality has no rows"),
        ({"quality": table(metric="recoll@10")}, "quality: metrics: 'recoll' in 'recoll@10' is not known"),
        ({"quality": table(metric=None)}, "quality: metrics: None is not of the form name@k"),
        ({"quality": table(value="0.5")}, "quality: column 'value' is of (object|str), not of numbers"),
        ({"quality": table(users="9")}, "quality: column 'users' is of (object|str), not of numbers"),
        ({"quality": table(difference=0.5)}, "quality has difference, but no column difference_low"),
        ({"quality_note": "so"}, "quality_note is given without quality"),
        ({"quality": table(), "quality_note": 5}, "quality_note is of int; give a sentence"),
        ({"users": ["u00", "stranger"]}, "stranger"),
        ({"max_users": -1}, "max_users"),
    ],
)
def test_refusals_come_before_the_work_and_leave_what_is_there(fitted, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").write_text("kept")
    monkeypatch.setattr("implicit_wmf.report.writing.short_section", lambda *_: pytest.fail("worked in vain"))
    if not {"users", "max_users"} & set(change):
        monkeypatch.setattr("implicit_wmf.report.writing.collect", lambda *_, **__: pytest.fail("worked in vain"))
    asked = {"model": fitted[0], "path": "report.html"} | change
    with pytest.raises(InputError, match=message):
        write_report(**asked)
    assert (tmp_path / "report.html").read_text() == "kept"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_what_is_asked_for_reaches_explorer_and_map(fitted, tmp_path, monkeypatch):
    asked, collect, draw = [], writing.collect, sections.plot_item_map
    monkeypatch.setattr(writing, "collect", lambda model, **options: asked.append(options) or collect(model, **options))
    monkeypatch.setattr(sections, "plot_item_map", lambda model, names: asked.append(names) or draw(model, names))
    names = {"001": "Tea"}
    write_report(fitted[0], tmp_path / "r.html", names=names, users=["u07"], max_users=3)
    assert asked == [{"names": names, "users": ["u07"], "max_users": 3}, names]


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
