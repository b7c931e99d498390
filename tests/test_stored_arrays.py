"""Arrays in files: the bytes of NumPy's own, written without more memory than they need."""

import io
import mmap
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from implicit_wmf import WMF, _stored_arrays
from implicit_wmf._stored_arrays import OpenFile, describe_file, map_array, read_array, write_array

ARRAYS = {
    "matrix": np.arange(60, dtype=np.float32).reshape(12, 5),
    "by columns": np.asfortranarray(np.arange(60.0).reshape(12, 5)),
    "every second": np.arange(60)[::2],
    "empty": np.zeros((0, 3), np.int32),
    "dates": np.array(["2020-01-01", "2021-02-03"], "datetime64[s]"),
    "truth": np.array([True, False]),
}


@pytest.mark.parametrize("piece", [1 << 26, 7])
@pytest.mark.parametrize("name", ARRAYS)
def test_files_are_those_of_numpy(name, piece, tmp_path, monkeypatch):
    monkeypatch.setattr(_stored_arrays, "_PIECE", piece)
    array = ARRAYS[name]
    np.save(tmp_path / "expected.npy", np.ascontiguousarray(array))
    about = write_array(tmp_path / "a.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy", about, mmap=False, whole=True), array)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("part", [slice(None), slice(1000, 60_000), slice(None, None, 3)])
def test_mapped_arrays_are_written_alike(mode, part, tmp_path, monkeypatch):
    monkeypatch.setattr(_stored_arrays, "_PIECE", 3 * mmap.PAGESIZE + 8)
    numbers = np.random.default_rng(0).random((70_000, 2))
    np.save(tmp_path / "source.npy", numbers)
    mapped = np.load(tmp_path / "source.npy", mmap_mode=mode)
    for array in (mapped[part], mapped[part].view(np.ndarray)):
        write_array(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), numbers[part])
    np.testing.assert_array_equal(mapped, numbers)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_changes_to_a_mapped_array_stay(mode, tmp_path):
    np.save(tmp_path / "source.npy", np.zeros(100_000))
    mapped = np.load(tmp_path / "source.npy", mmap_mode=mode)
    mapped[::100] = 7
    expected = np.where(np.arange(100_000) % 100, 0.0, 7.0)
    for _ in range(2):
        write_array(tmp_path / "a.npy", mapped)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
        np.testing.assert_array_equal(mapped, expected)


def test_a_file_that_is_opened_again_reads_like_any_other(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "bytes").write_bytes(content)
    about = describe_file(tmp_path / "bytes")
    stored, plain = OpenFile(tmp_path / "bytes", about).reopened(), io.BytesIO(content)
    for whence, place in [(0, 77), (1, 5000), (2, -300), (0, 0), (2, 10), (1, -20)]:
        assert stored.seek(place, whence) == plain.seek(place, whence) == stored.tell()
        assert stored.read(1000) == plain.read(1000)
    assert stored.read() == plain.read()


def resident():
    """Bytes of mapped files in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0]) * 1024


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system keeps pages as it likes")
def test_everything_in_a_mapped_model_is_let_go_of_when_it_is_saved_again(model, tmp_path, monkeypatch):
    model.save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m", mmap=True)
    find, found = _stored_arrays._releaser, {}

    def note(array):
        found[array.shape] = find(array)
        return found[array.shape]

    monkeypatch.setattr(_stored_arrays, "_releaser", note)
    cells = loaded.interactions.matrix
    for array in (loaded.user_factors, loaded.item_factors, cells.data, cells.indices):
        write_array(tmp_path / "a.npy", array)
        assert found[array.shape] is not None
        write_array(tmp_path / "a.npy", np.array(array))
        assert found[array.shape] is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts pages as Linux tells them")
def test_a_mapped_array_does_not_stay_in_memory(tmp_path):
    size = 1 << 27
    mapped = np.lib.format.open_memmap(tmp_path / "source.npy", "w+", np.float64, (size // 8,))
    mapped[-1] = 3
    before = resident()
    write_array(tmp_path / "a.npy", mapped)
    assert resident() - before < size / 4
    assert np.load(tmp_path / "a.npy", mmap_mode="r")[-1] == 3
    float(mapped.sum())  # what the numbers would be otherwise
    assert resident() - before > size / 2


@pytest.mark.parametrize("writable", [False, True])
def test_pages_of_a_mapped_array_can_be_let_go_of(tmp_path, writable):
    (tmp_path / "numbers").write_bytes(np.arange(5000.0).tobytes())
    with (tmp_path / "numbers").open("r+b") as file:
        mapped = map_array(file.fileno(), np.dtype(float), (499, 10), 80, writable=writable)
    assert_array_equal(mapped.ravel(), np.arange(10.0, 5000.0))
    view = csr_array((mapped.ravel(), np.zeros(4990, np.int32), np.array([0, 4990])), shape=(1, 1)).data
    for array in (mapped, mapped[3:], view):
        assert _stored_arrays._releaser(array) is not None
    assert write_array(tmp_path / "copy.npy", mapped)["bytes"] > 39920
    assert_array_equal(np.load(tmp_path / "copy.npy", allow_pickle=False), mapped)
