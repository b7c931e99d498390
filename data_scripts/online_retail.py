"""Reduce UCI Online Retail II to the purchases that ship with the package.

    python data_scripts/online_retail.py SOURCE [-o OUT]

SOURCE is the UCI download (https://archive.ics.uci.edu/dataset/502/online+retail+ii: a .zip with
`online_retail_II.xlsx`, or that workbook; read with openpyxl, both sheets), a UTF-8 CSV of it, or a Parquet copy. The
same source gives the same bytes, with the same NumPy and zlib. The rules and their reasons stand at the functions of
`RULES`; what they did to the shipped file is in `online_retail.LICENSE.md`.
"""

from __future__ import annotations

import argparse
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from implicit_wmf.errors import InputError

OUT = Path(__file__).parents[1] / "implicit_wmf" / "datasets" / "online_retail.npz"
WORKBOOK = "online_retail_II.xlsx"

# Keys are the sources' spellings in lower case without blanks and underscores.
COLUMNS = {
    "invoice": "invoice",
    "invoiceno": "invoice",
    "customerid": "customer",
    "stockcode": "product",
    "description": "name",
    "quantity": "quantity",
    "timestamp": "time",
    "invoicedate": "time",
}

# Five digits and at most a few letters for the variant. SP1002, a chalkboard, is the one product numbered otherwise.
PRODUCT_CODE = r"\d{5}[A-Z]*|SP\d{4}"


def read_source(path: Path) -> pd.DataFrame:
    """Return the lines as they stand in the file: invoice, customer, product, name, quantity, time."""
    if path.suffix == ".parquet":
        lines = pd.read_parquet(path)
    elif path.suffix == ".zip":
        lines = read_archive(path)
    elif path.suffix == ".xlsx":
        lines = read_workbook(path)
    elif path.suffix == ".csv":
        lines = pd.read_csv(path, dtype=str)
    else:
        raise InputError(f"SOURCE {path} ends in {path.suffix!r}; give a .xlsx, .csv or .parquet file, or UCI's .zip.")
    return normalize_columns(lines)


def read_archive(path: Path) -> pd.DataFrame:
    """Read the workbook within UCI's archive."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(WORKBOOK) as file:
            return read_workbook(file)
    except (KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"SOURCE {path} is no archive with {WORKBOOK}; fetch it again") from error


def read_workbook(source: Path | IO[bytes]) -> pd.DataFrame:
    """Read all sheets of a workbook as text, one after the other."""
    return pd.concat(pd.read_excel(source, sheet_name=None, dtype=str), ignore_index=True)


def normalize_columns(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the needed columns under this script's names and in its types."""
    found = {COLUMNS.get(str(name).lower().replace(" ", "").replace("_", "")): name for name in lines.columns}
    missing = sorted(set(COLUMNS.values()) - set(found))
    if missing:
        raise InputError(f"SOURCE has no column for {missing}; its columns are {list(lines.columns)}.")
    column = {name: lines[found[name]] for name in dict.fromkeys(COLUMNS.values())}
    return pd.DataFrame(
        {
            "invoice": column["invoice"].astype(str).str.strip(),
            "customer": pd.to_numeric(column["customer"]).astype("Int64"),
            # 85123a and 85123A are one product, and so are 47503J and "47503J ".
            "product": column["product"].astype(str).str.strip().str.upper(),
            "name": column["name"].astype(object).str.split().str.join(" "),
            "quantity": pd.to_numeric(column["quantity"]).astype("int64"),
            "time": pd.to_datetime(column["time"]).astype("datetime64[s]"),
        }
    )


def drop_repeated_invoices(lines: pd.DataFrame) -> pd.DataFrame:
    """Keep the first copy of each invoice: both sheets of the download hold 2010-12-01 to 2010-12-09.

    The second sheet starts where time falls back. Equal lines within one copy stay: a shop scans an article twice.
    """
    second = (lines["time"].cummax() - lines["time"] > pd.Timedelta(days=1)).cummax()
    return lines[~(second & lines["invoice"].isin(lines.loc[~second, "invoice"]))]


def drop_unknown_customers(lines: pd.DataFrame) -> pd.DataFrame:
    """Drop lines without a customer: there is nobody to learn about or to recommend to."""
    return lines[lines["customer"].notna()]


def drop_non_products(lines: pd.DataFrame) -> pd.DataFrame:
    """Drop postage, discounts, fees, corrections and tests: nobody wants them recommended."""
    return lines[lines["product"].str.fullmatch(PRODUCT_CODE)]


def cancel_returned(lines: pd.DataFrame) -> pd.DataFrame:
    """Take each return off the same customer's latest earlier purchases of the product, and drop emptied ones.

    What was sent back was not wanted; an earlier purchase that was kept still was. A return that exceeds the
    purchases on record (those before the first day are not) has nothing more to cancel.
    """
    lines = lines.sort_values("time", kind="stable")
    quantity = lines["quantity"].to_numpy(copy=True)
    pair = lines.groupby(["customer", "product"]).ngroup().to_numpy()
    open_purchases: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(np.isin(pair, pair[quantity < 0])):
        purchases = open_purchases[pair[row]]
        if quantity[row] > 0:
            purchases.append(row)
        returned = -quantity[row]
        while returned > 0 and purchases:
            taken = min(returned, quantity[purchases[-1]])
            quantity[purchases[-1]] -= taken
            returned -= taken
            if quantity[purchases[-1]] == 0:
                purchases.pop()
    return lines.assign(quantity=quantity)[quantity != 0]


def drop_returns(lines: pd.DataFrame) -> pd.DataFrame:
    """Drop the return lines, which have done their work: no quantity in the result is negative."""
    return lines[lines["quantity"] > 0]


RULES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "invoices repeated in the second sheet": drop_repeated_invoices,
    "no customer": drop_unknown_customers,
    "not a product": drop_non_products,
    "purchases wholly returned": cancel_returned,
    "returns": drop_returns,
}


def reduce_lines(lines: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Apply every rule in turn; return what is left and how many lines each dropped."""
    dropped = {}
    for reason, rule in RULES.items():
        before = len(lines)
        lines = rule(lines)
        dropped[reason] = before - len(lines)
    return lines, dropped


def product_names(lines: pd.DataFrame) -> pd.Series:
    """Return each code's most frequent description; of equally frequent ones the first in the alphabet."""
    counts = lines.groupby(["product", "name"]).size().rename("lines").reset_index()
    ordered = counts.sort_values(["product", "lines", "name"], ascending=[True, False, True])
    names = ordered.drop_duplicates("product").set_index("product")["name"]
    return names.reindex(sorted(lines["product"].unique()), fill_value="")


def normalize_tables(lines: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the purchases as arrays: one entry an invoice, a product, or a line, lines ordered by invoice."""
    lines = lines.assign(
        invoice=pd.to_numeric(lines["invoice"]), start=lines.groupby("invoice")["time"].transform("min")
    )
    lines = lines.sort_values(["start", "invoice"], kind="stable")
    invoices = lines.groupby(["start", "invoice"]).agg(customer=("customer", "first"), lines=("product", "size"))
    names = product_names(lines)
    tables = {
        "invoice_number": invoices.index.get_level_values("invoice").to_numpy(),
        "invoice_customer": invoices["customer"].to_numpy(dtype=np.int64),
        "invoice_lines": invoices["lines"].to_numpy(),
        "line_product": names.index.get_indexer(lines["product"]),
        "line_quantity": lines["quantity"].to_numpy(),
    }
    compact = {name: table.astype(np.min_scalar_type(table.max())) for name, table in tables.items()}
    return {
        **compact,
        "invoice_day": invoices.index.get_level_values("start").to_numpy().astype("datetime64[D]"),
        "product_code": names.index.to_numpy(dtype=np.str_),
        "product_name": names.to_numpy(dtype=np.str_),
    }


def main() -> None:
    """Read the source, apply the rules, write the file and print what each rule dropped."""
    parser = argparse.ArgumentParser(description="Reduce UCI Online Retail II to the purchases shipped here.")
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="the .zip or .xlsx download, a .csv of it, or a .parquet copy"
    )
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="the .npz file to write (default: the package's)")
    arguments = parser.parse_args()
    lines = read_source(arguments.source)
    kept, dropped = reduce_lines(lines)
    tables = normalize_tables(kept)
    np.savez_compressed(arguments.out, **tables)
    print(f"{len(lines):>9,} lines in {arguments.source.name}")
    for reason, count in dropped.items():
        print(f"{-count:>9,} {reason}")
    customers = len(np.unique(tables["invoice_customer"]))
    print(
        f"{len(kept):>9,} lines kept: {customers:,} customers, {len(tables['product_code']):,} products, "
        f"{len(tables['invoice_number']):,} invoices; {arguments.out.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
