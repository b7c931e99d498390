"""Commands that let a cluster do the work: one that is there, or processes of this machine."""

import io
import logging
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FIT
from systems import SIGNALS

from implicit_wmf import WMF, ClusterError
from implicit_wmf.store import write_store

pytest.importorskip("distributed")

from clusters import DEADLINE, Programs, lines, until

SETTINGS = ("--factors", 3, "--random-state", 0)
LINE = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d epoch (\d+): \d+\.\d\d s, \d+\.\d MB moved, loss [\d.e+-]+"


@pytest.fixture
def store(tmp_path):
    write_store(tmp_path / "s", lines(), shards=5)
    return "s"


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of one with two workers."""
    with Programs(tmp_path_factory.mktemp("cluster")) as programs:
        programs.start_scheduler()
        programs.start_workers(2)
        with programs.client(workers=2):
            pass
        yield programs.address


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.npy")}


def test_fit_by_local_workers_is_the_same(run, store):
    code, out, err = run("fit", store, "-o", "here", *SETTINGS, "--iterations", 3)
    assert (code, err) == (0, "")
    environment = dict(os.environ)
    code, workers_out, err = run("fit", store, "-o", "there", *SETTINGS, "--iterations", 3, "--local-workers", 2)
    assert (code, workers_out) == (0, out.replace("in here:", "in there:"))
    assert [re.fullmatch(LINE, line)[1] for line in err.splitlines()] == ["1", "2", "3"]
    assert contents("there") == contents("here")
    assert not multiprocessing.active_children()
    assert dict(os.environ) == environment
    logger = logging.getLogger("implicit_wmf")
    assert (logger.level, logger.handlers, logging.root.manager.disable) == (logging.NOTSET, [], logging.NOTSET)


def test_lines_stand_above_the_bar(run, store, scheduler, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    run("fit", store, "-o", "m", *SETTINGS, "--iterations", 2, "--scheduler", scheduler)
    shown = sys.stderr.getvalue()
    assert [re.fullmatch(LINE, part)[1] for part in re.split(r"[\r\n]", shown) if "moved" in part] == ["1", "2"]
    assert re.search(r"\rfit: 100%.* 2/2 .*loss=", shown)


def test_fit_and_recommend_on_a_cluster_that_is_there(run, store, scheduler):
    assert run("fit", store, "-o", "here", *SETTINGS)[0] == 0
    code, _, err = run("fit", store, "-o", "there", *SETTINGS, "--scheduler", scheduler, "-q")
    assert (code, err) == (0, "")
    assert contents("there") == contents("here")
    assert run("recommend", "here", "-o", "lists")[0] == 0
    code, out, err = run("recommend", "here", "-o", "others", "--scheduler", scheduler)
    assert (code, err) == (0, "")
    assert "recommendations for 40 users to others in " in out
    pd.testing.assert_frame_equal(pd.read_parquet("others"), pd.read_parquet("lists"))


def test_validation_on_a_cluster(run, store, scheduler):
    users = np.repeat(np.arange(30), 3)
    pd.DataFrame({"who": users, "what": np.tile(np.arange(3), 30) + users % 15}).to_csv("new.csv", index=False)
    options = ("--validation", "new.csv", "--user", "who", "--item", "what", "--metric", "hit@5", "--patience", 2)
    assert run("fit", store, "-o", "here", *SETTINGS, *options)[0] == 0
    code, out, err = run("fit", store, "-o", "there", *SETTINGS, *options, "--scheduler", scheduler, "-q")
    assert (code, err, "the best of " in out) == (0, "", True)
    assert contents("there") == contents("here")


def test_urls_of_stores(run, store, tmp_path):
    pytest.importorskip("far_files")
    assert run("fit", store, "-o", "here", *SETTINGS)[0] == 0
    for url in (f"file://{tmp_path}/s", f"far://{tmp_path}/s"):
        assert run("fit", url, "-o", "m", *SETTINGS)[0] == 0
        assert contents("m") == contents("here")
        code, out, _ = run("info", url)
        assert (code, out.startswith(f"{url}: Store(40 users x 18 items, ")) == (0, True)
        for command in (("info",), ("fit", "-o", "n")):
            code, _, err = run(*command, f"{url}-not")
            assert (code, f"there is no store at {url.removeprefix('file://')}-not" in err) == (1, True)


@pytest.mark.parametrize("command", ["fit", "recommend"])
def test_one_place_at_a_time(run, store, command):
    run("fit", store, "-o", "m", *SETTINGS, "--iterations", 1)
    data = {"fit": "s", "recommend": "m"}[command]
    code, _, err = run(command, data, "-o", "new", "--scheduler", "tcp://127.0.0.1:1", "--local-workers", 2)
    assert (code, "(--scheduler) and processes of this machine (--local-workers) exclude each other" in err) == (
        2,
        True,
    )
    assert not Path("new").exists()


@pytest.mark.parametrize("option", [("--scheduler", "tcp://127.0.0.1:1"), ("--local-workers", 2)])
def test_only_where_there_is_much_to_do(run, purchases, option):
    code, _, err = run("fit", "purchases.csv", *FIT, "-o", "m", *option)
    assert (code, f"{option[0]}: it has no effect on a table, which is fitted in memory" in err) == (2, True)
    run("fit", "purchases.csv", *FIT, "-o", "m", *SETTINGS, "--iterations", 1)
    code, _, err = run("recommend", "m", "-o", "lists.csv", *option)
    assert (code, f"{option[0]}: it has no effect on lists.csv, which is made at once" in err) == (2, True)


def test_no_worker_is_wrong_usage(run, store):
    code, _, err = run("fit", store, "-o", "m", "--local-workers", 0)
    assert (code, "--local-workers" in err) == (2, True)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("127.0.0.1:1", "Connection refused"),
        ("somewhere", "missing port number"),
        ("", "missing port number"),
        ("http://127.0.0.1:8787", "unknown address scheme 'http'"),
        ("tls://127.0.0.1:1", "no certificates"),
    ],
)
def test_nobody_at_the_address(run, store, monkeypatch, address, reason):
    monkeypatch.setattr("implicit_wmf._clients._CONNECT", 0.1)
    code, _, err = run("fit", store, "-o", "m", "--scheduler", address)
    assert code == 1
    assert re.fullmatch(
        f"error: there is no scheduler of Dask to be reached at '{address}' \\(.*{reason}.*as tcp://host:8786.*\n", err
    )


def test_what_answers_is_no_scheduler(run, store, monkeypatch):
    monkeypatch.setattr("implicit_wmf._clients._CONNECT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, _, err = run("fit", store, "-o", "m", "--scheduler", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert (code, "there is no scheduler of Dask to be reached" in err) == (1, True)


@pytest.mark.parametrize("options", [("--local-workers", 2), ("--memory-limit", "4GB")])
def test_a_store_that_is_not_there(run, tmp_path, options):
    assert run("fit", tmp_path / "nowhere", "-o", "m", *options)[::2] == (
        1, f"error: there is no store at {tmp_path / 'nowhere'}\n",
    )  # fmt: skip
    (tmp_path / "no store").mkdir()
    code, _, err = run("fit", tmp_path / "no store", "-o", "m", *options)
    assert (code, "is not a store: it has no manifest.json" in err) == (1, True)


def test_without_dask(run, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for option in (("--scheduler", "tcp://127.0.0.1:1"), ("--local-workers", 2)):
        code, _, err = run("fit", store, "-o", "m", *option)
        assert (code, "pip install 'implicit_wmf[dask]'" in err) == (1, True)


def test_workers_that_do_not_start(run, store, monkeypatch):
    def fail(**_):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("distributed.LocalCluster", fail)
    code, _, err = run("fit", store, "-o", "m", "--local-workers", 3)
    assert (code, err.startswith("error: workers could not be started on this machine, 3 of them (Nanny")) == (1, True)


def test_a_cluster_that_is_lost_is_one_line(run, store, scheduler, monkeypatch):
    def lose(*_, **__):
        raise ClusterError("the scheduler is gone")

    monkeypatch.setattr(WMF, "fit", lose)
    code, _, err = run("fit", store, "-o", "m", "--scheduler", scheduler)
    assert (code, err) == (1, "error: the scheduler is gone\n")


@SIGNALS
@pytest.mark.parametrize(
    ("number", "code", "word", "then"),
    [(signal.SIGINT, 130, "interrupted", ("--local-workers", 1)), (signal.SIGTERM, 143, "terminated", ())],
)
def test_signals_to_all_processes_end_it_in_order(run, store, tmp_path, number, code, word, then):
    """As Ctrl-C in a terminal and managers of services send them: to the workers too."""
    options = ("--checkpoint", "c", *SETTINGS)
    words = [sys.executable, "-m", "implicit_wmf", "fit", store, "-o", "m", *map(str, options)]
    process = subprocess.Popen(
        [*words, "--local-workers", "2", "--iterations", "1000000"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert any("epoch 2: " in line for line in process.stderr)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, "Traceback" in err) == (code, False), err
    place = r"the checkpoint after ([\d,]+) of 1,000,000 epochs is in c: the same command with --resume goes on"
    done = int(re.fullmatch(f"{word}; {place}", err.splitlines()[-1])[1].replace(",", ""))
    until(lambda: not running(process.pid), "workers end with it")
    more = ("--iterations", done + 2)
    assert run("fit", store, "-o", "m", *options, *more, "--resume", *then)[0] == 0
    assert run("fit", store, "-o", "whole", *SETTINGS, *more)[0] == 0
    assert contents("m") == contents("whole")
    assert not Path("c").exists()


def running(group):
    """Processes of a group that have not ended."""
    told = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 2) for line in told.splitlines()]
    return [line for line in found if line[0] == str(group) and not line[1].startswith("Z")]
