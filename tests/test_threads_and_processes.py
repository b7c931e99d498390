"""Many threads ask one model, processes are forked and spawned, and limits on threads are kept."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import COMPILED
from estimators import ESTIMATORS, FACTORIZERS
from numba.core.compiler_lock import global_compiler_lock
from numpy.testing import assert_array_equal
from scipy import sparse
from threadpoolctl import threadpool_info

from implicit_wmf import WMF, ItemKNN, MostPopular, threads
from implicit_wmf._bars import Bar
from implicit_wmf.factorizers import SymmetricMF

THREADS = 8
SIDE = 40
PATIENCE = 120  # seconds until something is said to hang: many times what it takes to compile
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# Python 3.12 warns of every fork of a process that has threads, which is what is looked at here.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def data(seed=0):
    """Counts of as many users as items, of which nobody and nothing is without any."""
    generator = np.random.default_rng(seed)
    dense = generator.integers(1, 5, (SIDE, SIDE)) * (generator.random((SIDE, SIDE)) < 0.4)
    return (dense + np.eye(SIDE)).astype(np.float32)


def make(estimator, **settings):
    if estimator in (ItemKNN, MostPopular):
        return estimator()
    few = {"starts": 1} if estimator is SymmetricMF else {}
    return estimator(4, iterations=2, random_state=0, **few, **settings)


def fit(estimator=WMF, seed=0, **settings):
    """A model that nobody has asked anything, so that nothing is prepared."""
    return make(estimator, **settings).fit(sparse.csr_array(data(seed)))


def answers(model):
    """What a model answers to every kind of question, as arrays."""
    everyone = np.arange(SIDE)
    found = [*model.recommend(everyone, N=5), model.score(everyone[:, None], everyone)]
    if isinstance(model, ItemKNN):
        return found
    found += [*model.similar_items(everyone, N=5), *model.similar_users(everyone, N=5, metric="dot")]
    if isinstance(model, WMF):
        news = data(seed=1)[:9]
        found += [*model.recommend(user_items=news, N=5), *model.explain(everyone[:9], everyone[9:18], N=5)]
        found += [model.fold_in_users(news), model.fold_in_items(data(seed=2)[:, :9]), np.array(model.loss())]
    return found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


def at_once(tasks):
    """Run functions in a thread each, begun together; gives their results."""
    barrier = threading.Barrier(len(tasks), timeout=PATIENCE)

    def run(task):
        barrier.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, task) for task in tasks]]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_eight_threads_get_the_answers_that_one_gets(estimator):
    expected = answers(fit(estimator))
    model = fit(estimator)
    for found in at_once([lambda: answers(model)] * THREADS):
        assert_same(found, expected)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("estimator", FACTORIZERS)
def test_eight_threads_ask_a_loaded_model(estimator, mmap, tmp_path):
    fit(estimator).save(tmp_path / "m")
    expected = answers(estimator.load(tmp_path / "m"))
    model = estimator.load(tmp_path / "m", mmap=mmap)
    for found in at_once([lambda: answers(model)] * THREADS):
        assert_same(found, expected)


def test_threads_ask_while_the_model_is_fitted_again():
    first, second = answers(fit(seed=0)), answers(fit(seed=3))
    model = fit(seed=0)
    *found, _ = at_once([lambda: model.recommend(np.arange(SIDE), N=5)] * 6 + [lambda: model.fit(data(3))])
    for ids, scores in found:
        old = np.array_equal(ids, first[0]) and np.array_equal(scores, first[1], equal_nan=True)
        assert old or (np.array_equal(ids, second[0]) and np.array_equal(scores, second[1], equal_nan=True))
    assert_same(answers(model), second)


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_fits_at_once(estimator):
    before = blas_threads()
    expected = [answers(fit(estimator, seed)) for seed in (0, 3)]
    found = at_once([lambda seed=seed: fit(estimator, seed) for seed in (0, 3, 0, 3)])
    for model, one in zip(found, expected * 2, strict=True):
        assert_same(answers(model), one)
    assert blas_threads() == before


def work(model):
    """Ask a model, fit another, and send both answers back."""
    return answers(model), answers(fit(seed=3))


def in_processes(kind, model, number):
    """What `work` gives in each of some processes of a pool."""
    with multiprocessing.get_context(kind).Pool(number) as pool:
        return pool.map_async(work, [model] * number, chunksize=1).get(PATIENCE)


@forks
@pytest.mark.parametrize("settings", [{}, {"num_threads": 3}])
def test_forked_pools_ask_and_fit_after_the_parent_has(settings):
    model = fit(**settings)
    expected = work(model)
    for found in in_processes("fork", model, 2):
        for part, one in zip(found, expected, strict=True):
            assert_same(part, one)
    assert_same(answers(model), expected[0])


def test_spawned_processes_ask_and_fit(tmp_path):
    model = fit()
    expected = work(model)
    (found,) = in_processes("spawn", model, 1)
    for part, one in zip(found, expected, strict=True):
        assert_same(part, one)


def in_child(task):
    """Run a function in a forked child: True if it came to its end, False if not within patience."""
    child = multiprocessing.get_context("fork").Process(target=task)
    child.start()
    child.join(PATIENCE)
    ended = child.exitcode
    if ended is None:
        child.kill()
        child.join()
    return ended == 0


@forks
@pytest.mark.parametrize("mmap", [False, True])
def test_servers_load_before_they_fork(mmap, tmp_path):
    fit().save(tmp_path / "m")
    expected = answers(WMF.load(tmp_path / "m"))
    model = WMF.load(tmp_path / "m", mmap=mmap)
    for _ in range(3):
        assert in_child(lambda: assert_same(answers(model), expected))
    assert_same(answers(model), expected)


@forks
def test_forks_while_another_thread_fits():
    expected = work(fit())
    stop = threading.Event()

    def keep_fitting():
        while not stop.is_set():
            fit(num_threads=2, seed=5)

    def task():
        found = work(fit())
        for part, one in zip(found, expected, strict=True):
            assert_same(part, one)

    with ThreadPoolExecutor(1) as pool:
        fitting = pool.submit(keep_fitting)
        try:
            ended = [in_child(task) for _ in range(8)]
        finally:
            stop.set()
        fitting.result(PATIENCE)
    assert ended == [True] * 8


@forks
@pytest.mark.parametrize("lock", [global_compiler_lock, Bar.get_lock()], ids=["compiling", "drawing a bar"])
def test_forks_while_another_thread_holds_a_lock_that_a_fit_needs(lock):
    held, release = threading.Event(), threading.Timer(0.3, lambda: done.set())
    done = threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(PATIENCE)

    def task():
        with global_compiler_lock, Bar.get_lock():
            fit().fit(data(), progress=False)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)
    release.start()
    try:
        assert in_child(task)
    finally:
        done.set()
        holder.join()
    with lock:
        pass


def run_script(script, **environment):
    """Run a program of a few lines in a process of its own; gives what it printed."""
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=variables | environment, timeout=PATIENCE,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_fit_leaves_open_how_processes_are_started():
    script = """
import multiprocessing, numpy
from implicit_wmf import WMF
WMF(2, iterations=1).fit(numpy.eye(4))
multiprocessing.set_start_method("spawn")
"""
    assert run_script(script) == []


BLAS = """
import numpy, threadpoolctl
from implicit_wmf import WMF, threads
def blas():
    return sorted({pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"})
met = [blas()]
WMF(2, iterations=1).fit(numpy.eye(4), callback=lambda *_: met.append(blas()))
print(*(one for found in (*met, blas()) for one in found), threads.available_threads())
"""


def test_limits_of_blas_are_kept_and_limit_blas_alone():
    cores = threads.available_threads()
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    found = run_script(BLAS, NUMBA_DISABLE_JIT="1", **limits)
    assert set(found[:-1]) == {"1"}
    assert found[-1] == str(cores)


@pytest.fixture
def many_cores(monkeypatch):
    """A machine of 64 cores, no limits set."""
    monkeypatch.setattr(threads, "_LIMITS", ())
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr(threads, "_processor_share", lambda: float("inf"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 64),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"NUMBA_NUM_THREADS": "3"}, 3),
        ({"NUMBA_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 2),
        ({"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, 2),
        ({"OMP_NUM_THREADS": " 5 , 2"}, 5),
        ({"OMP_NUM_THREADS": "4096"}, 64),
        ({"OMP_NUM_THREADS": ""}, 64),
        ({"OMP_NUM_THREADS": "0"}, 64),
        ({"OMP_NUM_THREADS": "-2"}, 64),
        ({"OMP_NUM_THREADS": "many", "NUMBA_NUM_THREADS": "7.5"}, 64),
        ({"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, 64),
    ],
)
def test_limits_in_the_environment(variables, expected, many_cores, monkeypatch):
    monkeypatch.setattr(threads, "_LIMITS", tuple(threads._environment_limits(variables)))
    assert threads.available_threads() == expected


def test_the_environment_counts_as_it_was_at_first():
    script = """
import os
from implicit_wmf import threads
os.environ["OMP_NUM_THREADS"] = "5"
print(threads._LIMITS)
"""
    assert run_script(script, OMP_NUM_THREADS="3") == ["(3,)"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("200000 100000", 2), ("250000 100000", 3), ("5000 100000", 1), ("max 100000", 64), ("", 64), ("1 0", 64)],
)
def test_shares_of_processors_in_containers(content, expected, many_cores, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr(threads, "_GROUPS", tmp_path)
    (tmp_path / "cpu.max").write_text(f"{content}\n")
    share = threads._processor_share.__wrapped__()
    assert min(share, 64) == expected
    monkeypatch.setattr(threads, "_processor_share", lambda: share)
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert threads.available_threads() == expected


@pytest.fixture
def begun(monkeypatch):
    """Names of the library's threads that were begun."""
    names = []
    start = threading.Thread.start

    def spy(thread):
        names.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", spy)
    return names


@pytest.mark.parametrize(
    ("variables", "settings", "expected"),
    [
        ({"OMP_NUM_THREADS": "1"}, {}, 0),
        ({"OMP_NUM_THREADS": "3"}, {}, 3),
        ({"NUMBA_NUM_THREADS": "2"}, {}, 2),
        ({"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, {"num_threads": 4}, 4),
    ],
)
def test_kernels_use_as_many_threads_as_limits_say(variables, settings, expected, many_cores, begun, monkeypatch):
    monkeypatch.setattr(threads, "_LIMITS", tuple(threads._environment_limits(variables)))
    answers(fit(**settings))
    assert set(begun) == {f"implicit_wmf-{number}" for number in range(expected)}


def test_more_threads_than_cores_change_nothing():
    assert_same(answers(fit(num_threads=500)), answers(fit(num_threads=1)))


@pytest.mark.parametrize("granted", [0, 1, 3])
def test_a_process_that_may_have_no_more_threads_goes_on(granted, monkeypatch):
    start = threading.Thread.start
    left = [granted]

    def refuse(thread):
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    threads.run_blocks(done.append, 100, 8)
    assert sorted(done) == list(range(100))
    expected = answers(fit(num_threads=1))
    left[0] = granted
    assert_same(answers(fit(num_threads=6)), expected)
    left[0] = granted
    with pytest.raises(ZeroDivisionError):
        threads.run_blocks(lambda block: 1 // (block - 50), 100, 8)


@pytest.mark.skipif(not COMPILED, reason="interpreted loops are slow")
def test_many_threads_on_many_blocks():
    model = WMF(8, iterations=2, random_state=0, num_threads=200)
    counts = np.random.default_rng(0).poisson(1, (3000, 200)).astype(float)
    expected = WMF(8, iterations=2, random_state=0, num_threads=1).fit(counts)
    assert_same(answers_of_many(model.fit(counts)), answers_of_many(expected))


def answers_of_many(model):
    return [model.user_factors, model.item_factors, *model.recommend(np.arange(3000), N=3)]
