"""Fits on clusters on which something goes wrong: the same bits where it can be mended, and else a clear error."""

import os
import re
import shutil
import signal
import threading
import time
from contextlib import contextmanager

import dask
import numpy as np
import pytest
from checkpoints import assert_same
from clusters import Programs, free_port, lines, names_of, take_steps, tasks_of, until
from distributed.core import Status
from numpy.testing import assert_array_equal
from systems import SIGNALS

from implicit_wmf import WMF, ClusterError, InputError, Interactions, _cluster
from implicit_wmf.checkpoints import checkpoint_epochs
from implicit_wmf.sharded import placement
from implicit_wmf.store import Store, write_store

DATA = lines()
SETTINGS = {"factors": 5, "random_state": 0, "iterations": 4, "regularization": 2.0, "num_threads": 1}
STEPS = SETTINGS | {"solver": "cg", "cg_steps": 2}
PASSES = ["solve_users", "turn_users", "start_items", "multiply_items", "sum_loss", "read_users"]
OTHERS = ["verify_shards", "open_shards", "below_items", "weigh_users", "weigh_items", "make_systems", "add_parts"]


@pytest.fixture(autouse=True)
def steps_everywhere(monkeypatch):
    take_steps(monkeypatch)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "store", DATA, shards=6)


@pytest.fixture(scope="module")
def expected(store):
    """Fit without a cluster, once each."""
    fitted = {}

    def fit(**settings):
        name = repr(settings)
        if name not in fitted:
            fitted[name] = WMF(**STEPS | settings).fit(store)
        return fitted[name]

    return fit


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with Programs(tmp_path_factory.mktemp("programs")) as programs:
        programs.start_scheduler()
        yield programs


@pytest.fixture
def programs(scheduler):
    """A scheduler and two workers, neither of them with a nanny."""
    for name in scheduler.have_workers(0)[2:]:
        scheduler.kill(name)
    scheduler.have_workers(2)
    scheduler.watch.clear()
    return scheduler


@pytest.fixture
def client(programs):
    with programs.client(2) as client:
        yield client


@contextmanager
def soon(seconds=20):
    """Compare the time that something takes with a bound which is far above it, and far below Dask's patience."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("call", PASSES)
def test_a_worker_is_killed_and_the_other_takes_its_shards(programs, client, store, expected, call):
    programs.watch.order("die", call, shard=1, after=1 if call != "read_users" else 0)
    assert_same(WMF(**STEPS).fit(store, client=client), expected())
    assert programs.watch.is_done(call)
    assert len(names_of(client)) == 1


def test_the_shards_of_others_stay_if_a_worker_dies_while_sums_are_fetched(
    programs, client, store, expected, monkeypatch, caplog
):
    fetch, times = _cluster.Cluster.fetch_all, iter(range(100))

    def fetch_from_the_dead(cluster, calls, made_of=()):
        if len(calls) > 1 and next(times) == 8:
            programs.kill(programs.have_workers(2)[0])
        return fetch(cluster, calls, made_of)

    monkeypatch.setattr(_cluster.Cluster, "fetch_all", fetch_from_the_dead)
    assert_same(WMF(**STEPS).fit(store, client=client), expected())
    assert caplog.text.count("are opened again") == 1


def test_ctrl_c_while_shards_are_opened_keeps_the_last_epoch(client, store, expected, monkeypatch):
    done, open_one, share_out = [], placement.Placement._ask_to_open, placement.share_out

    def interrupted(self, *where):
        if len(done) == 2:
            done.append("interrupted")
            raise KeyboardInterrupt
        return open_one(self, *where)

    monkeypatch.setattr(placement.Placement, "_ask_to_open", interrupted)
    monkeypatch.setattr(
        placement, "share_out",
        lambda work, threads, first=0: share_out(work, [5, 1] if len(done) == 2 else threads, first),
    )  # fmt: skip
    model = WMF(**STEPS)
    with pytest.raises(KeyboardInterrupt):
        model.fit(store, client=client, callback=lambda record, _: done.append(record.epoch))
    assert done == [1, 2, "interrupted"]
    assert_same(model, expected(iterations=2))


def set_status(client, status, workers=None):
    client.run(lambda dask_worker: setattr(dask_worker, "status", status), workers=workers)  # a lambda goes by value


def test_a_worker_that_stays_paused_is_done_without(programs, client, store, expected, monkeypatch, caplog):
    monkeypatch.setattr(_cluster, "_PAUSE", 1.0)
    first = next(iter(client.nthreads()))
    set_status(client, Status.paused, [first])
    until(lambda: len(client.sync(client.scheduler.ncores_running)) == 1, "the scheduler heard of it")
    assert_same(WMF(**STEPS).fit(store, client=client), expected())
    assert f"worker {first} is paused by Dask, for its limit of memory" in caplog.text
    (other,) = set(client.nthreads()) - {first}
    set_status(client, Status.paused, [other])
    with dask.config.set({"implicit-wmf.wait-for-workers": "2s"}), pytest.raises(ClusterError, match="paused by Dask"):
        WMF(**STEPS).fit(store, client=client)
    set_status(client, Status.running)


def test_a_worker_that_is_paused_for_a_moment_keeps_its_shards(programs, client, store, expected, caplog):
    first = next(iter(client.nthreads()))
    set_status(client, Status.paused, [first])
    until(lambda: len(client.sync(client.scheduler.ncores_running)) == 1, "the scheduler heard of it")
    going_on = threading.Timer(2, set_status, (client, Status.running))
    going_on.start()
    assert_same(WMF(**STEPS).fit(store, client=client), expected())
    assert going_on.finished.is_set()  # the fit waited for it
    going_on.join()
    assert not caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("call", OTHERS)
def test_a_worker_is_killed_in_a_rarer_call(programs, client, store, call):
    settings = STEPS | {"weighting": "raw", "regularization_exponent": 0.5}
    if call == "make_systems":
        settings |= {"solver": "exact"}
    if call == "add_parts":  # of two workers the parts are added here
        programs.have_workers(4)
    programs.watch.order("die", call)
    assert_same(WMF(**settings).fit(store, client=client), WMF(**settings).fit(store))
    assert programs.watch.is_done(call)


def test_only_the_shards_of_the_dead_are_solved_again(programs, client, store, expected):
    programs.watch.order("die", "multiply_items", shard=1, after=2 * STEPS["cg_steps"])
    assert_same(WMF(**STEPS).fit(store, client=client), expected())
    notes = programs.watch.calls("solve_users")
    dead = next(note["pid"] for note in notes if note["shard"] == 1)
    solved = {
        shard: {who: sum(note["pid"] == dead for note in notes if note["shard"] == shard) for who in ("dead",)}
        | {"all": sum(note["shard"] == shard for note in notes)}
        for shard in range(len(store.shards))
    }
    epochs = STEPS["iterations"]
    assert {shard: counts["all"] for shard, counts in solved.items()} == {
        shard: epochs + (counts["dead"] > 0) for shard, counts in solved.items()
    }
    assert {counts["dead"] for counts in solved.values()} == {0, 3}


def test_the_only_worker_is_killed_and_another_one_comes(programs, store, expected):
    programs.kill(programs.have_workers(2)[0])
    with programs.client(1) as client:
        until(lambda: len(names_of(client)) == 1, "one worker is left")
        programs.watch.order("die", "turn_users", after=7)

        def start_another():
            until(lambda: not names_of(client), "no worker is left")
            programs.start_worker()

        with programs.watch.when_done("turn_users", start_another):
            assert_same(WMF(**STEPS).fit(store, client=client), expected())


def test_a_worker_comes_back_at_the_same_address_before_anybody_looks(scheduler, store, expected, monkeypatch):
    for name in scheduler.have_workers(0):
        scheduler.kill(name)
    port = free_port()
    name = scheduler.start_worker("--worker-port", str(port), nanny=True)
    with scheduler.client(1) as client:
        until(lambda: names_of(client) == {name}, "the worker is there")
        scheduler.watch.clear()
        scheduler.watch.order("die", "start_items", shard=1, after=1)
        monkeypatch.setattr("implicit_wmf._cluster._LOOK", 4)
        assert_same(WMF(**STEPS).fit(store, client=client), expected())
        assert list(client.nthreads()) == [f"tcp://127.0.0.1:{port}"]
        assert len({note["pid"] for note in scheduler.watch.calls()}) == 2
    scheduler.kill(name)


def test_a_worker_that_retires_hands_its_shards_on(client, store, expected):
    def retire(record, model):
        if record.epoch == 2:
            client.retire_workers([min(client.nthreads())])

    assert_same(WMF(**STEPS).fit(store, client=client, callback=retire), expected())


def test_a_scheduler_that_comes_back_with_workers_is_gone_on_with(store, expected, tmp_path):
    with Programs(tmp_path / "cluster") as programs:
        programs.start_scheduler(port=free_port())
        programs.start_worker()

        def restart():
            programs.kill("scheduler")
            programs.start_scheduler(port=programs.port)
            programs.start_worker()

        with programs.client(1) as client, programs.watch.when_waiting("multiply_items", restart, after=10):
            assert_same(WMF(**STEPS).fit(store, client=client), expected())


def assert_names(message, store, number):
    """Look for a shard among those that a message names, with their users and pairs."""
    first, last, user, last_user, pairs = re.search(
        r"shards? (\d+)(?: to (\d+))? .users (\d+) to (\d+), (\d+) pairs.; see .* prepare the store with more shards",
        message,
    ).groups()
    named = store.shards[int(first) : int(last or first) + 1]
    assert store.shards[number] in named
    assert (int(user), int(last_user)) == (named[0].start, named[-1].stop - 1)
    assert int(pairs) == sum(shard.nnz for shard in named)


def test_a_shard_that_kills_its_workers_is_named(programs, client, store, monkeypatch):
    monkeypatch.setattr("implicit_wmf.sharded.placement._LOSSES", 2)
    programs.watch.order("die", "turn_users", shard=2, keep=True)
    with pytest.raises(ClusterError, match="2 workers in a row were lost while they had (one of )?shard") as caught:
        WMF(**STEPS).fit(store, client=client)
    assert_names(str(caught.value), store, 2)


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_with_nannies_is_named(store, tmp_path):
    with Programs(tmp_path / "cluster") as programs:
        programs.start_scheduler()
        programs.start_workers(2, nanny=True)
        programs.watch.order("die", "solve_users", shard=3, keep=True)
        with programs.client(2) as client, pytest.raises(ClusterError, match="4 workers in a row were lost") as caught:
            WMF(**STEPS).fit(store, client=client)
        assert_names(str(caught.value), store, 3)


def test_a_cluster_without_workers_is_waited_for_as_long_as_asked(programs, client, store):
    for name in programs.have_workers(2):
        programs.kill(name)
    until(lambda: not names_of(client), "no worker is left")
    with (
        dask.config.set({"implicit-wmf.wait-for-workers": "1s"}),
        pytest.raises(ClusterError, match="no worker for 1 s; start some, .*DASK_IMPLICIT_WMF__WAIT"),
        soon(),
    ):
        WMF(**STEPS).fit(store, client=client)


def test_the_scheduler_is_killed_and_the_checkpoint_goes_on_elsewhere(programs, client, store, expected, tmp_path):
    model = WMF(**STEPS).fit(np.eye(4))
    before = model.user_factors.copy()
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        Programs(tmp_path / "cluster") as others,
    ):
        others.start_scheduler()
        others.start_worker()
        with others.client(1) as lost:
            killing = others.watch.when_waiting("start_items", lambda: others.kill("scheduler"), after=12)
            with soon(), killing, pytest.raises(ClusterError, match="the scheduler tcp://.* is gone.*resume=True"):
                model.fit(store, client=lost, checkpoint=tmp_path / "c")
    assert_array_equal(model.user_factors, before)
    assert checkpoint_epochs(tmp_path / "c") == (2, 4)
    shutil.copytree(tmp_path / "c", tmp_path / "d")
    assert_same(WMF(**STEPS).fit(store, client=client, checkpoint=tmp_path / "c", resume=True), expected())
    assert_same(WMF(**STEPS).fit(store, checkpoint=tmp_path / "d", resume=True), expected())


def test_a_checkpoint_of_a_fit_here_goes_on_on_a_cluster(client, store, expected, tmp_path):
    class Crash(Exception):
        pass

    def crash(record, model):
        if record.epoch == 2:
            raise Crash

    with pytest.raises(Crash):
        WMF(**STEPS).fit(store, checkpoint=tmp_path / "c", callback=crash)
    assert_same(WMF(**STEPS).fit(store, client=client, checkpoint=tmp_path / "c", resume=True), expected())


@SIGNALS
def test_ctrl_c_ends_the_calls_and_leaves_a_checkpoint(programs, client, store, expected, tmp_path):
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: not any(key.startswith("solve_users") for key in tasks_of(client)), "the calls are ended")
        programs.watch.go_on()

    model = WMF(**STEPS)
    waiting = programs.watch.when_waiting("solve_users", interrupt, shard=1, after=2)
    with waiting, pytest.raises(KeyboardInterrupt):
        model.fit(store, client=client, checkpoint=tmp_path / "c", every=100)
    assert checkpoint_epochs(tmp_path / "c") == (2, 4)
    assert model._fitted is None  # users' factors, which would be solved again for it, are left to the checkpoint
    until(lambda: not tasks_of(client), "nothing is left to do")
    assert_same(WMF(**STEPS).fit(store, client=client, checkpoint=tmp_path / "c", resume=True), expected())


def damage(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["user_values.npy", "item_indices.npy", "item_positive.npy"])
def test_a_file_that_is_damaged_where_workers_read_it_is_named(client, tmp_path, file):
    store = write_store(tmp_path / "store", DATA, shards=3)
    damage(store.path / file)
    with pytest.raises(InputError, match=rf"store .*store is damaged: .*{file}"):
        WMF(**STEPS).fit(store, client=client)


def test_a_store_that_is_damaged_during_the_fit_is_not_taken_up_again(programs, client, tmp_path):
    store = write_store(tmp_path / "store", DATA, shards=4)
    programs.watch.order("die", "solve_users", shard=1, after=2)

    def spoil(record, model):
        damage(store.path / "user_values.npy")

    with pytest.raises(InputError, match="the store .*store has changed since the fit began; prepare it again"):
        WMF(**STEPS).fit(store, client=client, callback=spoil)


def test_a_store_that_workers_do_not_have_is_said_to_be_missing(client, tmp_path):
    store = write_store(tmp_path / "store", DATA, shards=3)
    store.path.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="no store at .*store for a worker on the machine .*; all workers must"):
        WMF(**STEPS).fit(store, client=client)
    others = DATA.matrix.copy()
    others.data += 1
    write_store(tmp_path / "store", Interactions.from_matrix(others), shards=3)
    with pytest.raises(InputError, match="store .*store is another one for a worker than it was when the fit began"):
        WMF(**STEPS).fit(store, client=client)
    assert Store.open(tmp_path / "elsewhere").fingerprint == store.fingerprint
