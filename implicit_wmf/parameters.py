"""Hyper-parameters as fields of a frozen dataclass, each with its default, its meaning and its check.

An estimator's constructor, its options on the command line and its saved files derive from such a :class:`Config`.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from .errors import InputError

Check = Callable[[str, Any], None]


def whole(minimum: int, below: float = math.inf) -> Check:
    """Accept whole numbers from `minimum` on, below a limit if there is one."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
            raise InputError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
        if int(value) >= below:
            raise InputError(f"{name} must be a whole number below {below}, got {value!r:.60}")

    return check


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def number(minimum: float, *, exclusive: bool = False) -> Check:
    """Accept finite numbers from `minimum` on."""
    bound = f"{'greater than' if exclusive else 'at least'} {minimum:g}"

    def check(name: str, value: Any) -> None:
        real = isinstance(value, int | float | np.integer | np.float32) and not isinstance(value, bool)
        converted = _to_float(value) if real else math.nan
        if not math.isfinite(converted) or converted < minimum or (exclusive and converted == minimum):
            raise InputError(f"{name} must be a finite number {bound}, got {value!r}")

    return check


def one_of(*choices: str) -> Check:
    """Accept one of some words."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

    return check


def or_none(inner: Check) -> Check:
    """Accept None, and what `inner` accepts."""

    def check(name: str, value: Any) -> None:
        if value is not None:
            inner(name, value)

    return check


def truth(name: str, value: Any) -> None:
    """Accept True and False."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {value!r}")


def float_dtype(name: str, value: Any) -> None:
    """Accept the two precisions of factors."""
    try:
        known = np.dtype(value) in (np.float32, np.float64)
    except TypeError:
        known = False
    if value is None or not known:
        raise InputError(f"{name} must be 'float32' or 'float64', got {value!r}")


def random_state(name: str, value: Any) -> None:
    """Accept None, a seed, or a NumPy generator."""
    if not isinstance(value, np.random.Generator):
        or_none(whole(0))(name, value)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def as_bytes(name: str, value: Any) -> int:
    """Take a number of bytes, or text such as "4GB" and "512 MiB"."""
    text = "" if isinstance(value, bool) else str(value).lower()
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]i?|)b?\s*", text)
    size = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 1 <= size < math.inf:
        raise InputError(f"{name} must be a size such as '4GB', '512MiB' or a number of bytes, got {value!r:.60}")
    return int(size)


def as_path(name: str, value: Any) -> Path:
    """Take a path-like argument; what is none, and names that no file can have, are refused."""
    try:
        path = Path(value)
    except TypeError as error:
        raise InputError(f"{name} must be a path, as text or pathlib.Path, got {value!r:.60}") from error
    if "\0" in str(path):
        raise InputError(f"{name} is {value!r:.60}; file names cannot hold a zero character")
    return path


def scheme_or_array(*choices: str) -> Check:
    """Accept one of some words, or one number >= 0 for each row."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, str) and value in choices:
            return
        if isinstance(value, pd.Series) and not isinstance(value.index, pd.RangeIndex):
            raise InputError(f"{name} must be in the order of the data's rows, not labelled: give its .to_numpy()")
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            array = np.empty(0)
        if (
            isinstance(value, str | np.ma.MaskedArray)
            or array.ndim != 1
            or not (np.isfinite(array) & (array >= 0)).all()
            or not array.any()
        ):
            words = ", ".join(map(repr, choices))
            raise InputError(
                f"{name} must be one of {words}, or a 1-D array of finite numbers of at least 0 that are not all 0, "
                f"got {value!r}"
            )

    return check


def parameter(default: Any, check: Check, text: str) -> Any:
    """Make a hyper-parameter, a field of a :class:`Config`."""
    return field(default=default, metadata={"check": check, "help": text})


def is_array(value: Any) -> bool:
    """Whether a hyper-parameter is one number for each row, rather than one thing."""
    return not isinstance(value, type) and np.ndim(value) > 0


@dataclass(frozen=True, eq=False)
class Config:
    """The hyper-parameters of an estimator, checked when made.

    Raises
    ------
    InputError
        If a value is outside its range; the message names the parameter and the value.
    """

    def __post_init__(self) -> None:
        for spec in fields(self):
            spec.metadata["check"](spec.name, getattr(self, spec.name))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [name for name in self.names() if name != "dtype"]  # which may be named in several ways
        equal = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return equal and self.factor_dtype == other.factor_dtype

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def snapshot(self) -> Self:
        """Return the same with arrays that nobody else can change.

        Returns
        -------
        A Config of the same class.
        """
        arrays = {name: np.array(value, dtype=np.float64) for name, value in vars(self).items() if is_array(value)}
        for array in arrays.values():
            array.flags.writeable = False
        return replace(self, **arrays)

    def plain(self) -> dict[str, Any]:
        """Return the values by name as files hold them.

        Returns
        -------
        dict of str to plain Python, float64 arrays, and generators, which stay
        """
        values = dict(vars(self))
        if "dtype" in values:
            values["dtype"] = self.factor_dtype.name
        for name, value in values.items():
            if is_array(value):
                values[name] = np.asarray(value, dtype=np.float64)
            elif isinstance(value, np.generic):
                values[name] = value.item()
        return values

    @property
    def factor_dtype(self) -> np.dtype[Any]:
        """The precision of the factors as a NumPy dtype."""
        dtype: np.dtype[Any] = np.dtype(getattr(self, "dtype", np.float64))
        return dtype

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Name the hyper-parameters, in the constructor's order.

        Returns
        -------
        tuple of str
        """
        return tuple(spec.name for spec in fields(cls))
