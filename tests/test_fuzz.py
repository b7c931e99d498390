"""Files spoiled by chance are refused or read as they say, and the fuzzer that looks for others would find them."""

import gzip
import json

import benchmark  # noqa: F401
import numpy as np
import pytest
from hypothesis import given, seed, settings
from scipy.sparse import csr_array

from bench.__main__ import main
from bench.fuzz import children, damages
from bench.fuzz.command import PARTS
from bench.fuzz.fuzzing import CASES, fuzz
from bench.fuzz.reading import Refused, read
from implicit_wmf import WMF
from implicit_wmf.errors import InputError
from implicit_wmf.tables import read_interactions

COUNTS = {"reading": 250, "preparing": 40, "model": 150, "checkpoint": 50, "store": 80}
VERDICTS = {"tables": {"read", "refused"}, "damages": {"refused", "same"}}


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """Let child processes tell an index out of bounds by an error, and compile nothing."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")


@pytest.mark.parametrize("name", PARTS)
def test_nothing_goes_wrong(name):
    part = PARTS[name]
    verdicts, finding = fuzz(CASES[part.cases](), part.maker, COUNTS[name], 0)
    assert finding is None, finding
    assert sum(verdicts.values()) == COUNTS[name]
    assert {verdict.partition(",")[0] for verdict in verdicts} >= VERDICTS[part.cases]


@pytest.mark.parametrize(
    ("maker", "message"),
    [
        ("check_that_dies", "the interpreter died with exit code -6"),
        ("check_that_hangs", "no answer within 0.5 s: it hangs"),
        ("check_that_is_wrong", "ValueError: some error"),
    ],
)
def test_what_goes_wrong_is_found_and_made_small(maker, message, monkeypatch):
    monkeypatch.setattr(children, "SECONDS", 0.5)
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKS", 3)
    verdicts, (case, error) = fuzz(CASES["tables"](), f"fuzz_checks.{maker}", 200, 0)
    assert message in error
    assert "7" in case["content"]
    assert verdicts["read"] >= 1


def test_a_finding_is_saved_and_replayed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PARTS, "reading", PARTS["reading"].__class__("tables", "fuzz_checks.check_that_is_wrong", 1.0))
    command = ["fuzz", "--only", "reading", "--cases", "300", "--findings", str(tmp_path)]
    with pytest.raises(SystemExit, match="1"):
        main(command)
    (saved,) = tmp_path.iterdir()
    assert f"some error\n\nsaved as {saved}" in capsys.readouterr().err
    assert "7" in json.loads(saved.read_text())["case"]["content"]
    with pytest.raises(SystemExit, match="some error"):
        main(["fuzz", "--replay", str(saved)])
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    main(["fuzz", "--replay", str(saved)])
    assert capsys.readouterr().out.startswith("reading: re")
    with pytest.raises(SystemExit, match=r"no\.json is no finding of python -m bench fuzz"):
        main(["fuzz", "--replay", str(tmp_path / "no.json")])


class TestPlainReading:
    """What tables are held to, held to tables read by eye."""

    def sums(self, text, asked=("value",), suffix=".csv"):
        content = text if isinstance(text, bytes) else text.encode()
        return read(content, suffix, list(asked)).sums

    def test_lines_of_a_pair_are_added_up(self):
        text = 'item,user,value\nx,"a, b",1\ny,c,.5\n\nx,"a, b",2e1\n'
        assert self.sums(text) == {("a, b", "x"): 21, ("c", "y"): 0.5}
        assert self.sums(text, asked=()) == {("a, b", "x"): 2, ("c", "y"): 1}
        assert self.sums(gzip.compress(b"\xef\xbb\xbfuser\titem\r\na\tb\r\n"), (), ".tsv.gz") == {("a", "b"): 1}

    def test_ids_are_numbers_where_all_are_spelled_as_such(self):
        assert self.sums("user,item\n1,1\n-2,01\n", ()) == {(1, "1"): 1, (-2, "01"): 1}
        assert self.sums("user,item\n9223372036854775807,9223372036854775808\n", ()) == {
            (9223372036854775807, "9223372036854775808"): 1
        }

    @pytest.mark.parametrize(
        ("lines", "latest"),
        [
            (("1,1,5", "1,1,12", "1,1,7"), {(1, 1): "12"}),
            (("1,1,2024-01-02", "1,1,2023-12-31T23:59:59"), {(1, 1): "2024-01-02T00:00:00"}),
            (("1,1,2024-01-02", "1,1,1.5"), None),
        ],
    )
    def test_the_latest_moment_is_kept(self, lines, latest):
        text = "\n".join(["user,item,timestamp", *lines])
        assert read(text.encode(), ".csv", ["timestamp"]).latest == latest

    @pytest.mark.parametrize(
        "text",
        [
            "", "user,item\n", "user,thing\na,b\n", "user,user,item\na,b,c\n", "user,item\na\n", "user,item\n,b\n",
            "user,item\na,b,,c\n", 'user,item\na,"b\n', b"user,item\na,\xff\n", "user,item,value\na,b,nan\n",
            "user,item,value\na,b,1e999\n", "user,item,value\na,b,\n", "user,item,value\na,b,x\n",
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_refused(self, text):
        with pytest.raises(Refused):
            self.sums(text, asked=("value",) if "value" in str(text) else ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # A line's first field too many is empty, and pandas passes the others over.
        ("user,item\na,b,,c\n", "line 2: more fields than the 2 of the header"),
        ('user,item\na,b\na,"b\n",,c\n', "line 3: more fields than the 2 of the header"),
        # NumPy takes off NULs at the end, and then the text is that of a number.
        ("user,item\n1,2\n1,2\0\n", "line 3: a NUL byte"),
    ],
)
def test_found_in_text(tmp_path, content, message):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_interactions(tmp_path / "table.csv", user="user", item="item")


def test_found_in_a_packed_file_that_is_no_text_either(tmp_path):
    packed = bytearray(gzip.compress(b"user,item\na,\xff"))
    packed[-8] ^= 1  # of the checksum, which is looked at where a line's end is looked for
    (tmp_path / "table.csv.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"table\.csv\.gz cannot be read: CRC check failed"):
        read_interactions(tmp_path / "table.csv.gz", user="user", item="item")


def test_many_commas_in_quotes_and_lines_of_several_lines_are_read(tmp_path):
    (tmp_path / "table.csv").write_text('user,item\na,"b,,,,c"\nd,"e\nf"\r\ng,h,\n')
    data = read_interactions(tmp_path / "table.csv", user="user", item="item")
    assert (data.users.tolist(), data.items.tolist()) == (["a", "d", "g"], ["b,,,,c", "e\nf", "h"])


class TestHarm:
    @pytest.fixture
    def saved(self, tmp_path):
        counts = csr_array(np.random.default_rng(0).integers(0, 3, size=(8, 6)).astype(np.float32))
        self.model = WMF(2, iterations=1, random_state=0).fit(counts, progress=False)
        self.model.save(tmp_path / "model")
        return tmp_path / "model"

    def harm(self, saved, *harms, mend=False):
        return damages.harm(saved, "model.json", {"folder": 0, "harms": [list(one) for one in harms], "mend": mend})

    def test_a_flip_is_one_bit(self, saved):
        before = (saved / "item_factors.npy").read_bytes()
        number = sorted(path.name for path in saved.iterdir()).index("item_factors.npy")
        assert self.harm(saved, ("flip", number, 150, 3))
        after = (saved / "item_factors.npy").read_bytes()
        assert [
            (place, one ^ other) for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other
        ] == [(150, 8)]
        with pytest.raises(InputError, match=r"item_factors\.npy has other contents"):
            WMF.load(saved)

    def test_mended_checksums_let_other_contents_through(self, saved):
        number = sorted(path.name for path in saved.iterdir()).index("item_factors.npy")
        assert self.harm(saved, ("flip", number, 150, 3), mend=True)
        assert (WMF.load(saved).item_factors != self.model.item_factors).sum() == 1

    def test_a_manifest_is_edited_anywhere(self, saved):
        names = list(json.loads((saved / "model.json").read_text()))
        assert self.harm(saved, ("set", names.index("format_version"), 99, None), mend=True)
        with pytest.raises(InputError, match="format version 99"):
            WMF.load(saved)

    def test_nothing_is_harmed_by_swapping_a_file_with_itself(self, saved):
        assert not self.harm(saved, ("swap", 1, 1, None))
        assert not self.harm(saved, ("swap", 1, 2, None), ("swap", 1, 2, None))

    def test_every_way_is_drawn(self):
        drawn = set()

        @seed(0)
        @settings(max_examples=300, database=None)
        @given(CASES["damages"]())
        def draw(case):
            drawn.update(one[0] for one in case["harms"])

        draw()
        assert drawn == {
            "flip", "put", "truncate", "extend", "swap", "copy", "remove", "folder", "set", "delete", "exchange",
        }  # fmt: skip
