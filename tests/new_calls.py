"""Whether there is what a page names: `recommend(users, N)`, `model.history`, `factors=64`, `prepare --shards`."""

import ast
import inspect
import re
from collections.abc import Iterator

import numpy as np
import typer

import implicit_wmf
from implicit_wmf import WMF, Interactions, ItemKNN, MostPopular, datasets, evaluation, factorizers, store, tuning
from implicit_wmf.cli import app
from implicit_wmf.errors import InputError

NEW = ("`WMF(...)`", "new call", "here")  # what the column is called that has what there is here
CODE = re.compile(r"`([^`]+)`")
COMMANDS = typer.main.get_command(app).commands


def new_spans(text: str) -> Iterator[tuple[str, str]]:
    """Heading and text of each piece of code in the second columns of a page's tables from old to new calls."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        heading, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        if heading[1] in NEW:
            yield from ((heading[1], span) for row in rows for span in CODE.findall(row[1]))


class Names:
    """What the pages call things: a fitted model and its data, and where a name alone may be from."""

    def __init__(self) -> None:
        data = Interactions.from_matrix(np.eye(3) + 1)
        model = WMF(2, iterations=1, random_state=0).fit(data)
        self.known = {"model": model, "data": data, "WMF": WMF, "implicit_wmf": implicit_wmf}
        reasons = model.explain(0, 0)
        self.own = [model, WMF]
        self.owners = [*self.own, data, reasons, implicit_wmf, evaluation, store, tuning, factorizers, datasets]
        self.owners += [ItemKNN().fit(data), MostPopular().fit(data)]

    def fault(self, heading: str, span: str) -> str | None:
        """Say what of a piece of code is not there, or None."""
        if re.fullmatch(r"""["'].*["']""", span):  # a value
            return None
        if "--" in span:
            return self._option(span)
        if re.fullmatch(r"\w+@\w+|auc", span):
            return self._metric(span)
        owners = self.own if heading == "`WMF(...)`" else self.owners
        source = re.sub(r"=(?=\s*(?:[,)]|$))", "=...", span)
        try:
            found = ast.parse(source).body[0]
        except SyntaxError:  # several settings
            found = None
        if isinstance(found, ast.Expr):
            return self._reference(found.value)
        if isinstance(found, ast.Assign) and isinstance(found.value, ast.Call):
            return self._reference(found.value)
        settings = ast.parse(f"set({source})").body[0].value.keywords
        unknown = {one.arg for one in settings} - _parameters(owners)
        return f"{span}: nothing takes {', '.join(sorted(unknown))}" if unknown else None

    def _reference(self, node: ast.expr) -> str | None:
        if isinstance(node, ast.Tuple):
            return next(filter(None, map(self._reference, node.elts)), None)
        if isinstance(node, ast.Constant):
            return None
        call = node if isinstance(node, ast.Call) else None
        named = call.func if call else node
        if (
            isinstance(named, ast.Attribute)
            and isinstance(named.value, ast.Call)
            and (fault := self._reference(named.value))
        ):
            return fault
        found = self._found(named)
        if not call:
            parameter = isinstance(named, ast.Name) and named.id in _parameters(self.owners)
            return None if found or parameter else f"{ast.unparse(node)} is nowhere"
        return None if any(_takes(one, call) for one in found) else f"nothing takes {ast.unparse(node)}"

    def _found(self, node: ast.expr) -> list[object]:
        if isinstance(node, ast.Name):
            return [self.known[node.id]] if node.id in self.known else _of(self.owners, node.id)
        bases = self.owners if isinstance(node.value, ast.Call) else self._found(node.value)
        return _of(bases, node.attr)

    def _option(self, span: str) -> str | None:
        first, *rest = span.split()
        named = [COMMANDS[first]] if first in COMMANDS else COMMANDS.values()
        known = {option for command in named for one in command.params for option in one.opts}
        unknown = [word for word in [first, *rest] if word.startswith("--") and word not in known]
        return f"{span}: there is no {unknown[0]}" if unknown else None

    def _metric(self, span: str) -> str | None:
        try:
            evaluation.parse_metric(re.sub("@k$", "@10", span, flags=re.IGNORECASE))
        except InputError as error:
            return str(error)
        return None


def _of(owners: list[object], name: str) -> list[object]:
    return [getattr(owner, name) for owner in owners if hasattr(owner, name)]


def _takes(function: object, call: ast.Call) -> bool:
    if not callable(function):
        return False
    partly = any(isinstance(one, ast.Constant) and one.value is ... for one in call.args)
    positions = [one for one in call.args if not (isinstance(one, ast.Constant) and one.value is ...)]
    signature = inspect.signature(function)
    try:
        (signature.bind_partial if partly else signature.bind)(
            *([] if partly else positions), **{one.arg: None for one in call.keywords}
        )
    except TypeError:
        return False
    return True


def _parameters(owners: list[object]) -> set[str]:
    functions = [getattr(one, name) for one in owners for name in dir(one) if not name.startswith("_")]
    functions = [one for one in [*owners, *functions] if inspect.isroutine(one) or inspect.isclass(one)]
    return {name for one in functions for name in _signature(one)}


def _signature(function: object) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:
        return []
