"""What importing the package loads, and what it offers."""

import subprocess
import sys
from pathlib import Path

import pytest

import implicit_wmf

HEAVY = [
    "dask",
    "distributed",
    "duckdb",
    "fsspec",
    "matplotlib",
    "optuna",
    "polars",
    "pyarrow.parquet",
    "sklearn",
    "sqlalchemy",
    "usearch",
]


def loaded(code, names):
    """Which of these modules a fresh interpreter has after running the code."""
    program = f"import sys\n{code}\nprint(*(name for name in {names!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded("import implicit_wmf", [*HEAVY, "pandas", "pandas.plotting", "pyarrow", "scipy", "numba"]) == []


@pytest.mark.parametrize("name", ["WMF", "Interactions", "ItemKNN"])
def test_names_are_loaded_without_the_extras_and_the_compiler(name):
    assert loaded(f"from implicit_wmf import {name}", [*HEAVY, "pandas.tseries", "numba", "typer"]) == [
        "pandas.tseries"
    ]


def test_the_command_line_loads_no_extra_to_begin_with():
    assert loaded("import implicit_wmf.cli", [*HEAVY, "numba"]) == []


def test_every_name_that_is_offered_is_there():
    assert implicit_wmf.__all__ == sorted(implicit_wmf.__all__, key=lambda name: (name != name.upper(), name))
    for name in implicit_wmf.__all__:
        assert getattr(implicit_wmf, name).__name__ == name
    assert set(implicit_wmf.__all__) < set(dir(implicit_wmf))
    assert set(implicit_wmf._HOMES) == set(implicit_wmf.__all__)
    for_checkers = Path(implicit_wmf.__file__).read_text().split("if TYPE_CHECKING:")[1].split("__version__")[0]
    names = {name.strip() for line in for_checkers.splitlines() if "import" in line
             for name in line.split("import")[1].split("#")[0].split(",")}  # fmt: skip
    assert names == {*implicit_wmf.__all__, *implicit_wmf._PARTS}


@pytest.mark.parametrize("part", implicit_wmf._PARTS)
def test_parts_are_there_without_an_import_of_their_own(part):
    code = f"import implicit_wmf\nassert implicit_wmf.{part}.__name__ == 'implicit_wmf.{part}'"
    assert loaded(code, [part]) == []


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match=r"module 'implicit_wmf' has no attribute 'SVD'"):
        implicit_wmf.SVD  # noqa: B018
    with pytest.raises(ImportError):
        from implicit_wmf import ALS  # noqa: F401
