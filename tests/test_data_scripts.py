"""The scripts that turn public data sets into matrices and tables, each on a few lines in the publisher's format."""

import dataclasses
import gzip
import hashlib
import http.client
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from implicit_wmf.errors import InputError, MissingExtraError
from implicit_wmf.evaluation import split_by_time
from implicit_wmf.tables import read_events, read_interactions, read_table

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "data_scripts"
DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))
SHA = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(4)]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a script went to the network without being asked to")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tarred(path, **members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def cells(path):
    """The matrix in a file as {(row, column): value}."""
    matrix = scipy.sparse.coo_array(scipy.sparse.load_npz(path))
    places = zip(matrix.row.tolist(), matrix.col.tolist(), strict=True)
    return dict(zip(places, matrix.data.tolist(), strict=True))


def by_id(path):
    """The matrix in a file as {(user, item): value}, by the ids beside it."""
    users, items = (read_table(path.with_suffix(f".{side}s.csv"), [side])[side].tolist() for side in ("user", "item"))
    return {(users[row], items[column]): value for (row, column), value in cells(path).items()}


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
    def movielens(self, script, monkeypatch):
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

    def test_figures_are_grouplens_own(self, script):
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
    def test_the_real_100k_passes_its_checks(self, script, tmp_path):
        source, out = DATA / "ml-100k" / "u.data", tmp_path / "out.npz"
        script("movielens").main(["100k", str(source), "-o", str(out)])
        frame = pd.read_csv(source, sep="\t", header=None)
        expected = {(user, item): rating for user, item, rating, _ in frame.itertuples(index=False)}
        assert by_id(out) == expected
        assert cells(out)[(0, 0)] == 5


class TestDownload:
    @pytest.fixture
    def archive(self, tmp_path):
        (tmp_path / "publisher").mkdir()
        return zipped(tmp_path / "publisher" / "set.zip", **{"train_triplets.txt": "u\ts\t1\nu\tr\t2\nv\ts\t1\n"})

    @pytest.fixture
    def msd(self, script, archive, monkeypatch):
        module = script("msd_taste_profile")
        figures = {"url": archive.as_uri(), "lines": 3, "users": 2, "items": 2}
        monkeypatch.setattr(module, "PUBLISHED", dataclasses.replace(module.PUBLISHED, **figures))
        return module

    def test_nothing_is_fetched_unless_asked(self, msd, tmp_path):
        with pytest.raises(InputError, match=r"there is no .*here\.zip; check the name, or fetch it there with --down"):
            msd.main([str(tmp_path / "here.zip"), "-o", str(tmp_path / "out.npz")])

    def test_nothing_is_fetched_where_it_is_already(self, msd, archive, tmp_path):
        msd.main([str(archive), "-o", str(tmp_path / "out.npz"), "--download"])
        assert len(cells(tmp_path / "out.npz")) == 3

    @pytest.fixture
    def online(self, msd, archive, monkeypatch):
        """Let the script fetch the archive, under a wrong checksum or none."""
        monkeypatch.undo()
        monkeypatch.syspath_prepend(str(SCRIPTS))

        def go(md5=None):
            figures = {"url": archive.as_uri(), "lines": 3, "users": 2, "items": 2, "md5": {".zip": md5} if md5 else {}}
            monkeypatch.setattr(msd, "PUBLISHED", dataclasses.replace(msd.PUBLISHED, **figures))

        return go

    def test_what_has_another_checksum_is_not_kept(self, msd, archive, online, tmp_path, capsys):
        right = hashlib.md5(archive.read_bytes()).hexdigest()
        # a name without the suffix that checksums go by, too
        for name in ("here.zip", "here"):
            command = [str(tmp_path / name), "-o", str(tmp_path / "out.npz"), "--download"]
            online("0" * 32)
            with pytest.raises(InputError, match=rf"with MD5 0{{32}}, met {right}; try again, or take it .*--force"):
                msd.main(command)
            assert os.listdir(tmp_path) == ["publisher"]
        command[0] = str(tmp_path / "here.zip")
        msd.main([*command, "--force"])
        assert f"met {right}" in capsys.readouterr().err
        # kept because it was asked for; a later run says how to be rid of it
        with pytest.raises(InputError, match=r"met .*; delete .*here\.zip and fetch it again, or take it"):
            msd.main(command)
        (tmp_path / "here.zip").unlink()
        online(right)
        msd.main(command)
        assert len(cells(tmp_path / "out.npz")) == 3
        assert "not checked" not in capsys.readouterr().out

    def test_an_archive_is_fetched_whole(self, msd, archive, online, tmp_path):
        online()
        here = tmp_path / "here.zip"
        msd.main([str(here), "-o", str(tmp_path / "out.npz"), "--download"])
        assert here.read_bytes() == archive.read_bytes()
        assert len(cells(tmp_path / "out.npz")) == 3

    def answer(self, monkeypatch, content, announced):
        class Answer(io.BytesIO):
            headers = {"Content-Length": announced}

        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer(content))

    def test_a_short_answer_leaves_nothing(self, script, tmp_path, monkeypatch):
        self.answer(monkeypatch, b"half", "8")
        with pytest.raises(InputError, match=r"http://x announced 8 bytes and sent 4; try again"):
            script("_source").download("http://x", tmp_path / "here.zip")
        assert not os.listdir(tmp_path)

    def test_a_broken_answer_in_chunks_leaves_nothing(self, script, tmp_path, monkeypatch):
        class Answer(io.BytesIO):
            headers = {}

            def read(self, *_):
                raise http.client.IncompleteRead(b"half", 4)

        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer())
        with pytest.raises(InputError, match=r"^http://x cannot be fetched: IncompleteRead\(4 bytes read, 4 more exp"):
            script("_source").download("http://x", tmp_path / "here.zip")
        assert not os.listdir(tmp_path)

    def test_an_answer_of_unknown_length_is_taken(self, script, tmp_path, monkeypatch):
        self.answer(monkeypatch, b"whole", None)
        script("_source").download("http://x", tmp_path / "here.zip")
        assert (tmp_path / "here.zip").read_bytes() == b"whole"

    def test_no_answer_is_said(self, msd, script, archive, tmp_path, monkeypatch):
        monkeypatch.undo()
        archive.unlink()
        with pytest.raises(InputError, match=r"set\.zip cannot be fetched: .*; try again, or fetch it by hand to"):
            sys.modules["_source"].download(archive.as_uri(), tmp_path / "here.zip")
        assert os.listdir(tmp_path) == ["publisher"]


class TestLastFm360K:
    MBID = "3bd73256-3905-4f3a-97e2-8b341527f805"

    @pytest.fixture
    def lastfm(self, script, monkeypatch):
        module = script("lastfm_360k")
        monkeypatch.setattr(module, "PUBLISHED", dataclasses.replace(module.PUBLISHED, md5={}, lines=None))
        return module

    def archive(self, folder, *lines):
        content = "".join("\t".join(map(str, line)) + "\n" for line in lines)
        folder_name = "lastfm-dataset-360K"
        name = f"{folder_name}/usersha1-artmbid-artname-plays.tsv"
        members = {f"{folder_name}/README.txt": "read me", name: content}
        return tarred(folder / "lastfm-dataset-360K.tar.gz", **members)

    def test_names_keep_quotes_and_letters_of_any_script(self, lastfm, tmp_path):
        names = ['"weird al" yankovic', "die ärzte", "椎名林檎", '12"', "'n sync", "null", "007"]
        lines = [(SHA[0], "", name, number) for number, name in enumerate(names, start=1)]
        out = tmp_path / "out.npz"
        lastfm.main([str(self.archive(tmp_path, *lines)), "-o", str(out)])
        assert by_id(out) == {(SHA[0], name): number for number, name in enumerate(names, start=1)}

    def test_an_artist_is_known_by_the_mbid_and_by_the_name_without_one(self, lastfm, tmp_path):
        lines = [
            (SHA[0], self.MBID, "betty blowtorch", 2137),
            (SHA[1], self.MBID, "betty  blowtorch", 3),
            (SHA[1], "", "betty blowtorch", 7),
        ]
        out = tmp_path / "out.npz"
        lastfm.main([str(self.archive(tmp_path, *lines)), "-o", str(out)])
        assert by_id(out) == {(SHA[0], self.MBID): 2137, (SHA[1], self.MBID): 3, (SHA[1], "betty blowtorch"): 7}
        items = pd.read_csv(tmp_path / "out.items.csv")
        assert items.to_numpy().tolist() == [[self.MBID, "betty blowtorch"], ["betty blowtorch", "betty blowtorch"]]

    def test_lines_of_a_pair_are_added_up_in_the_matrix_and_kept_in_the_table(self, lastfm, tmp_path):
        archive = self.archive(tmp_path, (SHA[0], "", "u2", 3), (SHA[0], "", "u2", 4))
        lastfm.main([str(archive), "-o", str(tmp_path / "out.npz")])
        lastfm.main([str(archive), "-o", str(tmp_path / "out.parquet")])
        assert cells(tmp_path / "out.npz") == {(0, 0): 7}
        assert pd.read_parquet(tmp_path / "out.parquet").to_numpy().tolist() == [[SHA[0], "u2", 3], [SHA[0], "u2", 4]]

    def test_known_blemishes_are_left_out_and_counted(self, lastfm, tmp_path, capsys):
        lines = [
            (SHA[0], "", "u2", 3),
            ("sep 20, 2008", "", "u2", 5),
            (SHA[1], self.MBID, "", 1),
            (SHA[1], "", "", 2),
            (SHA[1], "", "abba", 0),
            (SHA[2], "", "tab\tin the name", 4),
            (SHA[2], "short"),
        ]
        out = tmp_path / "out.npz"
        lastfm.main([str(self.archive(tmp_path, *lines)), "-o", str(out)])
        assert by_id(out) == {(SHA[0], "u2"): 3, (SHA[1], self.MBID): 1}
        printed = capsys.readouterr().out
        for expected in ("-2 lines: malformed", "-1 lines: user is no SHA-1", "-1 lines: no artist", "-1 lines: no pl"):
            assert expected in printed

    def test_left_out_lines_count_as_lines_of_the_file(self, lastfm, tmp_path, monkeypatch):
        archive = self.archive(tmp_path, (SHA[0], "", "u2", 3), ("x", "", "u2", 3), (SHA[0], "short"))
        monkeypatch.setattr(lastfm, "PUBLISHED", dataclasses.replace(lastfm.PUBLISHED, lines=3))
        lastfm.main([str(archive), "-o", str(tmp_path / "out.npz")])
        monkeypatch.setattr(lastfm, "PUBLISHED", dataclasses.replace(lastfm.PUBLISHED, lines=4))
        with pytest.raises(InputError, match=r"expected 4 lines, met 3"):
            lastfm.main([str(archive), "-o", str(tmp_path / "out.npz")])

    def test_too_many_malformed_lines_are_another_file(self, lastfm, tmp_path):
        archive = self.archive(tmp_path, *[("user_000001", "2009-05-04T23:08:57Z", "", "deep dish", "", "x")] * 11)
        with pytest.raises(
            InputError, match=r"line 1: expected 4 fields .*11 of 11 lines are malformed: is this anoth"
        ):
            lastfm.main([str(archive), "-o", str(tmp_path / "out.npz")])

    def test_a_truncated_archive_is_refused(self, lastfm, tmp_path):
        rng = np.random.default_rng(0)
        archive = self.archive(tmp_path, *((SHA[0], "", rng.bytes(8).hex(), 1) for _ in range(20_000)))
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        with pytest.raises(InputError, match=r"360K\.tar\.gz cannot be read .*damaged or cut short"):
            lastfm.main([str(archive), "-o", str(tmp_path / "out.npz")])

    def test_another_archive_is_refused(self, lastfm, tmp_path):
        archive = tarred(tmp_path / "lastfm-dataset-1K.tar.gz", **{"lastfm-dataset-1K/userid-profile.tsv": "x"})
        with pytest.raises(InputError, match=r"holds no usersha1-artmbid-artname-plays\.tsv: is it another data set's"):
            lastfm.main([str(archive), "-o", str(tmp_path / "out.npz")])


class TestLastFm2K:
    PLAYS = "userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n9\t51\t4\r\n"
    ARTISTS = 'id\tname\turl\tpictureURL\r\n51\tDuran Duran\thttp://x\thttp://y\r\n52\tSigur Rós "("\thttp://x\t\r\n53\tz\tu\tv'

    @pytest.fixture
    def lastfm(self, script, monkeypatch):
        module = script("lastfm_2k")
        figures = {"lines": 3, "users": 2, "items": 2}
        monkeypatch.setattr(module, "PUBLISHED", dataclasses.replace(module.PUBLISHED, **figures))
        return module

    def test_plays_and_names(self, lastfm, tmp_path):
        archive = zipped(tmp_path / "set.zip", **{"user_artists.dat": self.PLAYS, "artists.dat": self.ARTISTS})
        out = tmp_path / "out.npz"
        lastfm.main([str(archive), "-o", str(out)])
        assert by_id(out) == {(2, 51): 13883, (2, 52): 11690, (9, 51): 4}
        names = pd.read_csv(tmp_path / "out.items.csv")
        assert names.to_numpy().tolist() == [[51, "Duran Duran"], [52, 'Sigur Rós "("']]

    def test_names_are_found_beside_the_file_and_may_be_absent(self, lastfm, tmp_path):
        plays, out = tmp_path / "user_artists.dat", tmp_path / "out.parquet"
        plays.write_text(self.PLAYS)
        lastfm.main([str(plays), "-o", str(out)])
        assert not (tmp_path / "out.items.csv").exists()
        (tmp_path / "artists.dat.gz").write_bytes(gzip.compress(self.ARTISTS.encode()))
        lastfm.main([str(plays), "-o", str(out)])
        assert pd.read_csv(tmp_path / "out.items.csv")["name"].tolist() == ["Duran Duran", 'Sigur Rós "("']
        assert pd.read_parquet(out)["plays"].tolist() == [13883, 11690, 4]

    def test_malformed_names_are_not_passed_over(self, lastfm, tmp_path):
        members = {"user_artists.dat": self.PLAYS, "artists.dat": "id\tname\turl\tpictureURL\n51\tDuran\n"}
        with pytest.raises(InputError, match=r"artists\.dat, line 2: expected 4 fields"):
            lastfm.main([str(zipped(tmp_path / "set.zip", **members)), "-o", str(tmp_path / "out.npz")])

    @pytest.mark.skipif(not (DATA / "lastfm-2k").is_dir(), reason=f"no Last.fm 2K at {DATA}")
    def test_the_real_files_pass_their_checks(self, script, tmp_path):
        out = tmp_path / "out.npz"
        script("lastfm_2k").main([str(DATA / "lastfm-2k"), "-o", str(out)])
        assert by_id(out)[(2, 51)] == 13883
        names = read_table(tmp_path / "out.items.csv", ["item", "name"]).set_index("item")["name"]
        assert (names[1], names[51]) == ("MALICE MIZER", "Duran Duran")


class TestTasteProfile:
    def test_plays_of_songs(self, script, tmp_path, monkeypatch):
        module = script("msd_taste_profile")
        monkeypatch.setattr(module, "PUBLISHED", dataclasses.replace(module.PUBLISHED, lines=4, users=2, items=3))
        lines = f"{SHA[1]}\tSOB\t1\n{SHA[1]}\tSOA\t2\n{SHA[0]}\tSOB\t30\n{SHA[0]}\t007\t4\n"
        out = tmp_path / "out.npz"
        module.main([str(zipped(tmp_path / "t.zip", **{"train_triplets.txt": lines})), "-o", str(out)])
        expected = {(SHA[1], "SOB"): 1, (SHA[1], "SOA"): 2, (SHA[0], "SOB"): 30, (SHA[0], "007"): 4}
        assert by_id(out) == expected
        assert read_table(tmp_path / "out.items.csv", ["item"])["item"].tolist() == ["007", "SOA", "SOB"]
        module.main([str(tmp_path / "t.zip"), "-o", str(tmp_path / "out.parquet")])
        data = read_interactions(tmp_path / "out.parquet", user="user", item="item", value="plays")
        found = {
            (user, item): data.matrix[data.users.get_loc(user), data.items.get_loc(item)] for user, item in expected
        }
        assert found == expected

    @pytest.mark.parametrize("line", ["u\ts\t0", "u\ts\t1.5", "\ts\t1", "u\t\t1"])
    def test_malformed_lines_are_named(self, script, tmp_path, line):
        source = tmp_path / "train_triplets.txt"
        source.write_text(f"u\ts\t1\n{line}\n")
        with pytest.raises(InputError, match=r"train_triplets\.txt, line 2: (user|item|plays) is "):
            script("msd_taste_profile").main([str(source), "-o", str(tmp_path / "out.npz")])


class TestBlocks:
    """What is read does not depend on where blocks end, nor on which of the two parsers reads it."""

    TEXT = "a\t1\t2.5\n\nb\t007\t3\r\n  \nä\tx\t-1e2\na\t1\t0\n\tempty\t.5"
    ROWS = [["a", "1", 2.5], ["b", "007", 3.0], ["ä", "x", -100.0], ["a", "1", 0.0], ["", "empty", 0.5]]

    @pytest.fixture
    def form(self, script):
        lines = script("_lines")
        fields = (lines.Field("user", may_be_empty=True), lines.Field("item"), lines.Field("value", "number"))
        return lines.LineFormat(fields)

    @staticmethod
    def rows(blocks):
        return [row for block in blocks for row in block.astype(object).to_numpy().tolist()]

    def test_block_sizes_change_nothing(self, form):
        content = self.TEXT.encode()
        for size in (*range(1, len(content) + 2), 1 << 20):
            assert self.rows(form.read(io.BytesIO(content), "x", block_size=size)) == self.ROWS

    def test_the_two_parsers_agree(self, form, monkeypatch):
        content = self.TEXT.replace("\n  \n", "\n").encode()
        fast = form._parse_block(content)
        assert fast is not None and self.rows([fast]) == self.ROWS
        monkeypatch.setattr(type(form), "_parse_block", lambda *_: None)
        assert self.rows(form.read(io.BytesIO(content), "x")) == self.ROWS

    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_lines_are_counted_across_blocks(self, form, size):
        content = b"a\t1\t2\n" * 50 + b"\r\n\n" + b"b\t1\n"
        with pytest.raises(InputError, match=r"^x, line 53: expected 3 fields"):
            self.rows(form.read(io.BytesIO(content), "x", block_size=size))

    def test_a_header_counts_as_a_line(self, script, form):
        headed = dataclasses.replace(form, header="one\ttwo\tthree")
        with pytest.raises(InputError, match=r"^x, line 3: value is 'z'"):
            self.rows(headed.read(io.BytesIO(b"one\ttwo\tthree\r\na\t1\t2\na\t1\tz\n"), "x", block_size=16))
        assert self.rows(headed.read(io.BytesIO(b"one\ttwo\tthree"), "x")) == []

    @pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999", "0x1", ""])
    def test_a_number_is_finite(self, form, value):
        with pytest.raises(InputError, match=rf"^x, line 1: value is '{value}'; expected a number"):
            self.rows(form.read(io.BytesIO(f"a\tb\t{value}\n".encode()), "x"))

    def test_line_ends_are_no_part_of_text(self, script):
        lines = script("_lines")
        form = lines.LineFormat((lines.Field("id"), lines.Field("name")))
        assert self.rows(form.read(io.BytesIO(b"1\tone\r\n2\ttwo\n3\tthree\r\n"), "x")) == [
            ["1", "one"],
            ["2", "two"],
            ["3", "three"],
        ]

    def test_an_empty_file_has_no_lines(self, form):
        assert self.rows(form.read(io.BytesIO(b""), "x")) == []


class TestLightGcn:
    TRAIN, TEST = "0 2 0 1\n1 3\n2 0 \n", "0 3\n2\n1 0 1\n"

    @pytest.fixture
    def lightgcn(self, script, monkeypatch):
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
    def ncf(self, script, monkeypatch):
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
    def test_the_published_split_has_our_digests(self, script, tmp_path):
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
        data, quality_data = (importlib.import_module(f"bench.{name}") for name in ("data", "quality_data"))
        monkeypatch.setenv("IMPLICIT_WMF_DATA", str(tmp_path / "my data"))
        with pytest.raises(
            InputError, match=r"there is no .*train\.parquet; set IMPLICIT_WMF_DATA .* or make it: "
        ) as no:
            data.ncf_files()
        *make, command = str(no.value).split("or make it: ")[1].split(" && ")
        assert [shlex.split(line) for line in make] == [["mkdir", "-p", str(tmp_path / "my data" / "ml-1m-ncf")]]
        python, script, *arguments = shlex.split(command)
        assert (python, script) == (sys.executable, str(SCRIPTS / "ml_1m_ncf.py"))
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


class TestOnlineRetail:
    SHEET = {
        "Invoice": ["489434", "489435"],
        "StockCode": ["85048", "22350"],
        "Description": ["LIGHTS", "CAT BOWL"],
        "Quantity": ["12", "3"],
        "InvoiceDate": ["2009-12-01 07:45:00", "2009-12-01 07:46:00"],
        "Price": ["6.95", "2.55"],
        "Customer ID": ["13085", None],
        "Country": ["France", "France"],
    }

    @pytest.fixture
    def retail(self, script, monkeypatch):
        module = script("online_retail")
        monkeypatch.setattr(module, "PUBLISHED", dataclasses.replace(module.PUBLISHED, lines=2))
        return module

    def sheet(self, folder, name="shop.csv", **changes):
        frame = pd.DataFrame(self.SHEET | changes)
        path = folder / name
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
        return path

    def test_the_archive_of_uci_serves_as_well_as_its_workbook(self, retail, tmp_path, monkeypatch):
        def read_excel(source, *, sheet_name, dtype):
            assert (source.read(), sheet_name, dtype) == (b"the workbook", None, str)
            return {"Year 2009-2010": pd.DataFrame(self.SHEET), "Year 2010-2011": pd.DataFrame(self.SHEET)}

        monkeypatch.setattr("pandas.read_excel", read_excel)
        (tmp_path / "online_retail_II.xlsx").write_bytes(b"the workbook")
        archive = zipped(tmp_path / "online+retail+ii.zip", **{"online_retail_II.xlsx": "the workbook"})
        for source in (archive, tmp_path / "online_retail_II.xlsx", tmp_path):
            lines = retail.read_source(retail.Source(source))
            assert lines["quantity"].tolist() == [12, 3, 12, 3]
            assert lines["customer"].isna().tolist() == [False, True, False, True]

    def test_a_workbook_without_openpyxl_is_said(self, retail, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        workbook = zipped(tmp_path / "online_retail_II.xlsx", **{"xl/workbook.xml": "x", "[Content_Types].xml": "x"})
        with pytest.raises(InputError, match=r"^Reading \.xlsx files needs openpyxl.* with: pip install openpyxl$"):
            retail.main([str(workbook), "-o", str(tmp_path / "out.npz")])

    @pytest.mark.parametrize(
        "error", [KeyError("no [Content_Types].xml"), SyntaxError("no end\nof tag"), TypeError("x")]
    )
    def test_a_damaged_workbook_is_said_whatever_openpyxl_raises(self, retail, tmp_path, monkeypatch, error):
        def read_excel(*_, **__):
            raise error

        monkeypatch.setattr("pandas.read_excel", read_excel)
        (tmp_path / "shop.xlsx").write_bytes(b"x")
        with pytest.raises(InputError, match=r"shop\.xlsx cannot be read: .*; fetch it again$"):
            retail.main([str(tmp_path / "shop.xlsx"), "-o", str(tmp_path / "out.npz")])

    def test_parquet_without_pyarrow_is_said(self, retail, tmp_path, monkeypatch):
        source = self.sheet(tmp_path, "shop.parquet")
        monkeypatch.setattr("pandas.read_parquet", lambda *_: (_ for _ in ()).throw(ImportError("no pyarrow")))
        with pytest.raises(MissingExtraError, match=r"Reading Parquet files needs pyarrow.*implicit_wmf\[parquet\]"):
            retail.main([str(source), "-o", str(tmp_path / "out.npz")])

    @pytest.mark.parametrize("name", ["shop.csv", "shop.csv.gz", "shop.parquet"])
    def test_a_matrix_and_a_table_with_names(self, retail, tmp_path, name):
        source = self.sheet(tmp_path, name, StockCode=["85048a", "22350"])
        retail.main([str(source), "-o", str(tmp_path / "out.npz")])
        assert by_id(tmp_path / "out.npz") == {(13085, "85048A"): 12}
        names = read_table(tmp_path / "out.items.csv", ["item", "name"])
        assert names.to_numpy().tolist() == [["85048A", "LIGHTS"]]
        retail.main([str(source), "-o", str(tmp_path / "out.parquet")])
        frame = pd.read_parquet(tmp_path / "out.parquet")
        assert frame.columns.tolist() == ["user", "item", "quantity", "timestamp"]
        assert frame.iloc[0].tolist() == [13085, "85048A", 12, pd.Timestamp("2009-12-01 07:45:00")]

    def test_the_number_of_lines_is_ucis(self, script, tmp_path, capsys):
        module, out = script("online_retail"), tmp_path / "out.npz"
        command = [str(self.sheet(tmp_path)), "-o", str(out)]
        with pytest.raises(
            InputError, match=r"not Online Retail II as published: expected 1,067,371 lines, met 2; .*--fo"
        ):
            module.main(command)
        assert not out.exists()
        module.main([*command, "--force"])
        assert "met 2" in capsys.readouterr().err

    def test_the_shipped_file_is_not_written_unless_named(self, retail, tmp_path, capsys):
        source = self.sheet(tmp_path)
        with pytest.raises(SystemExit):
            retail.main([str(source), "--tables"])
        assert "the following arguments are required: -o/--out" in capsys.readouterr().err
        for wrong in (["out.parquet"], ["out.npz", "--min-user", "2"]):
            with pytest.raises(InputError, match=r"--tables writes an \.npz of all purchases"):
                retail.main([str(source), "--tables", "-o", *wrong])

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("shop.csv", b"", r"shop\.csv cannot be read: No columns to parse"),
            ("shop.csv", b"\xff\xfe\x00", r"shop\.csv cannot be read: 'utf-8' codec"),
            ("shop.csv", b"a,b\n1,2,3\n1,2,3,4,5\n", r"shop\.csv cannot be read: Error tokenizing"),
            ("shop.csv", b"a,b\n1,2\n", r"SOURCE has no column for \['customer', .*; its columns are \['a', 'b'\]"),
            ("shop.csv.gz", b"no", r"shop\.csv\.gz cannot be read .*damaged or cut short"),
            ("shop.parquet", b"no", r"shop\.parquet cannot be read"),
            ("shop.xlsx", b"no", r"shop\.xlsx cannot be read: Excel file format cannot be determined"),
        ],
    )
    def test_what_is_no_table_of_lines_is_said_in_one(self, retail, tmp_path, name, content, message):
        source = tmp_path / name
        source.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            retail.main([str(source), "-o", str(tmp_path / "out.npz")])
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path) == [name]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"Quantity": ["12", "x"]},
                r"column 'Quantity' cannot be taken for quantity: Unable to parse string .x.",
            ),
            ({"Quantity": ["12", "1.5"]}, r"column 'Quantity' cannot be taken for quantity"),
            ({"Quantity": [None, "1"]}, r"column 'Quantity' is empty in line 1 below the header"),
            ({"InvoiceDate": ["2009-12-01", "soon"]}, r"column 'InvoiceDate' cannot be taken for time"),
            ({"InvoiceDate": ["2009-12-01 07:00:00", None]}, r"column 'InvoiceDate' is empty in line 2"),
            ({"Customer ID": ["a", "b"]}, r"column 'Customer ID' cannot be taken for customer"),
            ({"Customer ID": [None, None]}, r"no line of .*shop\.csv is a purchase that was kept"),
        ],
    )
    def test_columns_of_other_things_are_named(self, retail, tmp_path, changes, message):
        source = self.sheet(tmp_path, **changes)
        with pytest.raises(InputError, match=message) as caught:
            retail.main([str(source), "-o", str(tmp_path / "out.npz")])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"cut short", r"other\.zip cannot be read .*damaged"), (None, r"other\.zip holds no online_retail_II\.xlsx")],
    )
    def test_another_archive_is_refused(self, retail, tmp_path, content, message):
        archive = zipped(tmp_path / "other.zip", **{"other.csv": "x"})
        if content is not None:
            archive.write_bytes(content)
        with pytest.raises(InputError, match=message):
            retail.main([str(archive), "-o", str(tmp_path / "out.npz")])


SCRIPT_NAMES = sorted(path.stem for path in SCRIPTS.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_every_script_tells_its_usage_and_the_terms(name):
    command = [sys.executable, SCRIPTS / f"{name}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    assert "--download" in done.stdout and "Terms:" in done.stdout


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_every_script_says_in_one_line_that_there_is_no_source(name, tmp_path):
    version = {"movielens": ["1m"], "lightgcn": ["gowalla"]}.get(name, [])
    command = [sys.executable, SCRIPTS / f"{name}.py", *version, tmp_path / "no.zip", "-o", tmp_path / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"error: there is no {tmp_path}/no.zip; check the name, or fetch it there")
