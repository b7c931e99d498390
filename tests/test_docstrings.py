"""What users call says what each of its arguments is, and what it returns."""

import importlib
import inspect
import re

import pytest

from implicit_wmf.parameters import Config
from implicit_wmf.store import Store

docscrape = pytest.importorskip("numpydoc.docscrape", reason="numpydoc, whose parser reads the docstrings, is missing")

PARTS = ["", ".datasets", ".evaluation", ".factorizers", ".objectives", ".report", ".store", ".tables", ".tuning"]
STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def offered():
    """Everything that an `__all__` of the parts names."""
    for part in (importlib.import_module(f"implicit_wmf{name}") for name in PARTS):
        yield from ((name, getattr(part, name)) for name in part.__all__)


def callables():
    """Functions, classes that users make, and public methods, inherited ones too."""
    for name, one in offered():
        if inspect.isfunction(one):
            yield name, one
        elif inspect.isclass(one) and not issubclass(one, Exception | Warning):
            if one in made():
                yield name, one
            for method, function in inspect.getmembers(one, inspect.isroutine):
                if not method.startswith("_") and getattr(function, "__module__", "").startswith("implicit_wmf"):
                    yield f"{name}.{method}", function


def made():
    """Classes whose objects users make: no protocol, no error, and of results and hyper-parameters none."""
    classes = {
        one for _, one in offered() if inspect.isclass(one) and not issubclass(one, Exception | Warning | Config)
    }
    opened = {Store}  # by a class method
    return {one for one in classes - results() - opened if not getattr(one, "_is_protocol", False)}


def results():
    """Records that the library returns: their fields are attributes, or told in the text."""
    named = dict(offered())
    names = ("EpochRecord", "GradientCheck", "Prepared", "SampledCases", "Shard", "Tuning")
    return {named[name] for name in names}


def entries(text, section):
    """The entries of a section, several names in one taken apart, and the type of each."""
    listed = docscrape.NumpyDocString(text)[section]
    return [(name.strip(), entry.type) for entry in listed for name in entry.name.split(",")]


def arguments(function):
    given = inspect.signature(function).parameters.values()
    return [STARS.get(one.kind, "") + one.name for one in given if one.name != "self"]


def undescribed(function):
    """What is wrong with the list of parameters, and whether a result lacks its section."""
    text = inspect.getdoc(function) or ""
    described, expected = entries(text, "Parameters"), arguments(function)
    wrong = [] if [name for name, _ in described] == expected else [f"has {described}, takes {expected}"]
    wrong += [f"{name} has no type" for name, kind in described if not kind and not name.startswith("*")]
    annotation = inspect.signature(function).return_annotation
    returns = not inspect.isclass(function) and annotation not in (None, "None", inspect.Signature.empty)
    return wrong + ["has no Returns"] * (returns and not docscrape.NumpyDocString(text)["Returns"])


@pytest.mark.parametrize("function", [pytest.param(function, id=name) for name, function in callables()])
def test_arguments_and_result_are_described(function):
    assert undescribed(function) == []


@pytest.mark.parametrize("record", sorted(results(), key=lambda record: record.__name__))
def test_fields_of_a_result_are_described(record):
    fields = [name for name in inspect.signature(record).parameters]
    if attributes := entries(record.__doc__, "Attributes"):
        assert [name for name, kind in attributes if kind] == fields
    assert [name for name in fields if not re.search(rf"\b{name}\b", record.__doc__)] == []


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ("Parameters\n----------\nold : int\n\nReturns\n-------\nint", 1),
        ("Parameters\n----------\none, two : int\n\nReturns\n-------\nint", 1),
        ("Parameters\n----------\none\n    What `one : int` is.\n\nReturns\n-------\nint", 1),
        ("Parameters\n----------\none : int", 1),
        ("With one, an int.", 2),
        ("Parameters\n----------\none : int\n\nReturns\n-------\nint", 0),
    ],
)
def test_what_is_not_described_is_found(section, wrong):
    def function(one: int) -> int: ...

    function.__doc__ = f"Count.\n\n{section}\n"
    assert len(undescribed(function)) == wrong
