"""Hyper-parameters in a JSON file, by their names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ._words import nearest
from .config import WMFConfig
from .errors import InputError


def config_values(config: WMFConfig) -> dict[str, Any]:
    """Return hyper-parameters as JSON holds them, but for the number of threads, which is a machine's matter.

    Raises
    ------
    InputError
        If random_state is a generator, which has moved on since.
    """
    values = config.plain()
    del values["num_threads"]
    for name, value in values.items():
        if isinstance(value, np.random.Generator):
            raise InputError("random_state is a generator, which cannot be written down; give a seed, a whole number")
        if isinstance(value, np.ndarray):
            values[name] = value.tolist()
    return values


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read hyper-parameters by name; those that the file leaves out are not in the result.

    Raises
    ------
    InputError
        For a file that is missing or is no JSON object, an unknown name, one that is there twice, and a value outside
        its range; names the file and the key.
    """
    source = Path(path)
    values = _read_object(source)
    for name in values:
        if name not in WMFConfig.names():
            raise InputError(f"{source}: no hyper-parameter {name!r}{nearest(name, WMFConfig.names())}")
    try:
        WMFConfig(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return values


def _read_object(source: Path) -> dict[str, Any]:
    try:
        values = json.loads(source.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {source}; check the name") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{source} is not a JSON file of hyper-parameters; write one as {_EXAMPLE}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{source}, line {error.lineno}: not JSON ({error.msg}); write it as {_EXAMPLE}") from error
    except _Repeated as error:
        raise InputError(f"{source}: {error} is there twice; remove one of the two") from error
    if not isinstance(values, dict):
        raise InputError(f"{source} holds a JSON {type(values).__name__}, not an object; write it as {_EXAMPLE}")
    return values


_EXAMPLE = '{"factors": 64, "regularization": 0.01}'


class _Repeated(Exception):
    """A key is in an object twice."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise _Repeated(repr(name))
    return dict(pairs)
