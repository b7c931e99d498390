"""Every version of MovieLens, on a few lines in the publisher's format: what is read, refused, left out and written."""

import dataclasses
import gzip
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from publishers import DATA, SCRIPTS, by_id, cells, no_network, script, zipped  # noqa: F401

from implicit_wmf.errors import InputError
from implicit_wmf.evaluation import split_by_time
from implicit_wmf.tables import read_events, read_interactions, read_table


class TestMovieLens:
    RATINGS = ((7, 30, 5, 978300760), (7, 4, 3.5, 978300761), (2, 30, 4, 978300000), (5, 9, 1, 978400000))
    FORMS = {
        "100k": ("ml-100k/u.data", "", "\t"),
        "1m": ("ml-1m/ratings.dat", "", "::"),
        "10m": ("ml-10M100K/ratings.dat", "", "::"),
        "20m": ("ml-20m/ratings.csv", "userId,movieId,rating,timestamp\n", ","),
        "25m": ("ml-25m/ratings.csv", "userId,movieId,rating,timestamp\n", ","),
    }

    @pytest.fixture
    def movielens(self, monkeypatch):
        """The script with figures of the four ratings above for all its versions."""
        module = script("movielens")
        figures = {"md5": {}, "lines": 4, "users": 3, "items": 3}
        small = {
            name: dataclasses.replace(version, published=dataclasses.replace(version.published, **figures))
            for name, version in module.VERSIONS.items()
        }
        monkeypatch.setattr(module, "VERSIONS", small)
        return module

    def content(self, version, ratings=RATINGS, end="\n"):
        _, header, separator = self.FORMS[version]
        lines = [separator.join(map(str, rating)) for rating in ratings]
        return header.replace("\n", end) + "".join(line + end for line in lines)

    def archive(self, folder, version="1m", **changes):
        content = self.content(version, **changes)
        return zipped(folder / f"set-{version}.zip", **{self.FORMS[version][0]: content, "x/README": "read me"})

    @pytest.mark.parametrize("version", FORMS)
    def test_every_version_becomes_a_matrix_with_its_ids(self, movielens, tmp_path, version):
        out = tmp_path / "out.npz"
        movielens.main([version, str(self.archive(tmp_path, version)), "-o", str(out)])
        assert by_id(out) == {(7, 30): 5, (7, 4): 3.5, (2, 30): 4, (5, 9): 1}
        assert read_table(tmp_path / "out.users.csv", ["user"])["user"].tolist() == [2, 5, 7]
        data = read_interactions(out)
        assert data.matrix.toarray().tolist() == [[0, 0, 4], [0, 1, 0], [3.5, 0, 5]]

    @pytest.mark.parametrize("version", FORMS)
    def test_every_version_becomes_a_table_of_events(self, movielens, tmp_path, version):
        out = tmp_path / "out.parquet"
        movielens.main([version, str(self.archive(tmp_path, version)), "-o", str(out)])
        frame = pd.read_parquet(out)
        assert frame.columns.tolist() == ["user", "item", "rating", "timestamp"]
        assert frame["user"].tolist() == [7, 7, 2, 5] and frame["item"].tolist() == [30, 4, 30, 9]
        assert frame["rating"].tolist() == [5, 3.5, 4, 1]
        assert frame["timestamp"].iloc[0] == pd.Timestamp("2000-12-31 22:12:40")
        events = read_events(out, user="user", item="item", value="rating", timestamp="timestamp")
        assert len(events) == 4

    def test_events_can_be_split_in_time(self, movielens, tmp_path):
        out = tmp_path / "out.parquet"
        movielens.main(["1m", str(self.archive(tmp_path)), "-o", str(out)])
        train, test = split_by_time(
            pd.read_parquet(out), user="user", item="item", timestamp="timestamp", test_fraction=0.25
        )[:2]
        assert (train.nnz, test.nnz) == (3, 1)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\r\n\r\n", "\n  \n"])
    @pytest.mark.parametrize("version", ["100k", "1m", "20m"])
    def test_line_ends_and_blank_lines(self, movielens, tmp_path, version, end):
        out = tmp_path / "out.npz"
        movielens.main([version, str(self.archive(tmp_path, version, end=end)), "-o", str(out)])
        assert len(cells(out)) == 4

    @pytest.mark.parametrize("version", ["100k", "20m"])
    def test_the_unpacked_file_its_folder_and_gz_serve_as_well(self, movielens, tmp_path, version):
        member = self.FORMS[version][0]
        folder = tmp_path / Path(member).parent
        folder.mkdir()
        file = tmp_path / member
        file.write_text("﻿" + self.content(version), encoding="utf-8")
        packed = tmp_path / "renamed.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        for number, source in enumerate((file, folder, tmp_path, packed)):
            out = tmp_path / f"{number}.npz"
            movielens.main([version, str(source), "-o", str(out)])
            assert len(cells(out)) == 4

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("7::30::5", r"ml-1m/ratings\.dat, line 3: expected 4 fields \('user::item::rating::timestamp'\), met 3"),
            ("7::30::5::1::2", r"line 3: expected 4 fields .* met 5: '7::30::5::1::2'"),
            ("7\t30\t5\t1", r"line 3: expected 4 fields .* met 1"),
            ("7::x::5::1", r"line 3: item is 'x'; expected a whole number from 1"),
            ("7::::5::1", r"line 3: item is ''; expected a whole number from 1"),
            ("7::1.5::5::1", r"line 3: item is '1\.5'; expected a whole number"),
            ("0::3::5::1", r"line 3: user is '0'; expected a whole number from 1"),
            ("7::3::6::1", r"line 3: rating is '6'; expected a number from 0\.5 to 5"),
            ("7::3::nan::1", r"line 3: rating is 'nan'; expected a number from 0\.5 to 5"),
            ("7::3::inf::1", r"line 3: rating is 'inf'; expected a number"),
            ("7::3::1_0::1", r"line 3: rating is '1_0'; expected a number"),
            ("7::3::5::-1", r"line 3: timestamp is '-1'; expected a whole number from 0"),
            ("7::3::5::", r"line 3: timestamp is ''; expected a whole number"),
            ("7::3::5::99999999999999999999", r"line 3: timestamp is '9+'; expected a whole number"),
            (b"7::3::5::1" + b"\xff", r"line 3: not UTF-8 \(invalid start byte at byte 10\)"),
        ],
    )
    def test_a_malformed_line_is_named(self, movielens, tmp_path, line, message):
        line = line.encode() if isinstance(line, str) else line
        source = tmp_path / "ratings.dat"
        source.write_bytes(b"1::2::3::4\n\n" + line + b"\n5::6::4::8\n")
        with pytest.raises(InputError, match=message):
            movielens.main(["1m", str(source), "-o", str(tmp_path / "out.npz")])
        assert os.listdir(tmp_path) == ["ratings.dat"]

    def test_a_short_line_does_not_make_up_for_a_long_one(self, movielens, tmp_path):
        source = tmp_path / "u.data"
        source.write_text("1\t2\t3\t4\n1\t3\t3\t4\t5\n1\t4\t3\n1\t5\t3\t4\n")
        with pytest.raises(InputError, match=r"line 2: expected 4 fields"):
            movielens.main(["100k", str(source), "-o", str(tmp_path / "out.npz")])

    def test_another_header_is_refused(self, movielens, tmp_path):
        source = tmp_path / "ratings.csv"
        source.write_text("userId,movieId,tag,timestamp\n1,2,fun,4\n")
        with pytest.raises(InputError, match=r"line 1: expected the header 'userId,movieId,rating,.*met 'userId,.*tag"):
            movielens.main(["20m", str(source), "-o", str(tmp_path / "out.npz")])

    def test_another_sets_archive_is_refused(self, movielens, tmp_path):
        with pytest.raises(InputError, match=r"set-10m\.zip holds no ml-20m/ratings\.csv.*It holds ml-10M100K/ratings"):
            movielens.main(["20m", str(self.archive(tmp_path, "10m")), "-o", str(tmp_path / "out.npz")])

    @pytest.mark.parametrize("kept", [0.5, 0.97])
    def test_a_truncated_archive_is_refused(self, movielens, tmp_path, kept):
        archive = self.archive(tmp_path, ratings=[(user, item, 3, 1) for user in range(1, 50) for item in range(1, 50)])
        archive.write_bytes(archive.read_bytes()[: int(kept * archive.stat().st_size)])
        with pytest.raises(InputError, match=r"set-1m\.zip cannot be read .*damaged or cut short: fetch it again"):
            movielens.main(["1m", str(archive), "-o", str(tmp_path / "out.npz")])

    def test_damaged_bytes_in_an_archive_are_refused(self, movielens, tmp_path):
        archive = self.archive(tmp_path, ratings=[(user, item, 3, 1) for user in range(1, 50) for item in range(1, 50)])
        content = bytearray(archive.read_bytes())
        content[300:340] = bytes(40)
        archive.write_bytes(content)
        with pytest.raises(InputError, match=r"set-1m\.zip cannot be read"):
            movielens.main(["1m", str(archive), "-o", str(tmp_path / "out.npz")])

    def test_counts_that_are_not_the_publishers_are_refused_unless_forced(self, movielens, tmp_path, capsys):
        archive, out = self.archive(tmp_path, ratings=self.RATINGS[:3]), tmp_path / "out.npz"
        message = (
            r"this is not ml-1m as published: expected 4 lines, met 3; expected 3 users, met 2; expected 3 items, "
            r"met 2; .*--force"
        )
        with pytest.raises(InputError, match=message):
            movielens.main(["1m", str(archive), "-o", str(out)])
        assert not out.exists()
        movielens.main(["1m", str(archive), "-o", str(out), "--force"])
        assert re.search(f"warning: {message}", capsys.readouterr().err)
        assert len(cells(out)) == 3

    def test_the_publishers_checksum_is_held_to(self, movielens, monkeypatch, tmp_path, capsys):
        archive, out = self.archive(tmp_path), tmp_path / "out.npz"
        right = hashlib.md5(archive.read_bytes()).hexdigest()
        for md5, arguments in (("0" * 32, []), ("0" * 32, ["--force"]), (right, [])):
            version = movielens.VERSIONS["1m"]
            published = dataclasses.replace(version.published, md5={".zip": md5})
            monkeypatch.setitem(movielens.VERSIONS, "1m", dataclasses.replace(version, published=published))
            command = ["1m", str(archive), "-o", str(out), *arguments]
            if md5 == right or arguments:
                movielens.main(command)
                assert ("MD5" in capsys.readouterr().err) == (md5 != right)
            else:
                with pytest.raises(InputError, match=rf"expected ml-1m with MD5 {md5}, met {right}; .*--force"):
                    movielens.main(command)

    def test_where_no_checksum_is_looked_at_it_is_said(self, movielens, monkeypatch, tmp_path, capsys):
        version = movielens.VERSIONS["1m"]
        published = dataclasses.replace(version.published, md5={".zip": "0" * 32})
        monkeypatch.setitem(movielens.VERSIONS, "1m", dataclasses.replace(version, published=published))
        unpacked = tmp_path / "ratings.dat"
        unpacked.write_text(self.content("1m"))
        for source in (unpacked, tmp_path):
            movielens.main(["1m", str(source), "-o", str(tmp_path / "out.npz")])
            assert "checksum not checked: the publisher's is of the .zip file\n" in capsys.readouterr().out

    def test_a_file_that_may_not_be_read_is_not_called_damaged(self, movielens, monkeypatch, tmp_path):
        unpacked, out = tmp_path / "ratings.dat", str(tmp_path / "out.npz")
        unpacked.write_text(self.content("1m"))
        whole = Path.open

        def refuse(path, *arguments, **options):
            if path.parent == tmp_path:
                raise PermissionError(13, "Permission denied", str(path))
            return whole(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", refuse)
        message = r"^.*ratings\.dat cannot be read: Permission denied; mend its permissions$"
        for source in (unpacked, tmp_path):
            with pytest.raises(InputError, match=message):
                movielens.main(["1m", str(source), "-o", out])
        version = movielens.VERSIONS["1m"]
        published = dataclasses.replace(version.published, md5={".dat": "0" * 32})
        monkeypatch.setitem(movielens.VERSIONS, "1m", dataclasses.replace(version, published=published))
        with pytest.raises(InputError, match=r"ratings\.dat cannot be read: Permission denied$"):
            movielens.main(["1m", str(unpacked), "-o", out])

    def test_a_pair_rated_twice_is_refused(self, movielens, tmp_path):
        archive = self.archive(tmp_path, ratings=(*self.RATINGS[:3], (2, 30, 1, 5)))
        with pytest.raises(InputError, match=r"user 2 has rated item 30 more than once \(1 lines repeat a pair\)"):
            movielens.main(["1m", str(archive), "-o", str(tmp_path / "out.npz"), "--force"])

    def test_thresholds_are_those_of_liang_et_al(self, movielens, tmp_path):
        rng = np.random.default_rng(0)
        pairs = {(int(user), int(item)) for user, item in rng.integers(1, 25, (500, 2))}
        ratings = [(user, item, int(rng.integers(1, 6)), 1) for user, item in sorted(pairs)]
        good = [(user, item) for user, item, rating, _ in ratings if rating >= 4]
        good = [pair for pair in good if sum(item == pair[1] for _, item in good) >= 6]
        good = [pair for pair in good if sum(user == pair[0] for user, _ in good) >= 5]
        assert 0 < len(good) < len(ratings) / 2
        out = tmp_path / "out.npz"
        options = ["--force", "--min-rating", "4", "--min-user", "5", "--min-item", "6"]
        movielens.main(["1m", str(self.archive(tmp_path, ratings=ratings)), "-o", str(out), *options])
        assert by_id(out) == dict.fromkeys(good, 1.0)
        assert scipy.sparse.load_npz(out).shape == tuple(len({pair[side] for pair in good}) for side in (0, 1))

    def test_thresholds_that_leave_nothing_are_refused(self, movielens, tmp_path):
        with pytest.raises(InputError, match=r"no line is left; lower --min-rating"):
            movielens.main(["1m", str(self.archive(tmp_path)), "-o", str(tmp_path / "out.npz"), "--min-user", "9"])

    @pytest.mark.parametrize("wrong", ["0", "-1", "2.5", "x"])
    def test_a_threshold_is_a_whole_number(self, movielens, tmp_path, wrong, capsys):
        with pytest.raises(SystemExit):
            movielens.main(["1m", str(self.archive(tmp_path)), "-o", "out.npz", f"--min-user={wrong}"])
        assert f"{wrong!r} is not a whole number of at least 1" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("out", "message"),
        [
            ("out.csv", r"OUT 'out\.csv' has an unknown suffix; data sets are written as \.npz or \.parquet"),
            ("nowhere/out.npz", r"there is no folder .*nowhere"),
            ("set-1m.zip/out.npz", r"there is no folder .*set-1m\.zip"),
            ("folder.npz", r"folder\.npz is a folder; name a file"),
        ],
    )
    def test_outputs_that_cannot_be_written_are_refused_before_the_work(self, movielens, tmp_path, out, message):
        (tmp_path / "folder.npz").mkdir()
        archive = self.archive(tmp_path)
        archive.write_bytes(b"never read")
        with pytest.raises(InputError, match=message):
            movielens.main(["1m", str(archive), "-o", str(tmp_path / out)])

    def test_a_failed_run_leaves_the_former_file(self, movielens, tmp_path, monkeypatch):
        out = tmp_path / "out.npz"
        archive = self.archive(tmp_path)
        movielens.main(["1m", str(archive), "-o", str(out)])
        before = sorted(os.listdir(tmp_path)), out.read_bytes()

        def full(file, *_, **__):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("scipy.sparse.save_npz", full)
        with pytest.raises(InputError, match=r"out\.npz cannot be written: No space left on device"):
            movielens.main(["1m", str(archive), "-o", str(out)])
        assert (sorted(os.listdir(tmp_path)), out.read_bytes()) == before

    def test_errors_are_one_line_on_the_command_line(self, tmp_path):
        command = [sys.executable, SCRIPTS / "movielens.py", "20m", tmp_path / "no.zip", "-o", tmp_path / "out.npz"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 1
        assert (
            done.stderr == f"error: there is no {tmp_path}/no.zip; check the name, or fetch it there with --download\n"
        )

    def test_figures_are_grouplens_own(self):
        published = {name: version.published for name, version in script("movielens").VERSIONS.items()}
        lines = {"100k": 100_000, "1m": 1_000_209, "10m": 10_000_054, "20m": 20_000_263, "25m": 25_000_095}
        assert {name: one.lines for name, one in published.items()} == lines
        # as in files.grouplens.org/datasets/movielens/ml-100k.zip.md5 and ml-1m.zip.md5
        assert published["100k"].md5 == {".zip": "0e33842e24a9c977be4e0107933c0723"}
        assert published["1m"].md5 == {".zip": "c4d9eecfca2ab87c1945afe126590906"}
        for one in published.values():
            assert one.url == f"https://files.grouplens.org/datasets/movielens/{one.name}.zip"
            assert re.fullmatch("[0-9a-f]{32}", one.md5[".zip"])

    @pytest.mark.skipif(not (DATA / "ml-100k").is_dir(), reason=f"no MovieLens 100K at {DATA}")
    def test_the_real_100k_passes_its_checks(self, tmp_path):
        source, out = DATA / "ml-100k" / "u.data", tmp_path / "out.npz"
        script("movielens").main(["100k", str(source), "-o", str(out)])
        frame = pd.read_csv(source, sep="\t", header=None)
        expected = {(user, item): rating for user, item, rating, _ in frame.itertuples(index=False)}
        assert by_id(out) == expected
        assert cells(out)[(0, 0)] == 5
