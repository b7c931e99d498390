"""The evaluate command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .._words import count
from ..config import WMFConfig
from ..errors import InputError
from ..evaluation import Recommender, compare, new_pairs
from ..evaluation.metrics import parse_metrics
from ..interactions import Interactions
from ..model import WMF
from ..persistence import is_model
from ..popularity import MostPopular
from .app import app
from .held_out import Source
from .options import Columns, HeldOutTable, Quiet, Split, Timestamp, refuse_given, with_config
from .wording import comparison_table, summary


@app.command()
@with_config
def evaluate(
    ctx: typer.Context,
    input_file: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Table of interactions to fit on, or folder of a saved model.")
    ],
    config: WMFConfig,
    columns: Columns,
    timestamp: Timestamp = None,
    test: HeldOutTable = None,
    test_fraction: Annotated[
        float, typer.Option("--test-fraction", help="Share of the lines, the last ones, to hold out.")
    ] = 0.2,
    split: Split = "last",
    k: Annotated[int, typer.Option("--k", min=1, help="Length of the lists for recall@k and ndcg@k.")] = 10,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="In place of those: a metric such as map@20, auc or coverage@10; may be repeated."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compare a model with most-popular on held-out interactions, by default in recall@10 and ndcg@10.

    Each user's last interactions are held out, the model is fitted on the others, and the new items among those held
    out are what it has to find among all items.
    """
    source = Source(input_file, columns, "test", test, test_fraction, split, timestamp)
    source.check(ctx)
    if metrics:
        refuse_given(ctx, ("k",), "with --metric, whose names have lengths of their own")
        parse_metrics(metrics, of_hits=False)
    saved = is_model(input_file)
    if saved and test is None:
        raise InputError(f"{input_file} is a saved model: name held-out interactions with --test")
    if saved:
        refuse_given(ctx, ("config_file", *WMFConfig.names()), f"on {input_file}, which is fitted")
    model = WMF.load(input_file) if saved else WMF.from_config(config)
    train, held_out = source.read(model.interactions if saved else None)
    new = new_pairs(held_out, train).nnz
    typer.echo(f"train: {summary(train)}\ntest: {count(held_out.nnz, 'pair')} ({new:,} of them new)")
    if not saved:
        model.fit(train, progress=False if quiet else None)
    _show(model, train, held_out, metrics or [f"recall@{k}", f"ndcg@{k}"])


def _show(model: WMF, train: Interactions, held_out: Interactions, metrics: Sequence[str]) -> None:
    models: dict[str, Recommender] = {"WMF": model, "most popular": MostPopular().fit(train)}
    typer.echo(comparison_table(compare(models, train, held_out, metrics=metrics), train))
