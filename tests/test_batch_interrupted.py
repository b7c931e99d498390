"""Batch jobs that are interrupted, killed, repeated or changed meanwhile."""

import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from batch_jobs import contents, fitted, interrupt_after, names
from conftest import COMPILED
from scipy import sparse
from systems import LINKS

from implicit_wmf import WMF, InputError, Interactions, ranking
from implicit_wmf._fingerprints import model_digest
from implicit_wmf.batch import folder as folder_module
from implicit_wmf.batch import users_done


@pytest.fixture(scope="module")
def model():
    return fitted([f"u{user:03}" for user in range(50)], [f"item {item}" for item in range(23)])


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
    monkeypatch.setattr(ranking, "recommend", lambda *_, **__: pytest.fail("worked in vain"))
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


@LINKS
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
    monkeypatch.setattr(ranking, "recommend", lambda *_, **__: pytest.fail("worked in vain"))
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
    write, left = folder_module.write_bytes, iter(range(2))

    def write_some(*arguments):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(folder_module, "write_bytes", write_some)
    with pytest.raises(
        InputError, match=r"cannot write to .*\.lists\.partial \(No space left on device\); what is done"
    ):
        model.recommend_all(tmp_path / "lists", part_users=7)
    monkeypatch.undo()
    assert model.recommend_all(tmp_path / "lists", part_users=7).resumed_users == 14


KILLED = """
import sys
from implicit_wmf import WMF
WMF.load(sys.argv[1]).recommend_all(sys.argv[2], 5, part_users=50)
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
