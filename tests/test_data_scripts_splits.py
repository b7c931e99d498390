"""Published splits into train and test, on a few lines in their authors' formats."""

import dataclasses
import hashlib
import importlib
import os
import re
import shlex
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from publishers import DATA, ROOT, SCRIPTS, cells, no_network, script, zipped  # noqa: F401

from implicit_wmf.errors import InputError
from implicit_wmf.tables import read_interactions


class TestLightGcn:
    TRAIN, TEST = "0 2 0 1\n1 3\n2 0 \n", "0 3\n2\n1 0 1\n"

    @pytest.fixture
    def lightgcn(self, monkeypatch):
        module = script("lightgcn")
        split = dataclasses.replace(module.SPLITS["gowalla"], train=5, test=3, users=3, items=4)
        monkeypatch.setitem(module.SPLITS, "gowalla", split)
        return module

    def archive(self, folder, train=TRAIN, test=TEST):
        start = "LightGCN-master/Data"
        members = {f"{start}/yelp2018/train.txt": "0 1\n", f"{start}/gowalla/train.txt": train}
        return zipped(folder / "master.zip", **members, **{f"{start}/gowalla/test.txt": test})

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
    def test_both_parts_share_rows_and_columns(self, lightgcn, tmp_path, end):
        train, test = self.TRAIN.replace("\n", end), self.TEST.replace("\n", end)
        lightgcn.main(["gowalla", str(self.archive(tmp_path, train, test)), "-o", str(tmp_path / "out.npz")])
        assert scipy.sparse.load_npz(tmp_path / "out.npz").toarray().tolist() == [
            [1, 1, 1, 0],
            [0, 0, 0, 1],
            [1, 0, 0, 0],
        ]
        assert scipy.sparse.load_npz(tmp_path / "out.test.npz").toarray().tolist() == [
            [0, 0, 0, 1],
            [1, 1, 0, 0],
            [0, 0, 0, 0],
        ]
        assert sorted(os.listdir(tmp_path)) == ["master.zip", "out.npz", "out.test.npz"]

    def test_an_item_that_is_listed_twice_counts_once(self, lightgcn, tmp_path):
        archive = self.archive(tmp_path, "0 2 2 1\n1 3\n2 0\n")
        lightgcn.main(["gowalla", str(archive), "-o", str(tmp_path / "out.npz")])
        assert cells(tmp_path / "out.npz") == dict.fromkeys([(0, 1), (0, 2), (1, 3), (2, 0)], 1)

    def test_tables(self, lightgcn, tmp_path):
        (tmp_path / "train.txt").write_text(self.TRAIN)
        (tmp_path / "test.txt").write_text(self.TEST)
        lightgcn.main(["gowalla", str(tmp_path), "-o", str(tmp_path / "out.parquet")])
        assert pd.read_parquet(tmp_path / "out.test.parquet").to_numpy().tolist() == [[0, 3], [1, 0], [1, 1]]
        train = read_interactions(tmp_path / "out.parquet", user="user", item="item")
        assert train.matrix.toarray().tolist() == [[1, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]

    @pytest.mark.parametrize(
        ("train", "message"),
        [
            ("0 1\n1 x\n", r"gowalla/train\.txt, line 2: expected a user and items as whole numbers, met '1 x"),
            ("0 1\n1 -2\n", r"line 2: expected a user and items"),
            ("0 1\n\n0 2\n", r"line 3: user 0 has line 1 already"),
            ("0 2 0 1\n1 3\n", r"not gowalla/train\.txt as published: expected 5 lines, met 4"),
            ("0 2 0 1\n1 0\n4 1\n", r"not gowalla as published: expected 3 users, met 5"),
            ("0 2 0 1\n1 0\n2 7\n", r"not gowalla as published: expected 4 items, met 8"),
        ],
    )
    def test_what_is_not_the_split_is_refused(self, lightgcn, tmp_path, train, message):
        with pytest.raises(InputError, match=message):
            lightgcn.main(["gowalla", str(self.archive(tmp_path, train)), "-o", str(tmp_path / "out.npz")])
        assert os.listdir(tmp_path) == ["master.zip"]

    def test_a_part_that_is_missing_is_named(self, lightgcn, tmp_path):
        archive = zipped(tmp_path / "master.zip", **{"Data/gowalla/train.txt": self.TRAIN})
        with pytest.raises(InputError, match=r"master\.zip holds no gowalla/test\.txt"):
            lightgcn.main(["gowalla", str(archive), "-o", str(tmp_path / "out.npz")])


class TestNcf:
    @pytest.fixture
    def ncf(self, monkeypatch):
        module = script("ml_1m_ncf")
        monkeypatch.setattr(module, "NEGATIVES", 2)
        monkeypatch.setattr(module, "PUBLISHED", dataclasses.replace(module.PUBLISHED, lines=3, users=2))
        monkeypatch.setattr(module, "CANDIDATES", dataclasses.replace(module.CANDIDATES, lines=2, items=5))
        return module

    @pytest.fixture
    def loose(self, ncf, monkeypatch):
        """Take the digests of whatever is read for ours."""
        monkeypatch.setattr(ncf, "check_contents", lambda *_: None)
        return ncf

    def archive(self, folder, negatives="(0,2)\t3\t4\n(1,0)\t1\t1\t\n"):
        start = "neural_collaborative_filtering-master/Data"
        train = "0\t0\t5\t978300019\n0\t1\t4\t978300055\n1\t3\t3\t978300056\n"
        members = {f"{start}/ml-1m.train.rating": train, f"{start}/ml-1m.test.negative": negatives}
        return zipped(folder / "master.zip", **members)

    def test_a_matrix_and_the_candidates(self, loose, tmp_path):
        loose.main([str(self.archive(tmp_path)), "-o", str(tmp_path / "out.npz")])
        train = scipy.sparse.load_npz(tmp_path / "out.npz")
        assert train.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
        with np.load(tmp_path / "out.test.npz") as test:
            assert {name: test[name].tolist() for name in test} == {
                "user": [0, 1],
                "item": [2, 0],
                "negatives": [[3, 4], [1, 1]],
            }

    def test_tables_have_the_columns_of_the_matrix_form(self, loose, tmp_path):
        loose.main([str(self.archive(tmp_path)), "-o", str(tmp_path / "out.parquet")])
        train, test = pd.read_parquet(tmp_path / "out.parquet"), pd.read_parquet(tmp_path / "out.test.parquet")
        assert train[["user", "item", "rating"]].to_numpy().tolist() == [[0, 0, 5], [0, 1, 4], [1, 3, 3]]
        assert test.columns.tolist() == ["user", "item", "negatives"]
        assert [row.tolist() for row in test["negatives"]] == [[3, 4], [1, 1]]

    @pytest.mark.parametrize(
        ("negatives", "message"),
        [
            ("(0,2)\t3\t4\n(1,0)\t1\n", r"ml-1m\.test\.negative, line 2: expected '\(user,item\)' and 2 items"),
            ("(0,2)\t3\t4\n1,0\t1\t2\n", r"line 2: expected '\(user,item\)'"),
            ("(0,2)\t3\tx\n", r"line 1: expected"),
            ("(0,2)\t3\t4\n", r"ml-1m\.test\.negative as published: expected 2 lines, met 1"),
            ("(0,2)\t3\t4\n(1,0)\t1\t9\n", r"expected 5 items, met 10"),
        ],
    )
    def test_what_is_not_the_split_is_refused(self, loose, tmp_path, negatives, message):
        with pytest.raises(InputError, match=message):
            loose.main([str(self.archive(tmp_path, negatives)), "-o", str(tmp_path / "out.npz")])
        assert os.listdir(tmp_path) == ["master.zip"]

    def test_digests_do_not_depend_on_order_and_tell_negatives_apart(self, ncf, tmp_path, monkeypatch, capsys):
        out = str(tmp_path / "out.npz")
        # by hand: rows in order, negatives in order, 8 bytes a number
        numbers = {ncf.TRAIN: [0, 0, 0, 1, 1, 3], ncf.TEST: [0, 2, 3, 4, 1, 0, 1, 1]}
        digests = {
            name: hashlib.sha256(b"".join(number.to_bytes(8, "little") for number in row)).hexdigest()
            for name, row in numbers.items()
        }
        monkeypatch.setattr(ncf, "DIGESTS", digests)
        for same in ("(0,2)\t3\t4\n(1,0)\t1\t1\n", "(1,0)\t1\t1\n(0,2)\t4\t3\n"):
            ncf.main([str(self.archive(tmp_path, same)), "-o", out])
        other = self.archive(tmp_path, "(0,2)\t3\t1\n(1,0)\t1\t4\n")
        message = rf"ml-1m\.test\.negative: expected contents with our SHA-256 {digests[ncf.TEST]}, met .*; .*--force"
        with pytest.raises(InputError, match=message):
            ncf.main([str(other), "-o", out])
        ncf.main([str(other), "-o", out, "--force"])
        assert re.search(f"warning: {message}", capsys.readouterr().err)

    @pytest.mark.skipif(not (DATA / "ml-1m-ncf").is_dir(), reason=f"no split of MovieLens 1M at {DATA}")
    def test_the_published_split_has_our_digests(self, tmp_path):
        train, test = (pd.read_parquet(DATA / "ml-1m-ncf" / f"{part}.parquet") for part in ("train", "test"))
        drawn = np.stack(test["negatives"])
        # in the authors' form; the copy has no ratings and times
        rows = train.assign(rating=1, time=1)[["user", "item", "rating", "time"]]
        rows.to_csv(tmp_path / "ml-1m.train.rating", sep="\t", header=False, index=False)
        lines = (
            "\t".join([f"({user},{item})", *map(str, negatives)]) + "\n"
            for user, item, negatives in zip(test["user"], test["item"], drawn, strict=True)
        )
        (tmp_path / "ml-1m.test.negative").write_text("".join(lines))
        out = tmp_path / "train.parquet"
        script("ml_1m_ncf").main([str(tmp_path), "-o", str(out)])
        np.testing.assert_array_equal(pd.read_parquet(out)[["user", "item"]], train)
        made = pd.read_parquet(tmp_path / "test.parquet")
        np.testing.assert_array_equal(made[["user", "item"]], test[["user", "item"]])
        np.testing.assert_array_equal(np.stack(made["negatives"]), drawn)

    def test_what_the_benchmark_says_to_run_makes_what_it_reads(self, loose, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(ROOT))
        data, quality_data = (importlib.import_module(f"bench.{name}") for name in ("data", "quality.data"))
        monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path / "my data"))
        with pytest.raises(
            InputError, match=r"there is no .*train\.parquet; set IMPLICIT_WMF_DATA .* or make it: "
        ) as no:
            data.ncf_files()
        *make, command = str(no.value).split("or make it: ")[1].split(" && ")
        assert [shlex.split(line) for line in make] == [["mkdir", "-p", str(tmp_path / "my data" / "ml-1m-ncf")]]
        python, file, *arguments = shlex.split(command)
        assert (python, file) == (sys.executable, str(SCRIPTS / "ml_1m_ncf.py"))
        (tmp_path / "my data" / "ml-1m-ncf").mkdir(parents=True)
        # instead of fetching it
        self.archive(tmp_path).rename(arguments[0])
        loose.main(arguments)
        assert [path.name for path in data.ncf_files()] == ["train.parquet", "test.parquet"]
        for source in ("ml-1m-ncf", "MovieLens 1M"):
            counts = data.load(str(data.data_file(tmp_path / "cache", source)))
            assert counts.toarray().tolist() == [[1, 1, 0], [0, 0, 1]]
        problem = quality_data.load_problem(quality_data.Source("ml-1m-ncf"), tmp_path / "cache")
        assert problem.counts.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
