"""The cache of compiled kernels."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from conftest import COMPILED

import implicit_wmf
from implicit_wmf.kernels import jit


def add_one(x):
    return x + 1


def test_without_a_place_for_the_cache_kernels_are_compiled_in_the_process(monkeypatch):
    njit = numba.njit

    def nowhere(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'add_one': no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert jit.block_kernel(add_one)(1) == 2


@pytest.mark.skipif(not COMPILED, reason="nothing is cached")
def test_processes_may_compile_into_one_cache_at_the_same_time(tmp_path):
    code = (
        "import numpy as np; from implicit_wmf.kernels.gram import add_gram; out = np.zeros((8, 8));"
        "add_gram(np.ones((3, 2)), np.ones(3), 0, 3, np.zeros((64, 16)), out); print(out[0, 1])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["3.0\n"] * 4


@pytest.mark.skipif(not COMPILED, reason="nothing is cached")
def test_a_change_of_any_kernel_source_makes_the_cache_stale(tmp_path):
    """Numba itself looks at the file of the entry point only, here objective.py."""
    package = tmp_path / "implicit_wmf"
    shutil.copytree(Path(implicit_wmf.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import numpy as np; from implicit_wmf.kernels.objective import sum_stored_cells as kernel; one = np.ones(1);"
        "kernel(np.arange(2), np.zeros(1, np.int32), one, one, one, np.ones((1, 1)), np.ones((1, 1)), np.zeros(2));"
        "print(sum(kernel.stats.cache_hits.values()))"
    )

    def cache_hits():
        command = [sys.executable, "-c", code]
        return int(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout)

    assert [cache_hits(), cache_hits()] == [0, 1]
    with (package / "kernels" / "linalg.py").open("a") as file:
        file.write("\n# changed\n")
    assert [cache_hits(), cache_hits()] == [0, 1]
