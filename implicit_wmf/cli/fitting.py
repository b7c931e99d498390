"""The fit command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from .._signals import Terminated
from .._words import count
from ..checkpoints import Checkpoint, checkpoint_epochs, remove_checkpoint
from ..config import WMFConfig
from ..errors import InputError
from ..interactions import Interactions
from ..model import WMF
from ..persistence import check_can_save, is_model
from ..store import Store, is_store
from ..store.mapped import MappedInteractions
from ..tables import read_interactions
from ..validation import check_metrics
from .app import app, how_ended
from .clusters import ClusterOptions
from .held_out import Source, read_held_out, tell_validation
from .options import Columns, Quiet, Split, Timestamp, options_given, path_or_url, positive, refuse_given, with_config
from .wording import summary


class Held(NamedTuple):
    """What is held out, and how a fit is judged by it."""

    validation: Annotated[
        Path | None,
        typer.Option("--validation", help="Table of held-out interactions to measure on after every epoch."),
    ] = None
    validation_fraction: Annotated[
        float | None,
        typer.Option("--validation-fraction", help="Share of the lines of INPUT, the last ones, to hold out for that."),
    ] = None
    timestamp: Timestamp = None
    split: Split = "last"
    metric: Annotated[str, typer.Option("--metric", help="What to measure; the best epoch is kept.")] = "ndcg@10"
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Epochs without a better value until the fit stops.")
    ] = 3


class Course(NamedTuple):
    """How a fit goes on and ends: what WMF.fit is given as it is."""

    time_budget: Annotated[
        float | None, typer.Option("--time-budget", help="Seconds after which no further epoch begins.")
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Folder for what --resume needs to go on; removed once the model is saved."),
    ] = None
    every: Annotated[int, typer.Option("--every", min=1, help="Epochs from one checkpoint to the next.")] = 1
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint, if there is one; else start afresh.")
    ] = False
    memory_limit: Annotated[
        str | None,
        typer.Option("--memory-limit", help="Memory that each process of the fit to a store is to stay below, as 4GB."),
    ] = None


@app.command()
@with_config
def fit(
    ctx: typer.Context,
    input_file: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Interactions: a table (.csv, .tsv, .parquet), a scipy matrix (.npz), or a store (see prepare) or its "
            "URL.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to save the model in; a model there is replaced.")
    ],
    config: WMFConfig,
    columns: Columns,
    held: Held,
    course: Course,
    where: ClusterOptions,
    quiet: Quiet = False,
) -> None:
    """Fit a model to a table of interactions, or a store of them, and save it.

    With held-out interactions the metric is measured on them after every epoch, the fit stops when it no longer rises,
    and the factors of the best epoch are saved. What is held out is not fitted.

    With a checkpoint nothing is lost when the fit is interrupted, terminated or killed: the same command with --resume
    goes on, to the same model. On a cluster of any size a store is fitted to the same model, and a line an epoch tells
    its seconds, the bytes moved and the loss.
    """
    source = Source(
        path_or_url(input_file), columns, "validation",
        held.validation, held.validation_fraction, held.split, held.timestamp,
    )  # fmt: skip
    _check_places(ctx, output, course.checkpoint, source.path)
    done = Checkpoint(course.checkpoint, every=course.every, resume=course.resume).epochs
    positive("time_budget", course.time_budget)
    check_metrics(held.metric)
    where.check()
    _check_options(ctx, source)
    fitted, data, held_out = _read(ctx, source)
    typer.echo(f"read {summary(data)}" + (f"; held out {count(held_out.nnz, 'pair')}" if held_out else ""))
    if held_out is not None:
        tell_validation(data, held_out, held.metric, config)
    if not _any_positive(fitted):
        typer.echo("warning: no count is positive; nothing tells the model what users like", err=True)
    check_can_save(output, data)
    if done is not None:
        typer.echo(f"goes on after {_of_epochs(*done)}, from {course.checkpoint}")
    options = course._asdict()
    if held_out is not None:
        options |= {"validation": held_out, "metric": held.metric, "patience": held.patience}
    model = WMF.from_config(config)
    try:
        with where.client(quiet=quiet) as client:
            model.fit(fitted, **options, client=client, progress=False if quiet else None)
    except (KeyboardInterrupt, Terminated) as error:
        how, code = how_ended(error)
        if course.checkpoint is None:
            _keep_interrupted(how, model, output)
        else:
            _tell_checkpoint(how, course.checkpoint)
        raise typer.Exit(code) from None
    model.save(output)
    typer.echo(f"saved {model} in {output}{_came_to(model)}")
    if course.checkpoint is not None:
        remove_checkpoint(course.checkpoint)


def _check_places(ctx: typer.Context, output: Path, checkpoint: Path | None, input_path: Path | str) -> None:
    store = input_path.resolve() if isinstance(input_path, Path) and is_store(input_path) else None
    for place in filter(None, (output, checkpoint)):
        if store is not None and place.resolve().is_relative_to(store):
            raise InputError(
                f"{place} is in the store {input_path}, which has its own files alone; choose another folder"
            )
    if output.exists() and not is_model(output):
        raise InputError(f"{output} exists and is not a saved model; choose another folder with --output")
    if checkpoint is None:
        refuse_given(ctx, ("every", "resume"), "without --checkpoint")
        return
    model, state = output.resolve(), checkpoint.resolve()
    if model.is_relative_to(state) or state.is_relative_to(model):
        raise InputError(f"--checkpoint {checkpoint} and --output {output} are the same folder, or one in the other")


def _check_options(ctx: typer.Context, source: Source) -> None:
    if source.table is None and source.fraction is None:
        refuse_given(ctx, ("metric", "patience"), "without --validation or --validation-fraction")
    if source.fraction is None:
        refuse_given(ctx, ("timestamp", "split"), "without --validation-fraction, because nothing is split")
    source.check(ctx)


def _read(ctx: typer.Context, source: Source) -> tuple[Interactions | Store, Interactions, Interactions | None]:
    """Read what is fitted, the same as interactions, and what is held out, if anything is."""
    if not isinstance(source.path, Path) or is_store(source.path):
        return _open(ctx, source)
    only_stores = (*ClusterOptions._fields, "memory_limit")
    if options_given(ctx, only_stores) and not source.path.is_file():
        Store.open(source.path)  # tells what is wrong with it
    refuse_given(ctx, only_stores, "on a table, which is fitted in memory, and not on a store of it (see prepare)")
    if source.table is None and source.fraction is None:
        data = read_interactions(source.path, **source.columns)
        return data, data, None
    data, held_out = source.read()
    return data, data, held_out


def _open(ctx: typer.Context, source: Source) -> tuple[Store, Interactions, Interactions | None]:
    refuse_given(ctx, ("validation_fraction",), "on a store, which has no lines to split: give --validation")
    if source.table is None:
        refuse_given(ctx, tuple(source.columns), "on a store")
    store = Store.open(source.path)
    if source.table is None:
        return store, MappedInteractions(store), None  # which the fit verifies, on a cluster where its shards are
    data = store.mapped_interactions()
    return store, data, read_held_out(source.table, source.columns, data)


def _any_positive(fitted: Interactions | Store) -> bool:
    positive = fitted.array("item_positive") if isinstance(fitted, Store) else fitted.matrix.data > 0
    return bool(positive.any())


def _came_to(model: WMF) -> str:
    if not model.history:
        return ""
    last, best = model.history[-1], model.history[model.best_epoch - 1]
    text = f": loss {best.loss:.6g} after {count(best.epoch, 'epoch')}"
    for name, value in best.validation.items():
        text += f", the best of {last.epoch}: {name} {value:.4f}"
    return text


def _keep_interrupted(how: str, model: WMF, output: Path) -> None:
    """Save what an interrupted fit has, beside the model that was to be: models that are there stay."""
    try:
        kept_epoch = model.best_epoch
    except InputError:
        typer.echo(f"{how} before the first epoch was done; nothing was saved", err=True)
        return
    place = output if output.name not in ("", "..") else output.resolve()
    names = (f"{place.name}.interrupted{ending}" for ending in ("", *map("-{}".format, range(2, 1000))))
    kept = next(folder for folder in map(place.with_name, names) if not folder.exists())
    model.save(kept)
    typer.echo(f"{how}; the model after {_of_epochs(kept_epoch, model.config.iterations)} is in {kept}", err=True)


def _tell_checkpoint(how: str, checkpoint: Path) -> None:
    done = checkpoint_epochs(checkpoint)
    if done is None:
        typer.echo(f"{how} before the first epoch was done; nothing was saved", err=True)
    else:
        place = f"the checkpoint after {_of_epochs(*done)} is in {checkpoint}"
        typer.echo(f"{how}; {place}: the same command with --resume goes on", err=True)


def _of_epochs(done: int, total: int) -> str:
    return f"{done:,} of {count(total, 'epoch')}"
