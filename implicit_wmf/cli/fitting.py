"""The fit command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._words import count
from ..config import WMFConfig
from ..errors import InputError
from ..interactions import Interactions
from ..model import WMF
from ..persistence import check_can_save, is_model
from ..tables import read_interactions
from ..validation import check_metrics
from .app import app
from .held_out import Source, tell_validation
from .options import Columns, Input, Quiet, Split, Timestamp, positive, refuse_given, with_config
from .wording import summary


@app.command()
@with_config
def fit(
    ctx: typer.Context,
    input_file: Input,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to save the model in; a model there is replaced.")
    ],
    config: WMFConfig,
    columns: Columns,
    validation: Annotated[
        Path | None,
        typer.Option("--validation", help="Table of held-out interactions to measure on after every epoch."),
    ] = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option("--validation-fraction", help="Share of the lines of INPUT, the last ones, to hold out for that."),
    ] = None,
    timestamp: Timestamp = None,
    split: Split = "last",
    metric: Annotated[str, typer.Option("--metric", help="What to measure; the best epoch is kept.")] = "ndcg@10",
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Epochs without a better value until the fit stops.")
    ] = 3,
    time_budget: Annotated[
        float | None, typer.Option("--time-budget", help="Seconds after which no further epoch begins.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit a model to a table of interactions and save it.

    With held-out interactions the metric is measured on them after every epoch, the fit stops when it no longer rises,
    and the factors of the best epoch are saved. What is held out is not fitted.
    """
    if output.exists() and not is_model(output):
        raise InputError(f"{output} exists and is not a saved model; choose another folder with --output")
    positive("time_budget", time_budget)
    check_metrics(metric)
    source = Source(input_file, columns, "validation", validation, validation_fraction, split, timestamp)
    _check_options(ctx, source)
    data, held_out = _read(source)
    typer.echo(f"read {summary(data)}" + (f"; held out {count(held_out.nnz, 'pair')}" if held_out else ""))
    if held_out is not None:
        tell_validation(data, held_out, metric, config)
    if not (data.matrix.data > 0).any():
        typer.echo("warning: no count is positive; nothing tells the model what users like", err=True)
    check_can_save(output, data)
    model = WMF.from_config(config)
    options: dict[str, Any] = {"time_budget": time_budget}
    if held_out is not None:
        options |= {"validation": held_out, "metric": metric, "patience": patience}
    try:
        model.fit(data, **options, progress=False if quiet else None)
    except KeyboardInterrupt:
        _keep_interrupted(model, output)
        raise typer.Exit(130) from None
    model.save(output)
    typer.echo(f"saved {model} in {output}{_came_to(model)}")


def _check_options(ctx: typer.Context, source: Source) -> None:
    if source.table is None and source.fraction is None:
        refuse_given(ctx, ("metric", "patience"), "without --validation or --validation-fraction")
    if source.fraction is None:
        refuse_given(ctx, ("timestamp", "split"), "without --validation-fraction, because nothing is split")
    source.check(ctx)


def _read(source: Source) -> tuple[Interactions, Interactions | None]:
    """Read what is fitted, and what is held out, if anything is."""
    if source.table is None and source.fraction is None:
        return read_interactions(source.path, **source.columns), None
    return source.read()


def _came_to(model: WMF) -> str:
    if not model.history:
        return ""
    last, best = model.history[-1], model.history[model.best_epoch - 1]
    text = f": loss {best.loss:.6g} after {count(best.epoch, 'epoch')}"
    for name, value in best.validation.items():
        text += f", the best of {last.epoch}: {name} {value:.4f}"
    return text


def _keep_interrupted(model: WMF, output: Path) -> None:
    """Save what an interrupted fit has, beside the model that was to be: models that are there stay."""
    try:
        kept_epoch = model.best_epoch
    except InputError:
        typer.echo("interrupted before the first epoch was done; nothing was saved", err=True)
        return
    place = output if output.name not in ("", "..") else output.resolve()
    names = (f"{place.name}.interrupted{ending}" for ending in ("", *map("-{}".format, range(2, 1000))))
    kept = next(folder for folder in map(place.with_name, names) if not folder.exists())
    model.save(kept)
    typer.echo(
        f"interrupted; the model after {kept_epoch} of {count(model.config.iterations, 'epoch')} is in {kept}", err=True
    )
