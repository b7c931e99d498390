"""The report command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from .._ids import as_ids
from .._words import count
from ..errors import InputError
from ..evaluation import Recommender, compare
from ..interactions import Interactions
from ..item_knn import ItemKNN
from ..model import WMF
from ..popularity import MostPopular
from ..report.writing import check_target, write_report
from ..tables import match_ids, read_table
from .app import app
from .held_out import Source
from .options import Columns, HeldOutTable, Model, Quiet, Split, Timestamp, refuse_given, with_groups

LENGTHS = (1, 5, 10, 20, 50)  # of the lists that are judged
METRICS = [*(f"{name}@{k}" for name in ("recall", "ndcg") for k in LENGTHS), "coverage@10"]


@app.command()
@with_groups
def report(
    ctx: typer.Context,
    model_folder: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write, .html; one there is replaced.")
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Table that the model was fitted to: its last lines are held out to measure on."),
    ] = None,
    test: HeldOutTable = None,
    *,
    columns: Columns,
    name: Annotated[str | None, typer.Option("--name", help="Column with the items' names, in --data.")] = None,
    timestamp: Timestamp = None,
    test_fraction: Annotated[
        float, typer.Option("--test-fraction", help="Share of the lines of --data, the last ones, to hold out.")
    ] = 0.2,
    split: Split = "last",
    max_users: Annotated[
        int, typer.Option("--max-users", min=1, help="Users to have in the explorer, of a model with more.")
    ] = 5000,
    users: Annotated[
        list[str] | None, typer.Option("--user-id", help="Id of a user to have in it; may be repeated.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write one HTML file that shows what a model learned, and lets users and items be looked up.

    With --data, the table that the model was fitted to, the same settings are fitted again without each user's last
    interactions, and compared with item-kNN and most-popular on those. With --test, the model itself is compared on
    that table. Without either the report says nothing of quality.
    """
    check_target(output)
    of_tables = ("user", "item", "value", "timestamp", "test_fraction", "split")
    if data is None:
        refuse_given(ctx, ("name", *of_tables[3:]), "without --data")
    if data is None and test is None:
        refuse_given(ctx, of_tables[:3], "without --data or --test")
    source = Source(data or model_folder, columns, "test", test, test_fraction, split, timestamp)
    source.check(ctx)
    model = WMF.load(model_folder, mmap=True)
    chosen = as_ids(model.interactions.users, users, "users") if users else None
    names = None if name is None or data is None else _read_names(data, columns["item"], name, model)
    quality = None
    if data is not None or test is not None:
        train, held_out = source.read(None if test is None else model.interactions)
        judged = model
        if test is None:
            _say(quiet, f"fits the same settings without {count(held_out.nnz, 'held-out pair')}, to measure on them")
            judged = WMF.from_config(model.config).fit(train, progress=False if quiet else None)
        quality = compare_with_baselines(judged, train, held_out)
    _say(quiet, f"writes what can be looked up of {count(model.interactions.shape[1], 'item')}")
    write_report(model, output, names=names, quality=quality, users=chosen, max_users=max_users)
    typer.echo(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB); open it in a browser")


def _read_names(path: Path, item: str | None, name: str, model: WMF) -> pd.Series:
    """Read the items' names, the last one where a table has several for an item."""
    if item is None:
        raise InputError(f"{path} is a table: name its column of item ids with the option --item")
    table = read_table(path, [item, name], ids=[item, name]).dropna()
    ids = match_ids(table[item], model.interactions.items)
    named = pd.Series(table[name].astype(str).to_numpy(), index=ids.to_numpy())
    named = named[~named.index.duplicated(keep="last")]
    known = int(named.index.isin(model.interactions.items).sum())
    if not known:
        raise InputError(f"{path}: no id in column {item!r} is an item of the model; is it the table it was fitted to?")
    return named


def compare_with_baselines(model: WMF, train: Interactions, held_out: Interactions) -> pd.DataFrame:
    """Measure a model of `train`, and the two that it has to beat, on what was held out."""
    models: dict[str, Recommender] = {
        "WMF": model,
        "item-kNN": ItemKNN(weighting="bm25").fit(train),  # without it, counts of wholesalers drown the others
        "most popular": MostPopular().fit(train),
    }
    return compare(models, train, held_out, metrics=METRICS)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        typer.echo(text)
