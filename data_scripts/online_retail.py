"""Turn UCI Online Retail II into a matrix or a table, or into the file of purchases that ships with the package.

    python data_scripts/online_retail.py SOURCE -o OUT.npz

SOURCE is UCI's archive, the folder that it unpacks to, its online_retail_II.xlsx (both sheets; needs openpyxl), a UTF-8
.csv of that (also .gz), or a .parquet copy. OUT.npz has customers x products with the pieces bought and not returned
for values, its ids beside it; OUT.parquet has the columns user, item, quantity and timestamp, a line a purchased line.
Names of products go to OUT.items.csv. What is dropped, and why, stands at the functions of `RULES`.

The number of lines is that of UCI's page, https://archive.ics.uci.edu/dataset/502/online+retail+ii, for both sheets
together; it gives no checksum. Copies from elsewhere have other numbers of lines and need --force.

    python data_scripts/online_retail.py COPY.parquet --force --tables -o implicit_wmf/datasets/online_retail.npz

made what the package ships, from the copy that `online_retail.LICENSE.md` there describes. The same source gives the
same bytes, with the same NumPy and zlib.

Terms: CC BY 4.0; credit Daqing Chen, "Online Retail II", UCI Machine Learning Repository, doi 10.24432/C5CG6D.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from _command import Publication, check_counts, finish, open_source, parser_of, print_sizes, run
from _events import Collector, Events, write_whole
from _source import Source

from implicit_wmf.errors import InputError, MissingExtraError

WORKBOOK = "online_retail_II.xlsx"
PUBLISHED = Publication(
    "Online Retail II", "https://archive.ics.uci.edu/static/public/502/online+retail+ii.zip", {}, lines=1_067_371
)
FORMS = (".xlsx", ".csv", ".csv.gz", ".parquet")

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


def read_source(source: Source) -> pd.DataFrame:
    """Return the lines as they stand in the file: invoice, customer, product, name, quantity, time."""
    name = source.path.name.lower()
    form = WORKBOOK if source.is_archive or source.path.is_dir() else name
    if not form.lower().endswith(FORMS):
        raise InputError(
            f"SOURCE {source.path} ends in {source.path.suffix!r}; give a .xlsx, .csv or .parquet file, or UCI's .zip"
        )
    with source.open(WORKBOOK) as stream:
        try:
            lines = _read(stream, form.lower())
        except ImportError as error:
            raise _missing_reader(form.lower()) from error
        # Of pandas, openpyxl and pyarrow, for files that are damaged or something else than their names say; a
        # SyntaxError is that of a workbook's XML.
        except (ValueError, KeyError, TypeError, SyntaxError) as error:
            raise InputError(f"{source.path} cannot be read: {_first_line(error)}; fetch it again") from error
    return normalize_columns(lines)


def _read(stream: IO[bytes], form: str) -> pd.DataFrame:
    if form.endswith(".xlsx"):
        # Whole, because openpyxl jumps about in the file, and each jump back decompresses an archive from its start.
        sheets = pd.read_excel(io.BytesIO(stream.read()), sheet_name=None, dtype=str)
        return pd.concat(sheets, ignore_index=True)
    return pd.read_parquet(stream) if form.endswith(".parquet") else pd.read_csv(stream, dtype=str)


def _missing_reader(form: str) -> Exception:
    if form.endswith(".parquet"):
        return MissingExtraError(package="pyarrow", extra="parquet", purpose="Reading Parquet files")
    # no extra of the package has it: nothing else reads workbooks
    return InputError(
        "Reading .xlsx files needs openpyxl, which is not installed. Install it with: pip install openpyxl"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def normalize_columns(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the needed columns under this script's names and in its types."""
    found = {COLUMNS.get(str(name).lower().replace(" ", "").replace("_", "")): name for name in lines.columns}
    missing = sorted(set(COLUMNS.values()) - set(found))
    if missing:
        raise InputError(f"SOURCE has no column for {missing}; its columns are {list(lines.columns)}")
    column = {name: lines[found[name]] for name in dict.fromkeys(COLUMNS.values())}
    return pd.DataFrame(
        {
            "invoice": column["invoice"].astype(str).str.strip(),
            "customer": _converted("customer", column["customer"], _whole).astype("Int64"),
            # 85123a and 85123A are one product, and so are 47503J and "47503J ".
            "product": column["product"].astype(str).str.strip().str.upper(),
            "name": column["name"].astype(object).str.split().str.join(" "),
            "quantity": _converted("quantity", column["quantity"], _whole).astype("int64"),
            "time": _converted("time", column["time"], pd.to_datetime).astype("datetime64[s]"),
        }
    )


def _whole(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column).astype("Int64")


def _converted(name: str, column: pd.Series, convert: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Convert a column; only customers may be unknown."""
    try:
        converted = convert(column)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"SOURCE's column {column.name!r} cannot be taken for {name}: {_first_line(error)}") from error
    if name != "customer" and converted.isna().any():
        line = int(np.flatnonzero(converted.isna())[0]) + 1
        raise InputError(f"SOURCE's column {column.name!r} is empty in line {line} below the header; give a whole file")
    return converted


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
        invoice=_converted("invoice", lines["invoice"], _whole).astype("int64"),
        start=lines.groupby("invoice")["time"].transform("min"),
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


def as_events(lines: pd.DataFrame) -> Events:
    """Return the purchases as events of customers and products, with the products' names."""
    collector = Collector("quantity", timed=True)
    collector.add(
        user=lines["customer"].astype("int64"),
        item=lines["product"].astype(object),
        value=lines["quantity"],
        seconds=lines["time"].astype("int64"),
    )
    return replace(collector.events(), item_names=product_names(lines).to_dict())


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the source, check it, apply the rules, write OUT and print what each rule dropped and what is held."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--tables", action="store_true", help="write OUT.npz in the form that the package ships, by invoices"
    )
    arguments = parser.parse_args(command_line)
    if arguments.tables and (arguments.out.suffix != ".npz" or (arguments.min_user, arguments.min_item) != (1, 1)):
        raise InputError("--tables writes an .npz of all purchases; give such an OUT, no --min-user and no --min-item")
    lines = read_source(open_source(arguments, PUBLISHED))
    check_counts(PUBLISHED, arguments.force, lines=len(lines))
    kept, dropped = reduce_lines(lines)
    print(f"{len(lines):>12,} lines in {arguments.source.name}")
    for reason, count in dropped.items():
        print(f"{-count:>12,} lines: {reason}")
    if not len(kept):
        raise InputError(f"no line of {arguments.source} is a purchase that was kept; is it another file?")
    if arguments.tables:
        write_tables(normalize_tables(kept), arguments.out)
    else:
        finish(arguments, as_events(kept))


def write_tables(tables: dict[str, np.ndarray], out: Path) -> None:
    """Write the arrays that `implicit_wmf.datasets.load_online_retail` reads, and print what they hold."""
    write_whole(out, lambda file: np.savez_compressed(file, **tables))
    print(
        f"{len(tables['line_product']):>12,} lines kept: {len(np.unique(tables['invoice_customer'])):,} customers, "
        f"{len(tables['product_code']):,} products, {len(tables['invoice_number']):,} invoices"
    )
    print_sizes([out])


if __name__ == "__main__":
    run(main)
