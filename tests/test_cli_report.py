"""The report command."""

import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from conftest import FIT

from implicit_wmf import WMF, Interactions, ItemKNN, MostPopular
from implicit_wmf.cli import reporting
from implicit_wmf.cli.reporting import METRICS
from implicit_wmf.evaluation import compare, split_last
from implicit_wmf.report.quality import quality_section

pytest.importorskip("matplotlib")


@pytest.fixture
def model_folder(run, purchases):
    assert run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 0, "-q")[0] == 0
    return purchases


def texts(page):
    """The words of a page, without tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", page)))


def test_a_report_of_the_model_alone(run, model_folder, tmp_path):
    code, out, err = run("report", "m", "-o", "r.html")
    assert (code, err) == (0, "")
    assert re.search(r"^wrote r\.html \(\d\.\d MB\); open it in a browser$", out, re.M)
    assert "Nothing was held out" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_with_the_data_the_same_settings_are_judged_on_what_was_held_out(run, model_folder, tmp_path):
    model_folder.assign(label="Tea <" + model_folder["what"] + ">").to_csv("named.csv", index=False)
    asked = ("--data", "named.csv", *FIT, "--timestamp", "day", "--name", "label")
    code, out, err = run("report", "m", "-o", "r.html", *asked)
    assert (code, err) == (0, "")
    assert "fits the same settings without 80 held-out pairs, to measure on them" in out
    train, test = split_last(model_folder, user="who", item="what", value="n", timestamp="day", test_fraction=0.2)
    models = {
        "WMF": WMF(4, random_state=0).fit(train),
        "item-kNN": ItemKNN(weighting="bm25").fit(train),
        "most popular": MostPopular().fit(train),
    }
    page = texts((tmp_path / "r.html").read_text(encoding="utf-8"))
    for row in quality_section(compare(models, train, test, metrics=METRICS)).blocks[1].rows:
        assert " ".join(row) in page
    assert "fitted without the last 20 % of each user's lines (80 pairs)" in page
    code, quiet, _ = run("report", "m", "-o", "again.html", *asked, "-q")
    assert quiet.count("\n") == 1
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "r.html").read_bytes()


def test_with_a_test_table_the_model_itself_is_judged(run, purchases, tmp_path):
    late = purchases.day >= 7
    purchases[~late].to_csv("train.csv", index=False)
    purchases[late].to_csv("test.csv", index=False)
    run("fit", "train.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 0, "-q")
    code, out, _ = run("report", "m", "-o", "r.html", "--test", "test.csv", *FIT)
    assert (code, "fits" in out) == (0, False)
    model = WMF.load("m")
    read = {"dtype": {"what": str}}
    train = model.interactions
    test = type(train).from_frame(
        pd.read_csv("test.csv", **read), user="who", item="what", value="n", users=train.users, items=train.items
    )
    (value,) = compare({"WMF": model}, train, test, metrics="recall@10")["value"]
    assert f"WMF {value:.4f} (" in texts((tmp_path / "r.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "-o", "r.html"), 1, "there is no saved model at none"),
        (("m", "-o", "r.txt"), 1, "'r.txt' has an unknown suffix"),
        (("m", "-o", "none/r.html"), 1, "there is no folder none"),
        (("m", "-o", "r.html", "--user-id", "stranger"), 1, "stranger"),
        (("m", "-o", "r.html", "--name", "label"), 2, "Invalid value for --name: it has no effect without --data"),
        (("m", "-o", "r.html", "--data", "purchases.csv", "--test", "purchases.csv", *FIT), 2, "for --data: it has no"),
        (("m", "-o", "r.html", "--user", "who"), 2, "for --user: it has no effect without --data or --test"),
        (("m", "-o", "r.html", "--split", "time"), 2, "for --split: it has no effect without --data"),
        (("m", "-o", "r.html", "--max-users", "0"), 2, "--max-users"),
        (("m", "-o", "r.html", "--data", "purchases.csv", *FIT, "--name", "nome"), 1, "no column 'nome'"),
        (("m", "-o", "r.html", "--data", "other.csv", *FIT, "--name", "day"), 1, "no id in column 'what' is an item"),
        (("m", "-o", "r.html", "--data", "other.csv", *FIT), 1, "400 lines of users or items that the model does not"),
        (("m", "-o", "r.html", "--data", "early.csv", *FIT), 1, "other counts or pairs (320 pairs against 400)"),
        (
            ("m", "-o", "r.html", "--data", "purchases.csv", *FIT[:4]),
            1,
            "other counts or pairs (400 pairs against 400)",
        ),
        (("m", "-o", "r.html", "--data", "purchases.csv", "--user", "day", *FIT[2:]), 1, "is not what the model was"),
        (("m", "-o", "r.html", "--data", "none.csv", *FIT), 1, "there is no file none.csv"),
        (("m", "-o", "r.html", "--test", "purchases.csv", *FIT, "--timestamp", "day"), 2, "--timestamp"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_no_file(run, model_folder, tmp_path, arguments, code, message):
    model_folder.assign(what="x" + model_folder["what"]).to_csv("other.csv", index=False)
    model_folder[model_folder["day"] < 8].to_csv("early.csv", index=False)
    got, _, err = run("report", *arguments)
    assert (got, message in err) == (code, True), err
    assert list(tmp_path.glob("*.htm*")) == []


@pytest.fixture
def asked(monkeypatch):
    """What the command asks `write_report` for."""
    found = {}

    def write_report(model, path, **options):
        found.update(options, model=model)
        path.write_text("")

    monkeypatch.setattr(reporting, "write_report", write_report)
    return found


def test_options_reach_the_report(run, purchases, asked):
    purchases[purchases["day"] < 7].to_csv("early.csv", index=False)
    late = purchases[purchases["day"] >= 7]
    late = late.assign(label=late["what"] + " on day " + late["day"].astype(str))
    late.to_csv("named.csv", index=False)
    assert run("fit", "early.csv", *FIT, "-o", "m", "--factors", 4, "-q")[0] == 0
    options = ("--user-id", "u07", "--user-id", "u03", "--max-users", 9, "--name", "label")
    code, _, err = run("report", "m", "-o", "r.html", "--test", "named.csv", *FIT, *options)
    assert (code, err) == (0, "")
    assert (asked["users"].tolist(), asked["max_users"]) == (["u07", "u03"], 9)
    last = late.groupby("what")["label"].last()
    assert asked["names"].sort_index().to_dict() == last.to_dict()
    assert asked["quality_note"] is None
    again = run("report", "m", "-o", "r.html", "--test", "named.csv", "--data", "named.csv", *FIT, "--name", "day")
    assert again[0] == 0
    assert asked["quality_note"] is None


def test_a_model_that_stopped_early_is_fitted_again_as_long_as_it_was(run, model_folder, asked, monkeypatch):
    train = Interactions.from_frame(model_folder, user="who", item="what", value="n")
    model = WMF(4, iterations=30, random_state=0).fit(train, validation=train.matrix[:, ::-1], patience=2)
    assert model.best_epoch < 30
    model.save("early")
    fitted = []
    fit = WMF.fit
    monkeypatch.setattr(WMF, "fit", lambda self, *data, **options: fitted.append(self) or fit(self, *data, **options))
    assert run("report", "early", "-o", "r.html", "--data", "purchases.csv", *FIT)[0] == 0
    (second,) = fitted
    assert second.config.iterations == model.best_epoch == len(second.history)
    assert {**second.config.plain(), "iterations": 30} == model.config.plain()


def test_the_second_model_has_the_weights_of_the_users_that_they_are_of(run, purchases, asked, monkeypatch):
    users = purchases["who"].unique()[::-1]
    own = Interactions.from_frame(purchases, user="who", item="what", value="n", users=users)
    weights = np.linspace(0.1, 2, len(users))
    WMF(4, user_background=weights, random_state=0).fit(own).save("m")
    judged = {}
    compare = reporting.compare_with_baselines

    def note(*parts):
        judged.update(zip("mth", parts, strict=True))
        return compare(*parts)

    monkeypatch.setattr(reporting, "compare_with_baselines", note)
    assert run("report", "m", "-o", "r.html", "--data", "purchases.csv", *FIT, "--timestamp", "day")[0] == 0
    assert judged["t"].users.tolist() == judged["h"].users.tolist() == users.tolist()
    parts = split_last(purchases, user="who", item="what", value="n", timestamp="day", test_fraction=0.2)
    for part, expected in zip((judged["t"], judged["h"]), parts, strict=True):
        place = part.user_indices(expected.users), part.item_indices(expected.items)
        assert part.nnz == expected.nnz
        np.testing.assert_array_equal(part.matrix.toarray()[np.ix_(*place)], expected.matrix.toarray())


def test_a_model_of_given_confidences_is_not_fitted_again_as_counts(run, purchases):
    own = Interactions.from_frame(purchases, user="who", item="what", value="n")
    WMF(2, random_state=0).fit(own.matrix.toarray(), confidence=own.matrix.toarray() + 1).save("m")
    code, _, err = run("report", "m", "-o", "r.html", "--data", "purchases.csv", *FIT)
    assert (code, "was fitted to confidences of its own, which no table has; measure it with --test" in err) == (
        1,
        True,
    )
