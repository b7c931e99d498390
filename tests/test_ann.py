"""Factors handed over to other programs."""

import sys

import numpy as np
import pandas as pd
import pytest
from conftest import awkward_counts, to_sparse
from numpy.testing import assert_allclose, assert_array_equal

from implicit_wmf import WMF, InputError, MissingExtraError, NotFittedError, ann
from implicit_wmf.factorizers import ObservedMF


@pytest.fixture(params=[WMF, ObservedMF])
def fitted(request):
    return request.param(5, iterations=2, random_state=0).fit(to_sparse(awkward_counts()))


@pytest.fixture
def usearch():
    return pytest.importorskip("usearch.index", exc_type=ImportError)


def test_an_index_finds_the_highest_inner_products(usearch, fitted, tmp_path):
    quality = fitted.to_usearch(tmp_path / "new" / "items.usearch", N=7, expansion_search=200)
    assert quality == (1, 30)  # more candidates than items: all of them are looked at
    index = usearch.Index.restore(str(tmp_path / "new" / "items.usearch"), expansion_search=200)
    assert len(index) == 80
    vectors, items = fitted._scoring_factors(np.arange(30))
    lengths = np.linalg.norm(np.array([index.get(key) for key in range(80)]), axis=1)
    assert_allclose(lengths, np.linalg.norm(items, axis=1).max(), rtol=1e-5)
    ids, scores = fitted.recommend(5, N=7, filter_already_liked_items=False)
    found = index.search(np.append(vectors[5], 0).astype(np.float32), 7)
    assert found.keys.tolist() == ids.tolist()
    assert_allclose(1 - found.distances, scores, atol=1e-4)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["items.usearch"]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_item_is_found_and_the_file_is_the_same_each_time(usearch, tmp_path, threads):
    model = WMF(5, iterations=1, random_state=0, num_threads=threads)
    model.fit(to_sparse(np.random.default_rng(1).poisson(0.1, (40, 300)).astype(np.float32)))
    files = set()
    for _ in range(5):
        assert model.to_usearch(tmp_path / "items.usearch", N=300, expansion_search=300) == (1, 40)
        files.add((tmp_path / "items.usearch").read_bytes())
    assert len(files) == 1


def test_recall_is_that_of_the_lists(usearch, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(ann, "_ITEMS", 13)
    assert fitted.to_usearch(tmp_path / "i", sample=4).users == 4
    assert fitted.to_usearch(tmp_path / "i", N=1000).recall == 1  # every item is in both lists
    add = type(fitted)._add_items

    def add_even_ones(self, index, items, dtype):
        add(self, index, items, dtype)
        index.remove(np.arange(1, 80, 2, dtype=np.uint64))

    monkeypatch.setattr(type(fitted), "_add_items", add_even_ones)
    exact, scores = fitted.recommend(np.arange(30), N=10, filter_already_liked_items=False)
    even = np.where((scores == scores[:, :1]).all(axis=1)[:, None], 0, exact) % 2 == 0
    assert 0.2 < even.mean() < 0.8
    assert fitted.to_usearch(tmp_path / "i", expansion_search=200).recall == pytest.approx(even.mean(), abs=1e-12)


def test_an_index_replaces_one_that_is_there_and_nothing_else(usearch, fitted, tmp_path):
    path = tmp_path / "items.usearch"
    path.write_text("old")
    fitted.to_usearch(path)
    assert len(usearch.Index.restore(str(path))) == 80
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match="path: cannot write .*folder"):
        fitted.to_usearch(folder)
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match="path: cannot write"):
        fitted.to_usearch(tmp_path / "file" / "i")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder", "items.usearch"]


def test_an_index_refuses_what_it_cannot_hold(usearch, tmp_path):
    model = WMF(2, iterations=1, random_state=0).fit(to_sparse(awkward_counts()))
    for name in ("connectivity", "expansion_add", "expansion_search", "sample"):
        with pytest.raises(InputError, match=f"{name} must be a whole number of at least 1, got 0"):
            model.to_usearch(tmp_path / "i", **{name: 0})
    with pytest.raises(InputError, match="dtype must be one of 'f32', 'f16', 'bf16', got 'i8'"):
        model.to_usearch(tmp_path / "i", dtype="i8")
    with pytest.raises(InputError, match="N must be a whole number"):
        model.to_usearch(tmp_path / "i", N=0)
    model._state().item_factors[3] = 1e5
    with pytest.raises(InputError, match="dtype: f16 cannot hold the longest item's norm, 141421"):
        model.to_usearch(tmp_path / "i", dtype="f16")
    assert model.to_usearch(tmp_path / "i", dtype="bf16").users == 30
    assert [entry.name for entry in tmp_path.iterdir()] == ["i"]


def test_what_is_missing_is_named(fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtraError, match=r"to_usearch needs usearch, .* pip install 'implicit_wmf\[ann\]'"):
        fitted.to_usearch(tmp_path / "i")
    with pytest.raises(NotFittedError, match="no factors yet"):
        WMF().export_factors(tmp_path / "e")


def test_exported_factors_multiply_to_the_scores(fitted, tmp_path):
    fitted.export_factors(tmp_path / "new" / "e")
    users, items = (np.load(tmp_path / "new" / "e" / f"{side}_factors.npy") for side in ("user", "item"))
    assert users.flags.c_contiguous
    assert users.dtype == items.dtype == np.float32
    ids, scores = fitted.recommend(np.arange(30), N=80, filter_already_liked_items=False)
    assert_allclose(np.take_along_axis(users @ items.T, ids, axis=1), scores, atol=1e-5)
    with pytest.raises(InputError, match="path: .*e is there already; move it away, or choose another path"):
        fitted.export_factors(tmp_path / "new" / "e")


def test_exported_ids_are_those_of_the_rows(model, tmp_path):
    exporter = WMF.from_config(model.config)
    exporter._fitted = model._state()
    exporter.export_factors(tmp_path / "e")
    assert_array_equal(np.load(tmp_path / "e" / "user_factors.npy"), model.user_factors)
    for side in ("users", "items"):
        table = pd.read_csv(tmp_path / "e" / f"{side}.csv")
        assert table["position"].tolist() == list(range(len(table)))
        assert table["id"].tolist() == getattr(model.interactions, side).tolist()
    assert sorted(entry.name for entry in (tmp_path / "e").iterdir()) == [
        "item_factors.npy", "items.csv", "user_factors.npy", "users.csv",
    ]  # fmt: skip
