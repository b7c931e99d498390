"""Recommendations for everyone, on disk: what is written and what is refused."""

import json
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from batch_jobs import IDS, contents, fitted, interrupt_after, names
from scipy import sparse

from implicit_wmf import WMF, InputError, MissingExtraError, NotFittedError
from implicit_wmf.batch import BatchSummary
from implicit_wmf.factorizers import ObservedMF


@pytest.fixture(scope="module")
def model():
    return fitted([f"u{user:03}" for user in range(50)], [f"item {item}" for item in range(23)])


@pytest.mark.parametrize("known", [True, False])
def test_the_lists_of_everyone_are_those_of_recommend_frame(model, tmp_path, known):
    summary = model.recommend_all(tmp_path / "all", 5, part_users=8, filter_already_liked_items=known)
    expected = model.recommend_frame(N=5, filter_already_liked_items=known)
    lists = pd.read_parquet(tmp_path / "all")
    pd.testing.assert_frame_equal(lists, expected, check_dtype=False)
    assert names(tmp_path) == ["all"]
    assert names(tmp_path / "all") == ["_summary.json", *(f"part-{part:05}.parquet" for part in range(7))]
    sizes = expected.groupby("user").size().reindex(model.interactions.users, fill_value=0)
    assert summary.short_users == (sizes < 5).sum()
    assert (summary.short_users > 0) == known
    assert (summary.users, summary.items, summary.resumed_users) == (50, 23, 0)
    assert summary.recommendations == len(expected)
    assert summary.coverage == expected["item"].nunique() / 23
    assert summary.users_per_second == pytest.approx(50 / summary.seconds)
    written = json.loads((tmp_path / "all" / "_summary.json").read_text())
    assert {name: written[name] for name in ("users", "short_users", "recommended_items")} == {
        name: getattr(summary, name) for name in ("users", "short_users", "recommended_items")
    }
    for name, about in written["parts"].items():
        assert zlib.crc32((tmp_path / "all" / name).read_bytes()) == about["crc32"]


def test_other_readers_see_one_table(model, tmp_path):
    polars = pytest.importorskip("polars")
    model.recommend_all(tmp_path / "all", 4, part_users=20)
    lists = polars.read_parquet(tmp_path / "all" / "*.parquet")
    assert lists["item"].to_list() == model.recommend_frame(N=4)["item"].tolist()
    assert lists.columns == ["user", "item", "rank", "score"]


def test_some_users_in_their_order_with_lists_of_items(model, tmp_path):
    users = ["u007", "u001", "u030"]
    rows, deny = model.interactions.user_indices(users), [0, 3, 5]
    model.recommend_all(tmp_path / "a", 6, users=users, filter_items=deny, part_users=2)
    ids, scores = model.recommend(rows, 6, filter_items=deny)
    lists = pd.read_parquet(tmp_path / "a")
    assert lists["item"].tolist() == model.interactions.items[ids[ids >= 0]].tolist()
    assert lists["score"].tolist() == scores[ids >= 0].tolist()
    assert lists["user"].unique().tolist() == users
    own = sparse.csr_array(np.eye(3, 23, k=4) + np.eye(3, 23, k=9))
    model.recommend_all(tmp_path / "b", 6, users=users, items=own, filter_already_liked_items=False, part_users=2)
    lists = pd.read_parquet(tmp_path / "b")
    chosen = lists.groupby("user", sort=False)["item"].agg(set).tolist()
    assert chosen == [{f"item {4 + row}", f"item {9 + row}"} for row in range(3)]
    summary = model.recommend_all(tmp_path / "one", users="u003", N=1)
    assert pd.read_parquet(tmp_path / "one").user.tolist() == ["u003"]
    assert summary.users == 1


def test_more_than_the_catalogue_and_nobody(model, tmp_path):
    summary = model.recommend_all(tmp_path / "all", 10**6)
    lists = pd.read_parquet(tmp_path / "all")
    pd.testing.assert_frame_equal(lists, model.recommend_frame(N=23), check_dtype=False)
    assert summary.short_users == 50
    nobody = model.recommend_all(tmp_path / "none", users=[])
    assert (nobody.users, nobody.coverage) == (0, 0)
    lists = pd.read_parquet(tmp_path / "none")
    assert (lists.columns.tolist(), len(lists)) == (["user", "item", "rank", "score"], 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"users": ["u001", "zoe"]}, "users: 1 of 2 ids are unknown: 'zoe'"),
        ({"users": ["u001", "u002", "u001"]}, "users: the id 'u001' at position 2 was given before"),
        ({"N": 0}, "N must be a whole number of at least 1"),
        ({"part_users": 0}, "part_users must be a whole number of at least 1, got 0"),
        ({"part_users": 2.5}, "part_users must be .* got 2.5"),
        ({"part_users": True}, "part_users must be .* got True"),
        ({"items": [23]}, "items holds 23 at position 0; indices run from 0 to 22"),
        ({"filter_items": sparse.csr_array((3, 23))}, r"filter_items has shape \(3, 23\); \(50, 23\) is needed"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(model, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        model.recommend_all(tmp_path / "lists", **settings)
    assert names(tmp_path) == []


def test_not_fitted_and_no_pyarrow(model, tmp_path, monkeypatch):
    with pytest.raises(NotFittedError):
        WMF().recommend_all(tmp_path / "lists")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'implicit_wmf\[parquet\]'"):
        model.recommend_all(tmp_path / "lists")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_every_kind(tmp_path, kind, monkeypatch):
    ids = IDS[kind]
    model = fitted(ids, None if ids is None else ids[:23])
    model.recommend_all(tmp_path / "whole", 4, part_users=20)
    lists, expected = pd.read_parquet(tmp_path / "whole"), model.recommend_frame(N=4)
    for name in ("user", "item"):
        found = lists[name].map(tuple) if kind == "tuples" else lists[name]
        assert found.tolist() == expected[name].tolist()
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "again", 4, part_users=20)
    assert model.recommend_all(tmp_path / "again", 4, part_users=20).resumed_users == 20
    assert contents(tmp_path / "whole") == contents(tmp_path / "again")


def test_ids_that_parquet_cannot_hold(tmp_path):
    mixed = fitted([*range(49), "fifty"])
    with pytest.raises(InputError, match="users: Parquet cannot hold these ids .*convert them to text before fitting"):
        mixed.recommend_all(tmp_path / "lists")
    with pytest.raises(InputError, match="items: Parquet cannot hold these ids"):
        fitted(items=[*range(22), (1, 2)]).recommend_all(tmp_path / "lists")
    assert names(tmp_path) == []


def test_the_bar_is_shown_when_asked_and_starts_where_the_job_was(model, tmp_path, monkeypatch, capsys):
    model.recommend_all(tmp_path / "lists", part_users=7)
    assert capsys.readouterr().err == ""  # not a terminal
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "again", part_users=7, progress=False)
    assert capsys.readouterr().err == ""
    model.recommend_all(tmp_path / "again", part_users=7, progress=True)
    captured = capsys.readouterr()
    assert "28/50" in captured.err
    assert "50/50" in captured.err
    assert "user/s" in captured.err
    assert captured.out == ""


def test_other_estimators_score_in_their_own_way(model, tmp_path):
    other = ObservedMF(3, iterations=2, random_state=0).fit(model.interactions)
    other.recommend_all(tmp_path / "lists", 5, part_users=7)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "lists"), other.recommend_frame(N=5), check_dtype=False)


def test_parts_are_of_the_default_size(tmp_path, monkeypatch):
    monkeypatch.setattr("implicit_wmf.batch.jobs._PART_NUMBERS", 100)
    fitted().recommend_all(tmp_path / "lists", 7)  # 100 // (7 + 3) users a part
    assert len(names(tmp_path / "lists")) == 1 + 5


def test_summary_of_a_resumed_run_counts_its_own_users():
    summary = BatchSummary(100, 1, 990, 30, 40, resumed_users=60, seconds=2.0)
    assert (summary.users_per_second, summary.coverage) == (20.0, 0.75)
