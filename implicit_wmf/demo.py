"""The demo: real purchases from data to named recommendations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import typer

from .config import WMFConfig
from .datasets import load_online_retail
from .errors import InputError
from .evaluation import MostPopular, Recommender, compare, split_by_time
from .interactions import Interactions
from .model import WMF
from .tables import write_table

# Counts run to tens of thousands of pieces (wholesalers), so confidence grows with their logarithm. alpha (of 1, 2, 4)
# and regularization (of 2.5, 5, ... 40) were chosen by recall@10 on the tenth of the purchases in time before the one
# that the demo holds out: .0440, against .0169 for most-popular.
SETTINGS = WMFConfig(factors=64, weighting="log", alpha=1.0, regularization=40.0, random_state=0)
COLUMNS: dict[str, Any] = {"user": "customer", "item": "product", "value": "quantity"}


def run_demo(output: Path) -> None:
    """Fit and evaluate on the shipped data, show recommendations, and write data, model and lists to `output`."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} exists and is not a folder; choose another one with --output")
    purchases = load_online_retail()
    _describe(purchases)
    _evaluate(purchases)
    data = Interactions.from_frame(purchases, **COLUMNS)
    typer.echo("\n3. Recommendations, from a model fitted on everything\n")
    model = WMF.from_config(SETTINGS).fit(data)
    names = purchases.drop_duplicates("product").set_index("product")["name"]
    for customer in _examples(purchases):
        _show(customer, purchases, model, names)
    _write(output, purchases, model)


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


def _evaluate(purchases: pd.DataFrame) -> None:
    train, test = split_by_time(purchases, **COLUMNS, timestamp="day", test_fraction=0.1)
    typer.echo(
        f"\n2. How good is it? Fitted on the first 90 % of the purchases in time ({train.nnz:,} pairs), asked what\n"
        "   customers newly bought afterwards; a list holds 10 of all products, without what the customer had\n"
    )
    models: dict[str, Recommender] = {
        "WMF": WMF.from_config(SETTINGS).fit(train),
        "most popular": MostPopular().fit(train),
    }
    typer.echo(comparison_table(compare(models, train, test)))


def comparison_table(table: pd.DataFrame) -> str:
    """Lay out what `compare` returns: a line a model, a column a metric, and who was counted."""
    shown = table.assign(text=[f"{v:.4f} ± {e:.4f}" for v, e in zip(table["value"], table.standard_error, strict=True)])
    wide = shown.pivot(index="model", columns="metric", values="text")
    wide = wide.loc[table["model"].unique(), table["metric"].unique()].rename_axis(None).rename_axis(None, axis=1)
    left_out = table.attrs
    return (
        f"{wide.to_string()}\n"
        f"mean ± standard error over {table.users.iloc[0]:,} users; left out: {left_out['without_targets']:,} without "
        f"new items in the test part, {left_out['without_history']:,} without interactions in the training part"
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
    output.mkdir(parents=True, exist_ok=True)
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
        f"{covered:.0%} of the catalogue appears\n\n"
        "   Next, the same with a file of your own in place of purchases.csv:\n\n"
        f"   implicit-wmf evaluate {output}/purchases.csv --user customer --item product --timestamp day\n"
        f"   implicit-wmf fit {output}/purchases.csv --user customer --item product -o my-model\n"
        "   implicit-wmf recommend my-model -o lists.csv --n 5\n"
        "   implicit-wmf info my-model"
    )
