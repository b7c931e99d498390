"""The recommend command's folders of parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from .._signals import Terminated
from .._words import count
from ..batch import BatchRecommending, BatchSummary, users_done
from .app import how_ended
from .clusters import ClusterOptions


def write_parts(
    model: BatchRecommending, output: Path, n: int, where: ClusterOptions, *, quiet: bool, **settings: Any
) -> None:
    """Write everyone's lists and say what came of it; when it is ended early, how far that is."""
    try:
        with where.client(quiet=quiet) as client:
            result = model.recommend_all(output, n, client=client, progress=False if quiet else None, **settings)
    except (KeyboardInterrupt, Terminated) as error:
        how, code = how_ended(error)
        done = users_done(output)
        if done is None:
            raise
        typer.echo(
            f"{how}; {done[0]:,} of {count(done[1], 'user')} are done, and the same command goes on from there",
            err=True,
        )
        raise typer.Exit(code) from None
    typer.echo(_told(result, output, n))


def _told(result: BatchSummary, output: Path, n: int) -> str:
    lines = [
        f"wrote {count(result.recommendations, 'recommendation')} for {count(result.users, 'user')} to {output} "
        f"in {result.seconds:.1f} s ({result.users_per_second:,.0f} users a second)"
    ]
    if result.resumed_users:
        lines.append(f"{count(result.resumed_users, 'user')} of them had been done by an interrupted run")
    lines.append(f"{result.coverage:.1%} of {count(result.items, 'item')} are in a list")
    if result.short_users:
        lines.append(f"{count(result.short_users, 'user')} with fewer than {count(n, 'item')} left to recommend")
    return "\n".join(lines)
