"""The command line, as a user meets it: what all commands have in common."""

import re
from importlib.metadata import entry_points, version

import numpy as np
import pandas as pd
import pytest
from conftest import FIT

from implicit_wmf import WMF, Interactions, WMFConfig
from implicit_wmf.cli import main


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


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("recommend", "m", "-o", "x.csv"), "implicit_wmf.cli.lists.write_table"),
        (("info", "m"), "implicit_wmf.cli.lists.summary"),
        (("evaluate", "purchases.csv", *FIT), "implicit_wmf.cli.held_out.read_events"),
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


def test_version(run):
    assert run("--version") == (0, f"implicit-wmf {version('implicit_wmf')}\n", "")


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


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    commands = ("demo", "prepare", "fit", "recommend", "similar", "explain", "info", "evaluate", "report", "tune")
    assert set(re.findall(r"^. (\w+)  ", out, re.MULTILINE)) == set(commands)


def test_entry_point_is_the_command_line():
    (entry,) = entry_points(group="console_scripts", name="implicit-wmf")
    assert entry.load() is main


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
