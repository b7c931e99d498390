"""Commands that use a saved model: lists, likeness, reasons, and what it is; and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from .._ids import as_ids, spell
from .._words import count
from ..batch import check_target
from ..config import WMFConfig
from ..errors import InputError
from ..model import WMF
from ..store import is_store
from ..tables import READABLE, check_writable, read_ids, write_table
from .app import app
from .clusters import ClusterOptions
from .demo import run_demo
from .options import Model, Number, Quiet, path_or_url, refuse_given, with_groups
from .parts import write_parts
from .preparing import store_info
from .wording import summary


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what the demo writes.")] = Path(
        "implicit-wmf-demo"
    ),
) -> None:
    """Fit, evaluate and recommend on the shop data that ships with the package."""
    run_demo(output)


@app.command()
@with_groups
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
    *,
    where: ClusterOptions,
    quiet: Quiet = False,
) -> None:
    """Write the n best items of each user: columns user, item, rank, score.

    A table is made in memory and written at once. For many users name a folder: its parts are written one after
    another, and if that is interrupted the same command goes on where it was. On a cluster its workers rank, and the
    parts are written here.
    """
    where.check()
    target, parts = Path(output), not output.lower().endswith(READABLE)  # a Path would forget a slash at the end
    if parts:
        check_target(target)
    else:
        only_parts = ("restart", *ClusterOptions._fields)
        refuse_given(ctx, only_parts, f"on {target.name}, which is made at once, and not on a folder of parts")
        check_writable(target)
    model = WMF.load(model_folder)
    chosen = None if users is None else _chosen_users(users, user, model, skip_unknown)
    if parts:
        write_parts(
            model, target, n, where,
            users=chosen, filter_already_liked_items=not include_known, restart=restart, quiet=quiet,
        )  # fmt: skip
        return
    frame = model.recommend_frame(chosen, n, filter_already_liked_items=not include_known)
    write_table(frame, target)
    asked = len(model.interactions.users if chosen is None else chosen)
    short = asked - int((frame["rank"] == n).sum())
    typer.echo(f"wrote {count(len(frame), 'recommendation')} for {count(asked, 'user')} to {target}")
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
def info(
    model_folder: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder of a saved model or a store, or the URL of a store.")
    ],
) -> None:
    """Show what a saved model was fitted on, how, and what its loss came to; or what a store holds."""
    place = path_or_url(model_folder)
    if not isinstance(place, Path) or is_store(place):
        typer.echo(store_info(place))
        return
    model = WMF.load(model_folder)
    config = model.config
    typer.echo(f"{model_folder}: {model}\nfitted on {summary(model.interactions)}")
    typer.echo("\n".join(f"  {name} = {getattr(config, name)}" for name in WMFConfig.names()))
    if model.history:
        typer.echo(model.history_frame().to_string(index=False, float_format=lambda number: f"{number:.6g}"))
