import json
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED
from scipy import sparse

from implicit_wmf import WMF, InputError, Interactions, MissingExtraError, NotFittedError
from implicit_wmf._fingerprints import model_digest
from implicit_wmf.batch import BatchSummary, recommend_all, users_done
from implicit_wmf.batch import folder as folder_module
from implicit_wmf.factorizers import ObservedMF

pytest.importorskip("pyarrow")


def fitted(users=None, items=None, shape=(50, 23), seed=0):
    generator = np.random.default_rng(seed)
    dense = (generator.random(shape) < np.linspace(0.05, 0.95, shape[0])[:, None]).astype(np.float32)
    data = Interactions.from_matrix(sparse.csr_array(dense), users=users, items=items)
    return WMF(3, iterations=2, random_state=seed).fit(data)


@pytest.fixture(scope="module")
def model():
    return fitted([f"u{user:03}" for user in range(50)], [f"item {item}" for item in range(23)])


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def interrupt_after(monkeypatch, parts, error=KeyboardInterrupt):
    """Let the next job end when it has written some parts."""
    add = folder_module.PartFolder.add
    left = iter(range(parts))

    def add_some(self, *arguments):
        if next(left, None) is None:
            monkeypatch.setattr(folder_module.PartFolder, "add", add)
            raise error
        add(self, *arguments)

    monkeypatch.setattr(folder_module.PartFolder, "add", add_some)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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


def test_interrupted_jobs_go_on_and_write_the_same_bytes(model, tmp_path, monkeypatch):
    whole = model.recommend_all(tmp_path / "whole", 5, part_users=7)
    for parts in (3, 0, 2):
        interrupt_after(monkeypatch, parts)
        with pytest.raises(KeyboardInterrupt):
            model.recommend_all(tmp_path / "again", 5, part_users=7)
        assert not (tmp_path / "again").exists()
    assert users_done(tmp_path / "again") == (35, 50)
    work = tmp_path / ".again.partial"
    finished = (work / "part-00001.parquet").stat().st_mtime_ns
    summary = model.recommend_all(tmp_path / "again", 5, part_users=7)
    assert summary.resumed_users == 35
    assert (tmp_path / "again" / "part-00001.parquet").stat().st_mtime_ns == finished  # not written again
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")
    same = ("users", "short_users", "recommendations", "recommended_items", "coverage")
    assert [getattr(summary, name) for name in same] == [getattr(whole, name) for name in same]
    assert names(tmp_path) == ["again", "whole"]
    assert users_done(tmp_path / "again") is None


@pytest.mark.parametrize("harm", ["torn line", "missing part", "damaged part", "left-over file"])
def test_what_a_crash_may_leave_is_mended(model, tmp_path, monkeypatch, harm):
    model.recommend_all(tmp_path / "whole", 5, part_users=7)
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "again", 5, part_users=7)
    work = tmp_path / ".again.partial"
    if harm == "torn line":
        with (work / "_progress.jsonl").open("r+b") as journal:
            journal.truncate((work / "_progress.jsonl").stat().st_size - 5)
    elif harm == "missing part":
        (work / "part-00002.parquet").unlink()
    elif harm == "damaged part":
        content = bytearray((work / "part-00002.parquet").read_bytes())
        content[len(content) // 2] ^= 1
        (work / "part-00002.parquet").write_bytes(content)
    else:
        (work / ".part-00004.tmp").write_bytes(b"half")
    summary = model.recommend_all(tmp_path / "again", 5, part_users=7)
    assert summary.resumed_users == (28 if harm == "left-over file" else 21)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


def test_a_job_killed_before_the_renaming_only_renames(model, tmp_path, monkeypatch):
    model.recommend_all(tmp_path / "whole", 5, part_users=7)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "check_target", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "again", 5, part_users=7)
    monkeypatch.undo()
    assert (tmp_path / ".again.partial" / "_summary.json").exists()
    monkeypatch.setattr(WMF, "recommend", lambda *_, **__: pytest.fail("worked in vain"))
    assert model.recommend_all(tmp_path / "again", 5, part_users=7).resumed_users == 50
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"N": 6}, "other N"),
        ({"filter_already_liked_items": False}, "other filter_already_liked_items"),
        ({"filter_items": [1]}, "other filter_items"),
        ({"items": [1, 2]}, "other items"),
        ({"part_users": 8}, "other part_users"),
        ({"users": ["u001", "u002"]}, "other users, user ids"),
    ],
)
def test_another_question_is_not_mixed_in(model, tmp_path, monkeypatch, change, named):
    asked = {"N": 5, "part_users": 7}
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "lists", **asked)
    left = contents(tmp_path / ".lists.partial")
    with pytest.raises(InputError, match=rf"\.lists\.partial holds .* \({named}\), with 14 of 50 users .*restart=True"):
        model.recommend_all(tmp_path / "lists", **(asked | change))
    assert contents(tmp_path / ".lists.partial") == left
    summary = model.recommend_all(tmp_path / "lists", **(asked | change), restart=True)
    assert summary.resumed_users == 0
    model.recommend_all(tmp_path / "fresh", **(asked | change))
    assert contents(tmp_path / "lists") == contents(tmp_path / "fresh")
    assert names(tmp_path) == ["fresh", "lists"]


def test_another_model_is_not_mixed_in(model, tmp_path, monkeypatch):
    data = model.interactions
    others = {
        "factors": WMF(3, iterations=3, random_state=0).fit(data),
        "ids": fitted(data.users.tolist(), [f"Item {item}" for item in range(23)]),
        "seen": fitted(data.users.tolist(), data.items.tolist(), seed=1),
    }
    zero = data.matrix.copy()
    zero.data = np.where(np.arange(data.nnz) < 3, 0, zero.data)
    others["removed"] = WMF(3, iterations=2, random_state=0).fit(data, confidence=zero)
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "lists", part_users=7)
    for other in others.values():
        with pytest.raises(InputError, match=r"\(other model\)"):
            other.recommend_all(tmp_path / "lists", part_users=7)
    model.save(tmp_path / "saved")  # the same model, read from the disk, goes on
    assert WMF.load(tmp_path / "saved", mmap=True).recommend_all(tmp_path / "lists", part_users=7).resumed_users == 14


def test_stored_zeros_that_are_or_are_not_data_make_another_question(model, tmp_path, monkeypatch):
    """Where the weighting is raw they may be recommended, and the values say which cells they are."""

    def question(weighting, zeros):
        data = model.interactions.matrix.copy()
        data.data = np.where(np.isin(np.arange(data.nnz), zeros), 0, data.data)
        other = WMF(3, iterations=2, random_state=0, weighting=weighting).fit(Interactions.from_matrix(data))
        state = replace(other._state(), user_factors=model.user_factors, item_factors=model.item_factors)
        return model_digest("WMF", state, "items")

    asked = [question("raw", [0]), question("raw", [1]), question("raw", []), question("linear", [0])]
    assert len(set(asked)) == 4
    assert question("raw", [1]) == asked[1]


def test_a_finished_result_is_replaced_only_by_a_whole_one(model, tmp_path, monkeypatch):
    model.recommend_all(tmp_path / "lists", 5, part_users=7)
    before = contents(tmp_path / "lists")
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "lists", 3, part_users=20)
    assert contents(tmp_path / "lists") == before
    (tmp_path / "link").symlink_to("lists")
    assert model.recommend_all(tmp_path / "link", 3, part_users=20).resumed_users == 40
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "lists") == ["_summary.json", *(f"part-{part:05}.parquet" for part in range(3))]
    assert len(pd.read_parquet(tmp_path / "lists")) == len(model.recommend_frame(N=3))
    assert names(tmp_path) == ["link", "lists"]


def test_foreign_things_are_left_alone(model, tmp_path, monkeypatch):
    monkeypatch.setattr(WMF, "recommend", lambda *_, **__: pytest.fail("worked in vain"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    (tmp_path / "file").write_text("text")
    for place in ("photos", "file"):
        with pytest.raises(InputError, match=f"{place} exists and is not a folder of recommendations; it was left"):
            model.recommend_all(tmp_path / place)
    with pytest.raises(InputError, match="cannot write to .*file"):
        model.recommend_all(tmp_path / "file" / "deeper")
    (tmp_path / ".lists.partial").mkdir()
    (tmp_path / ".lists.partial" / "cat.jpg").write_text("cat")
    for restart in (False, True):
        with pytest.raises(InputError, match=r"unfinished job works but also holds 'cat.jpg'; move that away"):
            model.recommend_all(tmp_path / "lists", restart=restart)
    assert (tmp_path / ".lists.partial" / "cat.jpg").read_text() == "cat"
    with pytest.raises(InputError, match="has no name"):
        model.recommend_all("/")
    monkeypatch.undo()
    model.recommend_all(tmp_path / "mine")
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    with pytest.raises(InputError, match="folder of recommendations but also holds 'notes.txt'"):
        model.recommend_all(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "kept"


def test_what_comes_to_the_place_meanwhile_is_left_alone(model, tmp_path, monkeypatch):
    publish = folder_module.PartFolder.publish

    def meanwhile(self, summary):
        (tmp_path / "lists").mkdir()
        publish(self, summary)

    monkeypatch.setattr(folder_module.PartFolder, "publish", meanwhile)
    with pytest.raises(InputError, match="lists exists and is not a folder of recommendations"):
        model.recommend_all(tmp_path / "lists")
    monkeypatch.undo()
    (tmp_path / "lists").rmdir()
    assert model.recommend_all(tmp_path / "lists").resumed_users == 50


def test_a_damaged_journal_is_said_to_be(model, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(tmp_path / "lists", part_users=7)
    (tmp_path / ".lists.partial" / "_progress.jsonl").write_text("[[[")
    with pytest.raises(InputError, match=r"_progress\.jsonl is damaged; discard them with restart=True"):
        model.recommend_all(tmp_path / "lists", part_users=7)
    assert model.recommend_all(tmp_path / "lists", part_users=7, restart=True).resumed_users == 0


def test_two_jobs_on_one_result(model, tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    ranking, go_on = threading.Event(), threading.Event()
    add = folder_module.PartFolder.add

    def wait(self, *arguments):
        ranking.set()
        assert go_on.wait(30)
        add(self, *arguments)

    monkeypatch.setattr(folder_module.PartFolder, "add", wait)
    job = threading.Thread(target=lambda: model.recommend_all(tmp_path / "lists", part_users=30))
    job.start()
    try:
        assert ranking.wait(30)
        for restart in (False, True):
            with pytest.raises(InputError, match=r"another process is at work in .*\.lists\.partial"):
                model.recommend_all(tmp_path / "lists", part_users=30, restart=restart)
    finally:
        go_on.set()
        job.join()
    assert len(pd.read_parquet(tmp_path / "lists")) == len(model.recommend_frame())


def test_a_full_disk_keeps_what_is_done(model, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 2, OSError(28, "No space left on device"))
    with pytest.raises(
        InputError, match=r"cannot write to .*\.lists\.partial \(No space left on device\); what is done"
    ):
        model.recommend_all(tmp_path / "lists", part_users=7)
    assert model.recommend_all(tmp_path / "lists", part_users=7).resumed_users == 14


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


IDS = {
    "positions": None,
    "int": np.arange(7, 57)[::-1] * 10**15,
    "unsigned": np.arange(50, dtype=np.uint64) + 2**63,
    "float": np.arange(50) / 4 - 1,
    "text": [f"ü{i}'\n\"" for i in range(50)],
    "times": pd.date_range("2020-01-01", periods=50, freq="h"),
    "zoned": pd.date_range("2020-01-01", periods=50, freq="h", tz="Europe/Paris"),
    "dates": [date(2020, 1, 1 + i % 28) if i < 28 else date(2021, 1, 1 + i % 28) for i in range(50)],
    "bytes": [f"{i}".encode() for i in range(50)],
    "tuples": [(i, i + 1) for i in range(50)],
    "arrow": pd.array([f"{i:03}" for i in range(50)], dtype="string[pyarrow]"),
}


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
    recommend_all(other, tmp_path / "lists", 5, part_users=7)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "lists"), other.recommend_frame(N=5), check_dtype=False)


def test_parts_are_of_the_default_size(tmp_path, monkeypatch):
    monkeypatch.setattr("implicit_wmf.batch.jobs._PART_NUMBERS", 100)
    fitted().recommend_all(tmp_path / "lists", 7)  # 100 // (7 + 3) users a part
    assert len(names(tmp_path / "lists")) == 1 + 5


def test_summary_of_a_resumed_run_counts_its_own_users():
    summary = BatchSummary(100, 1, 990, 30, 40, resumed_users=60, seconds=2.0)
    assert (summary.users_per_second, summary.coverage) == (20.0, 0.75)


KILLED = """
import sys
from implicit_wmf import WMF
from implicit_wmf.batch import recommend_all
recommend_all(WMF.load(sys.argv[1]), sys.argv[2], 5, part_users=50)
"""


@pytest.mark.skipif(not COMPILED, reason="needs a job of a second")
def test_killed_twice_every_user_once_and_the_same_bytes(tmp_path):
    users = 20_000
    bought = np.random.default_rng(0).integers(0, 30, users)
    cells = sparse.csr_array((np.ones(users, np.float32), (np.arange(users), bought)), shape=(users, 30))
    data = Interactions.from_matrix(cells, users=[f"user {user}" for user in range(users)])
    WMF(2, iterations=0, random_state=0).fit(data).save(tmp_path / "m")
    done = 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, "m", "lists"], cwd=tmp_path)
        began, before = time.monotonic(), done
        while done <= before + 1000:
            assert process.poll() is None
            assert time.monotonic() < began + 60
            time.sleep(0.005)
            done = (users_done(tmp_path / "lists") or (0, 0))[0]
        process.kill()
        process.wait()
        assert not (tmp_path / "lists").exists()
    model = WMF.load(tmp_path / "m")
    assert model.recommend_all(tmp_path / "lists", 5, part_users=50).resumed_users >= done
    model.recommend_all(tmp_path / "whole", 5, part_users=50)
    assert contents(tmp_path / "lists") == contents(tmp_path / "whole")
    lists = pd.read_parquet(tmp_path / "lists")
    assert lists.groupby("user", sort=False).size().tolist() == [5] * users
    assert lists["user"].unique().tolist() == data.users.tolist()
