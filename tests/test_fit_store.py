"""`fit` on a store, from Python and from the command line, beside the same data in memory."""

import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from checkpoints import assert_same
from conftest import COMPILED, FIT
from numpy.testing import assert_allclose, assert_array_equal
from systems import SIGNALS

from implicit_wmf import WMF, InputError, Interactions
from implicit_wmf.datasets import synthetic
from implicit_wmf.evaluation import evaluate, split_last
from implicit_wmf.sharded import fitting
from implicit_wmf.store import Store, write_store

SETTINGS = {"factors": 5, "regularization": 2.0, "random_state": 0, "iterations": 6}


def lines(count=2500):
    generator = np.random.default_rng(1)
    who, what = generator.zipf(1.3, count) % 150, generator.zipf(1.4, count) % 40
    return pd.DataFrame({"who": [f"u{number}" for number in who], "what": what, "n": generator.integers(1, 4, count)})


TRAIN, HELD_OUT = split_last(lines(), user="who", item="what", value="n", test_fraction=0.2)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", TRAIN, shards=4)


def test_a_model_of_a_store_is_one_like_any_other(store, tmp_path):
    model = WMF(**SETTINGS).fit(store)
    in_memory = WMF(**SETTINGS).fit(TRAIN)
    assert_allclose([one.loss for one in model.history], [one.loss for one in in_memory.history], rtol=1e-5)
    assert_allclose(model.loss(), model.history[-1].loss, rtol=1e-12)
    assert repr(model.interactions) == repr(TRAIN)
    ids, scores = model.recommend([0, 3, 7], N=5)
    others, same = in_memory.recommend([0, 3, 7], N=5)
    assert_allclose(scores, same, atol=2e-3)
    assert (ids == others).mean() > 0.8
    assert not any(np.isin(ids[at], TRAIN.matrix[[user]].indices).any() for at, user in enumerate([0, 3, 7]))
    assert model.recommend_frame(TRAIN.users[:2], N=1)["user"].tolist() == list(TRAIN.users[:2])
    assert evaluate(model, TRAIN, HELD_OUT, metrics=["ndcg@5"]) is not None
    assert model.explain(0, int(ids[0, 0])).ids.size
    model.save(tmp_path / "model")
    for mmap in (False, True):
        loaded = WMF.load(tmp_path / "model", mmap=mmap)
        assert_array_equal(loaded.user_factors, model.user_factors)
        assert_array_equal(loaded.recommend([0, 3, 7], N=5)[0], ids)
        assert list(loaded.interactions.users) == list(TRAIN.users)
    grown = loaded.partial_fit(
        Interactions.from_triples([0], [0], shape=TRAIN.shape, users=TRAIN.users, items=TRAIN.items)
    )
    assert grown.interactions.nnz >= TRAIN.nnz


def test_nothing_of_the_fit_stays_on_disk_beside_the_store(store, tmp_path):
    WMF(**SETTINGS | {"weighting": "log"}).fit(store)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_refits_change_between_stores_and_matrices(store):
    model = WMF(**SETTINGS)
    assert model.fit(store).user_factors.shape == (TRAIN.shape[0], 5)
    assert model.fit(np.eye(3)).user_factors.shape == (3, 5)
    assert model.fit(store).loss() == pytest.approx(WMF(**SETTINGS).fit(store).loss(), rel=1e-12)


def test_validation_stops_and_the_best_epoch_is_kept(store):
    seen = {}

    def look(record, model):
        seen[record.epoch] = np.array(model.user_factors), np.array(model.item_factors), record.validation["ndcg@5"]

    settings = SETTINGS | {"iterations": 40, "regularization": 0.01}
    model = WMF(**settings).fit(store, validation=HELD_OUT, metric="ndcg@5", patience=2, callback=look)
    best = max(seen, key=lambda epoch: seen[epoch][2])
    assert model.best_epoch == best < len(seen)
    assert_array_equal(model.user_factors, seen[best][0])
    assert_array_equal(model.item_factors, seen[best][1])
    values = evaluate(model, TRAIN, HELD_OUT, metrics=["ndcg@5"])
    assert seen[best][2] == pytest.approx(float(values["value"].iloc[0]), abs=1e-12)


def test_what_cannot_be_used_is_refused_and_the_model_stays(store):
    model = WMF(**SETTINGS).fit(np.eye(4))
    before = model.user_factors.copy()
    for given, message in (
        ({"confidence": TRAIN.matrix}, "confidence: a store has counts"),
        ({"memory_limit": "10MB"}, "memory_limit is 10 MB, but this fit needs"),
        ({"memory_limit": "much"}, "memory_limit must be a size .* got 'much'"),
        ({"validation": np.eye(3)}, "validation has shape"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit(store, **given)
    with pytest.raises(InputError, match="memory_limit is '1GB', which has no effect on data in memory"):
        model.fit(TRAIN, memory_limit="1GB")
    file = store.path / "item_indices.npy"
    content = bytearray(file.read_bytes())
    content[-2] ^= 255
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"store .* is damaged: item_indices\.npy"):
        model.fit(Store.open(store.path))
    assert_array_equal(model.user_factors, before)


class Crash(Exception):
    pass


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("solver", ["auto", "exact"])
def test_a_resumed_fit_ends_with_the_same_bits(store, tmp_path, monkeypatch, solver, validated):
    monkeypatch.setattr("implicit_wmf.row_plan._WORTHWHILE", 0.0)
    given = {"validation": HELD_OUT, "metric": "ndcg@5", "patience": None} if validated else {}
    settings = SETTINGS | {"solver": solver, "regularization": 0.01}
    whole = WMF(**settings).fit(store, **given)

    def crash(record, model):
        if record.epoch in crashes:
            crashes.discard(record.epoch)
            raise Crash

    crashes = {1, 3, 6}
    for _ in range(3):
        with pytest.raises(Crash):
            WMF(**settings).fit(store, **given, checkpoint=tmp_path / "c", resume=True, callback=crash)
    resumed = WMF(**settings, num_threads=1).fit(store, **given, checkpoint=tmp_path / "c", resume=True)
    assert_same(resumed, whole)
    assert_same(WMF(**settings).fit(store, **given, checkpoint=tmp_path / "c", resume=True), whole)


def test_a_checkpoint_of_another_store_is_refused(store, tmp_path):
    WMF(**SETTINGS).fit(store, checkpoint=tmp_path / "c")
    other = write_store(tmp_path / "other", Interactions.from_matrix(TRAIN.matrix * 2), shards=4)
    with pytest.raises(InputError, match="of another fit: other store|of another fit: .*store"):
        WMF(**SETTINGS).fit(other, checkpoint=tmp_path / "c", resume=True)
    with pytest.raises(InputError, match="of another fit"):
        WMF(**SETTINGS).fit(TRAIN, checkpoint=tmp_path / "c", resume=True)


def test_ctrl_c_keeps_the_last_whole_epoch_and_its_users(store, tmp_path):
    def interrupt(record, model):
        if record.epoch == 3:
            raise KeyboardInterrupt

    model = WMF(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        model.fit(store, callback=interrupt, checkpoint=tmp_path / "c", every=10)
    expected = WMF(**SETTINGS | {"iterations": 3}).fit(store)
    assert_same(model, expected)
    assert_same(WMF(**SETTINGS).fit(store, checkpoint=tmp_path / "c", resume=True), WMF(**SETTINGS).fit(store))


def test_a_store_that_is_prepared_again_meanwhile_is_fitted_as_it_was(store, tmp_path):
    def prepare_again(record, model):
        if record.epoch == 2:
            others = np.zeros(TRAIN.shape)
            others[:, -3:] = 9.0
            write_store(store.path, Interactions.from_matrix(others), shards=4)

    expected = WMF(**SETTINGS).fit(store)
    model = WMF(**SETTINGS).fit(store, callback=prepare_again)
    assert_same(model, expected)
    shutil.rmtree(store.path)
    model.save(tmp_path / "model")
    assert_array_equal(WMF.load(tmp_path / "model").recommend([3], N=4)[0], expected.recommend([3], N=4)[0])


def test_users_factors_cannot_be_written_by_a_child_for_its_parent(store):
    model = WMF(**SETTINGS).fit(store)
    with pytest.raises(ValueError, match="read-only"):
        model.user_factors[:] = 7


def test_processes_of_joblib_take_the_model(store):
    joblib = pytest.importorskip("joblib")
    model = WMF(**SETTINGS).fit(store)
    ids, scores = model.recommend([0, 3, 7], N=5)
    answers = joblib.Parallel(n_jobs=2, max_nbytes=1)(joblib.delayed(model.recommend)([0, 3, 7], N=5) for _ in range(2))
    for others, same in answers:
        assert_array_equal(others, ids)
        assert_array_equal(same, scores)
    again = copy.deepcopy(model)
    assert again.interactions.nnz == TRAIN.nnz
    write_store(store.path, Interactions.from_matrix(np.eye(3)))
    with pytest.raises(InputError, match="is another one than it was"):
        copy.deepcopy(model)


def test_the_users_of_the_epoch_before_are_there_when_the_next_is_interrupted(store, monkeypatch):
    expected = WMF(**SETTINGS | {"iterations": 3}).fit(store)
    model = WMF(**SETTINGS)

    def interrupt(*_):
        raise KeyboardInterrupt

    def ended(record, view):
        if record.epoch == 3:
            monkeypatch.setattr(fitting, "solve_items", interrupt)
            monkeypatch.setattr(fitting.OutOfCore, "_has_users_of", lambda *_: pytest.fail("solved again"))

    with pytest.raises(KeyboardInterrupt):
        model.fit(store, callback=ended)
    assert_same(model, expected)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
@pytest.mark.parametrize("solver", ["exact", "auto"])
def test_an_item_that_nearly_everybody_removes_keeps_its_digits(tmp_path, solver):
    users, generator = 200_000, np.random.default_rng(0)
    rows, columns = np.arange(users), np.zeros(users, int)
    values = np.zeros(users)
    values[:8] = 1.0
    others = generator.integers(0, users, 40_000), generator.integers(1, 30, 40_000)
    data = Interactions.from_triples(
        np.concatenate([rows, others[0]]), np.concatenate([columns, others[1]]),
        np.concatenate([values, np.ones(40_000)]), shape=(users, 30),
    )  # fmt: skip
    store = write_store(tmp_path / "store", data, shards=3)
    model = WMF(3, weighting="raw", solver=solver, regularization=1e-3, iterations=2, random_state=0).fit(store)
    W = np.asarray(model.user_factors, float)[:8]
    expected = np.linalg.solve(W.T @ W + 1e-3 * np.eye(3), W.sum(axis=0))  # only eight cells of the item are left
    assert_allclose(model.item_factors[0], expected, rtol=2e-3, atol=1e-5)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_by_default_the_loss_is_that_of_a_fit_in_memory(tmp_path):
    data = Interactions.from_matrix(synthetic(6000, 1500, 400_000, random_state=0))
    store = write_store(tmp_path / "store", data, shards=5)
    settings = {"factors": 32, "random_state": 0, "iterations": 15}
    model, in_memory = WMF(**settings).fit(store), WMF(**settings).fit(data)
    assert_allclose(model.history[-1].loss, in_memory.history[-1].loss, rtol=5e-4)


@SIGNALS
@pytest.mark.skipif(not COMPILED, reason="needs fits of a second")
def test_killed_and_resumed_on_the_command_line_the_model_is_the_same(store, tmp_path):
    command = [
        sys.executable, "-m", "implicit_wmf", "fit", "store", "--factors", "32", "--iterations", "60", "-q",
        "--random-state", "0", "--checkpoint", "c", "--resume",
    ]  # fmt: skip
    subprocess.run([*command, "-o", "whole"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    moments = random.Random(3)
    for _ in range(3):
        process = subprocess.Popen([*command, "-o", "killed"], cwd=tmp_path, stdout=subprocess.DEVNULL)
        time.sleep(moments.uniform(1.2, 3.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "-o", "killed"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert_same(WMF.load(tmp_path / "killed"), WMF.load(tmp_path / "whole"))
    assert not (tmp_path / "c").exists()


def test_from_the_command_line(run, store, tmp_path):
    lines().tail(300).to_csv(tmp_path / "later.csv", index=False)
    code, out, _ = run("fit", store.path, "-o", "m", "--factors", 4, "--iterations", 2, "--memory-limit", "2GB", "-q")
    assert (code, f"{TRAIN.nnz:,} pairs" in out, "after 2 epochs" in out) == (0, True, True)
    validated = ("fit", store.path, "-o", "m", "--factors", 4, "--iterations", 3, "-q", "--validation", "later.csv")
    code, out, _ = run(*validated, *FIT)
    assert (code, "validates on" in out, "ndcg@10" in out) == (0, True, True)
    for wrong, message in (
        (("--memory-limit", "50MB"), "memory_limit is 50 MB, but this fit needs"),
        (("--user", "who"), "it has no effect on a store"),
        (("--checkpoint", store.path / "c"), "is in the store"),
        (("--validation-fraction", "0.1"), "a store, which has no lines to split"),
    ):
        code, _, err = run("fit", store.path, "-o", "m", *wrong)
        assert code in (1, 2)
        assert message in " ".join(err.replace("│", " ").split())
    lines().to_csv("t.csv", index=False)
    code, _, err = run("fit", "t.csv", *FIT, "-o", "m", "--memory-limit", "4GB")
    assert (code, "which is fitted in memory" in " ".join(err.replace("│", " ").split())) == (2, True)
