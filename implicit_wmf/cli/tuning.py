"""The tune command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._config_file import config_values
from .._folders import write_bytes
from .._words import count
from ..config import WMFConfig
from ..errors import InputError, MissingExtraError
from ..interactions import Interactions
from ..tables import write_table
from ..validation import check_metrics
from .app import app
from .held_out import Source, tell_validation
from .options import Columns, HeldOutTable, Input, Quiet, Split, Timestamp, positive, with_config
from .wording import changed_values, option, summary

if TYPE_CHECKING:
    from ..tuning import Tuning

_STUDY, _CONFIG, _TRIALS = "study.db", "config.json", "trials.csv"


@app.command()
@with_config
def tune(
    ctx: typer.Context,
    input_file: Input,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for config.json, trials.csv, study.db and plots; goes on there."),
    ],
    config: WMFConfig,
    given: set[str],
    columns: Columns,
    timestamp: Timestamp = None,
    split: Split = "last",
    validation: HeldOutTable = None,
    validation_fraction: Annotated[
        float, typer.Option("--validation-fraction", help="Share of the lines, the last ones, to validate on.")
    ] = 0.2,
    test_fraction: Annotated[
        float | None,
        typer.Option("--test-fraction", help="Share of the lines to set aside before, for evaluate; never looked at."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many settings to try.")] = 40,
    metric: Annotated[str, typer.Option("--metric", help="What is to be high on the validation part.")] = "ndcg@20",
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Epochs without a better value until a fit stops.")
    ] = 3,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds after which no further trial begins.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Search hyper-parameters by a metric on held-out interactions.

    Those that are given, by options or --config, are kept; the others are searched, at low dimension first. The same
    command goes on where an interrupted one was. What it finds is for fit and evaluate --config.
    """
    positive("timeout", timeout)
    check_metrics(metric)
    source = Source(
        input_file, columns, "validation", validation, validation_fraction, split, timestamp, set_aside=test_fraction
    )
    source.check(ctx)
    _check_folder(output)
    train, held_out = source.read()
    typer.echo(f"train: {summary(train)}\nvalidation: {count(held_out.nnz, 'pair')}")
    tell_validation(train, held_out, metric, config)
    found = _search(
        train, held_out, output, config, given,
        trials=trials, metric=metric, patience=patience, timeout=timeout, progress=False if quiet else None,
    )  # fmt: skip
    _write(found, output)
    typer.echo(_told(found, metric, output))
    typer.echo(_next_steps(source, output))


def _check_folder(output: Path) -> None:
    """Refuse a folder with somebody's files, or to search without Optuna, before any work.

    The folder is made when there is something to put into it: a mistake leaves none behind.
    """
    from ..tuning.optional import optuna

    optuna()
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} exists and is not a folder; choose another one with --output")
    try:
        ours = not output.exists() or (output / _STUDY).exists() or not any(output.iterdir())
    except OSError as error:
        raise _cannot_write(output, error) from error
    if not ours:
        raise InputError(f"{output} is not empty and was not made by tune; choose another one with --output")


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(output, error) from error


def _cannot_write(output: Path, error: OSError) -> InputError:
    return InputError(f"cannot write to {output} ({error.strerror}); choose another one with --output")


def _search(
    train: Interactions, held_out: Interactions, output: Path, config: WMFConfig, given: set[str], **options: Any
) -> Tuning:
    from ..tuning import default_space, tune

    seed = 0 if config.random_state is None else config.random_state
    space = {
        name: values
        for name, values in default_space(train, config).items()
        if name.removeprefix("relative_") not in given
    }
    if not space:
        raise InputError("all that would be searched is given: leave out an option such as --regularization")
    _make_folder(output)
    study = output / _STUDY
    try:
        return tune(train, held_out, config=config, space=space, storage=study, random_state=seed, **options)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on after the trials that have ended", err=True)
        raise typer.Exit(130) from None


def _write(found: Tuning, output: Path) -> None:
    from ..tuning.plots import write_plots

    settings = json.dumps(config_values(found.config), indent=2, allow_nan=False) + "\n"
    write_bytes(output / _CONFIG, settings.encode())
    write_table(found.trials, output / _TRIALS)
    try:
        write_plots(found.study, output)
    except MissingExtraError as error:
        typer.echo(str(error), err=True)


def _told(found: Tuning, metric: str, output: Path) -> str:
    run, best = len(found.trials), found.best_trial
    place = f"in trial {best} of {run}"
    if found.refitted:
        at = found.trials.factors[best]
        place = f"with the settings of trial {best}, tried with {at} factors and fitted once more with all"
    lines = [
        f"{metric} {found.value:.4f} {place}; {found.default_value:.4f} with the settings as given",
        f"the best settings are in {output / _CONFIG}, all trials in {output / _TRIALS}:",
        *(f"  {option(name)} {value}" for name, value in changed_values(found.config).items()),
    ]
    if not found.complete:
        lines.insert(0, f"the time was up after {run} of {found.planned} trials; the same command goes on from there")
    return "\n".join(lines)


def _next_steps(source: Source, output: Path) -> str:
    """Spell the commands that use what was found."""
    data = [str(source.path), *_spelled(**source.columns), "--config", str(output / _CONFIG)]
    commands = [["fit", *data, "--output", "MODEL"]]
    if source.set_aside is not None:
        cut = source.split if source.split != "last" else None
        split = _spelled(timestamp=source.timestamp, test_fraction=source.set_aside, split=cut)
        commands.insert(0, ["evaluate", *data, *split])
    return "next:\n" + "\n".join(f"  implicit-wmf {shlex.join(command)}" for command in commands)


def _spelled(**values: Any) -> list[str]:
    return [word for name, value in values.items() if value is not None for word in (option(name), str(value))]
