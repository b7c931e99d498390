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
from ..validation import HeldOut, Removes, check_metrics
from .app import app
from .held_out import read_held_out, read_train, split_table_twice
from .options import (
    Input,
    Item,
    Quiet,
    Split,
    Timestamp,
    User,
    Value,
    check_split,
    positive,
    refuse_given,
    share,
    with_config,
)
from .wording import option, summary, validates_on

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
    user: User = None,
    item: Item = None,
    value: Value = None,
    timestamp: Timestamp = None,
    split: Split = "last",
    validation: Annotated[
        Path | None, typer.Option("--validation", help="Table of held-out interactions; by default INPUT is split.")
    ] = None,
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
    _check_options(ctx, validation, validation_fraction, test_fraction, split, timestamp)
    _check_folder(output)
    columns = {"user": user, "item": item, "value": value}
    if validation is None:
        fractions = (test_fraction or 0.0, validation_fraction)
        train, held_out = split_table_twice(input_file, columns, timestamp, fractions, split)
    else:
        train = read_train(input_file, columns)
        held_out = read_held_out(validation, columns, train)
    typer.echo(f"train: {summary(train)}\nvalidation: {count(held_out.nnz, 'pair')}")
    judge = HeldOut.of(train, held_out, metric, Removes(zeros=config.weighting == "raw"))
    typer.echo(validates_on(judge.users.size, judge.pairs))
    found = _search(
        train, held_out, output, config, given,
        trials=trials, metric=metric, patience=patience, timeout=timeout, progress=False if quiet else None,
    )  # fmt: skip
    _write(found, output)
    typer.echo(_told(found, metric, output))
    split_options = {
        "timestamp": timestamp,
        "test_fraction": test_fraction,
        "split": split if split != "last" else None,
    }
    typer.echo(_next_steps(input_file, columns, output, split_options if test_fraction else None))


def _check_options(
    ctx: typer.Context,
    validation: Path | None,
    fraction: float,
    test_fraction: float | None,
    split: str,
    timestamp: str | None,
) -> None:
    share("validation_fraction", fraction)
    share("test_fraction", test_fraction)
    if validation is not None:
        unused = ("timestamp", "split", "validation_fraction", "test_fraction")
        refuse_given(ctx, unused, "with --validation, because nothing is split")
    check_split(split, timestamp)


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
        *(f"  {option(name)} {value}" for name, value in config_values(found.config).items() if _changed(name, value)),
    ]
    if not found.complete:
        lines.insert(0, f"the time was up after {run} of {found.planned} trials; the same command goes on from there")
    return "\n".join(lines)


def _changed(name: str, value: Any) -> bool:
    return bool(value != getattr(WMFConfig, name))


def _next_steps(input_file: Path, columns: dict[str, Any], output: Path, test: dict[str, Any] | None) -> str:
    """Spell the commands that use what was found; `test` has the options of the part that was set aside."""
    named = [(option(name), str(value)) for name, value in columns.items() if value is not None]
    data = [str(input_file), *(word for pair in named for word in pair), "--config", str(output / _CONFIG)]
    commands = [["fit", *data, "--output", "MODEL"]]
    if test is not None:
        split = [(option(name), str(value)) for name, value in test.items() if value is not None]
        commands.insert(0, ["evaluate", *data, *(word for pair in split for word in pair)])
    return "next:\n" + "\n".join(f"  implicit-wmf {shlex.join(command)}" for command in commands)
