"""The report command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from scipy.sparse import csr_array

from .._ids import as_ids
from .._words import count
from ..config import WMFConfig
from ..errors import InputError
from ..evaluation import Recommender, compare
from ..interactions import Interactions
from ..item_knn import ItemKNN
from ..model import WMF
from ..popularity import MostPopular
from ..report.writing import check_target, write_report
from ..tables import known_ids, match_ids, read_events, read_table
from .app import app
from .held_out import Source
from .options import Columns, HeldOutTable, Model, Quiet, Split, Timestamp, options_given, refuse_given, with_groups

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
        typer.Option(
            "--data", help="Table that the model was fitted to: a second model is measured on its last lines."
        ),
    ] = None,
    test: HeldOutTable = None,
    *,
    columns: Columns,
    name: Annotated[
        str | None, typer.Option("--name", help="Column with the items' names, in --data or --test.")
    ] = None,
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

    With --data, the table that the model was fitted to, a second model of the same settings is fitted without each
    user's last interactions, and compared with item-kNN and most-popular on those. With --test, the model itself is
    compared on that table. Without either the report says nothing of quality.
    """
    check_target(output)
    source = Source(data or model_folder, columns, "test", test, test_fraction, split, timestamp)
    _check_options(ctx, source, data)
    model = WMF.load(model_folder, mmap=True)
    chosen = as_ids(model.interactions.users, users, "users") if users else None
    names_table = test if data is None else data
    names = None if name is None or names_table is None else _read_names(names_table, columns["item"], name, model)
    quality, note = None, None
    if test is not None:
        quality = compare_with_baselines(model, *source.read(model.interactions))
    elif data is not None:
        train, held_out, note = _hold_out(source, model)
        _say(quiet, f"fits the same settings without {count(held_out.nnz, 'held-out pair')}, to measure on them")
        second = WMF.from_config(_settings(model)).fit(train, progress=False if quiet else None)
        quality = compare_with_baselines(second, train, held_out)
    _say(quiet, f"writes what can be looked up of {count(model.interactions.shape[1], 'item')}")
    write_report(
        model, output, names=names, quality=quality, quality_note=note, users=chosen, max_users=max_users
    )  # fmt: skip
    typer.echo(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB); open it in a browser")


def _check_options(ctx: typer.Context, source: Source, data: Path | None) -> None:
    if data is None:
        refuse_given(ctx, ("timestamp", "test_fraction", "split"), "without --data")
    if data is None and source.table is None:
        refuse_given(ctx, ("user", "item", "value", "name"), "without --data or --test")
    if source.table is not None and not options_given(ctx, ("name",)):
        refuse_given(ctx, ("data",), "with --test, unless --name takes names from it")
    source.check(ctx)


def _hold_out(source: Source, model: WMF) -> tuple[Interactions, Interactions, str]:
    """Split the table that a model was fitted to, on the model's own rows and columns, and say how."""
    own = model.interactions
    if model._state().confidence is not None:
        raise InputError("the model was fitted to confidences of its own, which no table has; measure it with --test")
    train, held_out = source.read()
    _check_is_of(model, source)
    whose = "all" if source.split == "time" else "each user's"
    lines = f"the last {100 * (source.fraction or 0):.3g} % of {whose} lines"
    note = (
        f"Measured on a second model of the same settings, which was fitted without {lines} "
        f"({count(held_out.nnz, 'pair')}) and asked for what users newly took in those."
    )
    return _onto(train, own), _onto(held_out, own), note


def _check_is_of(model: WMF, source: Source) -> None:
    """Refuse a table that is not the one that the model was fitted to."""
    own, columns = model.interactions, source.columns
    events = read_events(source.path, **columns)
    known = np.ones(len(events), np.bool_)
    for name, ids in ((columns["user"], own.users), (columns["item"], own.items)):
        events[name] = match_ids(events[name], ids)
        known &= known_ids(events[name], ids)
    if known.all():
        whole = Interactions.from_frame(events, **columns, users=own.users, items=own.items)
        if _same_cells(whole.matrix, own.matrix):
            return
        found = f"other counts or pairs ({whole.nnz:,} pairs against {own.nnz:,})"
    else:
        found = f"{count(int((~known).sum()), 'line')} of users or items that the model does not know"
    raise InputError(
        f"{source.path} is not what the model was fitted to: it has {found}. Check --user, --item and --value; to "
        "measure the model on other lines, give them with --test"
    )


def _same_cells(one: csr_array, other: csr_array) -> bool:
    """Whether both have the same cells, with the same values but for rounding of sums."""
    return bool(
        np.array_equal(one.indptr, other.indptr)
        and np.array_equal(one.indices, other.indices)
        and np.allclose(one.data, other.data, rtol=1e-5)
    )


def _onto(part: Interactions, whole: Interactions) -> Interactions:
    """Put a part on the rows and columns of the whole, which the model's arrays of weights go by."""
    cells = part.matrix.tocoo()
    rows, columns = (
        ids.get_indexer(pd.Index(match_ids(pd.Series(own), ids)))[places]
        for ids, own, places in zip((whole.users, whole.items), (part.users, part.items), cells.coords, strict=True)
    )
    return Interactions.from_triples(
        rows, columns, cells.data, shape=whole.shape, users=whole.users, items=whole.items
    )  # fmt: skip


def _settings(model: WMF) -> WMFConfig:
    """Return the model's settings, with the epochs that it kept where validation ended or chose them."""
    validated = any(record.validation for record in model.history)
    return replace(model.config, iterations=model.best_epoch) if validated else model.config


def _read_names(path: Path, item: str | None, name: str, model: WMF) -> pd.Series:
    """Read the items' names, the last one where a table has several for an item."""
    if item is None:
        raise InputError(f"{path} is a table: name its column of item ids with the option --item")
    table = read_table(path, [item, name], ids=[item, name]).dropna()
    ids = match_ids(table[item], model.interactions.items)
    named = pd.Series(table[name].astype(str).to_numpy(), index=ids.to_numpy())
    named = named[~named.index.duplicated(keep="last")]
    if not named.index.isin(model.interactions.items).any():
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
