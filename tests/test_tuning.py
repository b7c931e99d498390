"""The search for hyper-parameters: what it tries, what it keeps, and that it can be repeated and resumed."""

import math
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from scipy.sparse import csr_array

from implicit_wmf import WMF, InputError, Interactions, MissingExtraError, WMFConfig
from implicit_wmf.evaluation import evaluate, split_by_time
from implicit_wmf.factorizers import KLMF
from implicit_wmf.tuning import Choice, Range, default_space, search, tune, tuner, write_plots
from implicit_wmf.tuning.space import settings
from implicit_wmf.tuning.trials import Outcome, is_behind

optuna = pytest.importorskip("optuna")


def tastes(users=24, items=18, groups=3, seed=0):
    """Train and validation parts of users who take items of their group only, with counts."""
    generator = np.random.default_rng(seed)
    parts = np.zeros((2, users, items))
    for user in range(users):
        own = generator.permutation(np.arange(user % groups, items, groups))
        parts[0, user, own[:3]] = generator.integers(1, 6, 3)
        parts[1, user, own[3:5]] = 1
    return [Interactions.from_matrix(csr_array(part)) for part in parts]


@pytest.fixture
def parts():
    return tastes()


@pytest.fixture
def low_stages(monkeypatch):
    """Stages of few factors, which interpreted loops can fit too."""
    monkeypatch.setattr(search, "_FEWEST_FACTORS", 1)


@pytest.fixture
def formula(monkeypatch):
    """Replace fits by a formula that is highest at a0 = 0.3 and nu = 1/2, and proportional to the factors."""
    calls = []

    def outcome(config, judge, others):
        point = (math.log10(config.unobserved_weight / 0.3), config.regularization_exponent - 0.5)
        height = config.factors * math.exp(-sum(part**2 for part in point)) / 100
        curve = tuple(height * share for share in (0.5, 0.8, 1.0, 0.9))
        calls.append(config)
        behind = is_behind(curve, others)
        return Outcome("pruned" if behind else "complete", curve, 3)

    monkeypatch.setattr(tuner, "run_trial", outcome)
    monkeypatch.setattr(tuner, "run_default", lambda config, judge: Outcome("complete", (0.0, 0.001), 2))
    return calls


def repeatable(found):
    return found.trials.drop(columns="seconds")


def ended(number, factors, value, point=None, state="complete"):
    curve = () if state == "failed" else (value,)
    return search.Trial(number, factors, "search", point or {}, Outcome(state, curve, len(curve)))


SMALL = WMFConfig(factors=4, iterations=4)


class TestSpace:
    def test_default_follows_the_data(self, parts):
        binary = Interactions.from_matrix(csr_array(np.eye(3)))
        relative = ["relative_regularization", "relative_unobserved_weight", "regularization_exponent"]
        assert list(default_space(parts[0])) == [*relative, "weighting"]
        assert default_space(parts[0])["weighting"].values == ("linear", "log", "ials")
        assert list(default_space(binary)) == relative
        assert list(default_space(parts[0], WMFConfig(weighting="raw"))) == relative
        both = WMFConfig(user_regularization=1.0, item_regularization=2.0)
        assert list(default_space(binary, both)) == relative[1:]

    @pytest.mark.parametrize("weighting", ["linear", "log", "ials", "raw"])
    @pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0])
    def test_relative_values_mean_what_the_literal_matrix_says(self, weighting, exponent):
        counts = np.array([[3.0, 0, 1, 0], [0, 2, 0, 0], [0, 0, 0, 7]])
        alpha, epsilon = 2.5, 1.7
        added = {
            "linear": alpha * counts,
            "log": alpha * np.log(1 + counts / epsilon),
            "ials": alpha * (counts > 0),
            "raw": counts,
        }[weighting]
        a0 = 0.2 * added[counts > 0].mean()
        confidence = np.where(counts > 0, counts, a0) if weighting == "raw" else a0 + added
        s = np.concatenate([confidence.sum(axis=1), confidence.sum(axis=0)])
        config = WMFConfig(weighting=weighting, alpha=alpha, log_epsilon=epsilon, dtype="float64")
        point = {
            "relative_unobserved_weight": 0.2,
            "relative_regularization": 0.03,
            "regularization_exponent": exponent,
        }
        found = settings(config, point, Interactions.from_matrix(csr_array(counts)))
        assert found.unobserved_weight == pytest.approx(a0)
        assert found.regularization == pytest.approx(0.03 * s.sum() / (s**exponent).sum())
        assert found == replace(
            config,
            unobserved_weight=found.unobserved_weight,
            regularization=found.regularization,
            regularization_exponent=exponent,
        )

    @pytest.mark.parametrize("weighting", ["linear", "log", "ials"])
    def test_alpha_is_redundant(self, parts, weighting):
        nu, c = 0.4, 8.0
        base = WMFConfig(
            3, weighting=weighting, regularization_exponent=nu, solver="exact", dtype="float64", random_state=0
        )
        scaled = replace(base, alpha=c, unobserved_weight=c, regularization=base.regularization * c ** (1 - nu))
        one, other = (WMF.from_config(config).fit(parts[0]) for config in (base, scaled))
        expected = one.user_factors @ one.item_factors.T
        np.testing.assert_allclose(other.user_factors @ other.item_factors.T, expected, atol=1e-9)
        assert other.loss() == pytest.approx(c * one.loss())

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Range(1, 1), "low must be less than high"),
            (lambda: Range(2, 1), "low must be less than high"),
            (lambda: Range(0, 1, log=True), "must start above 0, got 0"),
            (lambda: Range(0, math.inf), "finite numbers, got inf"),
            (lambda: Range(math.nan, 1), "finite numbers, got nan"),
            (lambda: Range(False, 1), "finite numbers, got False"),
            (lambda: Range("0", 1), "finite numbers, got '0'"),
            (lambda: Range(0, 10**400), "finite numbers, got 1000"),
            (lambda: Range(0, np.complex64(1)), "finite numbers, got "),
            (lambda: Choice("log"), "at least two different values"),
            (lambda: Choice("log", "log", "ials"), "at least two different values"),
            (lambda: Choice("log", ["ials"]), r"got \['ials'\]"),
        ],
    )
    def test_ranges_that_are_none(self, make, message):
        with pytest.raises(InputError, match=message):
            make()

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            ({}, "space is empty; give at least one range"),
            ({"factors": Choice(8, 16)}, "factors is not searched: they are doubled"),
            ({"iterations": Choice(8, 16)}, "iterations is not searched: early stopping"),
            ({"regularisation": Range(1, 2)}, "no hyper-parameter 'regularisation'; did you mean 'regularization'"),
            ({"alpha": (1, 2)}, r"alpha must be a Range or a Choice, got \(1, 2\)"),
            ({"alpha": Range(0, 2)}, "alpha must be a finite number greater than 0, got 0"),
            ({"weighting": Choice("log", "lin")}, "weighting must be one of 'linear'.* got 'lin'"),
            ({"weighting": Range(1, 2)}, "weighting must be one of"),
            ({"relative_regularization": Range(-1, 2)}, "regularization must be a finite number at least 0, got -1"),
            ({"cg_steps": Range(1, 4)}, "cg_steps is a whole number; list them in a Choice"),
            (
                {"regularization": Range(1, 2), "relative_regularization": Range(1, 2)},
                "relative_regularization and regularization set the same thing",
            ),
        ],
    )
    def test_spaces_that_are_refused(self, parts, space, message):
        with pytest.raises(InputError, match=message):
            tune(*parts, space=space)

    def test_regularization_without_effect(self, parts):
        config = replace(SMALL, user_regularization=1.0, item_regularization=1.0)
        with pytest.raises(InputError, match="relative_regularization has no effect, because config sets"):
            tune(*parts, config=config, space={"relative_regularization": Range(1, 2)})


class TestPlan:
    @pytest.mark.parametrize(
        ("factors", "trials", "stages"),
        [
            (64, 40, {16: 21, 32: 9, 64: 10}),
            (64, 41, {16: 20, 32: 10, 64: 11}),
            (32, 13, {16: 6, 32: 7}),
            (31, 40, {31: 40}),
            (200, 9, {50: 4, 100: 2, 200: 3}),
            (64, 8, {64: 8}),
            (64, 1, {64: 1}),
        ],
    )
    def test_half_at_the_lowest_dimension_and_doubled_twice(self, factors, trials, stages):
        plan = search.plan_stages(factors, trials)
        assert pd.Series(plan).value_counts().to_dict() == stages
        assert plan[0] == factors
        assert plan[1:] == sorted(plan[1:])

    def test_median_rule(self):
        others = [Outcome("complete", (0.1, height, 0.0, 0.0, 0.0), 2) for height in (0.2, 0.4, 0.6, 0.8)]
        short = Outcome("complete", (0.9,), 1)
        rest = (0.1,) * 4
        assert is_behind((0.3, 0.49, *rest), others)  # 0.49 is below the median of .2 .4 .6 .8, 0.5
        assert not is_behind((0.3, 0.5, *rest), others)
        assert not is_behind((0.3, 0.49, *rest[1:]), others)  # too early
        assert not is_behind((0.0, 0.0, *rest), others[:3])  # too few
        assert is_behind((0.5, 0.5, 0.59, *rest), [*others, short])  # who has stopped counts with what it had
        late = [Outcome("complete", (0.0,) * 6 + (1.0,), 7)] * 4
        assert not is_behind((0.1,) * 6, late)  # what others reached later does not count

    def test_the_others_are_those_of_the_stage_that_were_fitted_to_the_end(self):
        states = ["complete", "pruned", "failed", "complete"]
        done = [ended(number, 4, number / 10, state=state) for number, state in enumerate(states)]
        assert search.others_of(done, ended(4, 4, 0.5)) == [done[3].outcome]  # trial 0 is the default
        assert search.others_of(done, ended(4, 8, 0.5)) == []

    def test_pruned_trials_are_not_carried_over(self):
        plan = search.plan_stages(32, 13)
        done = [ended(0, 32, 0.1)] + [
            ended(number, 16, value, state=state, point={"alpha": float(number)})
            for number, value, state in [
                (1, 0.2, "complete"), (2, 0.9, "pruned"), (3, 0.4, "complete"), (4, 0.8, "pruned"),
                (5, 0.3, "complete"), (6, 0.0, "failed"),
            ]
        ]  # fmt: skip
        carried = []
        while len(carried) < 3:
            carried.append(search.next_trial(done, plan, {"alpha": Range(0.5, 9)}, 0))
            done.append(replace(carried[-1], outcome=Outcome("complete", (0.5,), 1)))
        assert [(one.source, one.point) for one in carried] == [
            (f"trial {number}", {"alpha": float(number)}) for number in (3, 5, 1)
        ]

    def test_published_values_come_first_and_the_middle_where_there_are_none(self, parts):
        first = search.next_trial([ended(0, 32, 0.1)], [32, 16], default_space(parts[0]), 0)
        assert first.source == "published"
        assert first.point == {
            "relative_regularization": 0.006,  # the geometric mean of .002 and .02 is .0063
            "relative_unobserved_weight": 0.05,  # of .007 and .3: .046
            "regularization_exponent": 1.0,
            "weighting": "linear",
        }
        space = {
            "relative_regularization": Range(0.01, 0.04, log=True),
            "regularization_exponent": Range(0, 0.5),
        }
        middle = search.next_trial([ended(0, 32, 0.1)], [32, 16], space, 0).point
        assert middle == pytest.approx({"relative_regularization": 0.02, "regularization_exponent": 0.25})

    def test_stages_are_compared_by_their_best(self):
        space = {"alpha": Range(0, 10)}

        def drawn(*heights, tops=(0.5, 0.5)):
            points = np.linspace(0.2, 9.8, 24)
            low = [ended(n + 1, 16, tops[0] * heights[0](a), {"alpha": a}) for n, a in enumerate(points[::2])]
            high = [ended(n + 13, 32, tops[1] * heights[1](a), {"alpha": a}) for n, a in enumerate(points[1::2])]
            return [search._draw([ended(0, 32, 0.1), *low, *high], space, seed) for seed in range(4)]

        def hill(alpha):
            return 1 / (1 + (alpha - 3) ** 2)

        def other(alpha):
            return 1 / (1 + (alpha - 8) ** 2)

        same = drawn(hill, other)
        assert drawn(hill, other, tops=(0.5, 50)) == same  # more factors reach higher values
        assert drawn(hill, other, tops=(50, 0.5)) == same
        assert drawn(hill, hill) != same

    def test_pruned_values_are_not_taken_for_final_ones(self):
        space = {"alpha": Range(0, 10)}
        default, points = ended(0, 16, 0.1), np.linspace(0.2, 9.8, 14)

        def drawn(value, state):
            some = [ended(n + 1, 16, 0.5 + a / 100, {"alpha": a}) for n, a in enumerate(points)]
            some[3] = ended(4, 16, value, {"alpha": points[3]}, state=state)
            return search._draw([default, *some], space, 0)

        assert drawn(0.9, "pruned") == drawn(0.1, "pruned")  # behind all that were fitted to the end
        assert drawn(0.9, "complete") != drawn(0.9, "pruned")

    def test_the_best_of_a_stage_come_first_in_the_next(self, parts, formula):
        found = tune(*parts, config=replace(SMALL, factors=64), trials=40)
        table = found.trials.set_index("trial")
        assert table.source[:4].tolist() == ["config", "published", "published", "published"]
        points = {one.number: {k: v for k, v in one.params.items() if k != "factors"} for one in found.study.trials}
        for factors, before in ((32, 16), (64, 32)):
            ended = table[(table.factors == before) & (table.state == "complete") & (table.index > 0)]
            best = ended.sort_values("value", ascending=False, kind="stable").index
            carried = table[(table.factors == factors) & table.source.str.startswith("trial")]
            assert carried.source.tolist() == [f"trial {number}" for number in best[: len(carried)]]
            assert 3 <= len(carried) <= 5
            for number, source in carried.source.items():
                assert points[number] == points[int(source.split()[1])]
        assert (table.source == "search").sum() > 15

    def test_search_beats_chance(self, parts, formula):
        found = tune(*parts, config=replace(SMALL, factors=64), trials=40)
        assert found.value > 0.97 * 0.64  # the top of the formula
        assert found.default_value == 0.001
        drawn = found.trials[found.trials.source == "search"]
        late, early = drawn[drawn.factors == 64], drawn[drawn.factors == 16].head(5)
        assert (late.value / 0.64).median() > (early.value / 0.16).median()


class TestTune:
    def test_what_it_returns_can_be_repeated(self, parts, low_stages):
        train, validation = parts
        found = tune(train, validation, config=SMALL, trials=12, metric="ndcg@5", random_state=3)
        table = found.trials
        assert found.complete
        assert table.trial.tolist() == list(range(12))
        assert table.factors.tolist() == [4] + [1] * 7 + [2] * 2 + [4] * 2
        assert set(table.columns) >= {"regularization", "unobserved_weight", "regularization_exponent", "weighting"}
        final = table[(table.factors == 4) & (table.state == "complete")]
        assert found.value == final.value.max()
        assert found.best_trial == final.trial[final.value.idxmax()]
        assert found.config.factors == 4
        for config, value in ((found.config, found.value), (replace(SMALL, random_state=3), found.default_value)):
            model = WMF.from_config(config).fit(train)
            measured = evaluate(model, train, validation, metrics="ndcg@5", bootstrap=0)
            assert measured["value"][0] == pytest.approx(value, abs=1e-12)
        row = table.set_index("trial").loc[found.best_trial]
        assert found.config.iterations == row.iterations
        if found.best_trial:
            assert found.config.regularization == row.regularization
        again = tune(train, validation, config=SMALL, trials=12, metric="ndcg@5", random_state=3)
        pd.testing.assert_frame_equal(repeatable(again), repeatable(found))
        assert again.config == found.config
        other = tune(train, validation, config=SMALL, trials=12, metric="ndcg@5", random_state=4)
        assert not repeatable(other).equals(repeatable(found))

    def test_the_default_runs_all_its_epochs_and_may_win(self, parts, formula, monkeypatch):
        monkeypatch.undo()
        monkeypatch.setattr(tuner, "run_trial", lambda *_: Outcome("complete", (0.0,), 1))
        found = tune(*parts, config=replace(SMALL, random_state=1), trials=3)
        assert found.best_trial == 0
        assert found.value == found.default_value > 0
        assert found.config == replace(SMALL, random_state=1)
        assert found.trials.epochs[0] == found.trials.iterations[0] == SMALL.iterations

    def test_only_what_the_space_names_changes(self, parts, formula):
        space = {"regularization": Range(0.5, 0.6), "solver": Choice("exact", "cg"), "alpha": Range(2, 4, log=True)}
        found = tune(*parts, config=SMALL, trials=10, space=space)
        assert all(0.5 <= config.regularization <= 0.6 and 2 <= config.alpha <= 4 for config in formula)
        assert {config.solver for config in formula} == {"exact", "cg"}
        assert all(config.unobserved_weight == 1.0 and config.weighting == "linear" for config in formula)
        assert {"regularization", "solver", "alpha"} < set(found.trials.columns)
        assert "weighting" not in found.trials

    def test_settings_that_cannot_be_fitted_fail_and_the_search_goes_on(self, parts, low_stages):
        space = {"regularization_exponent": Range(0, 5000), "relative_unobserved_weight": Range(0.1, 1)}
        found = tune(*parts, config=replace(SMALL, iterations=1), trials=9, space=space)
        failed = found.trials[found.trials.state == "failed"]
        assert 0 < len(failed) < 9
        assert failed.error.str.contains("lower regularization_exponent").all()
        assert failed.value.isna().all()
        assert found.value >= found.default_value

    def test_what_cannot_be_judged_at_all_is_said_at_once(self, parts, tmp_path):
        train, validation = parts
        empty = Interactions.from_matrix(csr_array(train.shape))
        with pytest.raises(InputError, match="validation"):
            tune(train, empty, config=SMALL, storage=tmp_path / "s.db")
        tune(train, validation, config=SMALL, trials=1, storage=tmp_path / "s.db")  # the mistake mended
        with pytest.raises(InputError, match="metric: 'ndgc' in 'ndgc@5' is not known"):
            tune(train, validation, config=SMALL, metric="ndgc@5")
        with pytest.raises(InputError, match="coverage"):
            tune(train, validation, config=SMALL, metric="coverage@5")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"trials": 0}, "trials must be a whole number of at least 1, got 0"),
            ({"trials": 2.5}, "trials must be a whole number"),
            ({"patience": None}, "patience must be a whole number"),
            ({"random_state": None}, "random_state must be a whole number"),
            ({"timeout": 0}, "timeout must be a finite number greater than 0, got 0"),
            ({"config": {"factors": 8}}, "config must be a WMFConfig or a WMF, .* got dict"),
            ({"config": KLMF(8)}, "config must be a WMFConfig or a WMF, .* got KLMF"),
            ({"validation": None}, "validation is None; give held-out interactions"),
            ({"config": WMFConfig(iterations=0)}, "iterations is 0, so nothing would be fitted"),
            ({"config": WMFConfig(random_state=np.random.default_rng(0))}, "random_state is a generator"),
        ],
    )
    def test_wrong_arguments(self, parts, options, message):
        with pytest.raises(InputError, match=message):
            tune(**{"train": parts[0], "validation": parts[1]} | options)

    def test_values_of_weightings_that_remove_zeros_and_of_others_are_not_compared(self, parts, formula):
        train, validation = parts
        matrix = train.matrix.copy()
        space = {"weighting": Choice("raw", "log")}
        tune(matrix, validation, config=SMALL, trials=2, space=space)  # no zeros are stored
        matrix.data[:3] = 0
        for data, held_out in ((matrix, validation), (train, (matrix, validation))):
            with pytest.raises(InputError, match="stored zeros may be recommended with weighting 'raw' and not with"):
                tune(data, held_out, config=SMALL, trials=2, space=space)
        tune(matrix, validation, config=SMALL, trials=2)
        tune(matrix, validation, config=replace(SMALL, weighting="raw"), trials=2)

    def test_a_model_stands_for_its_settings_and_a_list_for_a_pair(self, parts, formula):
        train, validation = parts
        expected = tune(train, validation, config=SMALL, trials=3)
        found = tune(train, validation, config=WMF.from_config(SMALL), trials=3)
        pd.testing.assert_frame_equal(repeatable(found), repeatable(expected))
        assert expected.users == 24
        matrix = validation.matrix.copy()
        matrix.data[:10] = -1  # which nobody is to find
        fewer = evaluate(WMF(2, iterations=1).fit(train), train, Interactions.from_matrix(matrix), metrics="hit@1")
        assert tune(train, matrix, config=SMALL, trials=1).users == fewer.users[0] < 24
        tune([train.matrix, validation.matrix][0], [train, validation], config=SMALL, trials=2)

    def test_optuna_is_silent_and_left_as_it_was(self, parts, formula, capsys):
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.DEBUG)
        optuna.logging.enable_propagation()
        try:
            tune(*parts, config=SMALL, trials=4, progress=False)
            assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
        finally:
            optuna.logging.set_verbosity(before)
            optuna.logging.disable_propagation()
        assert capsys.readouterr() == ("", "")
        tune(*parts, config=SMALL, trials=4, progress=True)
        assert "best=" in capsys.readouterr().err

    def test_missing_optuna_names_the_extra(self, parts, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(MissingExtraError, match=r"Tuning needs optuna.*pip install 'implicit_wmf\[tune\]'"):
            tune(*parts)


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

    def test_a_killed_search_goes_on(self, parts, low_stages, tmp_path):
        script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_tuning import SMALL, tastes, search, tune, tuner
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


class TestPlots:
    def test_files(self, parts, formula, tmp_path):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        before = pyplot.get_backend()
        found = tune(*parts, config=SMALL, trials=8)
        files = write_plots(found.study, tmp_path)
        assert [file.name for file in files] == ["history.png", "slice.png", "importances.png"]
        for file in files:
            assert pyplot.imread(file).shape[0] > 100
        assert (pyplot.get_backend(), pyplot.get_fignums()) == (before, [])

    def test_nothing_to_plot(self, parts, formula, tmp_path):
        pytest.importorskip("matplotlib")
        assert write_plots(tune(*parts, config=SMALL, trials=1).study, tmp_path) == []

    def test_equal_values_have_no_importances(self, parts, formula, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(tuner, "run_trial", lambda *_: Outcome("complete", (0.5,), 1))
        names = [file.name for file in write_plots(tune(*parts, config=SMALL, trials=5).study, tmp_path)]
        assert names == ["history.png", "slice.png"]

    def test_missing_matplotlib_names_the_extra(self, parts, formula, tmp_path, monkeypatch):
        found = tune(*parts, config=SMALL, trials=2)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'implicit_wmf\[plot\]'"):
            write_plots(found.study, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_forty_trials_beat_the_defaults_on_the_shipped_data():
    from implicit_wmf.datasets import load_online_retail

    purchases = load_online_retail()
    names = {"user": "customer", "item": "product", "value": "quantity", "timestamp": "day"}
    tested = purchases.day.quantile(0.9)
    train, validation = split_by_time(purchases[purchases.day < tested], **names, test_fraction=1 / 9)
    found, again = (tune(train, validation, config=WMFConfig(random_state=0)) for _ in range(2))
    pd.testing.assert_frame_equal(repeatable(found), repeatable(again))
    assert found.config == again.config
    assert found.value > 1.15 * found.default_value
    known, test = split_by_time(purchases, **names, cut=tested)  # which the search has not seen
    tuned, default = (
        evaluate(WMF.from_config(config).fit(known), known, test, metrics="ndcg@20", bootstrap=0)["value"][0]
        for config in (found.config, WMFConfig(random_state=0))
    )
    assert tuned > 1.1 * default
