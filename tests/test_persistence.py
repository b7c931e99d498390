"""Saved models: what comes back, what is refused, and what is never lost."""

import copy
import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from systems import LINKS

from implicit_wmf import WMF, InputError, Interactions, WMFConfig, _folders
from implicit_wmf._manifests import manifest_checksum
from implicit_wmf._stored_arrays import read_array
from implicit_wmf.persistence import check_can_save


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_load_change_nothing(model, tmp_path, mmap):
    model.save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m", mmap=mmap)
    assert_array_equal(loaded.user_factors, model.user_factors)
    assert_array_equal(loaded.item_factors, model.item_factors)
    assert loaded.config == model.config
    assert loaded.history == model.history
    assert loaded.loss() == model.loss()
    pd.testing.assert_frame_equal(loaded.recommend_frame(N=3), model.recommend_frame(N=3))
    assert isinstance(loaded.user_factors, np.memmap) == mmap
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "user_factors.npy").read_bytes() == (tmp_path / "m" / "user_factors.npy").read_bytes()


@pytest.mark.parametrize(
    "ids",
    [
        pd.RangeIndex(3),
        pd.Index([7, -1, 2**40]),
        pd.Index([0.5, 1.0, 2.0]),
        pd.Index(["a", "ünï \U0001f375", ""]),
        pd.Index(["a", 1, ("b", 2, ("c",))], tupleize_cols=False),
        pd.Index([("a", 1), ("a", 2), ("b", 1)], tupleize_cols=False),
        pd.date_range("2020-02-28", periods=3),
        pd.Index([True, False, 2], dtype=object),
        pd.Index([1, 2, 3], dtype="Int64"),
    ],
    ids=["range", "int", "float", "text", "mixed", "tuples", "dates", "bools", "nullable"],
)
def test_ids_of_every_kind_come_back(ids, tmp_path):
    model = WMF(1, iterations=1).fit(Interactions.from_matrix(np.eye(3), users=ids))
    model.save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m").interactions.users
    assert loaded.tolist() == ids.tolist()
    assert [type(value) for value in loaded.tolist()] == [type(value) for value in ids.tolist()]


def test_ids_that_cannot_be_stored_are_refused_by_name(tmp_path):
    ids = pd.Index(["a", frozenset("b"), "c"])
    model = WMF(1, iterations=1).fit(Interactions.from_matrix(np.eye(3), items=ids))
    with pytest.raises(InputError, match="items: the id frozenset.* at position 1 is a frozenset"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_untracked_loss_and_numpy_parameters_are_saved(tmp_path):
    model = WMF(np.int64(2), alpha=np.float32(0.5), dtype=np.float64, iterations=2, random_state=np.int32(1))
    model.fit(csr_array(np.eye(3)), track_loss=False).save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params() | {"dtype": "float64"}
    assert np.isnan(loaded.history[0].loss)
    assert json.loads((tmp_path / "m" / "model.json").read_text())["history"][0]["loss"] is None


def test_a_saved_model_is_replaced_whole_and_nothing_is_left_behind(model, tmp_path):
    model.save(tmp_path / "m")
    model.set_params(factors=5).fit(model.interactions).save(tmp_path / "m")
    assert WMF.load(tmp_path / "m").user_factors.shape == (4, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_something_else_at_the_path_is_left_alone(model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(InputError, match="photos exists and is not a saved model; it was left alone"):
        model.save(tmp_path / "photos")
    (tmp_path / "photos" / "model.json").write_text('{"learner": {}}')  # as other libraries write
    with pytest.raises(InputError, match="photos exists and is not a saved model"):
        model.save(tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "meow"


def test_a_note_kept_with_a_model_is_not_deleted(model, tmp_path):
    model.save(tmp_path / "m")
    (tmp_path / "m" / "notes.txt").write_text("the good one")
    with pytest.raises(InputError, match="m is a saved model but also holds 'notes.txt'"):
        model.save(tmp_path / "m")
    assert (tmp_path / "m" / "notes.txt").read_text() == "the good one"


def test_a_failed_save_leaves_the_old_model(model, tmp_path, monkeypatch):
    model.save(tmp_path / "m")

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("implicit_wmf._manifests.write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        model.set_params(factors=5).fit(model.interactions).save(tmp_path / "m")
    assert WMF.load(tmp_path / "m").user_factors.shape == (4, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def _truncate(folder):
    path = folder / "user_factors.npy"
    path.write_bytes(path.read_bytes()[:-4])


def _flip_a_bit(folder):
    path = folder / "item_factors.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _edit_manifest(**changes):
    """Change the manifest with a checksum to match, so that the other checks are what must see it."""

    def damage(folder):
        manifest = json.loads((folder / "model.json").read_text()) | changes
        manifest["crc32"] = manifest_checksum(manifest)
        (folder / "model.json").write_text(json.dumps(manifest))

    return damage


def _replace_indices(folder):
    """Indices out of range, with a checksum to match: only the check of the numbers themselves can see it."""
    path = folder / "interactions_indices.npy"
    np.save(path, np.full_like(np.load(path), 1_000_000))
    _edit_manifest(files=_manifest_files(folder))(folder)


def _manifest_files(folder):
    files = json.loads((folder / "model.json").read_text())["files"]
    for name in files:
        content = (folder / name).read_bytes()
        files[name] = {"bytes": len(content), "crc32": zlib.crc32(content), "head_crc32": zlib.crc32(content[:256])}
    return files


def _swap_factors(folder):
    (folder / "user_factors.npy").rename(folder / "x.npy")
    (folder / "item_factors.npy").rename(folder / "user_factors.npy")
    (folder / "x.npy").rename(folder / "item_factors.npy")
    _edit_manifest(files=_manifest_files(folder))(folder)


def test_confidences_and_backgrounds_come_back(tmp_path):
    preference, confidence = csr_array(np.eye(3)), csr_array(np.array([[0, 2.0, 0], [0, 0.5, 0], [0, 0, 3.0]]))
    confidence.data[1] = 0
    model = WMF(2, user_background=[1, 2, 3], item_background=np.array([2.0, 1, 0]), dtype="float64", random_state=0)
    model.fit(preference, confidence=confidence).save(tmp_path / "m")
    loaded = WMF.load(tmp_path / "m")
    assert loaded.config == model.set_params(user_background=np.array([1, 2, 3])).config
    assert loaded.loss() == model.loss() == loaded.loss(preference, confidence=confidence) != loaded.loss(preference)
    assert_array_equal(loaded.recommend([0, 1, 2])[0], model.recommend([0, 1, 2])[0])
    loaded.fit(preference, confidence=confidence)
    assert_array_equal(loaded.user_factors, model.user_factors)


def test_models_of_the_first_format_are_read(model, tmp_path):
    model.save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "model.json").read_text())
    del manifest["model"]
    for name in ("user_regularization", "item_regularization", "popularity_exponent"):
        del manifest["config"][name]
    manifest["format_version"] = 1
    manifest["crc32"] = manifest_checksum(manifest)
    (tmp_path / "m" / "model.json").write_text(json.dumps(manifest))
    assert WMF.load(tmp_path / "m").config == model.config


CONFIG = WMF(2, iterations=3, random_state=0).get_params()


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no saved model at"),
        (lambda folder: (folder / "model.json").unlink(), "is not a saved model: it has no model.json"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json is not JSON"),
        (lambda folder: (folder / "model.json").write_text("[]"), "is not a saved model of implicit_wmf"),
        (_edit_manifest(format="other"), "is not a saved model of implicit_wmf"),
        (_edit_manifest(format_version=99), "format version 99; this release reads versions 1 and 2"),
        (_edit_manifest(model="KLMF"), "is a KLMF, not a WMF: load it with KLMF.load"),
        (_edit_manifest(ids={}), "is damaged: it lacks 'users'"),
        (_edit_manifest(config=CONFIG | {"factors": -1}), "is damaged: factors must be"),
        (_edit_manifest(config={"factors": 2}), "is damaged: its hyper-parameters"),
        (_edit_manifest(config=CONFIG | {"colour": 1}), "is damaged: its hyper-parameters"),
        (_edit_manifest(history=[{"epoch": "x", "loss": [1]}]), "is damaged"),
        (lambda folder: (folder / "model.json").write_text("[" * 100_000), "model.json is not JSON"),
        (_edit_manifest(history=[{"epoch": 1}]), "is damaged"),
        (lambda folder: (folder / "item_factors.npy").unlink(), "damaged: item_factors.npy is missing"),
        (_truncate, "user_factors.npy has .* bytes where"),
        (_replace_indices, "is damaged"),
        (_swap_factors, r"user_factors.npy is float32\(3, 2\), expected float32\(4, 2\)"),
    ],
)
def test_damaged_and_foreign_folders_are_refused(model, tmp_path, damage, message, mmap):
    model.save(tmp_path / "m")
    damage(tmp_path / "m")
    with pytest.raises(InputError, match=message):
        WMF.load(tmp_path / "m", mmap=mmap)


def test_altered_contents_are_seen_by_the_checksum(model, tmp_path):
    model.save(tmp_path / "m")
    _flip_a_bit(tmp_path / "m")
    with pytest.raises(InputError, match=r"item_factors.npy has other contents than were written \(checksum\)"):
        WMF.load(tmp_path / "m")


def test_a_changed_setting_is_seen_by_the_manifest_s_own_checksum(model, tmp_path):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    path.write_text(path.read_text().replace('"alpha": 1.0', '"alpha": 2.0'))
    with pytest.raises(InputError, match="model.json was changed after it was written"):
        WMF.load(tmp_path / "m")


@pytest.mark.parametrize("mmap", [False, True])
def test_any_flipped_bit_of_ids_or_headers_is_seen(model, tmp_path, mmap):
    model.save(tmp_path / "m")
    for name in ("items_bytes.npy", "users_offsets.npy", "user_factors.npy", "interactions_values.npy"):
        path = tmp_path / "m" / name
        whole = path.read_bytes()
        for place in (8, 9, 60, 100, 127):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            with pytest.raises(InputError, match="is damaged"):
                WMF.load(tmp_path / "m", mmap=mmap)
        path.write_bytes(whole)
    WMF.load(tmp_path / "m", mmap=mmap)


def test_replacing_fails_safely(model, tmp_path, monkeypatch):
    """The old model comes back when the new one cannot be put in its place."""
    model.save(tmp_path / "m")
    monkeypatch.setattr(_folders, "_exchange", lambda one, other: False)
    rename, calls = Path.rename, []

    def fail_second(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("device gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(OSError, match="device gone"):
        model.set_params(factors=5).fit(model.interactions).save(tmp_path / "m")
    assert len(calls) == 3
    assert WMF.load(tmp_path / "m").user_factors.shape == (4, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@LINKS
def test_a_link_to_a_model_stays_a_link(model, tmp_path):
    model.save(tmp_path / "v1")
    (tmp_path / "latest").symlink_to("v1")
    model.set_params(factors=5).fit(model.interactions).save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert WMF.load(tmp_path / "v1").user_factors.shape == (4, 5)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("turn", [pytest.param(True, marks=LINKS, id="link turned"), pytest.param(False, id="saved")])
@pytest.mark.parametrize("times", [1, 3, 99])
def test_a_model_that_is_replaced_while_it_is_read(model, tmp_path, monkeypatch, mmap, turn, times):
    others = {0: copy.deepcopy(model), 1: model.set_params(factors=3).fit(model.interactions)}
    for number, other in others.items():
        other.save(tmp_path / str(number))
    place = tmp_path / "current"
    if turn:
        place.symlink_to("0")
    else:
        others[0].save(place)
    replaced = []

    def read_one(*arguments, **options):
        array = read_array(*arguments, **options)
        if len(replaced) < times:  # between two files
            replaced.append((len(replaced) + 1) % 2)
            if turn:
                (tmp_path / "next").symlink_to(str(replaced[-1]))
                (tmp_path / "next").replace(place)
            else:
                others[replaced[-1]].save(place)
        return array

    monkeypatch.setattr("implicit_wmf.persistence.read_array", read_one)
    if times == 99 and not turn:
        with pytest.raises(InputError, match="was replaced 10 times while it was read"):
            WMF.load(place, mmap=mmap)
        return
    loaded = WMF.load(place, mmap=mmap)
    whole = [np.array_equal(loaded.item_factors, other.item_factors) for other in others.values()]
    assert sum(whole) == 1
    assert_array_equal(loaded.user_factors, others[whole.index(True)].user_factors)


def test_folder_has_the_permissions_of_any_new_folder(model, tmp_path):
    (tmp_path / "plain").mkdir()
    model.save(tmp_path / "m")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_refused(model, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(InputError, match="cannot write to .*locked"):
        model.save(tmp_path / "locked" / "m")


def test_a_file_in_the_way_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write to .*file"):
        model.save(tmp_path / "file" / "m")


def test_what_fit_will_save_can_be_checked_before(model, tmp_path):
    check_can_save(tmp_path / "new" / "m", model.interactions)
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]
    odd = Interactions.from_matrix(np.eye(2), users=pd.Index([frozenset("a"), "b"]))
    with pytest.raises(InputError, match="users: the id frozenset"):
        check_can_save(tmp_path / "m", odd)


def test_timestamps_are_saved(tmp_path):
    data = Interactions.from_triples([0, 1, 2], [0, 1, 2], timestamps=[30, 10, 20])
    WMF(1, iterations=1).fit(data).save(tmp_path / "m")
    assert WMF.load(tmp_path / "m").interactions.timestamps.tolist() == [30, 10, 20]


def test_fitted_data_cannot_be_changed_under_the_model(model):
    for part in (model.interactions.matrix.indices, model.interactions.matrix.indptr, model.interactions.matrix.data):
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 1_000_000


def test_plain_hyper_parameters_are_what_files_hold():
    generator = np.random.default_rng(0)
    config = WMFConfig(factors=np.int64(3), user_background=[1, 2], dtype=np.float64, random_state=generator)
    plain = config.plain()
    assert list(plain) == list(config.names())
    assert (plain["dtype"], plain["factors"], type(plain["factors"])) == ("float64", 3, int)
    assert (plain["user_background"].dtype, plain["user_background"].tolist()) == (np.float64, [1, 2])
    assert plain["random_state"] is generator
    assert (config.user_background, config.dtype) == ([1, 2], np.float64)
