"""Checkpoints that are refused: of other fits, damaged ones, and places that are taken."""

import json
import os
import shutil
import signal
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkpoints import EPOCHS, VALIDATED, assert_same, contents, ending, fit, leave, names
from watched_fits import HELD_OUT, TRAIN, script, small

from implicit_wmf import InputError, Interactions, checkpoints
from implicit_wmf._manifests import manifest_checksum
from implicit_wmf._signals import Terminated
from implicit_wmf.checkpoints import Checkpoint, checkpoint_epochs, remove_checkpoint
from implicit_wmf.training import Reached
from implicit_wmf.validation import HeldOut


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait for the disk some hundred times."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def other_data(**ids):
    return Interactions.from_matrix(TRAIN, **ids)


def changed(matrix):
    other = matrix.copy()
    other.data[3] += 1
    return other


def dropped(matrix):
    other = matrix.copy()
    row = int(np.flatnonzero(np.diff(other.indptr) > 1)[0])
    other.indices[other.indptr[row]] = next(
        column for column in range(other.shape[1]) if column not in other[[row]].indices
    )
    other.sum_duplicates()
    return other


BACKGROUND = np.linspace(1, 2, TRAIN.shape[0])
OTHERS = [
    ({"data": changed(TRAIN)}, {}, r"other data\."),
    ({"data": dropped(TRAIN)}, {}, r"other data\."),
    ({"data": other_data(users=[f"u{k}" for k in range(40)])}, {}, r"other user ids\."),
    ({}, {"data": other_data(items=pd.RangeIndex(1, 26))}, r"other item ids\."),
    ({"confidence": TRAIN}, {}, "confidence none there, given here"),
    ({"confidence": changed(TRAIN)}, {"confidence": TRAIN}, r"other confidence\."),
    ({"regularization": 0.5}, {}, r"fit: regularization 0\.01 there, 0\.5 here\. Give what it was given to go on, or"),
    ({"random_state": 1}, {}, "random_state 0 there, 1 here"),
    ({"random_state": None}, {}, "random_state 0 there, none here"),
    ({"dtype": "float32"}, {}, "dtype 'float64' there, 'float32' here"),
    ({"factors": 4, "alpha": 2}, {}, r"factors 3 there, 4 here; alpha 1\.0 there, 2 here"),
    ({"solver": "exact"}, {}, "solver 'auto' there, 'exact' here"),
    ({"user_background": BACKGROUND}, {}, "user_background none there, given here"),
    ({"user_background": BACKGROUND[::-1]}, {"user_background": BACKGROUND}, r"other user_background\."),
    (VALIDATED, {}, "validation none there, given here"),
    ({}, VALIDATED, "validation given there, none here"),
    (VALIDATED | {"metric": "ndcg@6"}, VALIDATED, r"metric \['ndcg@5'\] there, \['ndcg@6'\] here"),
    (VALIDATED | {"validate_every": 2}, VALIDATED, "validate_every 1 there, 2 here"),
    (VALIDATED | {"validation": HELD_OUT[::-1]}, VALIDATED, r"other validation\."),
    (
        VALIDATED | {"validation": (changed(TRAIN[20:]), HELD_OUT[20:])},
        VALIDATED | {"validation": (TRAIN[20:], HELD_OUT[20:])},
        r"other validation\.",
    ),
]


@pytest.mark.parametrize(("here", "there", "message"), OTHERS, ids=[message for _, _, message in OTHERS])
def test_a_fit_of_something_else_is_refused(here, there, message, tmp_path):
    leave(tmp_path / "c", 2, **there)
    before = contents(tmp_path / "c")
    with pytest.raises(InputError, match=message):
        fit(tmp_path / "c", resume=True, **here)
    assert contents(tmp_path / "c") == before
    assert_same(fit(tmp_path / "c", resume=True, **there), fit(**there))


def test_what_makes_no_difference_may_differ(tmp_path):
    leave(tmp_path / "c", 2, iterations=5, num_threads=1, random_state=np.random.default_rng(0))
    with pytest.raises(InputError, match="random_state 'a generator' there, 7 here"):
        fit(tmp_path / "c", resume=True, random_state=7)
    fit(
        tmp_path / "c", resume=True, every=3, num_threads=2, time_budget=1000.0, track_loss=False, progress=False,
        random_state=np.random.default_rng(7), callback=lambda *_: None, dtype=np.float64, factors=np.int64(3),
    )  # fmt: skip
    assert checkpoint_epochs(tmp_path / "c") == (EPOCHS, EPOCHS)


def test_without_resume_a_checkpoint_is_not_overwritten(tmp_path, monkeypatch):
    leave(tmp_path / "c", 3)
    before = contents(tmp_path / "c")
    monkeypatch.setattr(HeldOut, "of", lambda *_: pytest.fail("looked at data in vain"))
    with pytest.raises(InputError, match=r"holds epoch 3 of 7 of an earlier fit: give resume=True \(--resume\) to go"):
        fit(tmp_path / "c", **VALIDATED)
    assert contents(tmp_path / "c") == before


def test_places_that_are_taken_are_left_alone(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "m")
    monkeypatch.chdir(tmp_path / "empty")
    for resume in (False, True):
        for place in ("file", "photos", "m", "empty"):
            with pytest.raises(InputError, match=f"{place} exists and is not a checkpoint; it was left alone"):
                fit(tmp_path / place, resume=resume)
        with pytest.raises(InputError, match="cannot write to .*file"):
            fit(tmp_path / "file" / "c", resume=resume)
    leave(tmp_path / "c", 2)
    (tmp_path / "c" / "notes.txt").write_text("the good one")
    with pytest.raises(InputError, match="is a checkpoint but also holds 'notes.txt'"):
        fit(tmp_path / "c", resume=True)
    with pytest.raises(InputError, match="is a checkpoint but also holds 'notes.txt'"):
        remove_checkpoint(tmp_path / "c")
    assert (tmp_path / "c" / "notes.txt").exists()
    assert names(tmp_path) == ["c", "empty", "file", "m", "photos"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "c").mkdir()
    fit(tmp_path / "c", iterations=1)
    assert checkpoint_epochs(tmp_path / "c") == (1, 1)


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_fit(tmp_path, monkeypatch):
    (tmp_path / "c").mkdir()

    def busy(folder, target):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("implicit_wmf._folders.replace_folder", busy)  # as where a disk is mounted
    with pytest.raises(InputError, match=r"c cannot be replaced \(Device or resource busy\); name a folder inside it"):
        fit(tmp_path / "c")
    assert names(tmp_path) == ["c"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"every": True}, "every must be a whole number"),
        ({"every": 1.5}, "every must be a whole number"),
        ({"resume": "yes"}, "resume must be True or False, got 'yes'"),
        ({"path": 5}, "checkpoint must be the path of a folder, got 5"),
        ({"path": "a\0b"}, "checkpoint must be the path of a folder, got 'a"),
        ({"path": None, "every": 2}, "every is 2, which has no effect without checkpoint; give both or neither"),
        ({"path": None, "resume": True}, "resume is True, which has no effect without checkpoint"),
    ],
)
def test_arguments_that_cannot_be_used(given, message, tmp_path):
    with pytest.raises(InputError, match=message):
        fit(given.pop("path", tmp_path / "c"), **given)
    assert names(tmp_path) == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


FILES = [f"{of}{name}.npy" for of in ("", "best_") for name in Reached._fields]


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """A checkpoint whose best epoch is not its last."""
    place = tmp_path_factory.mktemp("validated") / "c"
    with pytest.MonkeyPatch.context() as patch:
        script(patch, [0.5, 0.1, 0.1])
        leave(place, 3, **VALIDATED)
    assert names(place) == sorted([*FILES, "checkpoint.json"])
    return place


def refuse(place, message):
    for resume in (True, False):
        before = contents(place)
        with pytest.raises(InputError, match=message if resume else "checkpoint: "):
            fit(place, resume=resume, **VALIDATED)
        assert contents(place) == before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, "has .* bytes where .* were written"),
        (flip, r"has other contents than .* \(checksum\)"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_damaged_file_is_named(validated, tmp_path, name, harm, message):
    shutil.copytree(validated, tmp_path / "c")
    harm(tmp_path / "c" / name)
    refuse(tmp_path / "c", f"c is damaged: {name} {message}; remove it to start afresh, or choose another path")


def edit(place, **changes):
    """Change the manifest, and its checksum to match."""
    manifest = json.loads((place / "checkpoint.json").read_text()) | changes
    manifest = {name: value for name, value in manifest.items() if value is not None}
    manifest["crc32"] = manifest_checksum(manifest)
    (place / "checkpoint.json").write_text(json.dumps(manifest))


def files(place):
    return json.loads((place / "checkpoint.json").read_text())["files"]


def forget(place, name):
    (place / name).unlink()
    edit(place, files={one: about for one, about in files(place).items() if one != name})


def replace_factors(place, array):
    np.save(place / "item_factors.npy", array)
    content = (place / "item_factors.npy").read_bytes()
    about = {"bytes": len(content), "crc32": zlib.crc32(content), "head_crc32": zlib.crc32(content[:256])}
    edit(place, files=files(place) | {"item_factors.npy": about})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda place: cut(place / "checkpoint.json"), "checkpoint.json is not JSON"),
        (lambda place: flip(place / "checkpoint.json"), "checkpoint.json is not JSON"),
        (
            lambda place: (place / "checkpoint.json").write_text('{"format": 3}'),
            "does not say 'implicit_wmf checkpoint'",
        ),
        (
            lambda place: edit(place, format_version=2),
            "is a checkpoint of format version 2; this release reads version 1",
        ),
        (lambda place: edit(place, epoch=None), "checkpoint.json lacks 'epoch'"),
        (lambda place: edit(place, question=[]), "checkpoint.json lacks 'question'"),
        (lambda place: edit(place, question={}), "is of another fit: factors none there, 3 here; "),
        (lambda place: forget(place, "user_steps.npy"), "it lacks 'user_steps.npy'"),
        (lambda place: edit(place, epoch=2), "has a history of other epochs than 1 to 2"),
        (lambda place: edit(place, history=[{"epoch": 1}]), "is damaged"),
        (
            lambda place: replace_factors(place, np.zeros((2, 3))),
            r"item_factors.npy is float64\(2, 3\), expected f.*25, 3",
        ),
        (
            lambda place: replace_factors(place, np.zeros((25, 3), "f4")),
            r"is float32\(25, 3\), expected float64\(25, 3",
        ),
    ],
)
def test_a_damaged_description_is_refused(validated, tmp_path, harm, message):
    shutil.copytree(validated, tmp_path / "c")
    harm(tmp_path / "c")
    refuse(tmp_path / "c", message)


def test_a_checkpoint_that_was_moved_aside_is_gone_on_from(tmp_path):
    leave(tmp_path / "c", 3)
    (tmp_path / "c").rename(tmp_path / ".c.0123abcd.old")
    assert checkpoint_epochs(tmp_path / "c") == (3, EPOCHS)
    with pytest.raises(InputError, match=r"\.old holds epoch 3 of 7"):
        fit(tmp_path / "c")
    assert_same(fit(tmp_path / "c", resume=True), fit())
    assert names(tmp_path) == ["c"]


@pytest.mark.parametrize("moved", [False, True])
def test_a_checkpoint_can_be_removed(moved, tmp_path):
    leave(tmp_path / "c", 1)
    if moved:
        (tmp_path / "c").rename(tmp_path / ".c.0123abcd.old")
    for _ in range(2):
        remove_checkpoint(tmp_path / "c")
        assert names(tmp_path) == []
    assert checkpoint_epochs(tmp_path / "c") is None


def fail_to_write(monkeypatch, error, calls):
    """Let the writing of an array fail after so many calls."""
    write = checkpoints.write_array
    left = iter(range(calls))

    def write_some(path, array):
        if next(left, None) is None:
            raise error
        return write(path, array)

    monkeypatch.setattr(checkpoints, "write_array", write_some)


@pytest.mark.parametrize(("calls", "stays"), [(2, "there is none yet"), (10, "the one of epoch 2 is still there")])
def test_a_full_disk_leaves_the_checkpoint_before(calls, stays, tmp_path, monkeypatch):
    fail_to_write(monkeypatch, OSError(28, "No space left on device"), calls)
    message = (
        rf"cannot write .*c after epoch {calls // 4 + 1} \(No space left on device\); {stays}\. Mend that and go on"
    )
    with pytest.raises(InputError, match=message):
        fit(tmp_path / "c")
    monkeypatch.undo()
    assert names(tmp_path) == ["c"] * (calls > 4)
    assert_same(fit(tmp_path / "c", resume=True), fit())


@pytest.mark.parametrize(("first", "second"), [(KeyboardInterrupt, Terminated), (Terminated, KeyboardInterrupt)])
def test_a_second_signal_while_the_checkpoint_is_written_leaves_the_one_before(first, second, tmp_path, monkeypatch):
    leave(tmp_path / "c", 2)
    fail_to_write(monkeypatch, second, 3)
    model = small(iterations=EPOCHS)
    with pytest.raises(second):
        fit(tmp_path / "c", model, resume=True, every=10, callback=ending(5, first))
    assert len(model.history) == 5
    monkeypatch.undo()
    assert names(tmp_path) == ["c"]
    assert checkpoint_epochs(tmp_path / "c") == (2, EPOCHS)
    assert_same(fit(tmp_path / "c", resume=True), fit())


def test_a_signal_while_a_checkpoint_is_written_is_followed_by_a_whole_one(tmp_path, monkeypatch):
    write, calls = checkpoints.write_array, []

    def fail_once(path, array):
        calls.append(path)
        if len(calls) == 10:  # the second file of epoch 3
            raise KeyboardInterrupt
        return write(path, array)

    monkeypatch.setattr(checkpoints, "write_array", fail_once)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "c")
    assert checkpoint_epochs(tmp_path / "c") == (3, EPOCHS)
    assert_same(fit(tmp_path / "c", resume=True), fit())


def test_without_a_path_nothing_is_done():
    nothing = Checkpoint()
    assert nothing.epochs is None
    assert nothing.take_up(lambda: pytest.fail("made fingerprints in vain"), 3, None, object) is None
    nothing.write([], None, None)
    with nothing.ending_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
