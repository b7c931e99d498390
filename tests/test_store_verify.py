"""Verification shard by shard: whoever read the shards, their checksums together tell what one process would find."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest
from conftest import awkward_counts, to_sparse
from hypothesis import given
from hypothesis import strategies as st

from implicit_wmf import InputError, Interactions
from implicit_wmf._checksums import join_crc32
from implicit_wmf._manifests import write_manifest
from implicit_wmf._stored_arrays import StoredFile, write_array
from implicit_wmf.store import Store, write_store

MATRIX = to_sparse(awkward_counts(23, 9).astype(np.float32))
TIMES = np.arange(MATRIX.nnz).astype("datetime64[s]")
DATA = Interactions(MATRIX, pd.Index(np.arange(23) * 10), pd.RangeIndex(9), TIMES)
OF_ALL_SHARDS = {"item_positive.npy", "users.parquet", "items.parquet"}


@pytest.fixture
def folder(tmp_path):
    write_store(tmp_path / "store", DATA, shards=4)
    return tmp_path / "store"


def verify_elsewhere(folder):
    """Let each shard be verified by an object of its own, as on as many machines."""
    count = len(Store.open(folder).shards)
    parts = [Store.open(folder).shards[number].verify() for number in range(count)]
    store = Store.open(folder)
    store.verify_shards(parts)
    return store


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_checksums_of_pieces_join(pieces):
    checksum = 0
    for piece in pieces:
        checksum = join_crc32(checksum, zlib.crc32(piece), len(piece))
    assert checksum == zlib.crc32(b"".join(pieces))


@pytest.mark.parametrize("size", [1, 255, 65_537, 3_000_001])
def test_checksums_of_long_pieces_join(size):
    content = np.random.default_rng(size).bytes(size + 1000)
    first, second = content[:1000], content[1000:]
    assert join_crc32(zlib.crc32(first), zlib.crc32(second), size) == zlib.crc32(content)
    assert join_crc32(zlib.crc32(first), zlib.crc32(bytes(size)), size) == zlib.crc32(first + bytes(size))


def test_a_checksum_joins_zeros_that_no_memory_holds():
    """Zeros in two steps are the zeros in one."""
    first, half = zlib.crc32(b"tea"), 2**40 + 12_345
    zeros = join_crc32(0, 0, half)  # 0 is the checksum of nothing, and stays with zeros behind it in this algebra
    assert zeros == 0
    assert join_crc32(join_crc32(first, 0, half), 0, half) == join_crc32(first, 0, 2 * half)


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("shards", [1, 2, 4, 23])
def test_parts_of_shards_tile_the_files(tmp_path, shards, times):
    data = DATA if times else Interactions(MATRIX, DATA.users, DATA.items)
    store = write_store(tmp_path / "store", data, shards=shards)
    parts = [shard.verify() for shard in store.shards]
    tiled = {path.name for path in (tmp_path / "store").glob("*")} - OF_ALL_SHARDS - {"manifest.json"}
    assert {f"{name}.npy" for name in parts[0]} == tiled
    for name in parts[0]:
        content = (tmp_path / "store" / f"{name}.npy").read_bytes()
        place = len(content) - sum(part[name][0] for part in parts)
        assert np.load(tmp_path / "store" / f"{name}.npy").nbytes == len(content) - place
        for part in parts:
            size, checksum = part[name]
            assert zlib.crc32(content[place : place + size]) == checksum
            place += size


def test_a_store_that_others_verified_is_not_read_again(folder, monkeypatch):
    store = verify_elsewhere(folder)
    monkeypatch.setattr(StoredFile, "checksum", lambda *_: pytest.fail("read again"))
    store.verify()
    assert store.mapped_interactions().nnz == DATA.nnz


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("verify", [verify_elsewhere, lambda folder: Store.open(folder).verify()])
def test_damage_anywhere_is_found_and_its_file_is_named(folder, verify):
    generator = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        places = {128, len(content) // 2, len(content) - 1, *generator.integers(len(content), size=12).tolist()}
        for place in places if path.name != "manifest.json" else ():
            flip(path, place)
            with pytest.raises(InputError, match=rf"the store \S+ is damaged: .*{path.name}.*; prepare it again$"):
                verify(folder)
            path.write_bytes(content)
    verify(folder)


def test_files_that_shrink_or_grow_while_they_are_open_are_refused(folder):
    for name in ("user_values.npy", "users.parquet"):
        store = Store.open(folder)
        content = (folder / name).read_bytes()
        for damaged in (content[:-8], content + b"0"):
            (folder / name).write_bytes(damaged)
            with pytest.raises(InputError, match=f"{name} has {len(damaged)} bytes where {len(content)}"):
                store.verify()
            (folder / name).write_bytes(content)


def harm(folder, name, place, value):
    """Write another number, and checksums to match."""
    manifest = json.loads((folder / "manifest.json").read_text())
    array = np.load(folder / f"{name}.npy", allow_pickle=False)
    array[place] = value
    manifest["files"][f"{name}.npy"] = write_array(folder / f"{name}.npy", array)
    write_manifest(folder / "manifest.json", manifest)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("user_indices", 0, 9, "one of user_indptr.npy, user_indices.npy, user_values.npy is wrong, of users 0 to"),
        ("item_indices", -1, -1, "one of item_indptr.npy, item_indices.npy, item_values.npy is wrong, of users"),
        ("item_values", 0, np.inf, "one of item_indptr.npy, item_indices.npy, item_values.npy is wrong, of users 0"),
        # pointers of int32 would be the right ones
        ("user_indptr", 2, 2**32, r"user_indptr.npy does not rise from 0 to \d+, of users 0 to"),
        ("user_indptr", 2, -1, "user_indptr.npy does not rise"),
        ("item_indptr", (1, 4), 2**32, r"item_indptr.npy does not rise from 0 to \d+, of users"),
        ("item_indptr", (1, 0), -(2**32), "item_indptr.npy does not rise"),
        ("item_indptr", (1, -1), 2**32, "item_indptr.npy does not rise"),
    ],
)
def test_cells_that_are_none_are_refused_even_with_checksums_to_match(folder, name, place, value, message):
    harm(folder, name, place, value)
    for verify in (verify_elsewhere, lambda folder: Store.open(folder).mapped_interactions()):
        with pytest.raises(InputError, match=f"is damaged: {message}.*; prepare it again"):
            verify(folder)


def test_parts_that_are_not_those_of_the_shards_are_refused(folder):
    store = Store.open(folder)
    parts = [shard.verify() for shard in store.shards]
    assert len({shard.stop - shard.start for shard in store.shards}) > 1
    for wrong, message in [
        (parts[:-1], "got 3 for 4 shards"),
        ([], "got 0 for 4 shards"),
        ([*parts, parts[0]], "number 5 is not that of a shard of .*store, which has 4"),
        (parts[::-1], "number 1 is not that of a shard"),
        ([{}, *parts[1:]], "number 1 is not that of a shard"),
        ([*parts[:3], parts[3] | {"more": (0, 0)}], "number 4 is not that of a shard"),
    ]:
        with pytest.raises(InputError, match=f"^parts: {message}"):
            store.verify_shards(wrong)
        assert not store._verified
    store.verify_shards(iter(parts))


def test_shards_of_equal_size_in_another_order_are_refused(tmp_path):
    store = write_store(tmp_path / "store", Interactions.from_matrix(np.arange(1, 7.0).reshape(2, 3)), shards=2)
    parts = [shard.verify() for shard in store.shards]
    with pytest.raises(InputError, match=r"user_indptr.npy has other contents than were written \(checksum\)"):
        store.verify_shards(parts[::-1])
