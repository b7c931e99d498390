"""The purchases of Online Retail II, on a few lines of its workbook."""

import dataclasses
import os
import sys

import pandas as pd
import pytest
from publishers import by_id, no_network, script, zipped  # noqa: F401

from implicit_wmf.errors import InputError, MissingExtraError
from implicit_wmf.tables import read_table


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
    def retail(self, monkeypatch):
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

    def test_the_number_of_lines_is_ucis(self, tmp_path, capsys):
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
