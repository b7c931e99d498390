"""Fits on clusters of worker processes, to be those of the serial runner bit for bit."""

import asyncio
import logging
import multiprocessing
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from checkpoints import assert_same, contents
from clusters import Programs, lines, own_cluster, tasks_of, until
from dask.utils import key_split
from distributed import Client
from numpy.testing import assert_array_equal

from implicit_wmf import WMF, InputError, Interactions, MissingExtraError, WMFConfig
from implicit_wmf.sharded import OutOfCore, cluster_runner
from implicit_wmf.store import write_store

DATA, HELD_OUT = lines(), lines(seed=2)
BASE = {"factors": 5, "random_state": 0, "iterations": 3, "regularization": 2.0, "num_threads": 1}
OTHERS = {  # beside the solvers
    "log": {"weighting": "log", "user_background": "user", "item_background": "popularity", "dtype": "float64"},
    "ials": {"weighting": "ials", "regularization_exponent": 0.5, "solver": "cg", "cg_steps": 2},
    "raw": {"weighting": "raw", "regularization_exponent": 1.0, "solver": "cg"},
    "raw, exact": {"weighting": "raw", "solver": "exact"},
    "backgrounds": {
        "user_background": np.linspace(0.1, 3, DATA.shape[0]), "item_background": np.arange(1.0, 1 + DATA.shape[1]),
        "unobserved_weight": 0.3,
    },
    "two threads": {"num_threads": 2},
    "threads of the workers": {"num_threads": None},
}  # fmt: skip
SOLVERS = {
    f"{solver}, {dtype}": {"solver": solver, "dtype": dtype}
    for solver in ("auto", "exact", "cg")
    for dtype in ("float32", "float64")
}
SETTINGS = SOLVERS | OTHERS


@pytest.fixture(autouse=True)
def steps_everywhere(monkeypatch):
    """Plan steps also where so little data would be solved exactly, and send all arrays as large ones are sent."""
    monkeypatch.setattr("implicit_wmf.row_plan._WORTHWHILE", 0.0)
    monkeypatch.setattr(cluster_runner, "_SMALL", 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = write_store(tmp_path_factory.mktemp("data") / "store", DATA, shards=6)
    users = {shard.stop - shard.start for shard in store.shards}
    assert (len(store.shards), len(users) > 2) == (6, True)  # uneven
    return store


@pytest.fixture(scope="module")
def serial(store):
    """Fit without a cluster, once each."""
    fitted = {}

    def fit(name):
        if name not in fitted:
            fitted[name] = WMF(**BASE | SETTINGS[name]).fit(store)
        return fitted[name]

    return fit


@contextmanager
def programs_of(count, folder):
    with Programs(folder) as programs:
        programs.start_scheduler()
        programs.start_workers(count - 1)
        programs.start_worker(threads=2)
        with programs.client(count) as client:
            yield client


KINDS = {"programs": programs_of, "LocalCluster": own_cluster}


@pytest.fixture(scope="module", params=[("programs", 1), ("programs", 3), ("LocalCluster", 2)], ids=str)
def client(request, tmp_path_factory):
    kind, count = request.param
    with KINDS[kind](count, tmp_path_factory.mktemp("cluster")) as client:
        yield client


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A scheduler and two workers, to which tests may add."""
    with Programs(tmp_path_factory.mktemp("programs")) as programs:
        programs.start_scheduler()
        programs.start_workers(2)
        yield programs


@pytest.fixture(scope="module")
def two(programs):
    with programs.client(2) as client:
        yield client


def assert_saved_alike(model, expected, folder):
    for name, one in (("cluster", model), ("serial", expected)):
        one.save(folder / name)
    arrays, others = (
        {name: content for name, content in contents(folder / one).items() if not name.endswith(".json")}
        for one in ("cluster", "serial")
    )
    assert {"user_factors.npy", "item_factors.npy"} <= arrays.keys()
    assert arrays == others


@pytest.mark.parametrize("name", ["auto, float32", "exact, float64", "backgrounds"])
def test_a_cluster_of_any_size_comes_to_the_same_bits(client, store, serial, tmp_path, name):
    model = WMF(**BASE | SETTINGS[name]).fit(store, client=client)
    assert_same(model, serial(name))
    assert_saved_alike(model, serial(name), tmp_path)


@pytest.mark.parametrize("name", SETTINGS)
def test_two_workers_come_to_the_same_bits(two, store, serial, name):
    assert_same(WMF(**BASE | SETTINGS[name]).fit(store, client=two), serial(name))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_all_settings_on_clusters_of_all_sizes(kind, count, store, serial, tmp_path):
    with KINDS[kind](count, tmp_path / "cluster") as client:
        for name in SETTINGS:
            assert_same(WMF(**BASE | SETTINGS[name]).fit(store, client=client), serial(name))


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_workers_may_be_more_than_shards(two, tmp_path, shards):
    data = Interactions.from_matrix(DATA.matrix[:7])
    store = write_store(tmp_path / "store", data, shards=shards)
    assert len(store.shards) == shards
    assert_same(WMF(**BASE).fit(store, client=two), WMF(**BASE).fit(store))


def test_solutions_in_several_blocks_of_items(two, store, serial, monkeypatch):
    monkeypatch.setattr("implicit_wmf.sharded.memory._SYSTEMS", 1.0)
    assert_same(WMF(**BASE | SETTINGS["exact, float32"]).fit(store, client=two), serial("exact, float32"))


def test_small_arrays_go_along_with_the_calls(two, store, serial, monkeypatch):
    monkeypatch.setattr(cluster_runner, "_SMALL", 10**9)
    assert_same(WMF(**BASE | SETTINGS["auto, float32"]).fit(store, client=two), serial("auto, float32"))


def test_validation_callbacks_and_stopping_early(two, store):
    def fit(**given):
        seen = []

        def look(record, model):
            seen.append((record.epoch, np.array(model.user_factors), model.recommend([0, 5], N=3)[0].tolist()))

        settings = BASE | {"iterations": 30, "regularization": 0.01}
        model = WMF(**settings).fit(
            store, validation=HELD_OUT, metric=["ndcg@5", "recall@3"], patience=2, callback=look, **given
        )
        return model, seen

    (model, seen), (expected, others) = fit(client=two), fit()
    assert_same(model, expected)
    assert model.best_epoch < len(model.history) < 30
    for (epoch, factors, lists), (other, same, equal) in zip(seen, others, strict=True):
        assert (epoch, lists) == (other, equal)
        assert_array_equal(factors, same)
    ended = WMF(**BASE).fit(store, client=two, callback=lambda record, model: record.epoch == 2)
    assert len(ended.history) == 2


def test_the_loss_is_not_asked_for_in_vain(programs, two, store):
    programs.watch.clear()
    model = WMF(**BASE).fit(store, client=two, track_loss=False)
    assert np.isnan(model.history[-1].loss)
    assert programs.watch.calls("solve_users")
    assert programs.watch.calls("sum_loss") == []


def test_every_shard_is_at_one_worker_and_users_factors_come_once(programs, two, store):
    programs.watch.clear()
    WMF(**BASE).fit(store, client=two)
    solved = programs.watch.calls("solve_users")
    assert len(solved) == BASE["iterations"] * len(store.shards)
    assert len({(note["shard"], note["pid"]) for note in solved}) == len(store.shards)
    assert len({note["pid"] for note in solved}) == 2
    assert sorted(note["shard"] for note in programs.watch.calls("read_users")) == list(range(len(store.shards)))


def test_a_worker_that_joins_is_given_shards(programs, two, store, serial):
    programs.watch.clear()

    def join(record, model):
        if record.epoch == 1:
            programs.start_worker(name="late")
            two.wait_for_workers(3, timeout=60)

    try:
        model = WMF(**BASE | SETTINGS["auto, float32"]).fit(store, client=two, callback=join)
    finally:
        programs.kill("late")
    assert_same(model, serial("auto, float32"))
    by_late = [note["shard"] for note in programs.watch.calls("solve_users") if note["worker"] == "late"]
    assert 1 <= len(set(by_late)) < len(store.shards)


def test_fits_at_the_same_time_do_not_disturb_each_other(two, store, serial):
    models = {}

    def fit(name):
        models[name] = WMF(**BASE | SETTINGS[name]).fit(store, client=two)

    threads = [threading.Thread(target=fit, args=(name,)) for name in ("auto, float32", "ials")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("auto, float32", "ials"):
        assert_same(models[name], serial(name))


def test_nothing_is_left_on_the_cluster_and_beside_the_store(two, store):
    model = WMF(**BASE).fit(store, client=two)
    until(lambda: not tasks_of(two), "all calls are let go of")
    assert [path.name for path in store.path.parent.iterdir()] == ["store"]
    assert model.loss() == pytest.approx(model.history[-1].loss, rel=1e-6)


def test_calls_are_named_after_what_they_do(two, store):
    WMF(**BASE | SETTINGS["raw"]).fit(store, client=two)
    keys = two.run_on_scheduler(lambda dask_scheduler: [entry[0] for entry in dask_scheduler.transition_log])
    names = {key_split(key) for key in keys if not key.startswith("ndarray")}
    assert names >= {
        "open_shards", "verify_shards", "weigh_items", "solve_users", "start_items", "multiply_items", "sum_loss",
        "read_users",
    }  # fmt: skip
    assert not [name for name in names if re.search(r"\d|^go$|lambda", name)]


def test_one_line_an_epoch_is_logged(two, store, serial, caplog):
    caplog.set_level(logging.INFO, "implicit_wmf")
    model = WMF(**BASE | SETTINGS["auto, float32"]).fit(store, client=two)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert len(lines) == len(model.history)
    for line, record in zip(lines, model.history, strict=True):
        found = re.fullmatch(r"epoch (\d+): ([\d.]+) s, ([\d.]+) MB moved, loss ([\d.e+]+)", line)
        assert (int(found[1]), float(found[4])) == (record.epoch, float(f"{record.loss:.8g}"))
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_step_moves_two_matrices_a_worker_at_most(two, tmp_path, by_steps):
    store = write_store(tmp_path / "store", DATA, shards=1)
    width, items = 16, DATA.shape[1]

    def moved(steps):
        config = WMFConfig(factors=width, solver="cg", cg_steps=steps, iterations=1, random_state=0)
        job = OutOfCore(store, config, client=two)
        for _ in job.epochs(job.start()):
            pass
        return job._runner.moved

    matrix, positions = 4 * width * items, 8 * items
    assert moved(5) - moved(2) == 3 * (2 * (matrix + positions) + matrix)  # to both workers, and from the one shard


def test_without_a_client_dask_is_not_imported(store):
    program = (
        "import sys; from implicit_wmf import WMF; from implicit_wmf.store import Store; "
        f"WMF(2, iterations=1).fit(Store.open({str(store.path)!r})); "
        "print([name for name in ('dask', 'distributed', 'fsspec') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_what_is_no_client_is_refused_and_the_model_stays(programs, two, store):
    model = WMF(**BASE).fit(store)
    before = model.user_factors.copy()
    with Client(programs.address, set_as_default=False) as closed:
        pass

    async def fit_in_a_coroutine():
        async with Client(programs.address, asynchronous=True, set_as_default=False) as client:
            model.fit(store, client=client)

    for data, client, message in (
        (store, programs.address, r"client must be a distributed\.Client, got str"),
        (store, closed, "client is closed; make a new Client of the cluster"),
        (DATA, two, "client: a cluster fits a store, which its workers can open; prepare one"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit(data, client=client)
    with pytest.raises(InputError, match="client is asynchronous, for coroutines; give a Client"):
        asyncio.run(fit_in_a_coroutine())
    assert_array_equal(model.user_factors, before)


def test_without_dask_the_command_that_installs_it_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"client.*pip install 'implicit_wmf\[dask\]'"):
        WMF(**BASE).fit(store, client="tcp://127.0.0.1:1")


def test_no_threads_or_processes_are_left(tmp_path, store):
    before, children = set(threading.enumerate()), set(multiprocessing.active_children())
    for kind in KINDS.values():
        with kind(1, tmp_path / kind.__name__) as client:
            WMF(**BASE).fit(store, client=client)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"Dask-Offload_0"}  # which Dask keeps for all clients to come
    assert set(multiprocessing.active_children()) <= children
