"""What the reference makes of the sources: roles of the docstrings as links, and defaults as the values they have."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import griffe

TABLE = re.compile(r"^(=+ [= ]+\n.*?\n=+ [= ]+)$", re.MULTILINE | re.DOTALL)
DEFAULT = re.compile(r"(?P<config>\w*Config)\.(?P<name>\w+)")
ROLE = re.compile(r":(?:class|mod|func|meth|attr|data|exc):`(?P<short>~?)(?P<path>[\w.]+)`")


def linked(text: str, inside: str) -> str:
    """Replace the roles; a name without dots is of `inside`, and one that the reference does not have stays plain."""

    def one(found: re.Match[str]) -> str:
        path = found["path"]
        name = path.rsplit(".", 1)[-1] if found["short"] else path.removeprefix("implicit_wmf.")
        whole = path if path.startswith("implicit_wmf") else f"{inside}.{path}"
        return f'<autoref identifier="{whole}" optional><code>{name}</code></autoref>'

    return ROLE.sub(one, TABLE.sub(r"```text\n\1\n```", text))


def valued(default: str, module: str) -> str:
    """Replace a field of a configuration, which is what a signature names, by its value."""
    found = DEFAULT.fullmatch(default)
    return repr(getattr(getattr(import_module(module), found["config"]), found["name"])) if found else default


class Sources(griffe.Extension):
    """Griffe extension that rewrites every docstring and signature."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            parent = obj.parent.path if obj.parent else obj.path
            obj.docstring.value = linked(obj.docstring.value, parent)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Rewrite the defaults of one function."""
        for parameter in func.parameters:
            if parameter.default is not None and DEFAULT.fullmatch(str(parameter.default)):
                parameter.default = valued(str(parameter.default), func.module.path)
