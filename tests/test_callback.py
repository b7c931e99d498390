"""What a callback sees and decides, and what the history keeps."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from watched_fits import HELD_OUT, TRAIN, USERS, Copies, assert_factors, script, small

from implicit_wmf import WMF, NotFittedError
from implicit_wmf.factorizers import SymmetricMF


@pytest.mark.parametrize("value", [True, np.True_, 1, "stop"])
def test_a_true_value_ends_the_fit_after_that_epoch(value):
    model = small().fit(TRAIN, callback=lambda record, _: value if record.epoch == 3 else None)
    assert len(model.history) == 3
    shorter = small(iterations=3).fit(TRAIN)
    assert_factors(model, (shorter.user_factors, shorter.item_factors))
    assert_array_equal(model.recommend(np.arange(5))[0], shorter.recommend(np.arange(5))[0])
    assert model.loss() == pytest.approx(model.history[-1].loss)


@pytest.mark.parametrize("value", [None, False, np.False_, 0])
def test_any_other_value_goes_on(value):
    assert len(small().fit(TRAIN, callback=lambda record, model: value).history) == 8


def test_the_callback_sees_a_fitted_model_of_its_own(tmp_path):
    model = small(iterations=4)
    shown, histories = [], []

    def look(record, view):
        with pytest.raises(NotFittedError):
            model.recommend(0)
        assert type(view) is WMF
        assert view is not model
        assert view.history[-1] is record
        assert view.get_params() == model.get_params()
        with pytest.raises(ValueError, match="read-only"):
            view.item_factors[0, 0] = 1
        view.set_params(factors=99)
        view.save(tmp_path / f"epoch {record.epoch}")
        shown.append(view.recommend(np.arange(USERS), N=3)[0])
        histories.append(view.history)

    model.fit(TRAIN, validation=HELD_OUT, metric="hit@2", patience=None, callback=look)
    assert model.config.factors == 3
    for epoch in range(1, 5):
        shorter = small(iterations=epoch).fit(TRAIN)
        assert_array_equal(shown[epoch - 1], shorter.recommend(np.arange(USERS), N=3)[0])
        loaded = WMF.load(tmp_path / f"epoch {epoch}")
        assert_factors(loaded, (shorter.user_factors, shorter.item_factors))
        assert loaded.history == histories[epoch - 1] == model.history[:epoch]


@pytest.mark.parametrize("fitted", [False, True])
def test_an_exception_leaves_the_model_as_it_was(fitted):
    model = small(iterations=2)
    if fitted:
        model.fit(TRAIN)
        before = model.user_factors.copy(), model.item_factors.copy()
    with pytest.raises(ZeroDivisionError, match="by zero"):
        model.fit(HELD_OUT, callback=Copies(stop_after=2, error=ZeroDivisionError("by zero")))
    if fitted:
        assert_factors(model, before)
        assert model.interactions.nnz == TRAIN.nnz
    else:
        with pytest.raises(NotFittedError):
            _ = model.history
    assert len(model.fit(TRAIN).history) == 2


def test_starts_of_the_symmetric_model_can_be_watched():
    symmetric = csr_array(np.random.default_rng(0).random((12, 12)))
    copies = Copies(stop_after=2)
    model = SymmetricMF(2, starts=5, random_state=0).fit(symmetric, callback=copies)
    assert len(model.start_losses) == 2
    assert [record.epoch for record in copies.records] == [1, 2]
    assert copies.records[-1].loss == model.start_losses.min()
    assert_array_equal(copies.factors[-1][0], model.G)
    assert "validation" not in model.history_frame()
    assert model.best_epoch == len(model.history)


def test_saved_models_keep_the_validation(tmp_path):
    model = small().fit(TRAIN, validation=HELD_OUT, metric=["recall@3", "ndcg@10"], validate_every=3, track_loss=False)
    model.save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m")
    assert [record.validation for record in loaded.history] == [record.validation for record in model.history]
    assert loaded.best_epoch == model.best_epoch
    pd.testing.assert_frame_equal(loaded.history_frame(), model.history_frame())
    written = json.loads((tmp_path / "m" / "model.json").read_text())["history"]
    assert ["validation" in record for record in written] == [bool(record.validation) for record in model.history]


def test_the_history_makes_a_table(monkeypatch):
    script(monkeypatch, [0.25, 0.5])
    table = small(iterations=4).fit(TRAIN, validation=HELD_OUT, validate_every=2).history_frame()
    assert list(table)[:2] == ["epoch", "loss"]
    assert list(table)[-2:] == ["item_steps", "ndcg@10"]
    assert_array_equal(table["ndcg@10"], [np.nan, 0.25, np.nan, 0.5])
    assert table.epoch.tolist() == [1, 2, 3, 4]


def test_records_can_be_told_apart_and_hashed():
    record = small(iterations=1).fit(TRAIN).history[0]
    measured = replace(record, validation={"ndcg@10": 0.5})
    assert record != measured
    assert len({record, measured}) == 2


def test_the_bar_shows_the_metric_and_the_best_epoch(monkeypatch, capsys):
    script(monkeypatch, [0.25, 0.125])
    model = small().fit(TRAIN, validation=HELD_OUT, patience=1, progress=True)
    shown = capsys.readouterr().err
    assert f"loss={model.history[-1].loss:.6g}, ndcg@10=0.1250, best epoch=1" in shown
    assert "2/8" in shown
