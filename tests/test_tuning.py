"""The search for hyper-parameters: what it returns, what it refuses, and its plots."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from scipy.sparse import csr_array
from searches import SMALL, repeatable

from implicit_wmf import WMF, InputError, Interactions, MissingExtraError, WMFConfig
from implicit_wmf.evaluation import evaluate, split_by_time
from implicit_wmf.factorizers import KLMF
from implicit_wmf.tuning import Choice, Range, tune, tuner, write_plots
from implicit_wmf.tuning.trials import Outcome

optuna = pytest.importorskip("optuna")


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
