"""Blocks on threads, and BLAS on one."""

import os
import threading

import pytest
from threadpoolctl import threadpool_info

from implicit_wmf.threads import available_threads, run_blocks, single_threaded_blas


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_each_block_runs_once(threads):
    done = []
    run_blocks(done.append, 100, threads)
    assert sorted(done) == list(range(100))
    run_blocks(done.append, 0, threads)
    assert len(done) == 100


@pytest.mark.parametrize("threads", [1, 2])
def test_an_exception_of_a_task_is_raised_and_stops_the_others(threads):
    done = []

    def task(block):
        if block == 3:
            raise ValueError("block 3")
        done.append(block)

    with pytest.raises(ValueError, match="block 3"):
        run_blocks(task, 100_000, threads)
    assert len(done) < 100_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("implicit_wmf")]


def test_tasks_overlap():
    barrier = threading.Barrier(2, timeout=20)
    met = []
    run_blocks(lambda block: met.append(barrier.wait()), 2, 2)  # breaks the barrier if one runs after the other
    assert sorted(met) == [0, 1]


def test_blas_has_one_thread_inside_and_its_own_number_after():
    before = blas_threads()
    seen = []
    with single_threaded_blas():
        with single_threaded_blas():
            seen.append(blas_threads())
        run_blocks(lambda block: seen.append(blas_threads()), 2, 2)
    assert len(seen) == 3
    assert all(set(threads) <= {1} for threads in seen)
    assert blas_threads() == before


def test_blas_is_restored_when_two_callers_leave_in_another_order_and_after_an_error():
    before = blas_threads()
    first, second = single_threaded_blas(), single_threaded_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(blas_threads()) <= {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
    with pytest.raises(KeyError), single_threaded_blas():
        raise KeyError
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_inside_is_not_left_with_the_limit():
    before = blas_threads()
    with single_threaded_blas():
        child = os.fork()
        if child == 0:
            try:
                with single_threaded_blas():
                    inside = set(blas_threads()) <= {1}
                os._exit(0 if inside and blas_threads() == before else 1)
            except BaseException:
                os._exit(2)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_threads_by_default_are_the_cores_of_the_process():
    assert 1 <= available_threads() <= (os.cpu_count() or 1)
