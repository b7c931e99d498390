"""The page of the command line, from the application itself."""

from __future__ import annotations

import html
import inspect
from typing import Any

import typer
from mkdocs.structure.files import File

PAGE = "reference/command_line.md"
BEGINNING = """# Command line

`implicit-wmf COMMAND --help` shows the same in a terminal. Tables are `.csv`, `.tsv` or `.parquet`. A mistake in the
input ends in one line on stderr that names the place, and exit code 1; a wrong option in 2; Ctrl-C in 130.
"""


def page() -> str:
    """Write the page: every command with its arguments and options."""
    from implicit_wmf.cli import app

    commands = typer.main.get_command(app).commands
    return "\n".join([BEGINNING, _overview(commands), *(_section(name, commands[name]) for name in sorted(commands))])


def _overview(commands: dict[str, Any]) -> str:
    lines = [f"| [`{name}`](#{name}) | {_first_line(commands[name])} |" for name in sorted(commands)]
    return "\n".join(["| command | what it does |", "| --- | --- |", *lines, ""])


def _first_line(command: Any) -> str:
    return inspect.cleandoc(command.help).splitlines()[0]


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    usage = " ".join(["implicit-wmf", name, *(_usage(one) for one in arguments), "[OPTIONS]"])
    blocks = [f"## {name}", inspect.cleandoc(command.help), f"```text\n{usage}\n```", _list(arguments, context)]
    panels = dict.fromkeys(one.rich_help_panel for one in shown if one not in arguments)
    for panel in panels:
        options = [one for one in shown if one not in arguments and one.rich_help_panel == panel]
        blocks += [f"### {panel or 'Options'} {{#{name}-{(panel or 'options').lower()}}}", _list(options, context)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name += "..." * (argument.nargs != 1)
    return name if argument.required else f"[{name}]"


def _list(params: list[Any], context: Any) -> str:
    records = [param.get_help_record(context) for param in params]
    return "\n".join(f"`{names}`\n:   {html.escape(text or '', quote=False)}\n" for names, text in records)


def on_files(files: Any, config: Any) -> Any:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
