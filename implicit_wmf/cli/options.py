"""Options that several commands have, and the hyper-parameters as options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_type_hints, is_typeddict

import typer

from .._config_file import read_config
from ..config import WMFConfig
from ..errors import InputError
from ..parameters import number, or_none
from ..store.format import is_url
from .wording import option

Input = Annotated[
    Path,
    typer.Argument(metavar="INPUT", help="Interactions: a table (.csv, .tsv, .parquet), or a scipy matrix (.npz)."),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")]
Timestamp = Annotated[
    str | None,
    typer.Option("--timestamp", help="Column of times to split by; without it the order of the lines counts."),
]
Split = Annotated[
    str,
    typer.Option("--split", help="What is held out: each user's last lines (last), or all lines after a cut (time)."),
]
HeldOutTable = Annotated[Path | None, typer.Option(help="Table of held-out interactions; by default INPUT is split.")]
Number = Annotated[int, typer.Option("--n", "-n", min=1, help="Length of the lists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


class Columns(TypedDict):
    """Columns of a table of interactions, by argument, as options."""

    user: Annotated[str | None, typer.Option(help="Column of user ids.")]
    item: Annotated[str | None, typer.Option(help="Column of item ids.")]
    value: Annotated[str | None, typer.Option(help="Column of counts; without it every line counts 1.")]


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its arguments that are groups of them: TypedDicts and NamedTuples.

    It receives these made of the options' values.
    """
    own = inspect.signature(command, eval_str=True).parameters
    groups = {one.name: one.annotation for one in own.values() if _is_group(one.annotation)}
    options = {name: _group_options(group) for name, group in groups.items()}
    keywords = [one for p in own.values() for one in options.get(p.name, [_keyword(p.name, p.annotation, p.default)])]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        for name, group in groups.items():
            arguments[name] = group(**{one.name: arguments.pop(one.name) for one in options[name]})
        command(**arguments)

    return _with_signature(run, keywords)


def _is_group(annotation: Any) -> bool:
    return is_typeddict(annotation) or hasattr(annotation, "_fields")


def _group_options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    defaults = getattr(group, "_field_defaults", {})
    return [_keyword(name, annotation, defaults.get(name)) for name, annotation in hints.items()]


def with_config(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command those of `with_groups`, one for each hyper-parameter, and --config for a file of these.

    It receives the hyper-parameters as its argument `config`, and, if it has an argument `given`, the names of those
    that were given by options or by the file. It must have the argument `ctx`.
    """
    grouped = with_groups(command)
    own = inspect.signature(grouped).parameters
    keywords = [one for one in own.values() if one.name not in ("config", "given")]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        values = {name: arguments.pop(name) for name in WMFConfig.names()}
        written = options_given(arguments["ctx"], WMFConfig.names())
        file = arguments.pop("config_file")
        from_file = {} if file is None else read_config(file)
        values |= {name: value for name, value in from_file.items() if name not in written}
        if "given" in own:
            arguments["given"] = written | set(from_file)
        grouped(config=_checked_config(values), **arguments)

    return _with_signature(run, [*keywords, _file_option(), *_config_options()])


def _with_signature(run: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _file_option() -> inspect.Parameter:
    annotation = Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Hyper-parameters in a JSON file, as tune writes it; options given beside it win.",
            rich_help_panel="Hyper-parameters",
        ),
    ]
    return _keyword("config_file", annotation, None)


def _config_options() -> list[inspect.Parameter]:
    names = {"dtype": str, "random_state": int | None, "user_background": str | None, "item_background": str | None}
    types = get_type_hints(WMFConfig) | names
    return [
        _keyword(
            spec.name,
            Annotated[types[spec.name], typer.Option(help=spec.metadata["help"], rich_help_panel="Hyper-parameters")],
            spec.default,
        )
        for spec in fields(WMFConfig)
    ]


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


def options_given(ctx: typer.Context, names: Sequence[str]) -> set[str]:
    """Names of the options that stand on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def refuse_given(ctx: typer.Context, names: Sequence[str], reason: str) -> None:
    """Refuse options that were given although they change nothing here."""
    given = options_given(ctx, names)
    for parameter in ctx.command.params:
        if parameter.name in given:
            raise typer.BadParameter(f"it has no effect {reason}; leave it out", param_hint=parameter.opts[0])


def path_or_url(text: str) -> Path | str:
    """Tell a path from the URL of a store, of which a Path would make another one."""
    return text if is_url(text) else Path(text)


def share(name: str, value: float | None) -> None:
    """Refuse what is no share."""
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"{value} is not between 0 and 1", param_hint=option(name))


def positive(name: str, value: float | None) -> None:
    """Refuse a time that is none."""
    try:
        or_none(number(0, exclusive=True))(name, value)
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint=option(name)) from error


def check_split(split: str, timestamp: str | None) -> None:
    """Refuse an unknown way to split, and a cut in time without times."""
    if split not in ("last", "time"):
        raise typer.BadParameter(f"{split!r} is neither 'last' nor 'time'", param_hint="--split")
    if split == "time" and timestamp is None:
        raise typer.BadParameter(
            "a cut in time needs the column of times; name it with --timestamp", param_hint="--split"
        )
