"""Plays of artists and songs, on a few lines in the publishers' formats."""

import dataclasses
import gzip
import hashlib

import numpy as np
import pandas as pd
import pytest
from publishers import DATA, by_id, cells, no_network, script, tarred, zipped  # noqa: F401

from implicit_wmf.errors import InputError
from implicit_wmf.tables import read_interactions, read_table

SHA = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(4)]


class TestLastFm360K:
    MBID = "3bd73256-3905-4f3a-97e2-8b341527f805"

    @pytest.fixture
    def lastfm(self, monkeypatch):
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
    def lastfm(self, monkeypatch):
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
    def test_the_real_files_pass_their_checks(self, tmp_path):
        out = tmp_path / "out.npz"
        script("lastfm_2k").main([str(DATA / "lastfm-2k"), "-o", str(out)])
        assert by_id(out)[(2, 51)] == 13883
        names = read_table(tmp_path / "out.items.csv", ["item", "name"]).set_index("item")["name"]
        assert (names[1], names[51]) == ("MALICE MIZER", "Duran Duran")


class TestTasteProfile:
    def test_plays_of_songs(self, tmp_path, monkeypatch):
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
    def test_malformed_lines_are_named(self, tmp_path, line):
        source = tmp_path / "train_triplets.txt"
        source.write_text(f"u\ts\t1\n{line}\n")
        with pytest.raises(InputError, match=r"train_triplets\.txt, line 2: (user|item|plays) is "):
            script("msd_taste_profile").main([str(source), "-o", str(tmp_path / "out.npz")])
