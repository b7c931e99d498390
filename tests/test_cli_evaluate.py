"""The evaluate command."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import FIT
from scipy import sparse

from implicit_wmf import WMF, MostPopular
from implicit_wmf.cli.wording import comparison_table
from implicit_wmf.evaluation import compare, split_last


def test_evaluate_with_a_test_file_and_a_saved_model(run, purchases):
    late = purchases.day >= 7
    purchases[~late].to_csv("train.csv", index=False)
    stranger = pd.DataFrame({"who": ["u01", "new"], "what": ["zzz", "000"], "n": [1, 1], "day": [9, 9]})
    pd.concat([purchases[late], stranger]).to_csv("test.csv", index=False)
    run("fit", "train.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 1)
    first = run("evaluate", "m", "--test", "test.csv", *FIT)
    second = run("evaluate", "train.csv", "--test", "test.csv", *FIT, "--factors", 4, "--random-state", 1, "-q")
    assert first == second
    assert first[0] == 0
    assert "left out: 2 of 122 test lines, of users or items not in training" in first[1]
    new = purchases[late].merge(purchases[~late], on=["who", "what"], how="left", indicator=True)["_merge"]
    assert f"test: 120 pairs ({(new == 'left_only').sum()} of them new)" in first[1]
    code, _, err = run("evaluate", "m")
    assert (code, err) == (1, "error: m is a saved model: name held-out interactions with --test\n")
    stranger.to_csv("strangers.csv", index=False)
    code, _, err = run("evaluate", "m", "--test", "strangers.csv", *FIT)
    assert (code, "strangers.csv: no line is of a user and an item of the training data" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("m", "--test", "purchases.csv", *FIT, "--factors", "64"), "--factors"),
        (("m", "--test", "purchases.csv", *FIT, "--random-state", "1"), "--random-state"),
        (("m", "--test", "purchases.csv", *FIT, "--timestamp", "day"), "--timestamp"),
        (("purchases.csv", "--test", "purchases.csv", *FIT, "--timestamp", "day"), "--timestamp"),
        (("purchases.csv", "--test", "purchases.csv", *FIT, "--test-fraction", "0.2"), "--test-fraction"),
    ],
)
def test_evaluate_refuses_options_without_effect(run, purchases, arguments, option):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2, "--iterations", 0)
    code, _, err = run("evaluate", *arguments)
    assert code == 2
    assert f"Invalid value for {option}: it has no effect" in err


def test_evaluate_with_matrices(run, tmp_path):
    generator = np.random.default_rng(0)
    train, test = (sparse.csr_array((generator.random((20, 9)) < 0.3).astype(np.float32)) for _ in range(2))
    sparse.save_npz("train.npz", train)
    sparse.save_npz("test.npz", test)
    sparse.save_npz("small.npz", test[:, :8])
    users, items = test.nonzero()
    pd.DataFrame({"who": users, "what": items}).to_csv("test.csv", index=False)
    settings = ("--factors", 2, "--random-state", 0, "-q")
    run("fit", "train.npz", "-o", "m", *settings)
    answers = [
        run("evaluate", "train.npz", "--test", "test.npz", *settings),
        run("evaluate", "train.npz", "--test", "test.csv", "--user", "who", "--item", "what", *settings),
        run("evaluate", "m", "--test", "test.npz"),
    ]
    assert answers[0][0] == 0
    assert f"test: {test.nnz} pairs ({int(((test != 0) > (train != 0)).sum())} of them new)" in answers[0][1]
    assert answers == answers[:1] * 3
    code, _, err = run("evaluate", "m", "--test", "small.npz")
    assert (code, "small.npz has 20 x 8 users x items, the training data 20 x 9" in err) == (1, True)
    code, _, err = run("evaluate", "train.npz")
    assert (code, "train.npz is a matrix" in err, "held-out interactions with --test" in err) == (1, True, True)
    code, _, err = run("evaluate", "m", "--test", "test.npz", "--user", "who")
    assert (code, "test.npz is a matrix" in err, "option --user" in err) == (1, True, True)
    code, _, err = run("evaluate", "test.csv", "--user", "who", "--item", "what", "--test", "test.npz")
    assert (code, "test.npz is a matrix, and nothing tells which" in err) == (1, True)


def test_evaluate_one_user_and_lines_that_cannot_be_split(run, tmp_path):
    (tmp_path / "one.csv").write_text("who,what,t\na,x,1\na,y,2\nb,z,1\n")
    code, out, _ = run("evaluate", "one.csv", "--user", "who", "--item", "what", "--factors", 1, "-q")
    assert code == 0
    assert "train: 2 users, 3 items, 2 pairs" in out
    assert "test: 1 pair (1 of them new)" in out
    assert "over 1 user;" in out
    assert re.search(r"WMF +1\.0000 +\d\.\d{4}$", out, re.M)
    (tmp_path / "flat.csv").write_text("who,what,t\na,x,1\na,y,1\nb,z,1\n")
    code, _, err = run("evaluate", "flat.csv", "--user", "who", "--item", "what", "--timestamp", "t")
    assert (code, "flat.csv: no user has lines at two different times" in err) == (1, True)
    (tmp_path / "flat.csv").write_text("who,what\na,x\nb,z\n")
    code, _, err = run("evaluate", "flat.csv", "--user", "who", "--item", "what")
    assert (code, "flat.csv: no user has two lines to split" in err) == (1, True)


def test_evaluate_with_metrics_of_ones_own(run, purchases):
    metrics = ("--metric", "recall@3", "--metric", "auc", "--metric", "coverage@5")
    code, out, err = run("evaluate", "purchases.csv", *FIT, "--factors", 2, "-q", *metrics)
    assert (code, err) == (0, "")
    assert re.search(r"^ +recall@3 +auc +coverage@5$", out, re.MULTILINE)
    assert re.search(r"^WMF +\d\.\d{4} \(\d\.\d{4}-\d\.\d{4}\) +\d\.\d{4} \(\S+\) +\d\.\d{4}$", out, re.MULTILINE)
    for source in ("purchases.csv", "none.csv"):  # said before anything is read
        code, _, err = run("evaluate", source, *FIT, "--metric", "racall@3")
        assert (code, "'racall@3' is not known" in err) == (1, True)


def test_evaluate_says_how_much_the_models_differ_on_the_same_users(run, purchases):
    options = ("--factors", 2, "--random-state", 0, "-q")
    code, out, _ = run("evaluate", "purchases.csv", *FIT, *options)
    assert code == 0
    train, test = split_last(purchases, user="who", item="what", value="n", test_fraction=0.2)
    models = {"WMF": WMF(2, random_state=0).fit(train), "most popular": MostPopular().fit(train)}
    last = compare(models, train, test).iloc[2:]
    columns = zip(last.difference, last.difference_low, last.difference_high, strict=True)
    expected = "".join(rf" +{value:.4f} \({low:.4f} to {high:.4f}\)" for value, low, high in columns)
    assert re.search(f"^most popular less WMF{expected}$", out, re.MULTILINE)
    assert out.endswith("differences are of the same users; one whose interval leaves out 0 tells two models apart\n")


def test_tables_of_many_metrics_are_folded_and_count_all_users(purchases):
    train, test = split_last(purchases, user="who", item="what", value="n", test_fraction=0.2)
    names = ["auc", *(f"{name}@{k}" for name in ("recall", "ndcg") for k in (1, 5, 10))]
    table = compare({"a": MostPopular().fit(train), "b": MostPopular().fit(train)}, train, test, metrics=names)
    table.loc[table.metric == "auc", "users"] = 3  # the first metric is not defined for all
    lines = comparison_table(table, train).splitlines()
    assert max(map(len, lines)) <= 120
    assert all(any(name in line for line in lines) for name in names)
    assert "mean (95 % interval) over 40 users; left out: 0 without new items" in "\n".join(lines)
    assert "differences" not in comparison_table(compare({"a": MostPopular().fit(train)}, train, test), train)
