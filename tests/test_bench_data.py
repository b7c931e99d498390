"""What the benchmark is run on: named sets and files of one's own, turned into counts once."""

import gzip

import benchmark  # noqa: F401
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from bench import data as data_module
from bench.data import REAL, data_file, load, ncf_files
from bench.shapes import Shape
from implicit_wmf.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def counts(cache, data):
    return load(str(data_file(cache, data)))


TABLE = {"userId": [5, 5, 3], "movieId": ["b", "a", "b"], "plays": [2, 3, 4]}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_tables_are_read_by_the_names_of_their_columns(tmp_path, suffix):
    source, frame = tmp_path / f"mine{suffix}", pd.DataFrame(TABLE)
    if suffix == ".parquet":
        frame.to_parquet(source)
    else:
        frame.to_csv(source, index=False, sep="\t" if suffix == ".tsv" else ",")
    for given in (source, str(source)):
        assert counts(tmp_path / "cache", given).toarray().tolist() == [[0, 4], [3, 2]]


def test_a_table_without_values_counts_its_lines(tmp_path):
    source = tmp_path / "mine.csv"
    source.write_text("item,user\n9,1\n9,1\n8,2\n")
    assert counts(tmp_path, source).toarray().tolist() == [[0, 2], [1, 0]]


def test_a_matrix_loses_what_is_not_above_zero(tmp_path):
    source = tmp_path / "mine.npz"
    matrix = scipy.sparse.coo_array(([2.5, -1.0, 0.0, 1.0], ([0, 0, 1, 2], [1, 0, 2, 2])), shape=(4, 3))
    scipy.sparse.save_npz(source, matrix)
    made = counts(tmp_path / "cache", source)
    assert made.toarray().tolist() == [[0, 2.5, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert (made.nnz, made.dtype, made.format) == (2, np.float32, "csr")


def test_a_file_that_has_changed_and_one_of_the_same_name_are_read_anew(tmp_path):
    source, other = tmp_path / "mine.csv", tmp_path / "other" / "mine.csv"
    other.parent.mkdir()
    for file, content in ((source, "user,item\n1,1\n"), (other, "user,item\n1,1\n1,2\n")):
        file.write_text(content)
    first = data_file(tmp_path / "cache", source)
    assert data_file(tmp_path / "cache", source) == first
    assert counts(tmp_path / "cache", other).nnz == 2
    source.write_text("user,item\n1,1\n1,2\n1,3\n")
    assert counts(tmp_path / "cache", source).nnz == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.csv", "who,item\n1,1\n", r"mine\.csv: no column of users among who, item; name it 'user' \(also under"),
        ("mine.csv", "user,what\n1,1\n", r"mine\.csv: no column of items among user, what; name it 'item'"),
        ("mine.csv", "user,item\n1\n", r"mine\.csv"),
        ("mine.csv", "", r"mine\.csv cannot be read: No columns"),
        ("mine.parquet", "no", r"mine\.parquet cannot be read"),
        ("mine.npz", "no", r"mine\.npz is not a matrix written by scipy"),
        ("mine.doc", "no", r"'mine\.doc' has an unknown suffix"),
        ("mine.csv", "user,item,count\n1,1,-1\n", r"mine\.csv holds no count above zero"),
    ],
)
def test_files_that_cannot_be_used_are_named_in_one_line(tmp_path, name, content, message):
    source = tmp_path / name
    source.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        data_file(tmp_path / "cache", source)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_an_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(InputError, match=r"data 'ml-2m' is neither a file nor one of MovieLens 1M, ml-1m-ncf, ml-100k"):
        data_file(tmp_path, "ml-2m")


@pytest.mark.parametrize("name", sorted(set(REAL) - {"online_retail"}))
def test_a_named_set_that_is_absent_is_said(folder, tmp_path, name):
    message = (
        r"there is no .*; set IMPLICIT_WMF_DATA to a folder that holds (ml|lastfm)-.*, or (make it: |fetch https://)"
    )
    with pytest.raises(InputError, match=message) as caught:
        data_file(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_each_absent_file_of_the_ncf_split_is_named(folder):
    (folder / "ml-1m-ncf").mkdir(parents=True)
    for name, other in (("train", "test"), ("test", "train")):
        (folder / "ml-1m-ncf" / f"{other}.parquet").touch()
        (folder / "ml-1m-ncf" / f"{name}.parquet").unlink(missing_ok=True)
        with pytest.raises(
            InputError, match=rf"there is no .*{name}\.parquet; .* holds ml-1m-ncf/{name}\.parquet, or make"
        ):
            ncf_files()
    (folder / "ml-1m-ncf" / "test.parquet").touch()
    assert ncf_files() == tuple(folder / "ml-1m-ncf" / f"{name}.parquet" for name in ("train", "test"))


def test_lastfm_serves_as_it_is_unpacked(folder, tmp_path):
    (folder / "lastfm-2k").mkdir(parents=True)
    (folder / "lastfm-2k" / "user_artists.dat").write_bytes(b"userID\tartistID\tweight\r\n7\t51\t100\r\n3\t52\t2\r\n")
    assert counts(tmp_path, "lastfm-2k").toarray().tolist() == [[0, 2], [100, 0]]


@pytest.mark.parametrize(
    ("makers", "data"), [("SYNTHETIC_MAKERS", Shape("small", 30, 20, 100)), ("SHIPPED_MAKERS", "online_retail")]
)
def test_what_another_version_made_is_made_anew(tmp_path, monkeypatch, makers, data):
    made = []
    monkeypatch.setattr(data_module, "_make", lambda _: made.append(1) or scipy.sparse.csr_array(np.eye(2)))
    maker = tmp_path / "maker"
    maker.write_text("as it was")
    monkeypatch.setattr(data_module, makers, (*getattr(data_module, makers), maker))
    names = [data_file(tmp_path, data), data_file(tmp_path, data)]
    assert len(set(names)) == len(made) == 1
    maker.write_text("changed")
    names.append(data_file(tmp_path, data))
    monkeypatch.setattr("implicit_wmf.__version__", "9.9.9")
    names.append(data_file(tmp_path, data))
    assert len(set(names)) == len(made) == 3


def test_counts_are_kept_by_the_files_that_make_them():
    assert {path.name for path in data_module.SYNTHETIC_MAKERS} == {"synthetic.py"}
    assert {path.name for path in data_module.SHIPPED_MAKERS} == {"online_retail.npz", "online_retail.py", "data.py"}
    assert all(path.is_file() for path in data_module.SYNTHETIC_MAKERS + data_module.SHIPPED_MAKERS)


def test_named_sets_in_their_publishers_formats(folder, tmp_path):
    for name in ("ml-100k", "lastfm-2k", "ml-1m-ncf"):
        (folder / name).mkdir(parents=True)
    (folder / "ml-100k" / "u.data").write_text("7\t9\t4\t881250949\n7\t8\t1\t881250950\n2\t9\t5\t881250951\n")
    plays = gzip.compress(b"userID\tartistID\tweight\r\n7\t51\t100\r\n3\t52\t2\r\n")
    (folder / "lastfm-2k" / "user_artists.dat.gz").write_bytes(plays)
    pd.DataFrame({"user": [7, 7, 3], "item": [5, 5, 9]}).to_parquet(folder / "ml-1m-ncf" / "train.parquet")
    assert counts(tmp_path, "ml-100k").toarray().tolist() == [[0, 5], [1, 4]]
    assert counts(tmp_path, "lastfm-2k").toarray().tolist() == [[0, 2], [100, 0]]
    assert counts(tmp_path, "ml-1m-ncf").toarray().tolist() == [[0, 1], [1, 0]]


def test_the_shipped_purchases_count_invoices(tmp_path):
    from implicit_wmf.datasets import load_online_retail

    frame = load_online_retail()
    invoices = frame.groupby(["customer", "product"])["invoice"].nunique()
    made = counts(tmp_path, "online_retail")
    assert made.nnz == len(invoices)
    assert made.sum() == invoices.sum()
    customers, products = sorted(frame["customer"].unique()), sorted(frame["product"].unique())
    for (customer, product), count in invoices.sample(20, random_state=0).items():
        assert made[customers.index(customer), products.index(product)] == count
