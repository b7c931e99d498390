"""Hyper-parameters are written down once: whatever else names them agrees with their configuration."""

import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import FIT
from estimators import ESTIMATORS, FACTORIZERS
from scipy.sparse import csr_array

import implicit_wmf
from implicit_wmf import WMF, MostPopular, WMFConfig, factorizers
from implicit_wmf._config_file import config_values, read_config
from implicit_wmf.cli import app

COMMANDS = ("fit", "tune", "evaluate")
# Of each one a value that is not the default, as a command line takes it.
OTHERS = {
    "factors": 3,
    "regularization": 0.5,
    "user_regularization": 0.25,
    "item_regularization": 2.5,
    "regularization_exponent": 0.75,
    "alpha": 4.0,
    "weighting": "log",
    "log_epsilon": 0.1,
    "unobserved_weight": 0.125,
    "user_background": "user",
    "item_background": "popularity",
    "popularity_exponent": 0.25,
    "iterations": 0,
    "solver": "cg",
    "cg_steps": 5,
    "init_scale": 0.2,
    "dtype": "float64",
    "num_threads": 1,
    "random_state": 7,
}


@pytest.fixture(params=ESTIMATORS, ids=lambda one: one.__name__)
def estimator(request):
    return request.param


def options(values):
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]


def documented(text):
    """Names in the section Parameters of a docstring, in order."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n---|\Z)", text, re.MULTILINE | re.DOTALL)
    entries = re.findall(r"^(\S.*?) : ", section.group(1), re.MULTILINE) if section else []
    return [name for entry in entries for name in entry.split(", ")]


def test_no_estimator_is_left_out():
    public = [getattr(module, name) for module in (implicit_wmf, factorizers) for name in module.__all__]
    assert {one for one in public if hasattr(one, "get_params")} == set(ESTIMATORS)


def test_the_constructor_has_the_names_and_defaults_of_the_configuration(estimator):
    config = estimator().config
    signature = inspect.signature(estimator).parameters
    in_fields = [(spec.name, spec.default) for spec in fields(config)]
    assert [(name, parameter.default) for name, parameter in signature.items()] == in_fields
    assert list(config.names()) == list(signature)
    assert list(estimator().get_params().items()) == in_fields


def test_the_docstring_explains_them_in_their_order(estimator):
    assert documented(inspect.getdoc(estimator)) == list(estimator().config.names())


@pytest.mark.parametrize("estimator", [*FACTORIZERS, MostPopular], indirect=True)
def test_a_saved_model_has_them_by_name(estimator, tmp_path):
    settings = {} if estimator is MostPopular else {"factors": 2, "iterations": 1}
    estimator(**settings).fit(csr_array(np.eye(4))).save(tmp_path / "m")
    saved = json.loads((tmp_path / "m" / "model.json").read_text())["config"]
    expected = [(spec.name, settings.get(spec.name, spec.default)) for spec in fields(estimator().config)]
    assert list(saved.items()) == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_an_option_for_each_with_its_default_and_its_meaning(run, command):
    parameters = typer.main.get_command(app).commands[command].params
    first = [parameter.name for parameter in parameters].index("config_file") + 1
    found = [
        (one.name, one.opts, one.default, one.help) for one in parameters[first:] if one.name not in ("help", None)
    ]
    expected = [
        (spec.name, [f"--{spec.name.replace('_', '-')}"], spec.default, spec.metadata["help"])
        for spec in fields(WMFConfig)
    ]
    assert found == expected
    code, out, _ = run(command, "--help")
    assert code == 0
    panel = out.split("Hyper-parameters ─")[1]
    shown = re.findall(r"^. (--[\w-]+) +<\w+> +(.*?)(?: \[default: (.*)\])? +.$", panel, re.MULTILINE)
    assert shown == [(option, text, "" if default is None else str(default)) for _, [option], default, text in expected]


def test_options_a_file_and_a_saved_model_say_the_same(run, purchases):
    assert all(value != getattr(WMFConfig, name) for name, value in OTHERS.items())
    expected = WMFConfig(**OTHERS)
    Path("c.json").write_text(json.dumps(OTHERS))
    assert read_config("c.json") == OTHERS
    for given in (options(OTHERS), ("--config", "c.json")):
        code, _, err = run("fit", "purchases.csv", *FIT, "-o", "m", "-q", *given)
        assert (code, err) == (0, "")
        assert WMF.load("m").config == expected
        assert json.loads(Path("m/model.json").read_text())["config"] == OTHERS
    assert {name: value for name, value in OTHERS.items() if name != "num_threads"} == config_values(expected)
