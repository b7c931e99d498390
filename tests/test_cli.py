"""The command line, as a user meets it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from scipy import sparse

from implicit_wmf import WMF, Interactions, MostPopular, WMFConfig
from implicit_wmf.cli import main
from implicit_wmf.cli.wording import comparison_table
from implicit_wmf.evaluation import compare, evaluate, split_last


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command in a temporary folder; gives back exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["implicit-wmf", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run_command


@pytest.fixture
def purchases(tmp_path):
    generator = np.random.default_rng(0)
    taste = np.arange(40) % 2
    lines = [
        (f"u{user:02}", f"{item:03}", int(generator.integers(1, 5)), day)
        for user in range(40)
        for day, item in enumerate(generator.permutation(np.arange(taste[user], 30, 2))[:10])
    ]
    frame = pd.DataFrame(lines, columns=["who", "what", "n", "day"])
    frame.to_csv(tmp_path / "purchases.csv", index=False)
    return frame


FIT = ("--user", "who", "--item", "what", "--value", "n")


def test_fit_recommend_info_and_evaluate(run, purchases):
    code, out, err = run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 0)
    assert (code, err) == (0, "")
    assert "40 users, 30 items, 400 pairs (33.33% of the cells)" in out
    model = WMF.load("m")
    again = WMF(4, random_state=0).fit(Interactions.from_frame(purchases, user="who", item="what", value="n"))
    np.testing.assert_array_equal(model.item_factors, again.item_factors)
    assert f"saved WMF(factors=4, random_state=0) in m: loss {model.history[-1].loss:.6g} after 15 epochs" in out

    code, out, _ = run("recommend", "m", "-o", "lists.csv", "-n", 3)
    assert code == 0
    assert "wrote 120 recommendations for 40 users to lists.csv" in out
    lists = pd.read_csv("lists.csv", dtype={"item": str})
    expected = model.recommend_frame(N=3)
    assert lists.columns.tolist() == ["user", "item", "rank", "score"]
    assert lists["item"].tolist() == expected["item"].tolist()  # leading zeros kept

    code, out, _ = run("info", "m")
    assert code == 0
    assert all(f"  {name} = {getattr(model.config, name)}" in out for name in WMFConfig.names())
    assert f"{model.history[-1].loss:.6g}" in out

    code, out, _ = run("evaluate", "purchases.csv", *FIT, "--timestamp", "day", "--factors", 4, "--k", 5, "-q")
    assert code == 0
    recall = {name: float(value) for name, value in re.findall(r"^(WMF|most popular) +(0\.\d+) \(", out, re.MULTILINE)}
    assert recall["WMF"] > recall["most popular"]  # two groups of users that share nothing
    assert "recall@5" in out
    assert "over 40 users" in out


def test_similar_and_explain(run, purchases):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 4, "--random-state", 0)
    model = WMF.load("m")
    code, out, err = run("similar", "m", "--item", "003", "--item", "004", "--n", 3)
    assert (code, err) == (0, "")
    assert out.split()[4:7] == ["003", model.similar_items_frame(["003"], 2).similar[1], "1"]
    assert len(out.splitlines()) == 7
    code, out, _ = run("similar", "m", "--user", "u07", "--n", 2)
    assert (code, out.split()[4]) == (0, "u07")
    code, out, _ = run("explain", "m", "--user", "u07", "--item", "004", "--n", 40)
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 12)  # each of the ten past items
    total = sum(float(line.split()[1]) for line in lines[2:])
    assert total == pytest.approx(float(lines[0].split()[1].rstrip(",")), abs=1e-3)
    for arguments, message in (
        (("similar", "m"), "name one item or more with --item"),
        (("similar", "m", "--item", "999"), "items: no '999'; the data hold 30, such as '000', '001'"),
        (("explain", "m", "--user", "zoe", "--item", "004"), "users: no 'zoe'"),
    ):
        code, _, err = run(*arguments)
        assert code != 0
        assert message in err


def test_recommend_to_some_users(run, purchases):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    pd.DataFrame({"id": ["u07", "u01"]}).to_csv("some.csv", index=False)
    code, out, _ = run("recommend", "m", "-o", "lists.tsv", "--users", "some.csv", "--user", "id", "-n", 25)
    assert code == 0
    assert "wrote 40 recommendations for 2 users to lists.tsv" in out
    assert "2 users with fewer than 25 items left to recommend" in out
    assert pd.read_csv("lists.tsv", sep="\t").user.unique().tolist() == ["u07", "u01"]
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert (code, err) == (1, "error: some.csv: no column 'user'; the columns are 'id'\n")
    Path("some.csv").write_text("user,x\nu07,1\n,2\n")
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert code == 1
    assert "column 'user': the id at line 3 of some.csv is missing" in err
    pd.DataFrame({"user": ["u07", "zoe", "u07", "zoe", "amy"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert code == 1
    assert "2 of 3 users in some.csv are not known to the model: 'zoe', 'amy'; " in err
    assert "--skip-unknown" in err
    assert not Path("lists.csv").exists()
    code, out, _ = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv", "--skip-unknown", "-n", 1)
    assert code == 0
    assert "left out: 2 of 3 users in some.csv" in out
    assert "wrote 1 recommendation for 1 user to lists.csv" in out
    assert pd.read_csv("lists.csv").user.tolist() == ["u07"]
    pd.DataFrame({"user": ["zoe"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv", "--skip-unknown")
    assert (code, "none of the users in some.csv is known" in err) == (1, True)
    run("recommend", "m", "-o", "all.csv", "-n", 30, "--include-known")
    assert len(pd.read_csv("all.csv")) == 40 * 30


def test_recommend_in_parts(run, purchases, monkeypatch):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    run("recommend", "m", "-o", "lists.csv", "-n", 25)
    code, out, err = run("recommend", "m", "-o", "lists", "-n", 25)
    assert (code, err) == (0, "")
    assert re.match(r"wrote 800 recommendations for 40 users to lists in \d+\.\d s \([\d,]+ users a second\)\n", out)
    assert out.endswith("\n100.0% of 30 items are in a list\n40 users with fewer than 25 items left to recommend\n")
    expected = pd.read_csv("lists.csv", dtype={"item": str})
    pd.testing.assert_frame_equal(pd.read_parquet("lists"), expected, check_dtype=False)
    pd.DataFrame({"user": ["u07", "zoe", "u01", "u07"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists", "--users", "some.csv")
    assert (code, "not known to the model: 'zoe'" in err) == (1, True)
    assert len(pd.read_parquet("lists")) == 800
    choice = ("--users", "some.csv", "--skip-unknown", "--include-known", "-n", 30)
    code, out, _ = run("recommend", "m", "-o", "lists", *choice)
    assert (code, "left out: 1 of 3 users" in out, "wrote 60 recommendations for 2 users" in out) == (0, True, True)
    assert pd.read_parquet("lists").user.tolist() == ["u07"] * 30 + ["u01"] * 30
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--restart")
    assert (code, "Invalid value for --restart: it has no effect on lists.csv" in err) == (2, True)
    Path("mine").mkdir()
    code, _, err = run("recommend", "none", "-o", "mine")
    assert (code, "mine exists and is not a folder of recommendations" in err) == (1, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("recommend", "m", "-o", "new")
    assert (code, "pip install 'implicit_wmf[parquet]'" in err) == (1, True)


@pytest.mark.parametrize("output", ["lists.2026-11-22", "lists.parquet/", "v1.2/", "old.CSV/"])
def test_recommend_in_parts_whatever_dots_the_name_of_the_folder_has(run, purchases, output):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    code, out, err = run("recommend", "m", "-o", output, "-n", 3)
    assert (code, err, f" to {output.rstrip('/')} in " in out) == (0, "", True)
    assert Path(output).is_dir()
    assert len(pd.read_parquet(output)) == 120
    code, out, _ = run("recommend", "m", "-o", "Lists.CSV", "-n", 3)
    assert (code, Path("Lists.CSV").is_file()) == (0, True)


def test_recommend_in_parts_says_how_far_it_was_and_goes_on(run, purchases, monkeypatch):
    recommend, calls = WMF.recommend, []

    def interrupt_third_part(model, *arguments, **options):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return recommend(model, *arguments, **options)

    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    run("recommend", "m", "-o", "lists.csv")
    monkeypatch.setattr("implicit_wmf.batch.jobs._PART_NUMBERS", 12 * 8)  # 8 users a part
    monkeypatch.setattr(WMF, "recommend", interrupt_third_part)
    code, out, err = run("recommend", "m", "-o", "lists")
    message = "interrupted; 16 of 40 users are done, and the same command goes on from there\n"
    assert (code, out, err) == (130, "", message)
    code, _, err = run("recommend", "m", "-o", "lists", "-n", 9)
    assert (code, "interrupted job of another question" in err, "--restart" in err) == (1, True, True)
    code, out, _ = run("recommend", "m", "-o", "lists")
    assert (code, "\n16 users of them had been done by an interrupted run\n" in out) == (0, True)
    expected = pd.read_csv("lists.csv", dtype={"item": str})
    pd.testing.assert_frame_equal(pd.read_parquet("lists"), expected, check_dtype=False)
    calls.clear()
    assert run("recommend", "m", "-o", "lists")[0] == 130
    code, out, _ = run("recommend", "m", "-o", "lists", "-n", 9, "--restart")
    assert (code, "wrote 360 recommendations" in out, "interrupted" in out) == (0, True, False)


def test_recommend_interrupted_before_the_first_part(run, purchases, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    monkeypatch.setattr("implicit_wmf.batch.jobs.ListParts", interrupt)
    assert run("recommend", "m", "-o", "lists") == (130, "", "interrupted\n")


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


def test_fit_warns_when_no_count_is_positive(run, tmp_path):
    (tmp_path / "bad.csv").write_text("who,what,n\na,x,-1\nb,x,0\n")
    code, out, err = run("fit", "bad.csv", *FIT, "-o", "m", "--factors", 1, "--iterations", 1, "-q")
    assert (code, "after 1 epoch\n" in out, "2 users, 1 item, 2 pairs" in out) == (0, True, True)
    assert err.startswith("warning: no count is positive;")


def test_fit_asks_before_the_work_whether_it_can_save(run, purchases, monkeypatch, tmp_path):
    monkeypatch.setattr(WMF, "fit", lambda *_, **__: pytest.fail("fitted in vain"))
    (tmp_path / "file").write_text("")
    assert run("fit", "purchases.csv", *FIT, "-o", "file/m")[0] == 1
    purchases.assign(who=pd.Timestamp("2020-01-01"), what=[f"{one}".encode() for one in purchases.what]).to_parquet(
        "bytes.parquet"
    )
    code, _, err = run("fit", "bytes.parquet", *FIT, "-o", "m")
    assert (code, "cannot be saved" in err) == (1, True)


def test_a_damaged_model_is_refused_by_every_command(run, purchases, tmp_path):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    factors = tmp_path / "m" / "item_factors.npy"
    content = bytearray(factors.read_bytes())
    content[-1] ^= 1
    factors.write_bytes(content)
    for command in (("info",), ("recommend", "-o", "x.csv"), ("evaluate", "--test", "purchases.csv", *FIT)):
        code, _, err = run(command[0], "m", *command[1:])
        assert (code, "item_factors.npy" in err) == (1, True)


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("recommend", "m", "-o", "x.csv"), "implicit_wmf.cli.lists.write_table"),
        (("info", "m"), "implicit_wmf.cli.lists.summary"),
        (("evaluate", "purchases.csv", *FIT), "implicit_wmf.cli.evaluating.split_table"),
        (("fit", "purchases.csv", *FIT, "-o", "n"), "implicit_wmf.cli.fitting.read_interactions"),
        (("demo",), "implicit_wmf.cli.demo.load_online_retail"),
    ],
)
def test_interrupted_commands_say_so(run, purchases, monkeypatch, command, place):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2, "--iterations", 1)
    monkeypatch.setattr(place, interrupt)
    code, _, err = run(*command)
    assert (code, err) == (130, "interrupted\n")


def test_interrupted_fits_are_kept_side_by_side(run, purchases, monkeypatch):
    fit = WMF.fit

    def fit_and_interrupt(model, *arguments, **options):
        fit(model, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(WMF, "fit", fit_and_interrupt)
    for seed, kept in enumerate(("m.interrupted", "m.interrupted-2", "m.interrupted-3")):
        code, _, err = run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2, "--random-state", seed, "-q")
        assert (code, err) == (130, f"interrupted; the model after 15 of 15 epochs is in {kept}\n")
    assert [WMF.load(f"m.interrupted{end}").config.random_state for end in ("", "-2", "-3")] == [0, 1, 2]
    assert not Path("m").exists()


def test_demo_refuses_a_folder_that_it_did_not_make(run, tmp_path, monkeypatch):
    monkeypatch.setattr("implicit_wmf.cli.demo.load_online_retail", lambda: pytest.fail("worked in vain"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "purchases.csv").write_text("kept")
    code, _, err = run("demo", "-o", "mine")
    assert (code, "mine is not empty and was not made by the demo" in err) == (1, True)
    assert (tmp_path / "mine" / "purchases.csv").read_text() == "kept"
    code, _, err = run("demo", "-o", "mine/purchases.csv/deeper")
    assert (code, "cannot write to mine/purchases.csv/deeper" in err) == (1, True)


def test_version(run):
    assert run("--version") == (0, f"implicit-wmf {version('implicit_wmf')}\n", "")


def test_parquet_and_npz(run, purchases):
    purchases.to_parquet("p.parquet")
    assert run("fit", "p.parquet", *FIT, "-o", "a", "--random-state", 0, "-q")[0] == 0
    data = Interactions.from_frame(purchases, user="who", item="what", value="n")
    sparse.save_npz("p.npz", data.matrix)
    assert run("fit", "p.npz", "-o", "b", "--random-state", 0, "-q")[0] == 0
    np.testing.assert_array_equal(WMF.load("a").item_factors, WMF.load("b").item_factors)
    assert run("recommend", "a", "-o", "lists.parquet")[0] == 0
    assert pd.read_parquet("lists.parquet").user.nunique() == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "purchases.csv", "--user", "whom", "--item", "what", "-o", "m"), "no column 'whom'.* 'who', 'what'"),
        (("fit", "purchases.csv", "-o", "m"), "option --user"),
        (("fit", "none.csv", *FIT, "-o", "m"), "there is no file none.csv"),
        (("fit", "purchases.csv", "--user", "who", "--item", "who", "-o", "m"), "--user and --item both name .*'who'"),
        (("fit", "purchases.csv", *FIT, "-o", "."), "exists and is not a saved model"),
        (("recommend", "none", "-o", "x.csv"), "there is no saved model at none"),
        (("recommend", "none", "-o", "x.csv.gz"), "x.csv.gz.*unknown suffix; tables are written as .csv"),
        (("info", "."), "is not a saved model"),
        (("demo", "-o", "purchases.csv"), "purchases.csv exists and is not a folder"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_1(run, purchases, arguments, message):
    code, _, err = run(*arguments)
    assert code == 1
    assert re.fullmatch(f"error: .*{message}.*\n", err)


def test_bad_line_is_named(run, tmp_path):
    (tmp_path / "bad.csv").write_text("who,what,n\na,x,1\nb,y,two\n")
    code, _, err = run("fit", "bad.csv", *FIT, "-o", "m")
    assert code == 1
    assert "line 3" in err
    assert "'two'" in err


def test_wrong_usage_is_exit_code_2(run):
    assert run("fit")[0] == 2
    assert run("fit", "x.csv", "-o", "m", "--factors", "many")[0] == 2
    assert run("nonsense")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "-o", "m", "--alpha", "-1"), "for --alpha: alpha must be a finite number greater than 0, got -1.0"),
        (("fit", "-o", "m", "--weighting", "cubic"), "for --weighting: weighting must be one of 'linear'"),
        (("fit", "-o", "m", "--regularization", "0", "--unobserved-weight", "0"), "are both 0"),
        (("evaluate", "--cg-steps", "0"), "for --cg-steps: cg_steps must be a whole number of at least 1"),
        (("evaluate", "--test-fraction", "1.5"), "for --test-fraction: 1.5 is not between 0 and 1"),
        (("evaluate", "--test-fraction", "nan"), "for --test-fraction: nan is not between 0 and 1"),
    ],
)
def test_values_out_of_range_are_wrong_usage(run, purchases, arguments, message):
    code, _, err = run(arguments[0], "purchases.csv", *FIT, *arguments[1:])
    assert code == 2
    assert message in err


def test_help_names_every_hyper_parameter(run):
    for command in ("fit", "evaluate", "tune"):
        code, out, _ = run(command, "--help")
        assert code == 0
        for name in WMFConfig.names():
            assert f"--{name.replace('_', '-')} " in out
    assert all(command in run("--help")[1] for command in ("demo", "fit", "recommend", "info", "evaluate", "tune"))


def test_missing_pyarrow_names_the_extra(run, purchases, monkeypatch):
    purchases.to_parquet("p.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("fit", "p.parquet", *FIT, "-o", "m")
    assert code == 1
    assert "pip install 'implicit_wmf[parquet]'" in err


def test_entry_point_is_the_command_line():
    (entry,) = entry_points(group="console_scripts", name="implicit-wmf")
    assert entry.load() is main


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_demo_beats_most_popular(run, monkeypatch):
    code, out, _ = run("demo")
    assert code == 0
    table = {
        name: (float(a), float(b)) for name, a, b in re.findall(r"^(\S.*?) +(0\.\d+) \(\S+\) +(0\.\d+)", out, re.M)
    }
    for metric in (0, 1):
        assert table["WMF"][metric] > 1.5 * table["most popular"][metric]
    assert out.count(" bought (") == 3
    lists = pd.read_csv("implicit-wmf-demo/recommendations.csv")
    assert lists.groupby("user").size().unique().tolist() == [10]
    assert WMF.load("implicit-wmf-demo/model").interactions.shape == (5849, 4612)
    for command in re.findall(r"^ +implicit-wmf (.*)$", out, re.M):  # what the demo says to try next works
        assert run(*shlex.split(command))[0] == 0
    shown, again = WMF.load("implicit-wmf-demo/model"), WMF.load("my-model")
    assert again.config == shown.config
    np.testing.assert_array_equal(again.item_factors, shown.item_factors)
    assert run("demo", "-o", "implicit-wmf-demo/model")[0] == 1
    monkeypatch.setattr("implicit_wmf.cli.demo.load_online_retail", lambda: sys.exit("began"))
    assert run("demo")[0] == "began"  # its own folder may be written again


@pytest.mark.skipif(not COMPILED, reason="needs a fit of some seconds")
def test_interrupted_fit_keeps_the_last_epoch_beside_the_old_model(tmp_path):
    generator = np.random.default_rng(0)
    sparse.save_npz(tmp_path / "big.npz", sparse.csr_array((generator.random((3000, 800)) < 0.05).astype(np.float32)))
    command = [sys.executable, "-m", "implicit_wmf", "fit", "big.npz", "-o", "m", "--random-state", "0"]
    subprocess.run([*command, "--iterations", "1"], cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, "--iterations", "100000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("read ")  # imported and loaded: what follows is fitting
    time.sleep(3)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "is in m.interrupted" in err
    assert len(WMF.load(tmp_path / "m").history) == 1
    kept = WMF.load(tmp_path / "m.interrupted")
    done = len(kept.history)
    again = WMF(random_state=0, iterations=done).fit(sparse.load_npz(tmp_path / "big.npz"))
    np.testing.assert_array_equal(kept.item_factors, again.item_factors)


def test_fit_with_validation_keeps_the_best_epoch(run, purchases):
    options = ("--factors", 4, "--random-state", 0, "--metric", "ndcg@5", "--patience", 2, "-q")
    days = ("--validation-fraction", 0.3, "--timestamp", "day")
    code, out, err = run("fit", "purchases.csv", *FIT, "-o", "m", *options, *days)
    assert (code, err) == (0, "")
    model = WMF.load("m")
    values = [record.validation["ndcg@5"] for record in model.history]
    best = values.index(max(values)) + 1
    assert f"after {best} epoch" in out
    assert f"the best of {len(values)}: ndcg@5 {max(values):.4f}\n" in out
    assert "held out 120 pairs\nvalidates on 40 users: 120 new pairs\n" in out
    early = purchases.day < 7
    np.testing.assert_array_equal(model.interactions.matrix.nnz, early.sum())
    purchases[early].to_csv("train.csv", index=False)
    purchases[~early].to_csv("late.csv", index=False)
    for split in (("--validation", "late.csv"), (*days, "--split", "time")):
        source = "train.csv" if split[0] == "--validation" else "purchases.csv"
        assert run("fit", source, *FIT, "-o", "n", *options, *split)[0] == 0
        np.testing.assert_array_equal(WMF.load("n").item_factors, model.item_factors)
    code, out, _ = run("info", "m")
    assert (code, "ndcg@5" in out, f"{max(values):.6g}" in out) == (0, True, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "-o", "m", "--metric", "ndcg@5"), "--metric: it has no effect without --validation or"),
        (("fit", "-o", "m", "--patience", "2"), "--patience: it has no effect without --validation or"),
        (("fit", "-o", "m", "--timestamp", "day"), "--timestamp: it has no effect without --validation-fraction"),
        (("fit", "-o", "m", "--validation-fraction", "1"), "--validation-fraction: 1.0 is not between 0 and 1"),
        (
            ("fit", "-o", "m", "--validation", "purchases.csv", "--validation-fraction", ".1"),
            "--validation-fraction: it has no effect with --validation",
        ),
        (("evaluate", "--split", "time"), "--split: a cut in time needs the column of times"),
        (("evaluate", "--split", "time", "--test", "x.csv"), "--split: it has no effect with --test"),
        (("fit", "-o", "m", "--time-budget", "-1"), "--time-budget: time_budget must be a finite number greater"),
        (("evaluate", "--split", "day", "--timestamp", "day"), "--split: 'day' is neither 'last' nor 'time'"),
        (("evaluate", "--metric", "auc", "--k", "5"), "--k: it has no effect with --metric"),
        (("tune", "-o", "t", "--validation", "purchases.csv", "--split", "time"), "--split: it has no effect with"),
        (("tune", "-o", "t", "--test-fraction", "0"), "--test-fraction: 0.0 is not between 0 and 1"),
        (("tune", "-o", "t", "--trials", "0"), "--trials"),
    ],
)
def test_options_without_effect_or_sense(run, purchases, arguments, message):
    code, _, err = run(arguments[0], "purchases.csv", *FIT, *arguments[1:])
    assert (code, message in err) == (2, True), err


def test_fit_stops_when_its_time_is_up(run, purchases):
    code, out, _ = run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2, "--time-budget", 1e-9, "-q")
    assert (code, "after 1 epoch\n" in out) == (0, True)


def test_fit_on_a_matrix_cannot_split_it(run):
    sparse.save_npz("p.npz", sparse.csr_array(np.eye(3)))
    code, _, err = run("fit", "p.npz", "-o", "m", "--validation-fraction", 0.2)
    assert (code, "no order to split by: name held-out interactions with --validation\n" in err) == (1, True)


def test_config_file(run, purchases):
    Path("c.json").write_text('{"factors": 3, "regularization": 0.5, "random_state": 1, "user_background": null}')
    code, _, err = run("fit", "purchases.csv", *FIT, "-o", "m", "--config", "c.json", "--factors", 2, "--iterations", 1)
    assert (code, err) == (0, "")
    expected = WMFConfig(factors=2, regularization=0.5, random_state=1, iterations=1)  # what is typed wins
    assert WMF.load("m").config == expected
    first = run("evaluate", "purchases.csv", *FIT, "-q", "--config", "c.json")
    options = ("--factors", 3, "--regularization", 0.5, "--random-state", 1)
    assert first == run("evaluate", "purchases.csv", *FIT, "-q", *options)
    code, _, err = run("evaluate", "m", *FIT, "--test", "purchases.csv", "--config", "c.json")
    assert (code, "for --config: it has no effect on m, which is fitted" in err) == (2, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file c.json; check the name"),
        ("", "c.json, line 1: not JSON"),
        ('{"factors": 3,\n}', "c.json, line [12]: not JSON"),
        ("[3]", "c.json holds a JSON list, not an object"),
        ('{"factor": 3}', "c.json: no hyper-parameter 'factor'; did you mean 'factors'\\?"),
        ('{"factors": 3, "factors": 4}', "c.json: 'factors' is there twice"),
        ('{"factors": "3"}', "c.json: factors must be a whole number of at least 1, got '3'"),
        ('{"regularization": NaN}', "c.json: regularization must be a finite number at least 0, got nan"),
        ('{"regularization": 0, "unobserved_weight": 0}', "c.json: .* are both 0"),
        (b"\xff\xfe", "c.json is not a JSON file"),
    ],
)
def test_config_files_that_cannot_be_used(run, purchases, content, message):
    if content is not None:
        Path("c.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, err = run("fit", "purchases.csv", *FIT, "-o", "m", "--config", "c.json")
    assert code == 1
    assert re.fullmatch(f"error: {message}.*\n", err)


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


TUNE = ("tune", "purchases.csv", *FIT, "--timestamp", "day", "--factors", 2, "--iterations", 3, "-q", "-o", "t")


def test_tune_writes_what_fit_and_evaluate_take(run, purchases):
    pytest.importorskip("optuna")
    command = (*TUNE, "--trials", 5, "--test-fraction", 0.2, "--metric", "ndcg@5")
    code, out, err = run(*command)
    assert code == 0
    assert err == "" or "pip install 'implicit_wmf[plot]'" in err
    assert "validation: 80 pairs\nvalidates on 40 users: 80 new pairs\n" in out  # of the 320 that the test part leaves
    trials = pd.read_csv("t/trials.csv")
    assert trials.trial.tolist() == [0, 1, 2, 3, 4]
    best, default = re.search(r"^ndcg@5 (\S+) in trial \d of 5; (\S+) with the settings as given$", out, re.M).groups()
    assert best == f"{trials[trials.state == 'complete'].value.max():.4f}"
    assert default == f"{trials.value[0]:.4f}"
    steps = [shlex.split(step) for step in re.findall(r"^  implicit-wmf (.*)$", out, re.MULTILINE)]
    assert [step[0] for step in steps] == ["evaluate", "fit"]
    code, shown, _ = run(*steps[0])
    assert (code, "test: 80 pairs" in shown) == (0, True)
    assert run(*steps[1])[0] == 0
    written = json.loads(Path("t/config.json").read_text())
    config = WMF.load("MODEL").config
    assert {name: getattr(config, name) for name in written} == written
    assert config.factors == 2
    assert f"--regularization {written['regularization']}" in out or written["regularization"] == 0.01
    assert run(*command)[1] == out  # done: the same again


def test_tune_never_reads_the_test_part(run, purchases):
    pytest.importorskip("optuna")
    options = ("--trials", 3, "--test-fraction", 0.3, "--split", "time")
    assert run(*TUNE, *options)[0] == 0
    found = Path("t/config.json").read_text()
    first = pd.read_csv("t/trials.csv").drop(columns="seconds")
    late = purchases.day >= 7
    purchases.assign(
        n=purchases.n.where(~late, 999),
        what=purchases.what.where(~late, "new"),
        who=purchases.who.where(~late, "anyone"),
    ).to_csv("purchases.csv", index=False)
    assert run(*TUNE[:-1], "u", *options)[0] == 0
    assert Path("u/config.json").read_text() == found
    pd.testing.assert_frame_equal(pd.read_csv("u/trials.csv").drop(columns="seconds"), first)


def test_tune_keeps_what_is_given(run, purchases):
    pytest.importorskip("optuna")
    Path("c.json").write_text('{"unobserved_weight": 0.5, "alpha": 3.0}')
    given = ("--config", "c.json", "--weighting", "log", "--regularization-exponent", "0.25")
    assert run(*TUNE, "--trials", 4, *given)[0] == 0
    written = json.loads(Path("t/config.json").read_text())
    kept = {"unobserved_weight": 0.5, "alpha": 3.0, "weighting": "log", "regularization_exponent": 0.25}
    assert {name: written[name] for name in kept} == kept
    assert pd.read_csv("t/trials.csv").regularization.nunique() > 1
    code, _, err = run(*TUNE, "--trials", 4, *given, "--regularization", 1)
    assert (code, "all that would be searched is given" in err) == (1, True)
    code, _, err = run(*TUNE, "--trials", 3, *given)
    assert (code, "has run 4 trials of a plan for 4, and a plan for 3" in err, "another --output" in err) == (
        1, True, True,
    )  # fmt: skip
    code, _, err = run(*TUNE, "--trials", 4, *given, "--iterations", 4)
    assert (code, "begun otherwise: config iterations was 3 and is now 4; use another storage" in err) == (1, True)
    assert run(*TUNE, "--trials", 5, *given)[0] == 0  # goes on
    assert len(pd.read_csv("t/trials.csv")) == 5


def test_tune_says_how_it_ended(run, purchases, monkeypatch):
    pytest.importorskip("optuna")
    fit, fits = WMF.fit, []

    def interrupt_third(*arguments, **options):
        fits.append(None)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(WMF, "fit", interrupt_third)
    code, _, err = run(*TUNE, "--trials", 4)
    assert (code, err) == (130, "interrupted; the same command goes on after the trials that have ended\n")
    code, out, _ = run(*TUNE, "--trials", 4, "--timeout", 1e-9)
    assert (code, "the time was up after 2 of 4 trials; the same command goes on from there\n" in out) == (0, True)
    assert run(*TUNE, "--trials", 4)[0] == 0
    assert len(fits) == 5


def test_tune_whose_time_is_up_early_fits_the_best_so_far_once_more(run, purchases, monkeypatch):
    pytest.importorskip("optuna")
    clock = iter(range(1000))
    monkeypatch.setattr("implicit_wmf.tuning.tuner.time.monotonic", lambda: next(clock))
    early = (*TUNE, "--factors", 32, "--trials", 12, "--metric", "ndcg@5", "--timeout", 4)
    code, out, _ = run(*early)
    assert (code, "the time was up after 4 of 12 trials; the same command goes on from there\n" in out) == (0, True)
    number, best = re.search(
        r"^ndcg@5 (\S+) with the settings of trial (\d), tried with 16 factors and fitted once more with all; ",
        out,
        re.M,
    ).group(2, 1)
    written = json.loads(Path("t/config.json").read_text())
    assert (int(number) > 0, written["factors"]) == (True, 32)
    assert pd.read_csv("t/trials.csv").factors.tolist() == [32, 16, 16, 16]
    train, rest = split_last(purchases, user="who", item="what", value="n", timestamp="day", test_fraction=0.2)
    model = WMF.from_config(WMFConfig(**written)).fit(train)
    assert evaluate(model, train, rest, metrics="ndcg@5")["value"][0] == pytest.approx(float(best), abs=6e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none.csv",), 1, "there is no file none.csv"),
        (("none.csv", "--metric", "ndgc@5"), 1, "'ndgc' in 'ndgc@5' is not known"),
        (("none.csv", "--timeout", "-1"), 2, "for --timeout: timeout must be a finite number greater than 0, got -1"),
        (("purchases.csv", *FIT, "--metric", "auc"), 1, "'auc' needs more than a list"),
        (("purchases.csv", *FIT, "--timestamp", "when"), 1, "when"),
    ],
)
def test_tune_leaves_no_folder_behind_a_mistake(run, purchases, arguments, code, message):
    pytest.importorskip("optuna")
    ended = run("tune", *arguments, "-q", "-o", "t")
    assert (ended[0], message in ended[2]) == (code, True), ended
    assert not Path("t").exists()


def test_tune_refuses_folders_of_others_and_missing_optuna(run, purchases, monkeypatch):
    Path("t").mkdir()
    Path("t/notes.txt").write_text("mine")
    code, _, err = run(*TUNE)
    assert (code, "t is not empty and was not made by tune" in err) == (1, True)
    code, _, err = run(*TUNE[:-1], "t/notes.txt")
    assert (code, "t/notes.txt exists and is not a folder" in err) == (1, True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = run(*TUNE[:-1], "new")
    assert (code, "pip install 'implicit_wmf[tune]'" in err) == (1, True)


def test_tune_without_matplotlib_says_how_to_get_plots(run, purchases, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(*TUNE, "--trials", 2)
    assert (code, err.count("\n"), "pip install 'implicit_wmf[plot]'" in err) == (0, 1, True)
    assert not list(Path("t").glob("*.png"))
