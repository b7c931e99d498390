"""The command line: fit, recommend, evaluate and look at models of tables in files."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import pandas as pd
import typer

from .config import WMFConfig
from .demo import comparison_table, run_demo
from .errors import InputError, MissingExtraError
from .evaluation import MostPopular, Recommender, compare, split_last
from .interactions import Interactions
from .model import WMF
from .persistence import is_model
from .tables import check_writable, match_ids, read_events, read_interactions, read_table, write_table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Weighted matrix factorization for implicit feedback. Start with: implicit-wmf demo",
)

Input = Annotated[
    Path, typer.Argument(metavar="INPUT", help="Interactions: a table (.csv, .tsv, .parquet) or a scipy matrix (.npz).")
]
User = Annotated[str | None, typer.Option("--user", help="Column of user ids.")]
Item = Annotated[str | None, typer.Option("--item", help="Column of item ids.")]
Value = Annotated[str | None, typer.Option("--value", help="Column of counts; without it every line counts 1.")]
Number = Annotated[int, typer.Option("--n", "-n", min=1, help="Length of the lists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def main() -> None:
    """Run the command line: exit code 1 and one line on stderr for a mistake of the user's, 130 after Ctrl-C."""
    try:
        app()
    except (InputError, MissingExtraError, OSError, MemoryError) as error:
        reason = "not enough memory" if isinstance(error, MemoryError) else error
        sys.exit(_complain(f"error: {reason}"))


def _complain(message: str) -> int:
    typer.echo(message, err=True)
    return 1


def _with_config(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each hyper-parameter; it receives them as its argument `config`."""
    types = get_type_hints(WMFConfig) | {"dtype": str, "random_state": int | None}
    options = [
        inspect.Parameter(
            spec.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=spec.default,
            annotation=Annotated[
                types[spec.name], typer.Option(help=spec.metadata["help"], rich_help_panel="Hyper-parameters")
            ],
        )
        for spec in fields(WMFConfig)
    ]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        config = WMFConfig(**{name: arguments.pop(name) for name in WMFConfig.names()})
        command(config=config, **arguments)

    own = inspect.signature(command, eval_str=True).parameters.values()
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name != "config"]
    signature = inspect.Signature([*keywords, *options])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return run


def _fit(model: WMF, data: Interactions, quiet: bool) -> WMF:
    return model.fit(data, progress=False if quiet else None)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what the demo writes.")] = Path(
        "implicit-wmf-demo"
    ),
) -> None:
    """Fit, evaluate and recommend on the shop data that ships with the package."""
    run_demo(output)


@app.command()
@_with_config
def fit(
    input_file: Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to save the model in.")],
    config: WMFConfig,
    user: User = None,
    item: Item = None,
    value: Value = None,
    quiet: Quiet = False,
) -> None:
    """Fit a model to a table of interactions and save it."""
    if output.exists() and not is_model(output):
        raise InputError(f"{output} exists and is not a saved model; choose another folder with --output")
    data = read_interactions(input_file, user=user, item=item, value=value)
    typer.echo(f"read {_summary(data)}")
    model = WMF.from_config(config)
    try:
        _fit(model, data, quiet)
    except KeyboardInterrupt:
        _keep_interrupted(model, output)
        raise typer.Exit(130) from None
    model.save(output)
    last = model.history[-1] if model.history else None
    came_to = f": loss {last.loss:.6g} after {last.epoch} epochs" if last else ""
    typer.echo(f"saved {model} in {output}{came_to}")


def _keep_interrupted(model: WMF, output: Path) -> None:
    """Save what an interrupted fit has, beside the model that was to be: one that is there stays."""
    try:
        done = len(model.history)
    except InputError:
        typer.echo("interrupted before the first epoch was done; nothing was saved", err=True)
        return
    kept = output.with_name(f"{output.name}.interrupted")
    model.save(kept)
    typer.echo(f"interrupted; the model after {done} of {model.config.iterations} epochs is in {kept}", err=True)


def _summary(data: Interactions) -> str:
    users, items = data.shape
    return f"{users:,} users, {items:,} items, {data.nnz:,} pairs ({data.nnz / (users * items):.2%} of the cells)"


@app.command()
def recommend(
    model_folder: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write: .csv, .tsv or .parquet.")],
    users: Annotated[
        Path | None, typer.Option("--users", help="Table of the users to recommend to; by default all.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="Column of ids in that table.")] = "user",
    n: Number = 10,
    include_known: Annotated[
        bool, typer.Option("--include-known", help="Recommend items too that the user has already.")
    ] = False,
) -> None:
    """Write the n best items of each user: columns user, item, rank, score."""
    check_writable(output)
    model = WMF.load(model_folder, mmap=True)
    known = model.interactions.users
    ids = known if users is None else match_ids(read_table(users, [user])[user], known)
    frame = model.recommend_frame(ids, n, filter_already_liked_items=not include_known)
    write_table(frame, output)
    short = len(ids) - int((frame["rank"] == n).sum())
    typer.echo(f"wrote {len(frame):,} recommendations for {len(ids):,} users to {output}")
    if short:
        typer.echo(f"{short:,} users have fewer than {n} items left to recommend")


@app.command()
def info(model_folder: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]) -> None:
    """Show what a saved model was fitted on, how, and what its loss came to."""
    model = WMF.load(model_folder, mmap=True)
    config = model.config
    typer.echo(f"{model_folder}: {model}\nfitted on {_summary(model.interactions)}")
    typer.echo("\n".join(f"  {name} = {getattr(config, name)}" for name in WMFConfig.names()))
    if model.history:
        typer.echo(pd.DataFrame(model.history).to_string(index=False, float_format=lambda number: f"{number:.6g}"))


@app.command()
@_with_config
def evaluate(
    input_file: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Table of interactions to fit on, or folder of a saved model.")
    ],
    config: WMFConfig,
    user: User = None,
    item: Item = None,
    value: Value = None,
    timestamp: Annotated[
        str | None, typer.Option("--timestamp", help="Column of times; without it the order of the lines counts.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="Table of held-out interactions; by default INPUT is split.")
    ] = None,
    test_fraction: Annotated[
        float, typer.Option("--test-fraction", help="Share of each user's lines, the last ones, to hold out.")
    ] = 0.2,
    k: Annotated[int, typer.Option("--k", min=1, help="Length of the lists that are judged.")] = 10,
    quiet: Quiet = False,
) -> None:
    """Compare a model with most-popular on held-out interactions: recall@k and ndcg@k.

    Each user's last interactions are held out, the model is fitted on the others, and the new items among those held
    out are what it has to find among all items.
    """
    columns: dict[str, Any] = {"user": user, "item": item, "value": value}
    saved = is_model(input_file)
    model = WMF.load(input_file) if saved else WMF.from_config(config)
    if test is not None:
        train = model.interactions if saved else read_interactions(input_file, **columns)
        held_out = _read_held_out(test, columns, train)
    elif saved:
        raise InputError(f"{input_file} is a saved model: name held-out interactions with --test")
    else:
        events = read_events(input_file, **columns, timestamp=timestamp)
        train, held_out = split_last(events, **columns, timestamp=timestamp, test_fraction=test_fraction)
    typer.echo(f"train: {_summary(train)}\ntest: {held_out.nnz:,} pairs")
    if not saved:
        _fit(model, train, quiet)
    models: dict[str, Recommender] = {"WMF": model, "most popular": MostPopular().fit(train)}
    typer.echo(comparison_table(compare(models, train, held_out, metrics=[f"recall@{k}", f"ndcg@{k}"])))


def _read_held_out(path: Path, columns: dict[str, Any], train: Interactions) -> Interactions:
    """Read held-out interactions onto the rows and columns of the training data; what is not there is counted."""
    if path.suffix.lower() == ".npz":
        return read_interactions(path, users=train.users, items=train.items)
    events = read_events(path, **columns)
    known = np.ones(len(events), dtype=bool)
    for name, ids in ((columns["user"], train.users), (columns["item"], train.items)):
        events[name] = match_ids(events[name], ids)
        known &= events[name].isin(ids).to_numpy()
    if not known.all():
        typer.echo(f"left out: {(~known).sum():,} of {known.size:,} test lines, of users or items not in training")
    return Interactions.from_frame(events[known], **columns, users=train.users, items=train.items)
