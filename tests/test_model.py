"""The estimator: its parameters, recommendations and saved form."""

import inspect
import json
import os
import shutil
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import COMPILED, awkward_counts, to_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone

from implicit_wmf import WMF, InputError, Interactions, NotFittedError, WMFConfig
from implicit_wmf.persistence import _manifest_checksum, check_can_save
from implicit_wmf.ranking import recommend


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "who": ["eva", "ann", "eva", "bob", "ann", "cy"],
            "what": ["tea", "tea", "jam", "jam", "rye", "tea"],
            "n": [2, 1, 4, 1, 1, 3],
        }
    )


@pytest.fixture
def model(frame):
    data = Interactions.from_frame(frame, user="who", item="what", value="n")
    return WMF(2, iterations=3, random_state=0).fit(data)


# hyper-parameters


def test_constructor_is_the_configuration():
    parameters = inspect.signature(WMF).parameters
    assert tuple(parameters) == WMFConfig.names()
    assert WMF().config == WMFConfig()
    documented = WMF.__doc__.split("Parameters\n")[1].split("Attributes\n")[0]
    assert all(f"\n    {name} : " in documented for name in WMFConfig.names())


def test_scikit_learn_can_clone_and_change_it(model):
    copy = clone(WMF(8, alpha=3.0, dtype=np.float64, random_state=5))
    assert copy.get_params() == WMF(8, alpha=3.0, dtype=np.float64, random_state=5).get_params()
    assert copy.set_params(alpha=4.0, solver="cg") is copy
    assert copy.config == WMFConfig(8, alpha=4.0, dtype=np.float64, random_state=5, solver="cg")
    assert repr(copy) == "WMF(factors=8, alpha=4.0, solver='cg', dtype=<class 'numpy.float64'>, random_state=5)"
    before = model.user_factors
    model.set_params(factors=7)
    assert model.user_factors is before


def test_unknown_parameter_is_refused():
    with pytest.raises(InputError, match="no hyper-parameter 'beta'; there are factors, "):
        WMF().set_params(beta=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0), ("factors", 2.0), ("factors", True), ("regularization", -1), ("regularization", np.nan),
        ("regularization_exponent", "1"), ("alpha", 0), ("alpha", np.inf), ("weighting", "bm25"), ("log_epsilon", 0),
        ("unobserved_weight", -0.1), ("user_background", "popularity"), ("item_background", "user"), ("iterations", -1),
        ("solver", "sgd"), ("cg_steps", 0), ("init_scale", 0), ("dtype", "float16"), ("dtype", "words"),
        ("dtype", None), ("dtype", ">f4"), ("alpha", 10**400), ("alpha", Fraction(1, 3)), ("num_threads", 0),
        ("user_background", np.ones(3)), ("random_state", -1), ("random_state", "x"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"^{name} must be .*, got "):
        WMF(**{name: value})
    model = WMF()
    with pytest.raises(InputError):
        model.set_params(**{name: value})
    assert model.config == WMFConfig()


def test_a_problem_without_unique_solution_is_refused():
    with pytest.raises(InputError, match="regularization and unobserved_weight are both 0"):
        WMF(regularization=0, unobserved_weight=0)


def test_unfitted_model_says_so():
    for use in (lambda m: m.user_factors, lambda m: m.recommend(0), lambda m: m.loss(), lambda m: m.save("x")):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(WMF())


# fitting


def test_generator_as_random_state_is_used():
    counts = csr_array(np.eye(4))
    first = WMF(2, random_state=np.random.default_rng(4)).fit(counts)
    assert_array_equal(first.user_factors, WMF(2, random_state=4).fit(counts).user_factors)


def test_dense_sparse_and_interactions_are_the_same_data():
    dense = np.array([[5.0, 0, 1], [0, 2, 0], [1, 0, 0]])
    fits = [WMF(2, random_state=0).fit(data) for data in (dense, csr_array(dense), Interactions.from_matrix(dense))]
    for other in fits[1:]:
        assert_array_equal(fits[0].item_factors, other.item_factors)


def test_bad_data_leaves_the_model_as_it_was(model):
    before = model.user_factors.copy()
    for bad in (np.array([[1.0, np.nan]]), "text", None, np.ones(3), np.zeros((0, 3))):
        with pytest.raises(InputError):
            model.fit(bad)
    assert_array_equal(model.user_factors, before)


def test_history_makes_a_table(model):
    table = pd.DataFrame(model.history)
    assert list(table) == ["epoch", "loss", "stored", "background", "regularization", "seconds"]
    assert table.epoch.tolist() == [1, 2, 3]
    np.testing.assert_allclose(table.loss, table.stored + table.background + table.regularization)


def test_loss_of_other_data(model, frame):
    assert model.loss() == model.history[-1].loss
    assert model.loss(2 * model.interactions.matrix) != model.loss()
    with pytest.raises(InputError, match="data is 2 users x 2 items; the model was fitted on 4 users x 3 items"):
        model.loss(np.eye(2))


def test_progress_shows_epochs_and_loss(capsys, model):
    model.fit(model.interactions, progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert f"loss={model.history[-1].loss:.6g}" in shown
    model.fit(model.interactions, progress=False)
    assert capsys.readouterr().err == ""


# recommending


def brute_force(user_factors, item_factors, seen, N, candidates):
    """Score everything, sort by score and then by index; in float64, on values that float32 adds exactly."""
    lists = []
    for user, vector in enumerate(user_factors):
        scores = item_factors.astype(float) @ vector.astype(float)
        allowed = [item for item in candidates if seen is None or not seen[user, item]]
        best = sorted(allowed, key=lambda item: (-scores[item], item))[:N]  # noqa: B023
        lists.append(best + [-1] * (N - len(best)))
    return np.array(lists).reshape(len(user_factors), N)


@settings(max_examples=200 if COMPILED else 20, deadline=None)
@given(st.data())
def test_lists_equal_brute_force(data):
    users, items, factors = (data.draw(st.integers(1, limit)) for limit in (5, 40, 6))
    N = data.draw(st.integers(1, 50))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    # small whole numbers: many ties, exact in float32
    vectors = generator.integers(-2, 3, (users, factors)).astype(np.float32)
    item_factors = generator.integers(-2, 3, (items, factors)).astype(np.float32)
    seen = generator.random((users, items)) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    candidates = np.flatnonzero(generator.random(items) < data.draw(st.sampled_from([0.0, 0.5, 1.0])))
    ids, scores = recommend(
        vectors, item_factors, csr_array(seen), N=N, candidates=candidates.astype(np.int32), num_threads=2
    )
    assert_array_equal(ids, brute_force(vectors, item_factors, seen, N, candidates))
    assert_array_equal(np.isnan(scores), ids == -1)
    found = ids >= 0
    expected = np.take_along_axis(vectors @ item_factors.T, np.maximum(ids, 0), axis=1)
    assert_array_equal(scores[found], expected[found])


def test_one_user_and_many_have_the_same_lists():
    model = WMF(4, random_state=0, iterations=2).fit(to_sparse(awkward_counts()))
    ids, scores = model.recommend(np.arange(30), N=7)
    assert ids.shape == scores.shape == (30, 7)
    assert ids.dtype == np.int32
    for user in range(30):
        one, its_scores = model.recommend(user, N=7)
        assert_array_equal(one, ids[user])
        assert_array_equal(its_scores, scores[user])
    assert model.recommend([], N=3)[0].shape == (0, 3)


def test_filters():
    dense = awkward_counts()
    model = WMF(4, random_state=0, iterations=2).fit(to_sparse(dense))
    seen = ~np.isnan(dense)
    ids, _ = model.recommend(np.arange(30), N=100)
    for user in range(30):
        assert set(ids[user][ids[user] >= 0]) == set(np.flatnonzero(~seen[user]))
    ids, scores = model.recommend(29, N=3)  # has everything but item 4
    assert ids.tolist() == [4, -1, -1]
    assert_array_equal(np.isnan(scores), [False, True, True])
    everything, _ = model.recommend(29, N=100, filter_already_liked_items=False)
    assert sorted(everything[:80]) == list(range(80))
    allowed, _ = model.recommend(3, N=4, items=[9, 2, 9, 5, 70], filter_items=[5])
    assert set(allowed) == {2, 9, 70, -1}
    assert allowed[-1] == -1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 4}, "users holds 4 at position 0; indices run from 0 to 3"),
        ({"users": [0, -1]}, "users holds -1 at position 1"),
        ({"users": ["eva"]}, "users must be whole numbers .*user_indices"),
        ({"users": [[0]]}, r"users must be .* got an array of shape \(1, 1\)"),
        ({"users": True}, "users must be whole numbers"),
        ({"users": 0, "N": 0}, "N must be a whole number of at least 1, .* got 0"),
        ({"users": 0, "N": 2.5}, "N must be"),
        ({"users": 0, "N": 10**20}, "N must be"),
        ({"users": [[0], [1, 2]]}, "users must be one index or a 1-D array"),
        ({"users": 0, "items": [3]}, "items holds 3 at position 0; indices run from 0 to 2"),
        ({"users": 0, "filter_items": [0.5]}, "filter_items must be whole numbers"),
    ],
)
def test_bad_questions_are_refused(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model.recommend(**arguments)


def test_recommend_frame_speaks_in_raw_ids(model):
    table = model.recommend_frame(["cy", "eva"], N=5)
    assert list(table) == ["user", "item", "rank", "score"]
    assert table.user.tolist() == ["cy", "cy", "eva"]
    assert set(table.item[:2]) == {"jam", "rye"}
    assert table.item.tolist()[2] == "rye"
    assert table["rank"].tolist() == [1, 2, 1]
    assert len(model.recommend_frame(N=5)) == 4 * 3 - 6
    assert model.recommend_frame("cy", N=1).user.tolist() == ["cy"]
    with pytest.raises(InputError, match="'zoe'"):
        model.recommend_frame(["eva", "zoe"])


# saving


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

    monkeypatch.setattr("implicit_wmf.persistence.write_bytes", fail)
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
        manifest["crc32"] = _manifest_checksum(manifest)
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
        (_edit_manifest(format_version=99), "format version 99; this release reads version 1"),
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


def test_a_link_to_a_model_stays_a_link(model, tmp_path):
    model.save(tmp_path / "v1")
    (tmp_path / "latest").symlink_to("v1")
    model.set_params(factors=5).fit(model.interactions).save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert WMF.load(tmp_path / "v1").user_factors.shape == (4, 5)


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


def test_import_loads_neither_numba_nor_an_optional_package():
    heavy = ("numba", "pyarrow", "optuna", "dask", "typer", "matplotlib")
    code = f"import sys, implicit_wmf; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    # pandas itself loads pyarrow where it finds it
    assert loaded.strip() in ("[]", "['pyarrow']")
