"""Clusters of Dask for tests: programs of their own on this machine, whose accidents a test orders."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from distributed import Client, LocalCluster
from systems import SYSTEMS
from watched_workers import PLACE

from implicit_wmf import Interactions

SCRIPT = Path(__file__).with_name("watched_workers.py")
DEADLINE = 60  # seconds, after which what a test waits for is not going to happen
QUICK = {  # what to call the end of a connection after seconds, not half a minute
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",  # the least that it takes
    "DASK_DISTRIBUTED__COMM__RETRY__COUNT": "0",
    "DASK_DISTRIBUTED__WORKER__DAEMON": "True",
}


def lines(users=40, items=18, seed=1):
    """Counts with users of all kinds: some take everything, many take little, one takes nothing."""
    generator = np.random.default_rng(seed)
    chances = np.linspace(1.2, 0.02, users) ** 2
    stored = generator.random((users, items)) < chances[:, None]
    stored[3] = False
    who, what = np.nonzero(stored)
    return Interactions.from_triples(who, what, generator.integers(1, 5, who.size), shape=stored.shape)


def take_steps(monkeypatch):
    """Take steps also where so little data would be solved exactly, and send all arrays as large ones are sent."""
    monkeypatch.setattr("implicit_wmf.row_plan._WORTHWHILE", 0.0)
    monkeypatch.setattr("implicit_wmf.row_plan.exact_cost", lambda cells, width, dual: np.full(len(cells), 1e8))
    monkeypatch.setattr("implicit_wmf.sharded.cluster_runner._SMALL", 0)


def until(true, what):
    """Wait until something is so."""
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, f"{what}: not after {DEADLINE} s"
        time.sleep(0.02)


class Watch:
    """What workers note, and the accidents that they are to have."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self._orders = folder, 0

    def order(self, what, call, *, shard=None, worker=None, after=0, keep=False):
        """Let a worker "die" or "wait" at a call: of a shard or by a worker if they are given, `after` so many such.

        With `keep` every worker that comes there does so, otherwise the first; each counts for itself.
        """
        self._orders += 1
        order = {"what": what, "shard": shard, "worker": worker, "after": after, "keep": keep, "id": self._orders}
        whole = self.folder / "order"
        whole.write_text(json.dumps(order))
        whole.rename(self.folder / f"{call}.order")

    def is_done(self, call):
        """Whether a worker took the order."""
        return (self.folder / f"{call}.taken").exists()

    def calls(self, *names):
        """Return the notes of calls: dictionaries of call, shard, worker and pid."""
        notes = self.folder / "notes"
        whole = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        return [note for note in whole if not names or note["call"] in names]

    def go_on(self):
        """Let the worker that waits go on."""
        (self.folder / "go on").touch()

    def clear(self):
        """Forget notes and orders."""
        for path in self.folder.iterdir():
            path.unlink()

    @contextmanager
    def when_waiting(self, call, act, **which):
        """Do something in a thread when a worker waits at a call; the worker goes on at the end, if not before."""
        self.order("wait", call, **which)
        with self.when_done(call, act):
            try:
                yield
            finally:
                self.go_on()

    @contextmanager
    def when_done(self, call, act):
        """Do something in a thread when a worker took the order of a call."""
        errors, ended = [], threading.Event()

        def run():
            try:
                until(lambda: self.is_done(call) or ended.is_set(), f"{call} is called")
                if not ended.is_set():
                    act()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert not errors, errors
        assert self.is_done(call)


class Programs:
    """A scheduler and workers, each a program as `dask scheduler` and `dask worker` start it, with a log beside it."""

    def __init__(self, folder, *, settings=None):
        if not SYSTEMS["posix"]:
            pytest.skip("its programs are ended by signals, which Windows does not send")
        folder.mkdir(exist_ok=True)
        self.folder, self.watch = folder, Watch(folder / "watch")
        self._environment = os.environ | QUICK | {PLACE: str(self.watch.folder)} | (settings or {})
        self._about = folder / "scheduler.json"
        self._programs = {}
        self._count = 0

    def start_scheduler(self, *, host="127.0.0.1", port=0, wrap=()):
        """Start a scheduler, on a free port if none is given."""
        self._about.unlink(missing_ok=True)
        place = ["--host", host, "--port", str(port), "--no-dashboard", "--scheduler-file", str(self._about)]
        self._run("scheduler", "dask_scheduler", *place, wrap=wrap)
        until(self._about.exists, "the scheduler starts")
        self.port = port

    @property
    def address(self):
        until(lambda: self._about.read_text().endswith("}"), "the scheduler's file is whole")
        return json.loads(self._about.read_text())["address"]

    def start_worker(self, *options, nanny=False, threads=1, name=None, wrap=()):
        """Start a worker, without waiting for it; returns its name."""
        self._count += 1
        name = name or f"worker-{self._count}"
        options = ["--nanny" if nanny else "--no-nanny", "--nthreads", str(threads), "--memory-limit", "0", *options]
        preload = ["--preload", str(SCRIPT), "--local-directory", str(self.folder / "scratch")]
        self._run(name, "dask_worker", self.address, "--no-dashboard", "--name", name, *options, *preload, wrap=wrap)
        return name

    def start_workers(self, count, **options):
        return [self.start_worker(**options) for _ in range(count)]

    @contextmanager
    def client(self, workers=0):
        """Connect, when so many workers are there."""
        with Client(self.address, set_as_default=False) as client:
            if workers:
                client.wait_for_workers(workers, timeout=DEADLINE)
            yield client

    def have_workers(self, count):
        """Start workers where fewer than so many are left, and wait for them; returns their names."""
        left = [name for name, program in self._programs.items() if name != "scheduler" and program.poll() is None]
        left += self.start_workers(count - len(left))
        with self.client() as client:
            until(lambda: names_of(client) == set(left), f"{left} are there")
        return left

    def kill(self, name):
        """End a program as the system does where memory is short, with what it started."""
        program = self._programs.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def is_running(self, name):
        return self._programs[name].poll() is None

    def close(self):
        for name in list(self._programs):
            self.kill(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, name, module, *arguments, wrap):
        with open(self.folder / f"{name}.log", "ab") as log:
            self._programs[name] = subprocess.Popen(
                [*wrap, sys.executable, "-m", f"distributed.cli.{module}", *arguments],
                env=self._environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip


def names_of(client):
    """Ask the scheduler for its workers."""
    return {worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}


def tasks_of(client):
    """Ask the scheduler for all that it has to do, or has done and keeps."""
    return client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))


def free_port():
    """Find a port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def unchanged_environment():
    """Undo what a LocalCluster leaves there, which other tests would find."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def own_cluster(count, folder, **options):
    """Start a LocalCluster, as a user of one machine does, with a process a worker and a nanny each."""
    local = {"n_workers": count, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with (
        unchanged_environment(),
        LocalCluster(**local, local_directory=str(folder), silence_logs=False, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(count, timeout=DEADLINE)
        yield client


class Network(NamedTuple):
    """A network namespace, which stands for a machine of its own."""

    name: str
    address: str
    inside: tuple[str, ...]  # what begins a command that is run there
    first: str  # the namespace that it is tied to

    def cut(self):
        """Take down its link to all the others."""
        ip("-n", self.first, "link", "set", self.name, "down")


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def networks(count):
    """Make network namespaces that reach each other and nothing else, tied to a bridge in the first of them."""
    names = [f"iw{os.getpid()}-{number}" for number in range(count)]
    made = []
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip("-n", names[0], "link", "add", "bridge", "type", "bridge")
            for name in names[1:]:
                ip("link", "add", "out", "netns", name, "type", "veth", "peer", "name", name, "netns", names[0])
                ip("-n", names[0], "link", "set", name, "master", "bridge", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here ({getattr(error, 'stderr', None) or error})")
        for number, name in enumerate(names):
            device = "out" if number else "bridge"
            ip("-n", name, "address", "add", f"10.0.0.{number + 1}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [
            Network(name, f"10.0.0.{number + 1}", ("ip", "netns", "exec", name), names[0])
            for number, name in enumerate(names)
        ]
    finally:
        for name in made:
            ip("netns", "delete", name)
