"""The command line: fit, recommend, evaluate and look at models of tables in files."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pandas as pd
import typer
from typer.core import TyperGroup

from . import __version__
from ._batch_command import write_parts
from ._batch_folder import check_target
from ._held_out import read_held_out, read_train, split_table
from ._ids import as_ids, spell
from ._wording import comparison_table, count, option, summary
from .config import WMFConfig
from .demo import run_demo
from .errors import InputError, MissingExtraError
from .evaluation import Recommender, compare, new_pairs
from .interactions import Interactions
from .model import WMF
from .persistence import check_can_save, is_model
from .popularity import MostPopular
from .tables import READABLE, check_writable, read_ids, read_interactions, write_table


class _Commands(TyperGroup):
    """Commands that say so when Ctrl-C ends them; Typer alone would be silent."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Input = Annotated[
    Path, typer.Argument(metavar="INPUT", help="Interactions: a table (.csv, .tsv, .parquet) or a scipy matrix (.npz).")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]
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


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"implicit-wmf {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Weighted matrix factorization for implicit feedback. Start with: implicit-wmf demo."""


def _with_config(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each hyper-parameter; it receives them as its argument `config`."""
    names = {"dtype": str, "random_state": int | None, "user_background": str | None, "item_background": str | None}
    types = get_type_hints(WMFConfig) | names
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
        config = _checked_config({name: arguments.pop(name) for name in WMFConfig.names()})
        command(config=config, **arguments)

    own = inspect.signature(command, eval_str=True).parameters.values()
    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name != "config"]
    signature = inspect.Signature([*keywords, *options])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return run


def _checked_config(values: dict[str, Any]) -> WMFConfig:
    """Make the configuration; a value outside its range is wrong usage of its option."""
    for spec in fields(WMFConfig):
        try:
            spec.metadata["check"](spec.name, values[spec.name])
        except InputError as error:
            raise typer.BadParameter(str(error), param_hint=option(spec.name)) from error
    try:
        return WMFConfig(**values)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error


def _refuse_given(ctx: typer.Context, names: Sequence[str], reason: str) -> None:
    """Refuse options that were given although they change nothing here."""
    for name in names:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"it has no effect {reason}; leave it out", param_hint=option(name))


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
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to save the model in; a model there is replaced.")
    ],
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
    typer.echo(f"read {summary(data)}")
    if not (data.matrix.data > 0).any():
        typer.echo("warning: no count is positive; nothing tells the model what users like", err=True)
    check_can_save(output, data)
    model = WMF.from_config(config)
    try:
        _fit(model, data, quiet)
    except KeyboardInterrupt:
        _keep_interrupted(model, output)
        raise typer.Exit(130) from None
    model.save(output)
    last = model.history[-1] if model.history else None
    came_to = f": loss {last.loss:.6g} after {count(last.epoch, 'epoch')}" if last else ""
    typer.echo(f"saved {model} in {output}{came_to}")


def _keep_interrupted(model: WMF, output: Path) -> None:
    """Save what an interrupted fit has, beside the model that was to be: models that are there stay."""
    try:
        done = len(model.history)
    except InputError:
        typer.echo("interrupted before the first epoch was done; nothing was saved", err=True)
        return
    place = output if output.name not in ("", "..") else output.resolve()
    names = (f"{place.name}.interrupted{ending}" for ending in ("", *map("-{}".format, range(2, 1000))))
    kept = next(folder for folder in map(place.with_name, names) if not folder.exists())
    model.save(kept)
    typer.echo(
        f"interrupted; the model after {done} of {count(model.config.iterations, 'epoch')} is in {kept}", err=True
    )


@app.command()
def recommend(
    ctx: typer.Context,
    model_folder: Model,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Table to write (.csv, .tsv, .parquet); else, or with a slash at the end, a folder of .parquet parts.",
        ),
    ],
    users: Annotated[
        Path | None, typer.Option("--users", help="Table of the users to recommend to; by default all.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="Column of ids in that table.")] = "user",
    n: Number = 10,
    include_known: Annotated[
        bool, typer.Option("--include-known", help="Recommend items too that the user has already.")
    ] = False,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out users that the model does not know.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the parts of an interrupted run in place of going on with them.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the n best items of each user: columns user, item, rank, score.

    A table is made in memory and written at once. For many users name a folder: its parts are written one after
    another, and if that is interrupted the same command goes on where it was.
    """
    target, parts = Path(output), not output.lower().endswith(READABLE)  # a Path would forget a slash at the end
    if parts:
        check_target(target)
    else:
        _refuse_given(ctx, ("restart",), f"on {target.name}, which is written at once")
        check_writable(target)
    model = WMF.load(model_folder)
    chosen = None if users is None else _chosen_users(users, user, model, skip_unknown)
    if parts:
        write_parts(
            model, target, n, users=chosen, filter_already_liked_items=not include_known, restart=restart, quiet=quiet
        )
        return
    ids = model.interactions.users if chosen is None else chosen
    frame = model.recommend_frame(ids, n, filter_already_liked_items=not include_known)
    write_table(frame, target)
    short = len(ids) - int((frame["rank"] == n).sum())
    typer.echo(f"wrote {count(len(frame), 'recommendation')} for {count(len(ids), 'user')} to {target}")
    if short:
        typer.echo(f"{count(short, 'user')} with fewer than {count(n, 'item')} left to recommend")


def _chosen_users(path: Path, column: str, model: WMF, skip_unknown: bool) -> pd.Series:
    known, unknown = read_ids(path, column, model.interactions.users)
    if unknown.empty:
        return known
    met = f"{len(unknown):,} of {count(len(known) + len(unknown), 'user')} in {path}"
    if not skip_unknown:
        raise InputError(
            f"{met} are not known to the model: {spell(unknown)}; remove them, or leave them out with --skip-unknown"
        )
    if known.empty:
        raise InputError(f"none of the users in {path} is known to the model; are the ids those it was fitted on?")
    typer.echo(f"left out: {met}, which the model does not know")
    return known


@app.command()
def similar(
    model_folder: Model,
    items: Annotated[list[str] | None, typer.Option("--item", help="Id of an item; may be repeated.")] = None,
    users: Annotated[list[str] | None, typer.Option("--user", help="Id of a user, in place of items.")] = None,
    n: Number = 10,
) -> None:
    """Show the items (or users) most similar to some, by cosine."""
    if bool(items) == bool(users):
        raise typer.BadParameter("name one item or more with --item, or users with --user")
    model = WMF.load(model_folder)
    data = model.interactions
    if items:
        frame = model.similar_items_frame(as_ids(data.items, items, "items"), n, include_self=False)
    else:
        frame = model.similar_users_frame(as_ids(data.users, users or [], "users"), n, include_self=False)
    typer.echo(frame.to_string(index=False, float_format=lambda number: f"{number:.4f}"))


@app.command()
def explain(
    model_folder: Model,
    user: Annotated[str, typer.Option("--user", help="Id of the user.")],
    item: Annotated[str, typer.Option("--item", help="Id of the item.")],
    n: Number = 10,
) -> None:
    """Show what each of a user's items adds to the score of an item."""
    model = WMF.load(model_folder)
    data = model.interactions
    rows = data.user_indices(as_ids(data.users, [user], "users"))
    columns = data.item_indices(as_ids(data.items, [item], "items"))
    reasons = model.explain(rows[0], columns[0], n)
    found = reasons.ids >= 0
    typer.echo(f"score {reasons.score:.4f}, of which")
    frame = pd.DataFrame({"item": data.items.take(reasons.ids[found]), "adds": reasons.contributions[found]})
    typer.echo(frame.to_string(index=False, float_format=lambda number: f"{number:+.4f}"))


@app.command()
def info(model_folder: Model) -> None:
    """Show what a saved model was fitted on, how, and what its loss came to."""
    model = WMF.load(model_folder)
    config = model.config
    typer.echo(f"{model_folder}: {model}\nfitted on {summary(model.interactions)}")
    typer.echo("\n".join(f"  {name} = {getattr(config, name)}" for name in WMFConfig.names()))
    if model.history:
        typer.echo(pd.DataFrame(model.history).to_string(index=False, float_format=lambda number: f"{number:.6g}"))


@app.command()
@_with_config
def evaluate(
    ctx: typer.Context,
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
    if not 0 < test_fraction < 1:
        raise typer.BadParameter(f"{test_fraction} is not between 0 and 1", param_hint="--test-fraction")
    saved = is_model(input_file)
    if saved and test is None:
        raise InputError(f"{input_file} is a saved model: name held-out interactions with --test")
    if saved:
        _refuse_given(ctx, WMFConfig.names(), f"on {input_file}, which is fitted")
    model = WMF.load(input_file) if saved else WMF.from_config(config)
    if test is None:
        train, held_out = split_table(input_file, columns, timestamp, test_fraction)
    else:
        _refuse_given(ctx, ("timestamp", "test_fraction"), "with --test, because nothing is split")
        train = model.interactions if saved else read_train(input_file, columns)
        held_out = read_held_out(test, columns, train)
    new = new_pairs(held_out, train).nnz
    typer.echo(f"train: {summary(train)}\ntest: {count(held_out.nnz, 'pair')} ({new:,} of them new)")
    if not saved:
        _fit(model, train, quiet)
    models: dict[str, Recommender] = {"WMF": model, "most popular": MostPopular().fit(train)}
    typer.echo(comparison_table(compare(models, train, held_out, metrics=[f"recall@{k}", f"ndcg@{k}"])))
