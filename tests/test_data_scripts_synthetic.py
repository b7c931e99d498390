"""Synthetic interactions in files: as many as asked for, drawn as the package draws them, in no order."""

import sys

import numpy as np
import pandas as pd
import pytest
from publishers import script

from implicit_wmf.datasets import synthetic
from implicit_wmf.errors import InputError

SIZES = {"lines": 20_000, "users": 800, "items": 300, "factors": 4, "file-lines": 6_000}


@pytest.fixture(scope="module")
def module():
    return script("synthetic_interactions")


def generate(module, folder, **changes):
    options = [f"--{name}={value}" for name, value in (SIZES | changes).items()]
    module.main(["-o", str(folder), *options])
    return [pd.read_parquet(path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def files(module, tmp_path_factory):
    return generate(module, tmp_path_factory.mktemp("synthetic") / "lines")


def test_lines_are_as_many_as_asked_for_in_files_of_the_size_asked_for(files):
    assert [len(file) for file in files] == [6_000, 6_000, 6_000, 2_000]
    kinds = [str(kind) for kind in files[0].dtypes]
    assert list(files[0]) == ["user", "item", "value", "timestamp"]
    assert kinds == ["int64", "int64", "float32", "datetime64[ms]"]


def test_pairs_are_those_that_the_package_draws_and_one_line_of_ten_repeats_one(module, files):
    table = pd.concat(files)
    expected = synthetic(800, 300, 18_000, 4, 0).tocoo()
    pairs = {tuple(pair) for pair in table[["user", "item"]].to_numpy().tolist()}
    ids = (module.scattered(side, where) for side, where in (("user", expected.row), ("item", expected.col)))
    assert len(table) == 20_000
    assert pairs == set(zip(*(side.tolist() for side in ids), strict=True))
    assert len(pairs) == 18_000


def test_ids_are_distinct_and_no_positions(module):
    for side, count in (("user", 200_000), ("item", 20_000)):
        ids = module.scattered(side, np.arange(count, dtype=np.int32))
        assert len(np.unique(ids)) == count
        assert ids.min() >= 0
        assert 2**39 < ids.max() < 2**40
        assert abs((np.diff(ids) > 0).mean() - 0.5) < 0.3
    assert module.scattered("user", np.array([0])) != module.scattered("item", np.array([0]))


def test_values_are_whole_counts_mostly_ones(files):
    values = pd.concat(files)["value"].to_numpy()
    assert (values >= 1).all()
    assert (values == np.round(values)).all()
    assert 0.73 < (values == 1).mean() < 0.77


def test_time_rises_and_users_are_in_no_order(files):
    table = pd.concat(files)
    moments = table["timestamp"].to_numpy()
    assert (np.diff(moments) >= np.timedelta64(0)).all()
    assert moments[0] == np.datetime64("2024-01-01")
    assert np.datetime64("2024-12-31") < moments[-1] < np.datetime64("2025-01-01")
    # Neighbouring lines are of the same user no more often than lines anywhere.
    users = table["user"].to_numpy()
    shares = table["user"].value_counts(normalize=True).to_numpy()
    assert abs((users[1:] == users[:-1]).mean() - (shares**2).sum()) < 0.003


def test_any_file_is_a_sample_of_the_whole(files):
    """In none the most active users, who are in no file's favour, are more than elsewhere."""
    table = pd.concat(files)
    active = table["user"].value_counts().index[:40]
    share = table["user"].isin(active).mean()
    for file in files:
        deviation = np.sqrt(share * (1 - share) / len(file))
        assert abs(file["user"].isin(active).mean() - share) < 4 * deviation


def test_several_blocks_of_users_keep_to_the_sizes(module, tmp_path, monkeypatch):
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["implicit_wmf.datasets.synthetic"], "BLOCK_CELLS", 1_000)
    table = pd.concat(generate(module, tmp_path / "lines"))
    assert len(table) == 20_000
    assert len(table[["user", "item"]].drop_duplicates()) == 18_000


def test_a_seed_gives_the_same_bytes_and_another_one_others(module, files, tmp_path):
    def contents(folder):
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        generate(module, tmp_path / name, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "same")
    assert contents(tmp_path / "one")[0] != contents(tmp_path / "other")[0]


@pytest.mark.parametrize(("lines", "pairs"), [(1, 1), (9, 9), (10, 9)])
def test_few_lines(module, tmp_path, lines, pairs):
    (table,) = generate(module, tmp_path / "lines", lines=lines)
    assert len(table) == lines
    assert len(table[["user", "item"]].drop_duplicates()) == pairs


def test_what_is_there_is_left_alone(module, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(InputError, match=r"mine exists and was left alone; remove it or name another"):
        generate(module, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": 10, "items": 10}, r"--lines 20000: 18000 pairs are more than half of the 10 x 10 that there are"),
        ({"lines": 10**9}, r"--lines is 1000000000; give at most 999999999"),
        ({"seed": -1}, r"--seed is -1; give a whole number of at least 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before(module, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        generate(module, tmp_path / "lines", **change)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(module, tmp_path, monkeypatch):
    calls = iter(range(10))

    def stop(*_):
        if next(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_parquet", stop)
    with pytest.raises(KeyboardInterrupt):
        generate(module, tmp_path / "lines")
    assert not list(tmp_path.iterdir())
