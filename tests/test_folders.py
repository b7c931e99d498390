"""Folders that are replaced whole: whatever is killed when, the old one or the new one can be read."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from systems import LINKS

from implicit_wmf import WMF, InputError, _folders
from implicit_wmf._folders import check_can_write, current_folder, remove_folder, replace_folder, writing_folder
from implicit_wmf.persistence import check_can_save, is_model

TRASH = ".m.0123abcd.tmp"
ASIDE = ".m.89abcdef.old"


@pytest.fixture(params=["exchange", "no such call", "call refused"])
def system(request, monkeypatch):
    """Systems that can exchange two names, and those that cannot."""
    if request.param == "no such call":
        monkeypatch.setattr(_folders, "_EXCHANGES", {})
    elif request.param == "call refused":
        monkeypatch.setattr(_folders, "_EXCHANGES", {_folders.sys.platform: ("getpid", lambda one, other: ())})
    return request.param


def put(target, text):
    with writing_folder(target) as folder:
        (folder / "file").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_made_and_replaced(tmp_path, system):
    target = tmp_path / "deep" / "m"
    put(target, "one")
    put(target, "two")
    assert (target / "file").read_text() == "two"
    assert names(target.parent) == ["m"]


def test_nothing_is_seen_before_the_end(tmp_path, system):
    put(tmp_path / "m", "one")
    with writing_folder(tmp_path / "m") as folder:
        (folder / "file").write_text("two")
        assert (tmp_path / "m" / "file").read_text() == "one"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_one_and_nothing_else(tmp_path, system, error):
    put(tmp_path / "m", "one")
    with pytest.raises(error), writing_folder(tmp_path / "m") as folder:
        (folder / "file").write_text("two")
        raise error
    assert (tmp_path / "m" / "file").read_text() == "one"
    assert names(tmp_path) == ["m"]


@pytest.mark.skipif(_folders.sys.platform not in _folders._EXCHANGES, reason="this system has no such call")
def test_there_is_no_moment_without_a_folder(tmp_path, monkeypatch):
    put(tmp_path / "m", "one")
    rename, moved = Path.rename, []

    def note(self, target):
        moved.append((self, Path(target)))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", note)
    put(tmp_path / "m", "two")
    assert [former.suffix for former, _ in moved] == [".tmp"]  # the old one, which had changed places, on its way out
    assert (tmp_path / "m" / "file").read_text() == "two"


def test_the_folder_of_an_unfinished_job_takes_a_place(tmp_path, system):
    put(tmp_path / "m", "one")
    put(tmp_path / ".m.partial", "two")
    replace_folder(tmp_path / ".m.partial", tmp_path / "m")
    assert (tmp_path / "m" / "file").read_text() == "two"
    assert names(tmp_path) == ["m"]


def test_what_was_moved_aside_comes_back_if_nothing_takes_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(_folders, "_EXCHANGES", {})
    put(tmp_path / "m", "one")
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "nothing", tmp_path / "m")
    assert (tmp_path / "m" / "file").read_text() == "one"
    assert names(tmp_path) == ["m"]


@LINKS
def test_a_writer_killed_between_two_renames_leaves_what_can_be_read(tmp_path):
    put(tmp_path / "m", "one")
    (tmp_path / "m").rename(tmp_path / ASIDE)
    put(tmp_path / TRASH, "two")
    (tmp_path / "link").symlink_to("m")
    for path in (tmp_path / "m", tmp_path / "link"):
        assert current_folder(path) == tmp_path / ASIDE
    assert names(tmp_path) == [TRASH, ASIDE, "link"]  # readers move nothing
    put(tmp_path / "m", "three")
    assert current_folder(tmp_path / "m") == tmp_path / "m"
    assert names(tmp_path) == ["link", "m"]


@pytest.mark.parametrize("name", ["m", "", "a\0b"])
def test_where_nothing_was_moved_aside_the_place_is_as_asked(tmp_path, name):
    assert current_folder(tmp_path / name) == tmp_path / name


def test_a_model_that_was_moved_aside_is_read_and_replaced(model, tmp_path):
    model.save(tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / ASIDE)
    assert is_model(tmp_path / "m")
    check_can_save(tmp_path / "m", model.interactions)
    assert WMF.load(tmp_path / "m").history == model.history
    model.set_params(factors=5).fit(model.interactions).save(tmp_path / "m")
    assert names(tmp_path) == ["m"]
    assert WMF.load(tmp_path / "m").user_factors.shape == (4, 5)


def test_a_note_in_a_model_that_was_moved_aside_is_not_deleted(model, tmp_path):
    model.save(tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / ASIDE)
    (tmp_path / ASIDE / "notes.txt").write_text("the good one")
    with pytest.raises(InputError, match=r"\.old is a saved model but also holds 'notes.txt'"):
        model.save(tmp_path / "m")
    assert (tmp_path / ASIDE / "notes.txt").exists()


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    pytest.importorskip("fcntl")
    others = (".n.0123abcd.tmp", ".m.tmp", ".m.0123ABCD.tmp", ".m.0123abcd.partial", "x.m.0123abcd.tmp")
    for name in (TRASH, ASIDE, *others):
        (tmp_path / name).mkdir()
    (tmp_path / ".m.00000000.tmp").write_text("a file")
    (tmp_path / ".m.11111111.tmp").symlink_to(tmp_path)
    with pytest.raises(OSError, match="full"), writing_folder(tmp_path / "m"):
        raise OSError("full")
    assert (tmp_path / ASIDE).exists()  # it may be all that there is
    put(tmp_path / "m", "one")
    assert set(names(tmp_path)) == {*others, "m", ".m.00000000.tmp", ".m.11111111.tmp"}


def test_a_writer_that_is_at_work_keeps_its_folder(tmp_path, system):
    pytest.importorskip("fcntl")
    with writing_folder(tmp_path / "m") as slow:
        (slow / "file").write_text("slow")
        put(tmp_path / "m", "quick")
        assert (tmp_path / "m" / "file").read_text() == "quick"
    assert (tmp_path / "m" / "file").read_text() == "slow"
    assert names(tmp_path) == ["m"]


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    lock, met = _folders._lock, []

    def too_late(folder, locks, *, wait=False):
        met.append(folder)
        if len(met) == 1:
            shutil.rmtree(folder)
        return lock(folder, locks, wait=wait)

    monkeypatch.setattr(_folders, "_lock", too_late)
    put(tmp_path / "m", "one")
    assert len(met) == 2
    assert met[0] != met[1]
    assert (tmp_path / "m" / "file").read_text() == "one"


def test_without_locks_nothing_is_held_to_be_left_behind(tmp_path, monkeypatch):
    monkeypatch.setitem(_folders.sys.modules, "fcntl", None)
    (tmp_path / TRASH).mkdir()
    put(tmp_path / "m", "one")
    assert names(tmp_path) == [TRASH, "m"]


def test_a_lock_is_refused_while_another_has_it(tmp_path):
    pytest.importorskip("fcntl")
    with ExitStack() as first, ExitStack() as second:
        assert _folders._lock(tmp_path, first)
        assert not _folders._lock(tmp_path, second)
        first.close()
        assert _folders._lock(tmp_path, second)


def test_names_are_on_the_disk_before_the_old_one_is_removed(tmp_path, monkeypatch, system):
    if os.name == "nt":
        pytest.skip("folders cannot be opened there")
    put(tmp_path / "m", "one")
    done = []
    fsync, rmtree = os.fsync, shutil.rmtree
    monkeypatch.setattr(os, "fsync", lambda one: (done.append(os.fstat(one).st_ino), fsync(one)))
    monkeypatch.setattr(shutil, "rmtree", lambda path, **how: (done.append("removed"), rmtree(path, **how)))
    put(tmp_path / "m", "two")
    new, parent = (tmp_path / "m").stat().st_ino, tmp_path.stat().st_ino
    assert done[:3] == [new, parent, "removed"]


def test_a_place_can_be_tried(tmp_path):
    check_can_write(tmp_path / "new" / "m")
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write to .*file"):
        check_can_write(tmp_path / "file" / "m")


def test_a_removed_folder_is_gone_by_its_name_first(tmp_path, monkeypatch):
    put(tmp_path / "m", "one")
    monkeypatch.setattr(shutil, "rmtree", lambda path, **how: None)  # killed here
    remove_folder(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert current_folder(tmp_path / "m") == tmp_path / "m"
    monkeypatch.undo()
    put(tmp_path / "m", "two")
    assert names(tmp_path) == ["m"]
