"""Stores: what was written is read, and nothing damaged is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import awkward_counts, to_sparse
from numpy.testing import assert_array_equal

from implicit_wmf import InputError, Interactions
from implicit_wmf._manifests import write_manifest
from implicit_wmf._stored_arrays import write_array
from implicit_wmf.store import Store, is_store, write_store
from implicit_wmf.store.writing import shard_edges, writing_store

DATA = Interactions.from_matrix(to_sparse(awkward_counts(23, 9).astype(np.float32)))


def dense_of(matrix):
    return matrix.toarray()


@pytest.fixture
def folder(tmp_path):
    write_store(tmp_path / "store", DATA, shards=4)
    return tmp_path / "store"


@pytest.mark.parametrize("shards", [1, 2, 5, 23, 100, None])
def test_interactions_come_back(tmp_path, shards):
    store = write_store(tmp_path / "store", DATA, shards=shards)
    assert (store.shape, store.nnz) == (DATA.shape, DATA.nnz)
    assert len(store.shards) <= min(shards or 1, 23)
    assert len(store.shards) > 0.8 * min(shards or 1, 23)
    for again in (store.interactions(), store.mapped_interactions()):
        for part in ("indptr", "indices", "data"):
            assert_array_equal(getattr(again.matrix, part), getattr(DATA.matrix, part))
        assert list(again.users) == list(DATA.users)
        assert (again.shape, again.nnz, again.timestamps) == (DATA.shape, DATA.nnz, None)


def test_shards_are_rows_of_the_matrix_both_ways(folder):
    store = Store.open(folder)
    whole = DATA.matrix.tolil()
    for shard in store.shards:
        by_user, by_item = shard.by_user(), shard.by_item()
        assert_array_equal(dense_of(by_user), dense_of(whole[shard.users].tocsr()))
        assert_array_equal(dense_of(by_item), dense_of(by_user).T)
        assert shard.nnz == by_user.nnz == by_item.nnz
        assert not by_user.data.flags.writeable
        assert not any(part.flags.owndata for part in (by_user.data, by_user.indices, by_item.data, by_item.indices))
    assert sum(shard.nnz for shard in store.shards) == DATA.nnz
    assert [shard.stop for shard in store.shards[:-1]] == [shard.start for shard in store.shards[1:]]
    positive = dense_of(DATA.matrix) > 0
    assert_array_equal(store.array("user_positive"), positive.sum(axis=1))
    assert_array_equal(store.array("item_positive"), positive.sum(axis=0))


@pytest.mark.parametrize(
    "ids",
    [
        [f"é{position}" for position in range(23)],
        np.arange(23, dtype=np.int64)[::-1] * 2**40,
        pd.date_range("2020-01-01", periods=23).astype("datetime64[s]"),
    ],
)
def test_ids_come_back(tmp_path, ids):
    data = Interactions.from_matrix(DATA.matrix, users=ids)
    store = write_store(tmp_path / "store", data)
    assert list(store.users) == list(data.users)
    assert store.users.dtype.kind == data.users.dtype.kind
    assert list(store.items) == list(range(9))


def test_ids_of_other_kinds_are_refused_and_nothing_is_left(tmp_path):
    data = Interactions.from_matrix(DATA.matrix, users=[(position, "a") for position in range(23)])
    with pytest.raises(InputError, match="users: .*convert them to text"):
        write_store(tmp_path / "store", data)
    assert list(tmp_path.iterdir()) == []


def test_times_come_back(tmp_path):
    moments = np.arange(DATA.nnz).astype("datetime64[s]")
    data = Interactions(DATA.matrix, DATA.users, DATA.items, moments)
    store = write_store(tmp_path / "store", data, shards=3)
    assert store.has_timestamps
    assert_array_equal(store.interactions().timestamps, moments)
    assert_array_equal(store.mapped_interactions().timestamps, moments)


def test_a_store_is_replaced_and_nothing_else_is(tmp_path, folder):
    write_store(folder, Interactions.from_matrix([[1.0]]))
    assert Store.open(folder).shape == (1, 1)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to.txt").write_text("you")
    with pytest.raises(InputError, match="exists and is not a store"):
        write_store(tmp_path / "letters", DATA)
    assert (tmp_path / "letters" / "to.txt").read_text() == "you"


def test_an_unfinished_store_is_not_there(tmp_path):
    with pytest.raises(RuntimeError), writing_store(tmp_path / "store", shape=(2, 2), cells=2) as writer:
        writer.add_shard(np.array([0, 1]), np.array([0]), np.array([1.0]))
        raise RuntimeError
    announced = pytest.raises(ValueError, match="1 cells of 1 users were written where 2 of 2 were announced")
    with announced, writing_store(tmp_path / "store", shape=(2, 2), cells=2) as writer:
        writer.add_shard(np.array([0, 1]), np.array([0]), np.array([1.0]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [1e39, np.nan, -np.inf])
def test_a_value_that_float32_does_not_hold_is_refused(tmp_path, value):
    refused = pytest.raises(InputError, match="user 2 and item 1 .* does not fit float32")
    with refused, writing_store(tmp_path / "store", shape=(3, 2), cells=2) as writer:
        writer.add_shard(np.array([0, 1]), np.array([0]), np.array([1.0]))
        writer.add_shard(np.array([0, 0, 1]), np.array([1]), np.array([value]))


def test_shards_have_about_equal_work():
    generator = np.random.default_rng(0)
    sizes = generator.zipf(1.5, 10_000).clip(max=3000)
    edges = shard_edges(sizes, 7)
    work = np.add.reduceat(sizes + 8, edges[:-1])
    assert (edges[0], edges[-1], len(edges)) == (0, 10_000, 8)
    assert work.max() < 1.2 * work.mean()
    assert shard_edges(np.zeros(3, int), 10).tolist() == [0, 1, 2, 3]
    assert len(shard_edges(np.full(100, 1_000_000))) - 1 == 13


def test_what_is_there(tmp_path, folder):
    assert is_store(folder)
    assert not is_store(tmp_path)
    with pytest.raises(InputError, match="there is no store at"):
        Store.open(tmp_path / "other")
    with pytest.raises(InputError, match=r"is not a store: it has no manifest\.json"):
        Store.open(tmp_path)
    assert dict(Store.open(folder).describe())["pairs"] == DATA.nnz
    assert repr(Store.open(folder)) == f"Store(23 users x 9 items, {DATA.nnz} pairs, 4 shards)"


def every_file(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")


def test_every_damaged_file_is_refused_by_name(folder):
    for name in every_file(folder):
        path = folder / name
        whole = path.read_bytes()
        for damaged in (None, whole[:-1], whole + b"0", bytes([whole[0] ^ 1]) + whole[1:]):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            with pytest.raises(InputError, match=f"store .* is damaged: {name}"):
                Store.open(folder)
            path.write_bytes(whole)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(InputError, match=f"store .* is damaged: {name}"):
            Store.open(folder).verify()
        path.write_bytes(whole)
    Store.open(folder).verify()


def edit(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder / "manifest.json", manifest | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"shards": [0, 5, 22]}, {"shards": [1, 23]}, {"shards": [0, 9, 9, 23]}, {"shards": []}, {"shards": "all"},
        {"shape": [22, 9]}, {"shape": [23]}, {"cells": 3}, {"cells": None}, {"files": {}}, {"source": None},
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(folder, changes):
    edit(folder, **changes)
    if changes == {"source": None}:
        assert Store.open(folder).nnz == DATA.nnz
        return
    with pytest.raises(InputError, match="is damaged"):
        Store.open(folder)


def test_another_format_is_refused_by_name(folder):
    edit(folder, format_version=9)
    with pytest.raises(InputError, match="is a store of format version 9; this release reads version 1"):
        Store.open(folder)
    edit(folder, format="a shop", format_version=1)
    with pytest.raises(InputError, match="is not a store of implicit_wmf"):
        Store.open(folder)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("user_indices", 0, 9), ("user_indices", 3, -1), ("item_indices", 0, 23), ("user_indptr", 5, 10**6),
        ("user_indptr", 1, -3), ("item_indptr", (0, 3), 10**9), ("user_values", 2, np.nan), ("user_indptr", -1, 2**40),
        ("user_indptr", 0, 2),
    ],
)  # fmt: skip
def test_cells_that_kernels_would_follow_astray_are_refused_even_with_checksums_to_match(folder, name, place, value):
    manifest = json.loads((folder / "manifest.json").read_text())
    array = np.load(folder / f"{name}.npy", allow_pickle=False)
    array[place] = value
    manifest["files"][f"{name}.npy"] = write_array(folder / f"{name}.npy", array)
    write_manifest(Path(folder) / "manifest.json", manifest)
    with pytest.raises(InputError, match="is damaged"):
        Store.open(folder).mapped_interactions()


def test_an_open_store_stays_what_it_was(tmp_path, folder):
    store = Store.open(folder)
    write_store(folder, Interactions.from_matrix(DATA.matrix * 2, users=range(100, 123)), shards=2)
    assert list(store.users) == list(DATA.users)
    assert_array_equal(dense_of(store.interactions().matrix), dense_of(DATA.matrix))
    mapped = store.mapped_interactions()
    shutil.rmtree(folder)
    assert_array_equal(mapped.matrix.data, DATA.matrix.data)
    assert sum(shard.by_item().nnz for shard in store.shards) == DATA.nnz
