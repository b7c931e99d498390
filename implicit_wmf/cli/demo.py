"""The demo: real purchases from data to named recommendations."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from ..config import WMFConfig
from ..datasets import load_online_retail
from ..errors import InputError, MissingExtraError
from ..evaluation import split_by_time
from ..interactions import Interactions
from ..model import WMF
from ..persistence import is_model
from ..report.writing import write_report
from ..tables import write_table
from .reporting import compare_with_baselines
from .wording import changed_values, comparison_table, option

# Counts run to tens of thousands of pieces (wholesalers), so confidence grows with their logarithm. alpha (of 1, 2, 4)
# and regularization (of 2.5, 5, ... 40) were chosen by recall@10 on the tenth of the purchases in time before the one
# that the demo holds out: .0440, against .0169 for most-popular.
SETTINGS = WMFConfig(factors=64, weighting="log", alpha=1.0, regularization=40.0, random_state=0)
_MEASURED = (
    "Measured on a second model of the same settings, which was fitted to the first 90 % of the purchases and asked "
    "for what customers newly bought in the rest."
)
COLUMNS: dict[str, Any] = {"user": "customer", "item": "product", "value": "quantity"}


def run_demo(output: Path) -> None:
    """Fit and evaluate on the shipped data, show recommendations, and write data, model and lists to `output`."""
    _prepare_folder(output)
    purchases = load_online_retail()
    _describe(purchases)
    quality = _evaluate(purchases)
    data = Interactions.from_frame(purchases, **COLUMNS)
    typer.echo("\n3. Recommendations, from a model fitted on everything\n")
    model = WMF.from_config(SETTINGS).fit(data)
    names = purchases.drop_duplicates("product").set_index("product")["name"]
    for customer in _examples(purchases):
        _show(customer, purchases, model, names)
    _write(output, purchases, model)
    _report(output, model, names, quality)
    _tell_next(output)


def _prepare_folder(output: Path) -> None:
    """Make the folder before any work, and refuse one with somebody's files."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} exists and is not a folder; choose another one with --output")
    try:
        output.mkdir(parents=True, exist_ok=True)
        empty = not any(output.iterdir())
    except OSError as error:
        raise InputError(f"cannot write to {output} ({error.strerror}); choose another one with --output") from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {output}; choose another one with --output")
    if not empty and not (is_model(output / "model") and (output / "purchases.csv").is_file()):
        raise InputError(f"{output} is not empty and was not made by the demo; choose another one with --output")


def _describe(purchases: pd.DataFrame) -> None:
    per_customer = purchases.groupby("customer")["product"].nunique()
    buyers = purchases.groupby("product")["customer"].nunique().sort_values(ascending=False)
    top = buyers.iloc[: len(buyers) // 100].sum() / buyers.sum()
    typer.echo(
        "1. The data: UCI Online Retail II, a UK gift shop (Daqing Chen, CC BY 4.0, doi 10.24432/C5CG6D)\n\n"
        f"   {len(purchases):,} purchases, {purchases.day.min():%Y-%m-%d} to {purchases.day.max():%Y-%m-%d}: "
        f"{len(per_customer):,} customers, {len(buyers):,} products\n"
        f"   a customer has {per_customer.median():.0f} different products (median; the most: {per_customer.max():,}); "
        f"the top 1 % of products make {top:.0%} of all pairs"
    )


def _evaluate(purchases: pd.DataFrame) -> pd.DataFrame:
    train, test = split_by_time(purchases, **COLUMNS, timestamp="day", test_fraction=0.1)
    typer.echo(
        f"\n2. How good is it? Fitted on the first 90 % of the purchases in time ({train.nnz:,} pairs), asked what\n"
        "   customers newly bought afterwards; a list holds 10 of all products, without what the customer had\n"
    )
    quality = compare_with_baselines(WMF.from_config(SETTINGS).fit(train), train, test)
    typer.echo(comparison_table(quality[quality["metric"].isin(["recall@10", "ndcg@10"])], train))
    return quality


def settings_options() -> str:
    """Spell what the demo sets otherwise than by default as options of fit and evaluate."""
    return " ".join(
        f"{option(name)} {f'{value:g}' if isinstance(value, float) else value}"
        for name, value in changed_values(SETTINGS).items()
    )


def _examples(purchases: pd.DataFrame) -> list[int]:
    """Three customers who bought lately, with 8 to 30 different products: enough to judge by eye."""
    products = purchases.groupby("customer")["product"].nunique()
    eligible = products[products.between(8, 30)].index
    latest = purchases[purchases.customer.isin(eligible)].groupby("customer")["day"].max()
    return [int(customer) for customer in latest.sort_values(kind="stable").index[-3:]]


def _show(customer: int, purchases: pd.DataFrame, model: WMF, names: pd.Series) -> None:
    own = purchases[purchases.customer == customer].groupby("product")["quantity"].sum().sort_values(ascending=False)
    advice = model.recommend_frame(customer, N=5)
    bought = [f"{quantity:>5} x {names[product]}" for product, quantity in own.head(5).items()]
    offered = [f"{score:.2f} {names[product]}" for product, score in zip(advice["item"], advice["score"], strict=True)]
    rows = max(len(bought), len(offered))
    left, right = (column + [""] * (rows - len(column)) for column in (bought, offered))
    typer.echo(f"   {f'customer {customer} bought ({len(own)} products)':<48}is recommended")
    typer.echo("\n".join(f"   {a:<48}{b}" for a, b in zip(left, right, strict=True)) + "\n")


def _write(output: Path, purchases: pd.DataFrame, model: WMF) -> None:
    write_table(purchases, output / "purchases.csv")
    model.save(output / "model")
    lists = model.recommend_frame(N=10)
    write_table(lists, output / "recommendations.csv")
    covered = lists["item"].nunique() / model.interactions.shape[1]
    typer.echo(
        f"4. Written to {output}\n\n"
        f"   {'model':<22}the model, for WMF.load and the commands below\n"
        f"   {'purchases.csv':<22}the data\n"
        f"   {'recommendations.csv':<22}10 products for each of {lists['user'].nunique():,} customers; "
        f"{covered:.0%} of the catalogue appears"
    )


def _report(output: Path, model: WMF, names: pd.Series, quality: pd.DataFrame) -> None:
    try:
        written = write_report(model, output / "report.html", names=names, quality=quality, quality_note=_MEASURED)
    except MissingExtraError as error:
        typer.echo(f"   {'report.html':<22}not written: {error}")
        return
    typer.echo(
        f"   {'report.html':<22}what the model learned, to look at and to look customers up in: open it in a browser,\n"
        f"   {'':<22}{written.resolve().as_uri()}"
    )


def _tell_next(output: Path) -> None:
    table = shlex.quote(str(output / "purchases.csv"))
    columns = " ".join(f"--{argument} {name}" for argument, name in COLUMNS.items())
    typer.echo(
        "\n   Next, the same with a file of your own in place of purchases.csv:\n\n"
        f"   implicit-wmf evaluate {table} {columns} --timestamp day {settings_options()}\n"
        f"   implicit-wmf fit {table} {columns} {settings_options()} -o my-model\n"
        "   implicit-wmf recommend my-model -o lists.csv --n 5\n"
        f"   implicit-wmf report my-model --data {table} {columns} --timestamp day --name name -o my-report.html\n"
        "   implicit-wmf info my-model"
    )
