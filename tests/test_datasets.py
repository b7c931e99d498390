from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.sparse.linalg import svds

from implicit_wmf.datasets import load_online_retail, synthetic
from implicit_wmf.errors import InputError

# The package's name for the function hides its module.
MODULE = sys.modules["implicit_wmf.datasets.synthetic"]
ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("IMPLICIT_WMF_DATA", ROOT.parent / "shared" / "data"))
SHIPPED = ROOT / "implicit_wmf" / "datasets" / "online_retail.npz"


@pytest.fixture(scope="module")
def purchases() -> pd.DataFrame:
    return load_online_retail()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "data_scripts"))
        return importlib.import_module("online_retail")


def source(*lines: tuple) -> pd.DataFrame:
    """Lines (invoice, customer, code, description, quantity, hours since the first of March) in UCI's columns."""
    frame = pd.DataFrame(
        list(lines), columns=["Invoice", "Customer ID", "StockCode", "Description", "Quantity", "InvoiceDate"]
    )
    frame["InvoiceDate"] = pd.Timestamp("2010-03-01") + pd.to_timedelta(frame["InvoiceDate"], unit="h")
    return frame.assign(Price=1.0, Country="United Kingdom")


def kept(script: ModuleType, *lines: tuple) -> list[tuple[str, int, str, int]]:
    reduced, _ = script.reduce_lines(script.normalize_columns(source(*lines)))
    return list(reduced[["invoice", "customer", "product", "quantity"]].itertuples(index=False, name=None))


class TestShippedData:
    def test_has_the_documented_columns_in_time_order(self, purchases):
        assert len(purchases) == 785_266
        assert list(purchases.columns) == ["customer", "product", "name", "quantity", "invoice", "day"]
        for column in ("customer", "quantity", "invoice"):
            assert purchases[column].dtype == np.int64
        assert purchases["day"].dtype == np.dtype("datetime64[s]")
        assert purchases["day"].is_monotonic_increasing
        assert purchases["day"].iloc[[0, -1]].tolist() == [pd.Timestamp("2009-12-01"), pd.Timestamp("2011-12-09")]
        assert pd.api.types.is_string_dtype(purchases["product"]) and isinstance(purchases["product"][0], str)
        assert purchases.index.equals(pd.RangeIndex(len(purchases)))
        assert not purchases.isna().any().any()

    def test_begins_with_the_first_invoice_of_the_source(self, purchases):
        first = purchases.iloc[0]
        assert (first["customer"], first["product"], first["quantity"], first["invoice"]) == (
            13085,
            "85048",
            12,
            489434,
        )
        assert first["name"] == "15CM CHRISTMAS GLASS BALL 20 LIGHTS"

    def test_holds_only_products_bought(self, purchases):
        assert purchases["quantity"].min() == 1
        codes = pd.Series(purchases["product"].unique())
        assert codes.str.fullmatch(r"\d{5}[A-Z]{0,2}|SP1002").all()
        assert (purchases["name"].str.strip() == purchases["name"]).all()
        assert (purchases.groupby("product")["name"].nunique() == 1).all()
        assert (purchases["name"] != "").all()

    def test_an_invoice_is_one_customer_on_one_day_in_one_run(self, purchases):
        assert (purchases.groupby("invoice")[["customer", "day"]].nunique() == 1).all().all()
        runs = (purchases["invoice"] != purchases["invoice"].shift()).sum()
        assert runs == purchases["invoice"].nunique() == 36_456

    def test_is_small_and_holds_no_pickle(self):
        path = Path(sys.modules["implicit_wmf.datasets"].__file__).with_name("online_retail.npz")
        assert path.stat().st_size < 3_000_000
        with np.load(path, allow_pickle=False) as tables:
            assert all(tables[name].dtype.kind in "uUM" for name in tables.files)


class TestScript:
    def test_return_cancels_the_newest_earlier_purchases_first(self, script):
        lines = [
            ("1", 7, "10001", "CUP", 5, 0),
            ("2", 7, "10001", "CUP", 3, 1),
            ("C3", 7, "10001", "CUP", -4, 2),
            ("4", 7, "10001", "CUP", 9, 3),
        ]
        assert kept(script, *lines) == [("1", 7, "10001", 4), ("4", 7, "10001", 9)]

    def test_return_without_purchase_is_dropped_and_touches_nobody_else(self, script):
        lines = [
            ("1", 7, "10001", "CUP", 5, 1),
            ("1", 7, "10002", "MUG", 5, 1),
            ("C2", 8, "10001", "CUP", -5, 2),
            ("C3", 7, "10002", "MUG", -50, 3),
            ("C4", 7, "10001", "CUP", -5, 0),
        ]
        assert kept(script, *lines) == [("1", 7, "10001", 5)]

    def test_returns_agree_with_cancelling_piece_by_piece(self, script):
        rng = np.random.default_rng(0)
        lines = [
            (str(i), int(rng.integers(3)), f"1000{rng.integers(3)}", "X", int(rng.choice([-3, -1, 1, 2, 4])), i)
            for i in range(300)
        ]
        pieces: list[tuple[str, int, str]] = []
        for invoice, customer, code, _, quantity, _ in lines:
            pieces += [(invoice, customer, code)] * quantity
            for _ in range(-quantity):
                mine = [i for i, piece in enumerate(pieces) if piece[1:] == (customer, code)]
                if mine:
                    del pieces[mine[-1]]
        expected = [(*piece, pieces.count(piece)) for piece in sorted(set(pieces), key=lambda piece: int(piece[0]))]
        assert 20 < len(expected) < 180
        assert kept(script, *lines) == expected

    def test_unknown_customers_and_codes_that_are_no_product_are_dropped(self, script):
        codes = ["POST", "M", "C2", "D", "ADJUST", "BANK CHARGES", "TEST001", "gift_0001_20", "S", "AMAZONFEE", "1234"]
        lines = [("1", 7, code, "X", 1, 0) for code in codes]
        lines += [
            ("2", None, "10001", "CUP", 1, 0),
            ("3", 7, "SP1002", "EASEL", 1, 0),
            ("3", 7, "10001BL", "CUP", 1, 0),
        ]
        reduced, dropped = script.reduce_lines(script.normalize_columns(source(*lines)))
        assert reduced["product"].tolist() == ["SP1002", "10001BL"]
        assert dropped["no customer"] == 1
        assert dropped["not a product"] == len(codes)

    def test_codes_are_compared_without_case_and_blanks(self, script):
        lines = [("1", 7, "10001a", "CUP", 5, 0), ("C2", 7, "10001A ", "CUP", -5, 1), ("3", 7, "47503j ", "MAT", 1, 2)]
        assert kept(script, *lines) == [("3", 7, "47503J", 1)]

    def test_second_sheet_loses_invoices_of_the_first_and_nothing_else(self, script):
        first = [("1", 7, "10001", "CUP", 1, 0), ("2", 7, "10001", "CUP", 1, 200), ("2", 7, "10001", "CUP", 1, 200)]
        second = [("2", 7, "10001", "CUP", 1, 100), ("2", 7, "10001", "CUP", 1, 210), ("3", 7, "10001", "CUP", 1, 220)]
        assert [line[0] for line in kept(script, *first, *second)] == ["1", "2", "2", "3"]

    def test_name_is_the_most_frequent_one_and_ties_are_alphabetical(self, script):
        lines = [("1", 7, "10001", name, 1, 0) for name in ("B  CUP ", "A CUP", " B CUP")]
        lines += [("1", 7, "10002", name, 1, 0) for name in ("Z", "Y")] + [("1", 7, "10000", None, 1, 0)]
        names = script.product_names(script.normalize_columns(source(*lines)))
        assert names.to_dict() == {"10000": "", "10001": "B CUP", "10002": "Y"}

    def test_tables_give_the_lines_back_ordered_by_invoice(self, script):
        lines = [
            ("12", 8, "10002", "MUG", 70_000, 26),
            ("11", 7, "10001", "CUP", 2, 3),
            ("12", 8, "10001", "CUP", 1, 25),
        ]
        reduced, _ = script.reduce_lines(script.normalize_columns(source(*lines)))
        tables = script.normalize_tables(reduced)
        assert tables["invoice_number"].tolist() == [11, 12]
        assert tables["invoice_customer"].tolist() == [7, 8]
        assert tables["invoice_lines"].tolist() == [1, 2]
        assert tables["invoice_day"].astype(str).tolist() == ["2010-03-01", "2010-03-02"]
        assert tables["product_code"][tables["line_product"]].tolist() == ["10001", "10001", "10002"]
        assert tables["product_name"].tolist() == ["CUP", "MUG"]
        assert tables["line_quantity"].tolist() == [2, 1, 70_000]

    @pytest.mark.parametrize("columns", ["uci", "kaggle", "snake"])
    def test_main_writes_the_same_bytes_from_every_spelling(self, script, tmp_path, capsys, columns):
        lines = source(("11", 7, "10001", "CUP", 2, 3), ("12", None, "10001", "CUP", 2, 1), ("13", 8, "9", "?", 1, 2))
        lines.to_csv(tmp_path / "uci.csv", index=False)
        old = {"Invoice": "InvoiceNo", "Customer ID": "CustomerID"}
        lines.rename(columns=old).to_csv(tmp_path / "kaggle.csv", index=False)
        snake = {"Customer ID": "customer_id", "StockCode": "stock_code", "InvoiceDate": "timestamp"}
        lines.rename(columns=snake).rename(columns=str.lower).to_csv(tmp_path / "snake.csv", index=False)
        for name in ("uci", columns):
            script.main([str(tmp_path / f"{name}.csv"), "-o", str(tmp_path / f"{name}.npz"), "--tables", "--force"])
        assert (tmp_path / f"{columns}.npz").read_bytes() == (tmp_path / "uci.npz").read_bytes()
        assert "1 lines kept: 1 customers, 1 products, 1 invoices" in capsys.readouterr().out

    @pytest.mark.skipif(
        not (DATA / "online_retail_ii.parquet").is_file(), reason=f"no copy of Online Retail II at {DATA}"
    )
    def test_the_shipped_file_is_what_the_script_makes(self, script, tmp_path):
        copy, out = DATA / "online_retail_ii.parquet", tmp_path / "made.npz"
        with pytest.raises(InputError, match=r"expected 1,067,371 lines, met 1,034,220; .*--force"):
            script.main([str(copy), "-o", str(out), "--tables"])
        script.main([str(copy), "-o", str(out), "--tables", "--force"])
        with np.load(out) as made, np.load(SHIPPED) as shipped:
            assert made.files == shipped.files
            for name in made.files:
                assert made[name].dtype == shipped[name].dtype
                np.testing.assert_array_equal(made[name], shipped[name])

    def test_refuses_a_source_it_cannot_read(self, script, tmp_path):
        shop = tmp_path / "shop.txt"
        shop.write_text("x")
        with pytest.raises(InputError, match=r"shop\.txt ends in '\.txt'; give a \.xlsx, \.csv or \.parquet"):
            script.main([str(shop), "-o", str(tmp_path / "out.npz")])
        with pytest.raises(InputError, match=r"no column for \['quantity', 'time'\]; its columns are \['Invoice'"):
            script.normalize_columns(source(("1", 7, "10001", "CUP", 1, 0)).drop(columns=["Quantity", "InvoiceDate"]))


@pytest.fixture(scope="module")
def counts() -> scipy.sparse.csr_array:
    return synthetic(3000, 2000, 150_000, factors=8, random_state=0)


def held_out_recall(counts: scipy.sparse.csr_array, factors: int) -> tuple[float, float]:
    """Recall@20 on a held-out half of the cells: ranked by popularity, and by a truncated SVD of the other half."""
    taken = counts.toarray() > 0
    held_out = taken & (np.random.default_rng(1).random(taken.shape) < 0.5)
    train = (taken & ~held_out).astype(float)
    left, values, right = svds(train, k=factors, v0=np.ones(min(train.shape)))

    def recall(score: np.ndarray) -> float:
        top = np.argsort(np.where(train > 0, -np.inf, score), axis=1)[:, -20:]
        found = np.take_along_axis(held_out, top, axis=1).sum(axis=1)
        return float((found / np.clip(held_out.sum(axis=1), 1, 20)).mean())

    return recall(np.broadcast_to(train.sum(axis=0), train.shape)), recall((left * values) @ right)


class TestSynthetic:
    @pytest.mark.parametrize(
        ("users", "items", "interactions"),
        [
            (1, 1, 0),
            (2, 1, 1),
            (1, 2, 1),
            (5, 4, 10),
            (7, 3, 10),
            (3, 7, 10),
            (1, 1000, 500),
            (1000, 1, 500),
            (400, 9, 0),
        ],
    )
    def test_gives_exactly_what_was_asked_at_the_edges(self, users, items, interactions):
        for seed in range(5):
            matrix = synthetic(users, items, interactions, factors=3, random_state=seed)
            assert matrix.shape == (users, items)
            assert matrix.nnz == np.count_nonzero(matrix.toarray()) == interactions

    def test_is_a_canonical_array_of_float32_counts(self, counts):
        assert isinstance(counts, scipy.sparse.csr_array)
        assert counts.shape == (3000, 2000) and counts.nnz == 150_000
        assert counts.dtype == np.float32 and counts.indices.dtype == counts.indptr.dtype == np.int32
        unknown = scipy.sparse.csr_array((counts.data, counts.indices, counts.indptr), shape=counts.shape)
        assert unknown.has_canonical_format
        assert (counts.data >= 1).all() and (counts.data == np.floor(counts.data)).all()

    def test_spans_several_blocks_of_users(self, monkeypatch):
        monkeypatch.setattr(MODULE, "BLOCK_CELLS", 1000)
        matrix = synthetic(500, 300, 20_000, random_state=0)
        assert matrix.nnz == np.count_nonzero(matrix.toarray()) == 20_000
        assert np.diff(matrix.indptr).min() > 0

    def test_same_random_state_same_result(self):
        one, same, other = (synthetic(200, 100, 3000, random_state=seed) for seed in (5, 5, 6))
        generated = synthetic(200, 100, 3000, random_state=np.random.default_rng(5))
        assert (one != same).nnz == (one != generated).nnz == 0
        assert (one != other).nnz > 1000

    @pytest.mark.parametrize("side", ["users", "items"])
    def test_is_skewed_like_a_power_law(self, counts, side):
        popularity = np.sort(np.bincount(counts.nonzero()[side == "items"]))[::-1]
        top = popularity[: len(popularity) // 100].sum() / counts.nnz
        assert top > 0.15, "a uniform share would be 0.01"
        ranks = np.geomspace(0.02 * len(popularity), 0.5 * len(popularity), 20).astype(int)
        slope, offset = np.polyfit(np.log(ranks), np.log(popularity[ranks]), 1)
        assert -1.6 < slope < -0.7
        assert np.abs(slope * np.log(ranks) + offset - np.log(popularity[ranks])).max() < 0.25

    def test_activity_and_popularity_do_not_follow_the_index(self, counts):
        for axis, size in ((1, 3000), (0, 2000)):
            taken = (counts != 0).sum(axis=axis)
            assert abs(np.corrcoef(np.arange(size), taken)[0, 1]) < 0.1

    def test_counts_follow_their_law(self, counts):
        for count in (2, 3, 5):
            assert (counts.data >= count).mean() == pytest.approx(count**-2, rel=0.05)

    def test_draws_without_replacement_by_the_planted_probabilities(self, monkeypatch):
        shares = np.array([0.5, 0.3, 0.15, 0.05])
        pairs = {}
        for rounds in (0, 1, 4):
            monkeypatch.setattr(MODULE, "REJECTION_ROUNDS", rounds)
            theta, phi = np.ones((40_000, 1)), shares[None, :]
            degrees = np.full(40_000, 2)
            chosen = MODULE._sample_block(np.random.default_rng(1), degrees, theta, phi, np.cumsum(shares))
            pairs[rounds] = np.bincount(chosen[::2] * 4 + chosen[1::2], minlength=16) / 40_000
        expected = np.zeros(16)
        for first in range(4):
            for second in set(range(4)) - {first}:
                cell = min(first, second) * 4 + max(first, second)
                expected[cell] += shares[first] * shares[second] / (1 - shares[first])
        for drawn in pairs.values():
            np.testing.assert_allclose(drawn, expected, atol=0.01)

    def test_planted_structure_ranks_held_out_cells_better_than_popularity(self, counts):
        popularity, factorized = held_out_recall(counts, factors=8)
        assert factorized > 1.1 * popularity

    def test_one_factor_plants_nothing_beyond_popularity(self):
        flat = synthetic(3000, 2000, 150_000, factors=1, random_state=0)
        popularity, factorized = held_out_recall(flat, factors=8)
        assert factorized < popularity

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"users": 0}, r"users is 0; give a whole number of at least 1"),
            ({"items": 2.5}, r"items is 2\.5; give a whole number of at least 1"),
            ({"items": "10"}, r"items is '10'; give a whole number"),
            ({"factors": 0}, r"factors is 0; give a whole number of at least 1"),
            ({"factors": True}, r"factors is True; give a whole number"),
            ({"interactions": -1}, r"interactions is -1; give a whole number of at least 0"),
            ({"interactions": 51}, r"interactions is 51, more than half of the 10 x 10 cells; give at most 50"),
            ({"random_state": -1}, r"random_state is -1; give a whole number of at least 0"),
            ({"random_state": 0.5}, r"random_state is 0\.5; give a whole number"),
        ],
    )
    def test_refuses_what_it_cannot_use(self, arguments, message):
        with pytest.raises(InputError, match=message):
            synthetic(**({"users": 10, "items": 10, "interactions": 20} | arguments))

    def test_takes_numpy_integers(self):
        assert synthetic(np.int64(10), np.uint8(10), np.int32(50), random_state=np.int64(0)).nnz == 50
