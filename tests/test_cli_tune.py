"""The tune command."""

import json
import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import FIT

from implicit_wmf import WMF, WMFConfig
from implicit_wmf.evaluation import evaluate, split_last

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
