"""The command line, as a user meets it."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from scipy import sparse

from implicit_wmf import WMF, Interactions, WMFConfig
from implicit_wmf.cli import main


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
    recall = {name: float(value) for name, value in re.findall(r"^(WMF|most popular) +(0\.\d+) ±", out, re.MULTILINE)}
    assert recall["WMF"] > recall["most popular"]  # two groups of users that share nothing
    assert "recall@5" in out
    assert "over 40 users" in out


def test_recommend_to_some_users(run, purchases):
    run("fit", "purchases.csv", *FIT, "-o", "m", "--factors", 2)
    pd.DataFrame({"id": ["u07", "u01"]}).to_csv("some.csv", index=False)
    code, out, _ = run("recommend", "m", "-o", "lists.tsv", "--users", "some.csv", "--user", "id", "-n", 25)
    assert code == 0
    assert "2 users have fewer than 25 items left to recommend" in out
    assert pd.read_csv("lists.tsv", sep="\t").user.unique().tolist() == ["u07", "u01"]
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert (code, err) == (1, "error: some.csv: no column 'user'; the columns are 'id'\n")
    pd.DataFrame({"user": ["u07", "zoe"]}).to_csv("some.csv", index=False)
    code, _, err = run("recommend", "m", "-o", "lists.csv", "--users", "some.csv")
    assert code == 1
    assert "'zoe'" in err
    assert not Path("lists.csv").exists()
    run("recommend", "m", "-o", "all.csv", "-n", 30, "--include-known")
    assert len(pd.read_csv("all.csv")) == 40 * 30


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
    code, _, err = run("evaluate", "m")
    assert (code, err) == (1, "error: m is a saved model: name held-out interactions with --test\n")


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
        (("fit", "purchases.csv", *FIT, "-o", "m", "--alpha", "-1"), "alpha must be a finite number greater than 0"),
        (("fit", "purchases.csv", *FIT, "-o", "."), "exists and is not a saved model"),
        (("recommend", "none", "-o", "x.csv"), "there is no saved model at none"),
        (("recommend", "none", "-o", "x.doc"), "x.doc.*unknown suffix"),
        (("info", "."), "is not a saved model"),
        (("evaluate", "purchases.csv", *FIT, "--test-fraction", "1.5"), "test_fraction is 1.5"),
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


def test_help_names_every_hyper_parameter(run):
    for command in ("fit", "evaluate"):
        code, out, _ = run(command, "--help")
        assert code == 0
        for name in WMFConfig.names():
            assert f"--{name.replace('_', '-')} " in out
    assert all(command in run("--help")[1] for command in ("demo", "fit", "recommend", "info", "evaluate"))


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
def test_demo_beats_most_popular(run):
    code, out, _ = run("demo")
    assert code == 0
    table = {name: (float(a), float(b)) for name, a, b in re.findall(r"^(\S.*?) +(0\.\d+) ± \S+ +(0\.\d+)", out, re.M)}
    for metric in (0, 1):
        assert table["WMF"][metric] > 1.5 * table["most popular"][metric]
    assert out.count(" bought (") == 3
    lists = pd.read_csv("implicit-wmf-demo/recommendations.csv")
    assert lists.groupby("user").size().unique().tolist() == [10]
    assert WMF.load("implicit-wmf-demo/model").interactions.shape == (5849, 4612)
    for command in re.findall(r"^ +implicit-wmf (.*)$", out, re.M):  # what the demo says to try next works
        assert run(*command.split())[0] == 0


@pytest.mark.skipif(not COMPILED, reason="needs a fit of some seconds")
def test_interrupted_fit_keeps_the_last_epoch_beside_the_old_model(tmp_path):
    generator = np.random.default_rng(0)
    sparse.save_npz(tmp_path / "big.npz", sparse.csr_array((generator.random((3000, 800)) < 0.05).astype(np.float32)))
    command = [sys.executable, "-m", "implicit_wmf", "fit", "big.npz", "-o", "m", "--random-state", "0"]
    subprocess.run([*command, "--iterations", "1"], cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, "--iterations", "100000"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(4)
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
