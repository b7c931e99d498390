"""The recommend command's folders of parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from .._words import count
from ..batch import BatchRecommending, BatchSummary, users_done


def write_parts(model: BatchRecommending, output: Path, n: int, *, quiet: bool, **settings: Any) -> None:
    """Write everyone's lists and say what came of it; after Ctrl-C, how far that is."""
    try:
        result = model.recommend_all(output, n, progress=False if quiet else None, **settings)
    except KeyboardInterrupt:
        done = users_done(output)
        if done is None:
            raise
        typer.echo(
            f"interrupted; {done[0]:,} of {count(done[1], 'user')} are done, and the same command goes on from there",
            err=True,
        )
        raise typer.Exit(130) from None
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
