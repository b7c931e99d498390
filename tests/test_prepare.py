"""What a store holds: the same cells as tables in memory, in the order it promises."""

import datetime
import sys
from collections import Counter, defaultdict
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from prepared_files import cells_of, cells_of_interactions, contents_of, prepared

from implicit_wmf.errors import InputError, MissingExtraError
from implicit_wmf.store import Store, preparing, writing
from implicit_wmf.store.cell_lists import CellLists
from implicit_wmf.tables import read_interactions

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402


@pytest.fixture
def events():
    """Lines with repeated pairs and fractions, items and users of very different size."""
    generator = np.random.default_rng(0)
    lines = 3000
    return pd.DataFrame(
        {
            "u": (60 * generator.random(lines) ** 2).astype(int) * 3 - 20,
            "i": [f"i{number}" for number in (40 * generator.random(lines) ** 3).astype(int)],
            "v": generator.integers(-3, 9, lines) / 7,
            "t": generator.integers(10**9, 2 * 10**9, lines),
        }
    )


def write(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)
    return path


def latest_of(data):
    matrix = data.matrix.tocoo()
    pairs = zip(data.users[matrix.row], data.items[matrix.col], data.timestamps, strict=True)
    return {(user, item): moment for user, item, moment in pairs}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cells_are_those_of_a_table(tmp_path, events, suffix):
    path = tmp_path / f"in{suffix}"
    events.to_csv(path, index=False) if suffix == ".csv" else events.to_parquet(path)
    result = prepared(path, tmp_path / "s", value="v", timestamp="t", shards=4)
    expected = read_interactions(path, user="u", item="i", value="v", timestamp="t")
    store = Store.open(tmp_path / "s")
    assert cells_of(store) == pytest.approx(cells_of_interactions(expected), rel=1e-6)
    assert latest_of(store.interactions()) == latest_of(expected)
    assert store.interactions().timestamps.dtype == np.int64
    assert (store.users.dtype, list(store.users)) == (np.int64, sorted(set(events.u)))
    assert (result.lines, result.rejected, result.rejects) == (3000, 0, None)
    assert (result.pairs, result.users, result.items, result.shards) == (store.nnz, *store.shape, 4)
    work = [shard.nnz + 8 * (shard.stop - shard.start) for shard in store.shards]
    assert max(work) < 2 * min(work)


def test_items_stand_by_falling_number_of_users(tmp_path, events):
    events.to_parquet(tmp_path / "in.parquet")
    prepared(tmp_path / "in.parquet", tmp_path / "s")
    users = events.drop_duplicates(["u", "i"]).groupby("i").size()
    expected = sorted(users.index, key=lambda item: (-users[item], item))
    assert list(Store.open(tmp_path / "s").items) == expected


def core_of(pairs, of_user, of_item):
    while True:
        users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        left = {(user, item) for user, item in pairs if users[user] >= of_user and items[item] >= of_item}
        if left == pairs:
            return left
        pairs = left


@pytest.mark.parametrize("minimum", [(1, 20), (15, 1), (10, 26), (15, 18)])
def test_minimum_counts_hold_for_all_that_are_left(tmp_path, events, monkeypatch, minimum):
    monkeypatch.setattr(preparing, "SHARD_CELLS", 100)
    events.to_parquet(tmp_path / "in.parquet")
    options = {"value": "v", "min_user_count": minimum[0], "min_item_count": minimum[1], "shards": 3}
    result = prepared(tmp_path / "in.parquet", tmp_path / "s", **options)
    expected = core_of(set(zip(events.u, events.i, strict=True)), *minimum)
    sums = defaultdict(float)
    for user, item, value in zip(events.u, events.i, events.v, strict=True):
        sums[user, item] += value
    assert cells_of(tmp_path / "s") == pytest.approx({pair: sums[pair] for pair in expected}, rel=1e-6, abs=1e-7)
    assert 0 < result.pairs < len(events.drop_duplicates(["u", "i"]))
    store = Store.open(tmp_path / "s")
    degrees = np.diff(store.interactions().matrix.tocsc().indptr)
    assert (np.diff(degrees) <= 0).all()
    assert list(store.users) == sorted(store.users)


def test_minimum_counts_that_leave_nothing(tmp_path, events):
    events.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match="min_user_count 50 and min_item_count 1 leave nothing"):
        prepared(tmp_path / "in.parquet", tmp_path / "s", min_user_count=50)
    assert [one.name for one in tmp_path.iterdir()] == ["in.parquet"]


def test_ranges_and_pieces_change_nothing(tmp_path, events, monkeypatch):
    events.to_parquet(tmp_path / "in.parquet")
    options = {"value": "v", "timestamp": "t", "shards": 3}
    prepared(tmp_path / "in.parquet", tmp_path / "s", **options)
    whole = contents_of(tmp_path / "s")
    for lines in (1, 150, 1000):  # a user has up to 400 lines, in several pieces
        monkeypatch.setattr(preparing, "SHARD_CELLS", lines)
        prepared(tmp_path / "in.parquet", tmp_path / "s", **options)
        assert contents_of(tmp_path / "s") == whole


def test_sums_do_not_depend_on_the_order_of_lines(tmp_path):
    values = [1e8, 1.0, -1e8, 1e-3, 0.1, 0.7] * 50
    for name, order in (("a", values), ("b", values[::-1])):
        write(tmp_path / f"{name}.parquet", u=[1] * 300, i=[2] * 300, v=order)
        prepared(tmp_path / f"{name}.parquet", tmp_path / name, value="v")
    assert cells_of(tmp_path / "a") == cells_of(tmp_path / "b")


def test_sums_that_overflow_name_the_pair(tmp_path):
    path = write(tmp_path / "in.parquet", u=["a", "b", "b"], i=["x", "y", "y"], v=[1.0, 3e38, 3e38])
    with pytest.raises(InputError, match="the values of user 'b' and item 'y' add up to 6e"):
        prepared(path, tmp_path / "s", value="v")


DAYS = [datetime.date(2020, 1, 1), datetime.date(2020, 3, 1)]
IDS = {
    "int8": (pyarrow.array([-1, 5], pyarrow.int8()), [-1, 5]),
    "uint64": (pyarrow.array([2**64 - 1, 5], pyarrow.uint64()), [2**64 - 1, 5]),
    "small uint64": (pyarrow.array([7, 5], pyarrow.uint64()), [7, 5]),
    "text": (pyarrow.array(["007", ""]), ["007", ""]),
    "floats": (pyarrow.array([3.0, -2.0]), [3, -2]),
    "halves": (pyarrow.array(np.float16([3.0, -2.0])), [3, -2]),
    "dictionary": (pyarrow.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
    "large_string": (pyarrow.array(["b", "a"], pyarrow.large_string()), ["b", "a"]),
    "decimal": (pyarrow.array([Decimal(2**53 + 1), Decimal(3)]), [2**53 + 1, 3]),
    "wide decimal": (pyarrow.array([Decimal(10**30), Decimal(3)]), [str(10**30), "3"]),
    "date32": (pyarrow.array(DAYS), [pd.Timestamp(day) for day in DAYS]),
    "nanoseconds": (pyarrow.array([1, 2], pyarrow.timestamp("ns")), [pd.Timestamp(1), pd.Timestamp(2)]),
    "utc": (
        pyarrow.array([datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)], pyarrow.timestamp("us", "UTC")),
        [pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01")],
    ),
}


@pytest.mark.parametrize("kind", IDS)
def test_kinds_of_ids(tmp_path, kind):
    column, expected = IDS[kind]
    path = write(tmp_path / "in.parquet", u=column, i=["x", "y"])
    prepared(path, tmp_path / "s")
    assert cells_of(tmp_path / "s") == {(expected[0], "x"): 1, (expected[1], "y"): 1}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pyarrow.array([b"a", b"b"]), "'u' holds binary, which cannot be ids; convert it to integers or text"),
        (pyarrow.array([[1], [2]]), "holds list"),
        (pyarrow.array([True, False]), "holds bool"),
        (pyarrow.array([Decimal("1.5"), Decimal("2.5")]), r"holds decimal128\(2, 1\)"),
    ],
)
def test_kinds_that_are_no_ids(tmp_path, column, message):
    path = write(tmp_path / "in.parquet", u=column, i=["x", "y"])
    with pytest.raises(InputError, match=message):
        prepared(path, tmp_path / "s")


@pytest.mark.parametrize(
    "values",
    [[2, 3], [2.5, 3.5], ["2.5", " 3e0 "], [True, False], [Decimal("1.5"), Decimal("2.25")], np.float16([0.5, 2])],
    ids=["integers", "floats", "text", "booleans", "decimals", "halves"],
)
def test_kinds_of_values(tmp_path, values):
    path = write(tmp_path / "in.parquet", u=[1, 2], i=["x", "y"], v=values)
    prepared(path, tmp_path / "s", value="v")
    assert cells_of(tmp_path / "s") == {(1, "x"): float(values[0]), (2, "y"): float(values[1])}


MOMENTS = ["2020-01-02T03:00:00+01:00", "2020-01-02", "2019-12-31 23:59:59.25", "20200131", "2020-01-02T03Z"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "times", [MOMENTS, MOMENTS[1:2], ["20200131", "5"], ["1.5", "-3"], ["1700000000123456789"]], ids=str
)
def test_times_are_those_of_tables(tmp_path, times, suffix):
    frame = pd.DataFrame({"u": range(len(times)), "i": 5, "t": times})
    path = tmp_path / f"in{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    prepared(path, tmp_path / "s", timestamp="t")
    found = Store.open(tmp_path / "s").interactions().timestamps
    expected = read_interactions(path, user="u", item="i", timestamp="t").timestamps
    assert found.dtype.kind == expected.dtype.kind
    assert found.tolist() == expected.astype(found.dtype).tolist()


@pytest.mark.parametrize("times", [DAYS, [1, 2], [1.5, 2.5], pd.to_datetime(DAYS).tz_localize("Europe/Paris")], ids=str)
def test_typed_times(tmp_path, times):
    frame = pd.DataFrame({"u": [1, 1], "i": 5, "t": times})
    frame.to_parquet(tmp_path / "in.parquet")
    prepared(tmp_path / "in.parquet", tmp_path / "s", timestamp="t")
    found = Store.open(tmp_path / "s").interactions().timestamps
    expected = read_interactions(tmp_path / "in.parquet", user="u", item="i", timestamp="t").timestamps
    assert found.astype(expected.dtype).tolist() == expected.tolist()


def test_files_of_several_kinds(tmp_path):
    write(tmp_path / "a.parquet", v=[1, 2], u=pyarrow.array([1, 2], pyarrow.int16()), i=["x", "y"])
    write(tmp_path / "b.parquet", i=["x"], more=[[1]], u=[2**40], v=[0.5])
    (tmp_path / "c.csv").write_text("i,u,v\nz,7,3\n")
    files = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.csv")]
    prepared(files, tmp_path / "s", value="v")
    assert cells_of(tmp_path / "s") == {(1, "x"): 1, (2, "y"): 2, (2**40, "x"): 0.5, (7, "z"): 3}
    (tmp_path / "d.csv").write_text("u,i,v\n07,x,1\n")
    prepared([*files, tmp_path / "d.csv"], tmp_path / "s", value="v")
    assert cells_of(tmp_path / "s") == {
        ("1", "x"): 1, ("2", "y"): 2, (str(2**40), "x"): 0.5, ("7", "z"): 3, ("07", "x"): 1
    }  # fmt: skip
    write(tmp_path / "e.parquet", i=["x"], u=DAYS[:1], v=[0.5])
    with pytest.raises(InputError, match="user: ids are dates in some files and not in others"):
        prepared([*files, tmp_path / "e.parquet"], tmp_path / "s", value="v")


def test_names_of_columns_do_not_confuse(tmp_path):
    write(tmp_path / "in.parquet", i=[1, 2], u=["x", "y"], v=[5, 6], t=[3, 4], fault=[0, 0])
    names = {"user": "i", "item": "u", "value": "t", "timestamp": "v"}
    prepared(tmp_path / "in.parquet", tmp_path / "s", **names)
    assert cells_of(tmp_path / "s") == {(1, "x"): 3, (2, "y"): 4}
    write(tmp_path / "odd.parquet", **{"a \"b\" 'c'": [1], "ü.x": ["y"]})
    prepared(tmp_path / "odd.parquet", tmp_path / "s", user="a \"b\" 'c'", item="ü.x")
    assert cells_of(tmp_path / "s") == {(1, "y"): 1}
    write(tmp_path / "twins.parquet", u=[1], U=[2], i=[3])
    with pytest.raises(InputError, match="columns 'u' and 'U' differ in case only; rename one"):
        prepared(tmp_path / "twins.parquet", tmp_path / "s")


def test_text_views(tmp_path):
    if not hasattr(pyarrow, "string_view"):
        pytest.skip("this pyarrow has none")
    path = write(tmp_path / "in.parquet", u=pyarrow.array(["b", "a"], pyarrow.string_view()), i=["x", "y"])
    prepared(path, tmp_path / "s")
    assert cells_of(tmp_path / "s") == {("b", "x"): 1, ("a", "y"): 1}


def test_cells_that_are_dropped_are_read_in_blocks(tmp_path, events, monkeypatch):
    monkeypatch.setattr(preparing, "SHARD_CELLS", 300)
    events.to_parquet(tmp_path / "in.parquet")
    read, largest = CellLists.block, []

    def block(cells, start, stop):
        result = read(cells, start, stop)
        largest.append(len(result.items) - result.indptr[1])  # the first user goes beyond
        return result

    monkeypatch.setattr(CellLists, "block", block)
    result = prepared(tmp_path / "in.parquet", tmp_path / "s", min_item_count=30, shards=1)
    assert result.pairs < 1000
    assert 100 < max(largest) < 300


@pytest.mark.parametrize("shards", [10**12, 2**70])
def test_more_shards_than_users(tmp_path, events, shards):
    events.to_parquet(tmp_path / "in.parquet")
    result = prepared(tmp_path / "in.parquet", tmp_path / "s", shards=shards)
    assert result.shards == result.users == events.u.nunique()
    Store.open(tmp_path / "s").verify()


def test_a_store_of_pointers_is_refused(tmp_path, events, monkeypatch):
    monkeypatch.setattr(writing, "_FEW_BYTES", 10_000)
    monkeypatch.setattr(writing, "_CELL_BYTES", 1)
    events.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match="shards: 60 are too many, because each has a pointer for each of the 40 item"):
        prepared(tmp_path / "in.parquet", tmp_path / "s", shards=1000)
    assert [one.name for one in tmp_path.iterdir()] == ["in.parquet"]
    assert prepared(tmp_path / "in.parquet", tmp_path / "s", shards=20).shards == 20


@pytest.mark.parametrize("package", ["duckdb", "pyarrow"])
def test_missing_packages_name_the_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"needs {package}, .*pip install 'implicit_wmf\[store\]'"):
        prepared(tmp_path / "in.csv", tmp_path / "s")
