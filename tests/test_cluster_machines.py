"""Fits on clusters of a test's own: nannies that start what was killed, and machines that are cut off."""

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from checkpoints import assert_same
from clusters import Programs, lines, networks, take_steps, until

from implicit_wmf import WMF
from implicit_wmf.store import write_store

STEPS = {
    "factors": 5, "random_state": 0, "iterations": 4, "regularization": 2.0, "num_threads": 1, "solver": "cg",
    "cg_steps": 2,
}  # fmt: skip
NIGHTMARE = ["solve_users", "multiply_items", "read_users"]  # all in one fit


@pytest.fixture(autouse=True)
def steps_everywhere(monkeypatch):
    take_steps(monkeypatch)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "store", lines(), shards=6)


def test_workers_are_killed_in_several_passes_and_their_nannies_start_others(store, tmp_path):
    with Programs(tmp_path / "cluster") as programs:
        programs.start_scheduler()
        programs.start_workers(2, nanny=True)
        for call in NIGHTMARE:
            programs.watch.order("die", call, shard=1)
        with programs.client(2) as client:
            assert_same(WMF(**STEPS).fit(store, client=client), WMF(**STEPS).fit(store))
        assert all(programs.watch.is_done(call) for call in NIGHTMARE)
        assert len({note["pid"] for note in programs.watch.calls()}) > 2


@pytest.mark.slow
def test_workers_are_killed_at_any_moment(store, tmp_path):
    settings = STEPS | {"iterations": 60}
    expected, moments = WMF(**settings).fit(store), random.Random(5)
    with Programs(tmp_path / "cluster") as programs:
        programs.start_scheduler()
        programs.start_workers(3, nanny=True)
        stopped = threading.Event()

        def kill():
            while not stopped.wait(moments.uniform(0.5, 4)):
                pids = list({note["worker"]: note["pid"] for note in programs.watch.calls()}.values())
                with suppress(ProcessLookupError):
                    os.kill(moments.choice(pids), signal.SIGKILL)

        with programs.client(3) as client:
            killer = threading.Thread(target=kill)
            until(lambda: len(client.nthreads()) == 3, "the workers are there")
            starter = WMF(**STEPS).fit(store, client=client)
            assert len(starter.history) == STEPS["iterations"]
            killer.start()
            try:
                assert_same(WMF(**settings).fit(store, client=client), expected)
            finally:
                stopped.set()
                killer.join()
        assert len({note["pid"] for note in programs.watch.calls()}) > 5


IN_A_NETWORK = """
import sys
from distributed import Client
from implicit_wmf import WMF
from implicit_wmf.sharded import cluster_runner, placement
from implicit_wmf.store import Store
address, store, model = sys.argv[1:]
cluster_runner._SMALL = 0
with Client(address) as client:
    client.wait_for_workers(2)
    WMF(5, solver="exact", random_state=0, iterations=6).fit(Store.open(store), client=client).save(model)
"""


def test_a_worker_is_cut_off_from_the_network(store, tmp_path):
    expected = WMF(5, solver="exact", random_state=0, iterations=6).fit(store)
    lost_after = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s"}
    with networks(3) as (here, *others), Programs(tmp_path / "cluster", settings=lost_after) as programs:
        programs.start_scheduler(host=here.address, wrap=here.inside)
        for number, there in enumerate(others):
            programs.start_worker("--host", there.address, name=f"at {number}", wrap=there.inside)
        arguments = [programs.address, store.path, tmp_path / "model"]
        cutting = programs.watch.when_waiting("turn_users", others[1].cut, worker="at 1", after=4)
        with cutting:
            subprocess.run([*here.inside, sys.executable, "-c", IN_A_NETWORK, *arguments], check=True, timeout=100)
        assert programs.is_running("at 1")
        solved = programs.watch.calls("solve_users")
    assert {note["shard"] for note in solved if note["worker"] == "at 0"} == set(range(len(store.shards)))
    assert_same(WMF.load(tmp_path / "model"), expected)
