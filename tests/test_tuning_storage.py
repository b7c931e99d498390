"""Searches that are interrupted, resumed, run out of time, or meet a study of something else."""

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import SMALL, repeatable, tastes
from systems import SIGNALS

from implicit_wmf import InputError
from implicit_wmf.tuning import Choice, Range, tune, tuner
from implicit_wmf.tuning.trials import Outcome

optuna = pytest.importorskip("optuna")


class TestStorage:
    def test_an_interrupted_search_goes_on_as_if_it_had_not_been(self, parts, formula, tmp_path, monkeypatch):
        config = replace(SMALL, factors=64)
        whole = tune(*parts, config=config, trials=16)
        for stop_at in (1, 10):
            fits, run = [], tuner.run_trial

            def interrupt(*arguments, fits=fits, run=run, stop_at=stop_at):
                fits.append(None)
                if len(fits) == stop_at:
                    raise KeyboardInterrupt
                return run(*arguments)

            file = tmp_path / f"{stop_at}.db"
            with monkeypatch.context() as patched:
                patched.setattr(tuner, "run_trial", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    tune(*parts, config=config, trials=16, storage=file)
            formula.clear()
            resumed = tune(*parts, config=config, trials=16, storage=file)
            assert len(formula) == 16 - stop_at
            pd.testing.assert_frame_equal(repeatable(resumed), repeatable(whole))
            formula.clear()
            pd.testing.assert_frame_equal(tune(*parts, config=config, trials=16, storage=file).trials, resumed.trials)
            assert not formula
            assert resumed.config == whole.config

    @SIGNALS
    def test_a_killed_search_goes_on(self, parts, low_stages, tmp_path):
        script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from searches import SMALL, tastes
from implicit_wmf.tuning import search, tune, tuner
search._FEWEST_FACTORS = 1
run, fits = tuner.run_trial, []
def killed(*arguments):
    fits.append(None)
    if len(fits) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(*arguments)
tuner.run_trial = killed
tune(*tastes(), config=SMALL, trials=9, storage="study.db")
"""
        process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == -signal.SIGKILL, process.stderr
        with sqlite3.connect(tmp_path / "study.db") as connection:
            assert connection.execute("select state from trials").fetchall() == [("COMPLETE",)] * 5
        connection.close()
        resumed = tune(*parts, config=SMALL, trials=9, storage=str(tmp_path / "study.db"))
        pd.testing.assert_frame_equal(repeatable(resumed), repeatable(tune(*parts, config=SMALL, trials=9)))

    def test_more_trials_where_the_longer_plan_begins_alike(self, parts, formula, tmp_path):
        call = {"config": SMALL, "storage": tmp_path / "s.db"}  # one stage: 4 factors
        tune(*parts, trials=3, **call)
        formula.clear()
        longer = tune(*parts, trials=12, **call)
        assert len(formula) == 9
        pd.testing.assert_frame_equal(repeatable(longer), repeatable(tune(*parts, config=SMALL, trials=12)))
        with pytest.raises(InputError, match=r"has run 12 trials of a plan for 12, and a plan for 5 would have begun"):
            tune(*parts, trials=5, **call)
        assert tune(*parts, trials=12, **call).complete

    def test_more_trials_of_a_plan_in_stages(self, parts, formula, tmp_path, monkeypatch):
        call = {"config": replace(SMALL, factors=64), "storage": tmp_path / "s.db"}
        clock = iter(range(1000))
        monkeypatch.setattr(tuner.time, "monotonic", lambda: next(clock))
        assert len(tune(*parts, trials=16, timeout=5, **call).trials) == 5  # the first stage has 8
        longer = tune(*parts, trials=24, **call)
        pd.testing.assert_frame_equal(repeatable(longer), repeatable(tune(*parts, config=call["config"], trials=24)))
        message = r"plan for 24, and a plan for 25 would have begun otherwise; ask for 24, or use another .*--output"
        with pytest.raises(InputError, match=message):
            tune(*parts, trials=25, **call)

    def test_a_time_that_is_up_before_the_full_dimension_ends_with_the_best_found(
        self, parts, formula, tmp_path, monkeypatch
    ):
        call = {"config": replace(SMALL, factors=64), "trials": 24, "storage": tmp_path / "s.db"}
        whole = tune(*parts, **call | {"storage": None})
        clock = iter(range(1000))
        monkeypatch.setattr(tuner.time, "monotonic", lambda: next(clock))
        for run, stage in ((8, 16), (16, 32)):
            formula.clear()
            found = tune(*parts, timeout=run - len(formula) if run == 8 else 8, **call)
            table = found.trials
            assert (found.complete, found.refitted, set(table.factors)) == (False, True, {64, 16, stage})
            of_stage = table[(table.factors == stage) & (table.state == "complete") & (table.trial > 0)]
            assert found.best_trial == of_stage.trial[of_stage.value.idxmax()]
            assert found.value == pytest.approx(of_stage.value.max() * 64 / stage)  # as the formula has it
            assert found.config == replace(formula[-1], iterations=3)
            assert found.config.factors == 64
            assert len(found.study.trials) == len(table)
        resumed = tune(*parts, **call)
        pd.testing.assert_frame_equal(repeatable(resumed), repeatable(whole))
        assert (resumed.complete, resumed.refitted, resumed.config) == (True, False, whole.config)

    def test_one_more_fit_that_is_worse_than_the_default_is_not_the_result(self, parts, formula, monkeypatch):
        clock = iter(range(1000))
        monkeypatch.setattr(tuner.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(tuner, "run_default", lambda config, judge: Outcome("complete", (9.0,), 1))
        found = tune(*parts, config=replace(SMALL, factors=64), trials=24, timeout=4)
        assert (found.best_trial, found.refitted, found.value) == (0, False, 9.0)
        assert formula[-1].factors == 64

    def test_settings_that_cannot_be_fitted_at_the_full_dimension(self, parts, formula, monkeypatch):
        clock, run = iter(range(1000)), tuner.run_trial
        monkeypatch.setattr(tuner.time, "monotonic", lambda: next(clock))
        failed = []

        def outcome(config, judge, others):
            if config.factors == 64 and len(failed) < 2:
                failed.append(config)
                return Outcome("failed", (), 0, "no finite solution")
            return run(config, judge, others)

        monkeypatch.setattr(tuner, "run_trial", outcome)
        found = tune(*parts, config=replace(SMALL, factors=64), trials=24, timeout=7)
        best = found.trials[found.trials.factors == 16].sort_values("value", ascending=False, kind="stable")
        assert (found.best_trial, found.refitted) == (best.trial.iloc[2], True)

    def test_time_that_is_up(self, parts, formula, tmp_path, monkeypatch):
        clock = iter(range(0, 1000, 10))
        monkeypatch.setattr(tuner.time, "monotonic", lambda: next(clock))
        found = tune(*parts, config=SMALL, trials=10, timeout=25, storage=tmp_path / "s.db")
        assert len(found.trials) == 3  # asked before each trial but the first: 10 s and 20 s are within, 30 s are not
        assert not found.complete
        assert tune(*parts, config=SMALL, trials=10, storage=tmp_path / "s.db").complete

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"metric": "recall@5"}, "metric was 'ndcg@20' and is now 'recall@5'"),
            ({"random_state": 1}, "random_state was 0 and is now 1"),
            ({"config": replace(SMALL, alpha=2.0)}, "config alpha was 1.0 and is now 2.0"),
            ({"space": {"alpha": Range(1, 2)}}, "space relative_regularization was 'Range.* and is now None"),
            ({"train": tastes(seed=1)[0]}, "the train data are not the same"),
            ({"validation": tastes(seed=1)[1]}, "the validation data are not the same"),
        ],
    )
    def test_a_study_of_something_else_is_refused(self, parts, formula, tmp_path, change, message):
        call = {"train": parts[0], "validation": parts[1], "config": SMALL, "trials": 4, "storage": tmp_path / "s.db"}
        tune(**call)
        with pytest.raises(InputError, match=f"study 'implicit_wmf' in .*s.db was begun otherwise: {message}"):
            tune(**call | change)
        tune(**call | change, study_name="another")
        tune(**call | {"config": replace(SMALL, num_threads=1)})  # which changes no figure

    def test_ranges_are_alike_however_their_ends_are_spelled(self, parts, formula, tmp_path):
        assert Range(1, np.float64(2)) == Range(1.0, 2)
        assert repr(Range(0, np.float32(2))) == "Range(low=0.0, high=2.0, log=False)"
        call = {"config": SMALL, "trials": 3, "storage": tmp_path / "s.db"}
        ranges = [Range(1, 2), Range(1.0, np.float64(2)), Range(np.int64(1), 2.0)]
        tables = [tune(*parts, space={"alpha": one, "cg_steps": Choice(2, 3)}, **call).trials for one in ranges]
        pd.testing.assert_frame_equal(tables[0], tables[2])
        tune(*parts, space={"alpha": ranges[0], "cg_steps": Choice(np.int64(2), 3)}, **call)
        with pytest.raises(InputError, match="space alpha was"):
            tune(*parts, space={"alpha": Range(1, 2.5), "cg_steps": Choice(2, 3)}, **call)

    def test_arrays_are_compared_but_not_shown(self, parts, formula, tmp_path):
        call = {"trials": 2, "storage": tmp_path / "s.db"}
        weights = np.linspace(1, 2, 24)
        tune(*parts, config=replace(SMALL, user_background=weights), **call)
        tune(*parts, config=replace(SMALL, user_background=weights.copy()), **call)
        with pytest.raises(InputError, match=r"config user_background was 'array \w+' and is now 'array \w+'; use"):
            tune(*parts, config=replace(SMALL, user_background=weights[::-1]), **call)

    def test_values_alone_make_other_data(self, parts, formula, tmp_path):
        train, validation = parts
        tune(train, validation, config=SMALL, trials=2, storage=tmp_path / "s.db")
        with pytest.raises(InputError, match="the train data are not the same"):
            tune(train.matrix * 2, validation, config=SMALL, trials=2, storage=tmp_path / "s.db")

    def test_places_that_cannot_be_used(self, parts, formula, tmp_path):
        (tmp_path / "text.db").write_text("not a database " * 100)
        for place, message in (
            (tmp_path / "none" / "s.db", "there is no folder .*none for s.db"),
            (tmp_path, "is a folder; name a file in it"),
            (tmp_path / "text.db", "text.db cannot be used .*not a database"),
            ("nonsense://x", "nonsense://x cannot be used"),
        ):
            with pytest.raises(InputError, match=f"storage: .*{message}"):
                tune(*parts, config=SMALL, storage=place)

    def test_a_study_of_other_trials(self, parts, formula, tmp_path):
        url = f"sqlite:///{tmp_path / 's.db'}"
        call = {"train": parts[0], "validation": parts[1], "config": SMALL, "trials": 2, "storage": url}
        tune(**call)
        storage = optuna.storages.RDBStorage(url)
        mine = optuna.load_study(study_name="implicit_wmf", storage=storage)
        foreign = optuna.create_study(study_name="x", storage=storage, direction="maximize")
        for study in (mine, foreign):
            study.add_trial(optuna.trial.create_trial(value=1.0))
        storage.engine.dispose()
        with pytest.raises(InputError, match="trial 2 of the study is not one of tune's"):
            tune(**call)
        with pytest.raises(InputError, match="study 'x' in .* holds other trials than tune's"):
            tune(**call, study_name="x")

    def test_two_searches_at_once_in_one_study(self, parts, formula, tmp_path, monkeypatch):
        file, run = tmp_path / "s.db", tuner.run_trial

        def meanwhile(*arguments):
            monkeypatch.setattr(tuner, "run_trial", run)
            tune(*parts, config=SMALL, trials=4, storage=file)
            return run(*arguments)

        monkeypatch.setattr(tuner, "run_trial", meanwhile)
        with pytest.raises(InputError, match="another process adds trials to study 'implicit_wmf'"):
            tune(*parts, config=SMALL, trials=4, storage=file)
        assert len(tune(*parts, config=SMALL, trials=4, storage=file).trials) == 4
