"""The fit command, its tables and its files of hyper-parameters."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, FIT
from scipy import sparse
from systems import SIGNALS

from implicit_wmf import WMF, Interactions, WMFConfig


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


def test_parquet_and_npz(run, purchases):
    purchases.to_parquet("p.parquet")
    assert run("fit", "p.parquet", *FIT, "-o", "a", "--random-state", 0, "-q")[0] == 0
    data = Interactions.from_frame(purchases, user="who", item="what", value="n")
    sparse.save_npz("p.npz", data.matrix)
    assert run("fit", "p.npz", "-o", "b", "--random-state", 0, "-q")[0] == 0
    np.testing.assert_array_equal(WMF.load("a").item_factors, WMF.load("b").item_factors)
    assert run("recommend", "a", "-o", "lists.parquet")[0] == 0
    assert pd.read_parquet("lists.parquet").user.nunique() == 40


def test_bad_line_is_named(run, tmp_path):
    (tmp_path / "bad.csv").write_text("who,what,n\na,x,1\nb,y,two\n")
    code, _, err = run("fit", "bad.csv", *FIT, "-o", "m")
    assert code == 1
    assert "line 3" in err
    assert "'two'" in err


def test_missing_pyarrow_names_the_extra(run, purchases, monkeypatch):
    purchases.to_parquet("p.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("fit", "p.parquet", *FIT, "-o", "m")
    assert code == 1
    assert "pip install 'implicit_wmf[parquet]'" in err


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


@SIGNALS
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
