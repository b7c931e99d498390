"""Stores behind URLs: the same as in their folders, and no more is fetched than is asked for."""

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import to_sparse
from numpy.testing import assert_array_equal

from implicit_wmf import WMF, InputError, Interactions
from implicit_wmf.errors import MissingExtraError
from implicit_wmf.store import Store, is_store, prepare, remote, write_store

fsspec = pytest.importorskip("fsspec")

from far_files import FarFiles  # noqa: E402

BLOCK = 512


def counts():
    generator = np.random.default_rng(0)
    dense = generator.integers(1, 9, size=(200, 40)).astype(np.float32)
    dense[generator.random(dense.shape) < 0.6] = np.nan
    return to_sparse(dense)


DATA = Interactions.from_matrix(counts(), users=[f"u{number}" for number in range(200)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A store whose files have several blocks."""
    monkeypatch.setattr(remote, "_BLOCK", BLOCK)
    monkeypatch.setattr(remote, "_PIECE_BLOCKS", 4)
    monkeypatch.setattr(remote, "_WAITS", (0.0, 0.0))
    write_store(tmp_path / "store", DATA, shards=4)
    yield tmp_path / "store"
    FarFiles.requests.clear()
    FarFiles.answers.clear()


@pytest.fixture
def far(folder):
    return f"far://{folder}"


def sent(name):
    """Bytes that were sent of a file, and at which places requests began."""
    requests = [(start, size) for file, start, size in FarFiles.requests if file == name]
    return sum(size for _, size in requests), [start for start, _ in requests]


def assert_same(store):
    again = store.interactions()
    for part in ("indptr", "indices", "data"):
        assert_array_equal(getattr(again.matrix, part), getattr(DATA.matrix, part))
    assert (list(again.users), list(again.items)) == (list(DATA.users), list(DATA.items))


def test_a_store_behind_a_url_is_the_store(folder, far, tmp_path):
    local, store = Store.open(folder), Store.open(far + "/", cache=tmp_path)
    assert (store.location, store.path, store.scratch_folder) == (far, None, tmp_path)
    assert Store.open(far).scratch_folder == Path(tempfile.gettempdir())
    assert (store.fingerprint, repr(store), store.describe()) == (local.fingerprint, repr(local), local.describe())
    assert store.ids_bytes() == local.ids_bytes()
    for one, other in zip(local.shards, store.shards, strict=True):
        assert one.nnz == other.nnz
        assert_array_equal(one.by_user().toarray(), other.by_user().toarray())
        assert_array_equal(one.by_item().toarray(), other.by_item().toarray())
        assert one.verify() == other.verify()
    assert_same(store)
    assert os.listdir(tmp_path) == ["store"]


def test_a_store_in_memory_of_fsspec():
    system = fsspec.filesystem("memory")
    with tempfile.TemporaryDirectory() as folder:
        write_store(f"{folder}/store", DATA)
        system.put(f"{folder}/store", "/tea", recursive=True)
    try:
        assert is_store("memory://tea")
        assert_same(Store.open("memory://tea"))
        system.rm("/tea/manifest.json")
        assert not is_store("memory://tea")
        with pytest.raises(InputError, match="there is no store at memory://tea: no manifest.json is there"):
            Store.open("memory://tea")
    finally:
        system.rm("/tea", recursive=True)


def test_a_file_url_is_a_folder(folder, tmp_path):
    store = Store.open(f"file://{folder}", cache=tmp_path)
    assert (store.location, store.path, store.scratch_folder) == (str(folder), folder, tmp_path)
    assert is_store(f"file://{folder}")
    assert not is_store(f"file://{tmp_path}")
    assert Store.open(folder).scratch_folder == tmp_path


def test_a_model_is_fitted_to_it(folder, far):
    settings = {"factors": 3, "iterations": 2, "random_state": 0}
    model, other = (WMF(**settings).fit(Store.open(place), progress=False) for place in (far, folder))
    assert_array_equal(model.user_factors, other.user_factors)
    assert_array_equal(model.recommend([0, 7], N=5)[0], other.recommend([0, 7], N=5)[0])


def test_no_more_is_fetched_than_is_asked_for(far, folder):
    store = Store.open(far)
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    first = {name: size if name == "manifest.json" else min(size, BLOCK) for name, size in files.items()}
    first["user_indptr.npy"] += files["user_indptr.npy"] % BLOCK  # its last pointer as well
    assert {name: sent(name)[0] for name in files} == first
    shard = store.shards[2]
    cells = shard.cells
    FarFiles.requests.clear()
    values = store.array("user_values", cells)
    first, last = 128 + 4 * cells.start, 128 + 4 * cells.stop
    begin, end = first // BLOCK * BLOCK, -(-last // BLOCK) * BLOCK
    assert sent("user_values.npy") == (end - begin, list(range(begin, end, 4 * BLOCK)))
    assert all(size <= 4 * BLOCK for _, _, size in FarFiles.requests)
    FarFiles.requests.clear()
    assert_array_equal(store.array("user_values", slice(cells.start + 3, cells.stop - 3)), values[3:-3])
    assert FarFiles.requests == []
    store.array("user_values")
    assert sent("user_values.npy")[0] == files["user_values.npy"] - (end - begin) - BLOCK
    store.verify()
    FarFiles.requests.clear()
    assert_same(store)
    assert FarFiles.requests == []


def test_disk_is_taken_by_what_was_fetched(folder, far, monkeypatch):
    monkeypatch.setattr(remote, "_BLOCK", 4096)
    made = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: made.append(make(**options)) or made[-1])
    system = FarFiles()
    (folder / "long").write_bytes(bytes(1 << 22))
    file = remote.RemoteFile(system, str(folder / "long"), "far://long", {"bytes": 1 << 22, "head_crc32": 227968344,
                                                                         "crc32": 0}, folder)  # fmt: skip
    list(file._read(1 << 20, (1 << 20) + 10_000))
    assert os.fstat(made[0].fileno()).st_size == 1 << 22
    assert os.fstat(made[0].fileno()).st_blocks * 512 <= 64 * 1024


def test_threads_share_what_is_fetched(far):
    store = Store.open(far)
    FarFiles.requests.clear()
    spans = [slice(start, start + 400) for start in range(0, DATA.nnz - 400, 50)] * 4
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda rows: np.array(store.array("item_values", rows)), spans))
    whole = np.array(Store.open(far.removeprefix("far://")).array("item_values"))
    for rows, part in zip(spans, parts, strict=True):
        assert_array_equal(part, whole[rows])
    blocks = [start // BLOCK + k for name, start, size in FarFiles.requests for k in range(-(-size // BLOCK))]
    assert len(blocks) == len(set(blocks))


def test_errors_of_a_moment_are_waited_out(far, caplog):
    FarFiles.answers[:] = [OSError("reset by peer"), TimeoutError(), bytes]
    store = Store.open(far)
    FarFiles.answers[:] = [ConnectionError("cut"), bytes, OSError("again")]
    assert_same(store)
    assert FarFiles.answers == []
    assert caplog.messages[0] == f"cannot read {far}/manifest.json now (OSError: reset by peer); trying again"
    assert len(caplog.messages) == 4


@pytest.mark.parametrize("error", [OSError("network is down"), RuntimeError("odd"), PermissionError("no key")])
def test_what_cannot_be_read_is_not_called_damaged(far, error):
    message = rf"^cannot read {far}/\S+ \({type(error).__name__}: {error}\); try again when it can be read, or copy"
    for attempt in (Store.open, is_store):
        FarFiles.answers[:] = [error] * 12
        with pytest.raises(InputError, match=message):
            attempt(far)
    FarFiles.answers.clear()
    store = Store.open(far)
    for attempt in (store.verify, store.shards[0].verify, store.interactions, lambda: store.array("item_values")):
        FarFiles.answers[:] = [error] * 12
        with pytest.raises(InputError, match=message):
            attempt()
    FarFiles.answers.clear()
    assert_same(store)


def test_missing_and_changed_files_are_damage(far, folder):
    for name in sorted({path.name for path in folder.iterdir()} - {"manifest.json"}):
        content = (folder / name).read_bytes()
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        for damaged, reason in [
            (None, "is missing"), (content[:-1], f"has {len(content) - 1} bytes"), (content + b"0", "bytes where"),
            (b"1" + content[1:], r"other contents than were written \(checksum\)"),
        ]:  # fmt: skip
            (folder / name).unlink() if damaged is None else (folder / name).write_bytes(damaged)
            with pytest.raises(InputError, match=rf"the store {far} is damaged: {name} .*{reason}.*; prepare it again"):
                Store.open(far)
            (folder / name).write_bytes(content)
        (folder / name).write_bytes(flipped)
        with pytest.raises(InputError, match=rf"the store {far} is damaged: {name} .*; prepare it again"):
            Store.open(far).verify()
        (folder / name).write_bytes(content)
    Store.open(far).verify()


def test_files_that_go_while_the_store_is_open_are_damage(far, folder):
    content = (folder / "user_values.npy").read_bytes()
    store = Store.open(far)
    (folder / "user_values.npy").write_bytes(content[:1000])
    with pytest.raises(InputError, match=f"the store {far} is damaged: user_values.npy ends at byte 1000 where"):
        store.array("user_values")
    (folder / "user_values.npy").unlink()
    with pytest.raises(InputError, match=f"the store {far} is damaged: user_values.npy is missing; prepare it again"):
        store.array("user_values")
    (folder / "user_values.npy").write_bytes(content[:1000])
    FarFiles.answers[:] = [OSError("no such range")] * 12
    with pytest.raises(InputError, match=f"is damaged: user_values.npy has 1000 bytes where {len(content)} were"):
        store.array("user_values")
    (folder / "user_values.npy").write_bytes(content)
    FarFiles.answers.clear()
    assert_same(store)


def test_a_store_that_takes_its_place_is_told_apart(far, folder):
    store = Store.open(far)
    store.shards[0].verify()
    write_store(folder, Interactions.from_matrix(counts() * 2, users=DATA.users), shards=4)
    with pytest.raises(InputError, match="values.npy has other contents than were written"):
        store.verify()
    with pytest.raises(InputError, match=f"the store {far} is another one than it was"):
        pickle.loads(pickle.dumps(store))


def test_a_full_disk_is_told(far, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    store = Store.open(far, cache=tmp_path)
    written = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(InputError, match=rf"no room for {far}/item_values.npy in {tmp_path} \(No space left.*as cache"):
        store.array("item_values")
    # a disk that is nearly full takes a part
    monkeypatch.setattr(os, "pwrite", lambda file, content, place: written(file, content[:100], place))
    assert_same(store)


def test_folders_for_what_is_fetched(far, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cache: there is no folder .*none; create it"):
        Store.open(far, cache=tmp_path / "none")
    (tmp_path / "cache").mkdir()
    again = pickle.dumps(Store.open(far, cache=tmp_path / "cache"))
    assert pickle.loads(again).scratch_folder == tmp_path / "cache"
    (tmp_path / "cache").rmdir()
    assert pickle.loads(again).scratch_folder == Path(tempfile.gettempdir())
    monkeypatch.setattr(remote.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"cannot be kept in .*gone \(No such file or directory\); .* as cache"):
        Store.open(far)


def test_other_processes_open_the_store_by_its_url(folder, tmp_path):
    """``simplecache::`` is no local path to the store, but one that every process has."""
    store = Store.open(f"simplecache::file://{folder}")
    (tmp_path / "store.bin").write_bytes(pickle.dumps([store, store.shards[1]]))
    code = "import pickle, sys; store, shard = pickle.load(open(sys.argv[1], 'rb')); "
    code += "print(store.location, shard.verify() == store.shards[1].verify(), shard.by_user().sum())"
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "store.bin"], capture_output=True, text=True)
    assert run.stdout.split() == [store.location, "True", str(store.shards[1].by_user().sum())], run.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [("nowhere://tea", "path: nowhere://tea cannot be opened: .*nowhere"), ("far:///no/tea", "there is no store at")],
)
def test_urls_without_a_store(url, message):
    with pytest.raises(InputError, match=message):
        Store.open(url)


def test_what_is_no_url_and_no_place_to_write_to(tmp_path):
    with pytest.raises(InputError, match="give it as text, not as a Path"):
        Store.open(Path("s3://bucket/store"))
    message = "path: memory://tea is a URL, which stores are only read from; write it to a folder"
    with pytest.raises(InputError, match=message):
        write_store("memory://tea", DATA)
    (tmp_path / "lines.csv").write_text("u,i\n1,2\n")
    pytest.importorskip("duckdb")
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "lines.csv", "memory://tea", user="u", item="i")


def test_local_stores_need_no_fsspec(folder):
    code = f"""import sys
sys.modules["fsspec"] = sys.modules["fsspec.core"] = None
from implicit_wmf.store import Store
Store.open({str(folder)!r}).verify()
Store.open({f"file://{folder}"!r}).verify()
try:
    Store.open("memory://tea")
except ImportError as error:
    print(error)"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == (
        "Opening a store at a URL needs fsspec, which is not installed. "
        "Install it with: pip install 'implicit_wmf[dask]'\n"
    )
    assert issubclass(MissingExtraError, ImportError)


class Ranges(SimpleHTTPRequestHandler):
    """Serves parts of files, which Python's own server does not."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if "Range" not in self.headers or not path.is_file():
            return super().do_GET()
        first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
        content = path.read_bytes()[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{path.stat().st_size}")
        self.end_headers()
        self.wfile.write(content)
        return None


class NoRanges(Ranges):
    def do_GET(self):
        return SimpleHTTPRequestHandler.do_GET(self)


@pytest.mark.parametrize("handler", [Ranges, NoRanges])
def test_stores_behind_a_web_server(folder, handler):
    pytest.importorskip("aiohttp")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/store"
        assert is_store(url)
        assert not is_store(url + "s")
        if handler is Ranges:
            assert_same(Store.open(url))
            shutil.rmtree(folder)
            with pytest.raises(InputError, match="there is no store at http"):
                Store.open(url)
        else:
            with pytest.raises(InputError, match=r"cannot be read in parts: 512 bytes were asked for and \d+ came"):
                Store.open(url)
    finally:
        server.shutdown()
        server.server_close()
