"""What ends a run before it is done: kills, signals and disks that are full. The former store stays, or the new one."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from prepared_files import contents_of, prepared, rejected_of
from systems import SIGNALS

from implicit_wmf.errors import InputError
from implicit_wmf.store import Store, preparing

FORMER = "u,i,v\n1,2,3\n,5,6\n"
LATER = "u,i,v\n1,2,4\n7,8,9\n3,4\n"
# Runs `prepare`, and waits to be killed before or after a call of the function.
PAUSING = """
import importlib, time
from implicit_wmf.store.preparing import prepare
place, _, name = {function!r}.partition(":")
owner = importlib.import_module(place)
*owners, name = name.split(".")
for one in owners:
    owner = getattr(owner, one)
function = getattr(owner, name)
def pause(*arguments, **options):
    result = function(*arguments, **options) if {after} else None
    print("here", flush=True)
    time.sleep(60)
setattr(owner, name, pause)
prepare("in.csv", "s", user="u", item="i", value="v", on_error="skip", shards=2, progress=False)
"""
STORE = "implicit_wmf.store."
# With files that this run has written by then.
PHASES = [
    (f"{STORE}preparing:read_sources", True, [".s.preparing/lines.duckdb"]),
    (f"{STORE}preparing:number_ids", True, [".s.preparing/users.parquet", ".s.preparing/rejects.csv"]),
    (f"{STORE}line_lists:LineLists.fill", True, [".s.preparing/values"]),
    (f"{STORE}preparing:gather_cells", True, [".s.preparing/cell_items"]),
    (f"{STORE}writing:StoreWriter.add_shard", True, [".s.*.tmp/item_indptr.npy", ".s.rejects.csv.tmp"]),
    (f"{STORE}writing:write_manifest", True, [".s.*.tmp/manifest.json"]),
    ("implicit_wmf._folders:replace_folder", False, [".s.*.tmp/manifest.json"]),
    ("implicit_wmf._folders:remove_folder", False, [".s.*.tmp/manifest.json", "s/manifest.json"]),
    ("os:replace", False, [".s.rejects.csv.tmp", "s/manifest.json"]),
]


def texts_of(folder):
    return [line for _, line in rejected_of(folder / "s.rejects.csv")[0]]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
@pytest.mark.parametrize(("function", "after", "files"), PHASES, ids=[name.split(":")[1] for name, *_ in PHASES])
def test_killed_and_run_again(tmp_path, function, after, files):
    path = tmp_path / "in.csv"
    path.write_text(FORMER)
    prepared(path, tmp_path / "s", value="v", on_error="skip")
    former = contents_of(tmp_path / "s")
    path.write_text(LATER)
    prepared(path, tmp_path / "clean", value="v", on_error="skip", shards=2)
    later = contents_of(tmp_path / "clean")
    started = time.time_ns()
    command = [sys.executable, "-c", PAUSING.format(function=function, after=after)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"here\n"
    process.kill()
    process.communicate()
    made = [one for name in files for one in tmp_path.glob(name)]
    assert len(made) >= len(files)
    assert any(one.stat().st_ctime_ns > started for one in made)
    found = contents_of(tmp_path / "s")
    assert found == (later if "s/manifest.json" in files else former)
    assert texts_of(tmp_path) == [",5,6"]
    Store.open(tmp_path / "s").verify()
    prepared(path, tmp_path / "s", value="v", on_error="skip", shards=2)
    assert contents_of(tmp_path / "s") == later
    assert texts_of(tmp_path) == ["3,4"]
    names = ["clean", "clean.rejects.csv", "in.csv", "s", "s.rejects.csv"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file that takes some time."""
    path = tmp_path_factory.mktemp("big") / "big.csv"
    generator = random.Random(0)
    rows = (f"{generator.randrange(5000)},{generator.randrange(900)},{generator.random():.3f}" for _ in range(400_000))
    path.write_text("u,i,v\n" + "\n".join(rows) + "\n")
    return path


def start(big, folder, **options):
    command = [sys.executable, "-m", "implicit_wmf", "prepare", str(big), "-o", "s", "--user", "u", "--item", "i"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, "--value", "v"], cwd=folder, **pipes, **options)


def wait_for(process, path):
    while process.poll() is None and not path.exists():
        time.sleep(0.002)
    assert process.poll() is None


MOMENTS = ["lines.duckdb", "users.parquet", "items", "cell_items"]


@SIGNALS
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, b"interrupted\n"), (signal.SIGTERM, 143, b"terminated\n")],
    ids=["SIGINT", "SIGTERM"],
)
def test_signals_leave_nothing(tmp_path, big, moment, number, code, said):
    process = start(big, tmp_path)
    wait_for(process, tmp_path / ".s.preparing" / moment)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (code, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("megabytes", [0.001, 0.3, 3])
def test_files_that_cannot_grow(tmp_path, big, megabytes):
    """As on a disk that is full: a limit on the size of files makes writing fail."""
    resource = pytest.importorskip("resource")
    (tmp_path / "in.csv").write_text(FORMER)
    prepared(tmp_path / "in.csv", tmp_path / "s", value="v", on_error="skip")
    (tmp_path / "in.csv").unlink()
    former = contents_of(tmp_path / "s")
    limit = int(megabytes * 10**6)
    process = start(big, tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"error: ")
    assert b"File too large" in err
    assert b"again" in err
    assert contents_of(tmp_path / "s") == former
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s", "s.rejects.csv"]


@pytest.mark.parametrize("step", ["gather_cells", "find_core", "shard_edges"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, step):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr(preparing, step, fail)
    (tmp_path / "in.csv").write_text(FORMER)
    with pytest.raises(InputError, match="preparing .*s failed: somewhere No space left on device; make room"):
        prepared(tmp_path / "in.csv", tmp_path / "s", on_error="skip")
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]
