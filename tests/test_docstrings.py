"""What users call says what each of its arguments is."""

import importlib
import inspect
import re

import pytest

from implicit_wmf.parameters import Config

# Not compat, whose arguments are those of another library, and tables, which serve the command line.
PARTS = ["", ".datasets", ".evaluation", ".factorizers", ".objectives", ".tuning"]


def callables():
    """Functions, classes and public methods of all parts, and the text that describes each."""
    for part in (importlib.import_module(f"implicit_wmf{name}") for name in PARTS):
        for name in part.__all__:
            offered = getattr(part, name)
            if inspect.isfunction(offered):
                yield name, offered, inspect.getdoc(offered)
            elif inspect.isclass(offered) and not issubclass(offered, Exception | Config):  # WMF describes WMFConfig's
                yield from of_class(name, offered)


def of_class(name, offered):
    if not getattr(offered, "_is_protocol", False):  # of which nobody makes one
        yield name, offered, offered.__doc__
    for method in dir(offered):
        function = getattr(offered, method)
        if not method.startswith("_") and (inspect.isfunction(function) or inspect.ismethod(function)):
            yield f"{name}.{method}", function, inspect.getdoc(function)


@pytest.mark.parametrize(("name", "function", "text"), [pytest.param(*one, id=one[0]) for one in callables()])
def test_every_argument_is_described(name, function, text):
    arguments = set(inspect.signature(function).parameters) - {"self"}
    assert {argument for argument in arguments if not re.search(rf"\b{argument}\b", text)} == set()
