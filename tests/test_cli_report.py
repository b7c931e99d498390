"""The report command."""

import re

import pandas as pd
import pytest
from conftest import FIT

from implicit_wmf import WMF, ItemKNN, MostPopular
from implicit_wmf.cli.reporting import METRICS
from implicit_wmf.evaluation import compare, split_last
from implicit_wmf.report.sections import quality_section

pytest.importorskip("matplotlib")


@pytest.fixture
def model_folder(run, purchases):
    assert run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 0, "-q")[0] == 0
    return purchases


def texts(page):
    """The words of a page, without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


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
    for row in quality_section(compare(models, train, test, metrics=METRICS)).blocks[0].rows:
        assert " ".join(row) in page
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
        (("m", "-o", "r.html", "--user", "who"), 2, "for --user: it has no effect without --data or --test"),
        (("m", "-o", "r.html", "--split", "time"), 2, "for --split: it has no effect without --data"),
        (("m", "-o", "r.html", "--max-users", "0"), 2, "--max-users"),
        (("m", "-o", "r.html", "--data", "purchases.csv", *FIT, "--name", "nome"), 1, "no column 'nome'"),
        (("m", "-o", "r.html", "--data", "other.csv", *FIT, "--name", "day"), 1, "no id in column 'what' is an item"),
        (("m", "-o", "r.html", "--data", "none.csv", *FIT), 1, "there is no file none.csv"),
        (("m", "-o", "r.html", "--test", "purchases.csv", *FIT, "--timestamp", "day"), 2, "--timestamp"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_no_file(run, model_folder, tmp_path, arguments, code, message):
    model_folder.assign(what="x" + model_folder["what"]).to_csv("other.csv", index=False)
    got, _, err = run("report", *arguments)
    assert (got, message in err) == (code, True), err
    assert list(tmp_path.glob("*.htm*")) == []
