"""What the scripts share: the ways to an archive, the parsers of lines, the command lines."""

import dataclasses
import hashlib
import http.client
import io
import os
import subprocess
import sys

import pytest
from publishers import SCRIPTS, cells, no_network, script, zipped  # noqa: F401

from implicit_wmf.errors import InputError


class TestDownload:
    @pytest.fixture
    def archive(self, tmp_path):
        (tmp_path / "publisher").mkdir()
        return zipped(tmp_path / "publisher" / "set.zip", **{"train_triplets.txt": "u\ts\t1\nu\tr\t2\nv\ts\t1\n"})

    @pytest.fixture
    def msd(self, archive, monkeypatch):
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

    def test_a_short_answer_leaves_nothing(self, tmp_path, monkeypatch):
        self.answer(monkeypatch, b"half", "8")
        with pytest.raises(InputError, match=r"http://x announced 8 bytes and sent 4; try again"):
            script("_source").download("http://x", tmp_path / "here.zip")
        assert not os.listdir(tmp_path)

    def test_a_broken_answer_in_chunks_leaves_nothing(self, tmp_path, monkeypatch):
        class Answer(io.BytesIO):
            headers = {}

            def read(self, *_):
                raise http.client.IncompleteRead(b"half", 4)

        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer())
        with pytest.raises(InputError, match=r"^http://x cannot be fetched: IncompleteRead\(4 bytes read, 4 more exp"):
            script("_source").download("http://x", tmp_path / "here.zip")
        assert not os.listdir(tmp_path)

    def test_an_answer_of_unknown_length_is_taken(self, tmp_path, monkeypatch):
        self.answer(monkeypatch, b"whole", None)
        script("_source").download("http://x", tmp_path / "here.zip")
        assert (tmp_path / "here.zip").read_bytes() == b"whole"

    def test_no_answer_is_said(self, msd, archive, tmp_path, monkeypatch):
        monkeypatch.undo()
        archive.unlink()
        with pytest.raises(InputError, match=r"set\.zip cannot be fetched: .*; try again, or fetch it by hand to"):
            sys.modules["_source"].download(archive.as_uri(), tmp_path / "here.zip")
        assert os.listdir(tmp_path) == ["publisher"]


class TestBlocks:
    """What is read does not depend on where blocks end, nor on which of the two parsers reads it."""

    TEXT = "a\t1\t2.5\n\nb\t007\t3\r\n  \nä\tx\t-1e2\na\t1\t0\n\tempty\t.5"
    ROWS = [["a", "1", 2.5], ["b", "007", 3.0], ["ä", "x", -100.0], ["a", "1", 0.0], ["", "empty", 0.5]]

    @pytest.fixture
    def form(self):
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

    def test_a_header_counts_as_a_line(self, form):
        headed = dataclasses.replace(form, header="one\ttwo\tthree")
        with pytest.raises(InputError, match=r"^x, line 3: value is 'z'"):
            self.rows(headed.read(io.BytesIO(b"one\ttwo\tthree\r\na\t1\t2\na\t1\tz\n"), "x", block_size=16))
        assert self.rows(headed.read(io.BytesIO(b"one\ttwo\tthree"), "x")) == []

    @pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999", "0x1", ""])
    def test_a_number_is_finite(self, form, value):
        with pytest.raises(InputError, match=rf"^x, line 1: value is '{value}'; expected a number"):
            self.rows(form.read(io.BytesIO(f"a\tb\t{value}\n".encode()), "x"))

    def test_line_ends_are_no_part_of_text(self):
        lines = script("_lines")
        form = lines.LineFormat((lines.Field("id"), lines.Field("name")))
        assert self.rows(form.read(io.BytesIO(b"1\tone\r\n2\ttwo\n3\tthree\r\n"), "x")) == [
            ["1", "one"],
            ["2", "two"],
            ["3", "three"],
        ]

    def test_an_empty_file_has_no_lines(self, form):
        assert self.rows(form.read(io.BytesIO(b""), "x")) == []


# All but one read what a publisher has.
SCRIPT_NAMES = sorted({path.stem for path in SCRIPTS.glob("[a-z]*.py")} - {"synthetic_interactions"})


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
