"""Text that is prepared is what a slow reader reads, line by line, whatever is wrong with it."""

import csv
import gzip
import io
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prepared_files import cells_of, cells_of_interactions, expected_of, prepared, readable, rejected_of

from implicit_wmf.errors import InputError
from implicit_wmf.store import sources
from implicit_wmf.store.database import Database
from implicit_wmf.tables import read_interactions

PIECES = [b"a", b"1", b"007", b"-3", b"2.5", b"1_0", b"nan", b"inf", b"true", b" ", b"\t", b'""', b"#", b"'", b"NULL"]
PIECES += [b"+-1", "é".encode(), "\u2028".encode(), b"\xff", b"\0", b"1e3", b"1e400", b".5", b"NA"]
MARKS = [b",", b",", b",", b"\n", b"\n", b"\r\n", b"\r", b'"']
LINES = st.lists(st.lists(st.sampled_from(PIECES), max_size=2).map(b"".join), min_size=3, max_size=3).map(b",".join)
NASTY = st.lists(st.one_of(LINES, st.sampled_from(PIECES + MARKS)), max_size=25)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n"])


def read_both(content, value="v", **options):
    """What `prepare` makes of a file, skipping wrong lines, and what it is to make of it."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "in.csv").write_bytes(content)
        cells, wrong, lines = expected_of(content, value=value)
        try:
            result = prepared(folder / "in.csv", folder / "s", value=value, on_error="skip", **options)
        except InputError as error:
            assert not cells, error
            assert not (folder / "s").exists()
            return
        assert cells_of(folder / "s") == pytest.approx(cells, rel=1e-6)
        assert (result.lines, result.rejected) == (lines, len(wrong))
        if wrong:
            rejects, _ = rejected_of(result.rejects)
            assert rejects == [(line, readable(text)) for line, text in wrong]
        else:
            assert not list(folder.glob("*.csv"))[1:]
    finally:
        shutil.rmtree(folder)


@settings(max_examples=60, deadline=None)
@given(NASTY, ENDS)
@example([b'a,"b\n', b"c,d,1\n", b"a,b,1"], b"\n")  # a quote that is never closed spoils its line alone
@example([b"a,b,1,\n"], b"\n")  # DuckDB takes no notice of a separator at the end of a line
@example([b"a,b,1\r\n\r\nc,d,1\r\n"], b"\r\n")
@example([b'a, "b",1\n'], b"\n")  # nor of spaces around quotes
@example([b'a,"b\n\nc",1\n'], b"\n")
@example([b"a,b,1\n \t\nc,d,1\n"], b"\n")
def test_nasty_files(pieces, end):
    read_both(b"u,i,v" + end + b"".join(pieces))


@settings(max_examples=25, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=20), ENDS)
def test_lines_with_wrong_fields(lines, end):
    read_both(b"u,i,v" + end + end.join(lines))


FIELDS = st.text(st.sampled_from('ab1 ,"\n\té\u2028;'), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(FIELDS, st.one_of(FIELDS, st.integers(-5, 5)), st.integers(-4, 9)), min_size=1, max_size=30),
    ENDS,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([".csv", ".tsv", ".csv.gz"]),
)
def test_same_as_read_interactions(rows, end, quoting, suffix):
    content = io.StringIO()
    separator = "\t" if suffix == ".tsv" else ","
    writer = csv.writer(content, delimiter=separator, quoting=quoting, lineterminator=end.decode())
    writer.writerows([("u", "i", "v"), *rows])
    letters = content.getvalue().encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in{suffix}"
        path.write_bytes(gzip.compress(letters) if suffix.endswith("gz") else letters)
        expected = cells_of_interactions(read_interactions(path, user="u", item="i", value="v"))
        prepared(path, Path(folder) / "s", value="v")
        found = cells_of(Path(folder) / "s")
        assert found == expected
        assert list(map(repr, sorted(found, key=repr))) == list(map(repr, sorted(expected, key=repr)))


PLAIN = ["u,i\na,b\n\n\nc,d\n\n", "u,i\r\na,b\r\n\r\n", 'u,i\n"a",b\n\n"c",d\n\n', 'u,i\r\n\r\n"a",b\r\n\r\n']
PLAIN += ['u,i,v\na,b,1\n"x, ""y""",c,2\n"p\nq",d,3\n', "u,i,v\r\na,b,1\r\n", "u\ti\tv\na b\tc\t2", "\ufeffu,i\n1,2\n"]


@pytest.mark.parametrize("letters", PLAIN)
def test_plain_files_are_left_to_duckdb(tmp_path, monkeypatch, letters):
    monkeypatch.setattr(sources, "_load_carefully", None)
    path = tmp_path / ("in.tsv" if "\t" in letters else "in.csv")
    path.write_bytes(letters.encode())
    result = prepared(path, tmp_path / "s")
    assert result.lines == expected_of(letters.encode(), "\t" if "\t" in letters else ",")[2]


def test_long_fields_are_inserted_a_few_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "plain_records", lambda *_: None)
    monkeypatch.setattr(sources, "_INSERTED_LETTERS", 1000)
    insert, sizes = Database.insert, []

    def counting(database, query, columns):
        sizes.append(sum(len(field) for column in columns.values() for field in column))
        insert(database, query, columns)

    monkeypatch.setattr(Database, "insert", counting)
    lines = [f"{n},{'x' * 300}\n" for n in range(50)]
    (tmp_path / "in.csv").write_text("u,i\n" + "".join(lines))
    assert prepared(tmp_path / "in.csv", tmp_path / "s").lines == 50
    assert cells_of(tmp_path / "s") == {(n, "x" * 300): 1 for n in range(50)}
    assert max(sizes) < 1000 + 310


@pytest.mark.parametrize("time", ["now", "today", "nan", "+-5"])
def test_words_are_no_times(tmp_path, time):
    (tmp_path / "in.csv").write_text(f"u,i,t\na,b,2020-01-01\nc,d,{time}\n")
    result = prepared(tmp_path / "in.csv", tmp_path / "s", timestamp="t", on_error="skip")
    assert (result.pairs, result.rejected) == (1, 1)


def test_careful_reading_is_the_same(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("u,i,v\n" + "".join(f"u{n % 7},{n % 5},{n}\n" for n in range(1000)) + "a,,1\nb,1,x\n")
    prepared(path, tmp_path / "one", value="v", on_error="skip")
    monkeypatch.setattr(sources, "plain_records", lambda *_: None)
    monkeypatch.setattr(sources, "_INSERTED", 64)
    prepared(path, tmp_path / "other", value="v", on_error="skip")
    assert cells_of(tmp_path / "one") == cells_of(tmp_path / "other")
    assert (tmp_path / "one.rejects.csv").read_text() == (tmp_path / "other.rejects.csv").read_text()


def test_duckdb_that_loses_lines_is_noticed(tmp_path, monkeypatch):
    read = sources._insertion
    monkeypatch.setattr(sources, "_insertion", lambda relation, *more: read(relation, *more) + " LIMIT 1")
    monkeypatch.setattr(sources, "_load_carefully", lambda *_: pytest.fail("noticed"))
    path = tmp_path / "in.csv"
    path.write_text("u,i\na,b\nc,d\n")
    with pytest.raises(pytest.fail.Exception, match="noticed"):
        prepared(path, tmp_path / "s")
