"""The prepare command, and what info says of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._words import count
from ..store import Store
from ..store.preparing import Prepared
from ..store.preparing import prepare as prepare_store
from .app import app
from .options import Quiet

_SHOWN_INPUTS = 5


@app.command()
def prepare(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Tables (.csv; .tsv or .txt with tabs; either also .gz; .parquet), folders of them, or patterns of "
            "their names in quotes, such as 'logs/2024-*.csv'.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the store; a store there is replaced.")],
    user: Annotated[str, typer.Option(help="Column of user ids.")],
    item: Annotated[str, typer.Option(help="Column of item ids.")],
    value: Annotated[str | None, typer.Option(help="Column of counts; without it every line counts 1.")] = None,
    timestamp: Annotated[
        str | None, typer.Option(help="Column of times, of which the last of each pair is kept.")
    ] = None,
    min_user_count: Annotated[
        int, typer.Option(min=1, help="Leave out users with fewer distinct items, until all left have as many.")
    ] = 1,
    min_item_count: Annotated[
        int,
        typer.Option(
            min=1, help="Leave out items with fewer distinct users; the two are repeated until both hold for all."
        ),
    ] = 1,
    memory_limit: Annotated[str, typer.Option(help="Memory to work in; the whole process takes a little more.")] = (
        "2GB"
    ),
    shards: Annotated[
        int | None, typer.Option(min=1, help="Ranges of users; by default of about 8 million pairs each.")
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            help="What lines that cannot be used do: refuse everything, or skip them and write them to a file."
        ),
    ] = "refuse",
    rejects: Annotated[
        Path | None, typer.Option(help="That file, a CSV table; by default STORE.rejects.csv.", show_default=False)
    ] = None,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads to read with; by default one a core.")] = None,
    quiet: Quiet = False,
) -> None:
    """Make a store of tables that may be larger than memory; fit takes it as its INPUT.

    The store appears whole or not at all. A run that was interrupted leaves nothing to mend: run it again.
    """
    prepared = prepare_store(
        list(inputs),
        output,
        user=user,
        item=item,
        value=value,
        timestamp=timestamp,
        min_user_count=min_user_count,
        min_item_count=min_item_count,
        memory_limit=memory_limit,
        shards=shards,
        on_error=on_error,
        rejects=rejects,
        num_threads=num_threads,
        progress=False if quiet else None,
    )
    typer.echo(_told(prepared, output, memory_limit))


def _told(prepared: Prepared, output: Path, memory_limit: str) -> str:
    speed = prepared.lines / prepared.seconds
    lines = [
        f"read {count(prepared.lines, 'line')}: {count(prepared.pairs, 'pair')} of {count(prepared.users, 'user')} and "
        f"{count(prepared.items, 'item')}, in {count(prepared.shards, 'shard')}",
        f"wrote {output} in {prepared.seconds:.1f} s ({speed:,.0f} lines a second, memory limit {memory_limit})",
    ]
    if prepared.rejected:
        lines.insert(1, f"skipped {count(prepared.rejected, 'line')}, which {prepared.rejects} has with their reasons")
    return "\n".join(lines)


def store_info(path: Path | str) -> str:
    """Say what a store holds and what it was made from."""
    store = Store.open(path)
    told = [f"{path}: {store}"]
    for name, value in store.describe():
        if name == "inputs" and len(value) > _SHOWN_INPUTS:
            value = [*value[:_SHOWN_INPUTS], f"and {len(value) - _SHOWN_INPUTS:,} more"]
        if isinstance(value, dict):
            value = [f"{key} = {one}" for key, one in value.items()]
        shown = (
            ", ".join(map(str, value)) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value
        )
        told.append(f"  {name} = {shown}")
    return "\n".join(told)
