"""The application that commands join, and how it ends."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from .._signals import TERMINATED, Terminated
from ..errors import ClusterError, InputError, MissingExtraError


def how_ended(error: KeyboardInterrupt | Terminated) -> tuple[str, int]:
    """Tell what ended a command, in a word, and the exit code for it."""
    return ("terminated", TERMINATED) if isinstance(error, Terminated) else ("interrupted", 130)


class _Commands(TyperGroup):
    """Commands that say so when Ctrl-C or SIGTERM ends them; Typer alone would be silent."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, Terminated) as error:
            how, code = how_ended(error)
            typer.echo(how, err=True)
            raise typer.Exit(code) from None


app = typer.Typer(cls=_Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line: exit code 1 and one line on stderr for what the user can mend, 130 after Ctrl-C."""
    try:
        app()
    except (InputError, ClusterError, MissingExtraError, OSError, MemoryError) as error:
        reason = "not enough memory" if isinstance(error, MemoryError) else error
        typer.echo(f"error: {reason}", err=True)
        sys.exit(1)


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
