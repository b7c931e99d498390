"""The hyper-parameters: the only list of them, with their defaults, meaning and checks.

The constructor of :class:`~implicit_wmf.WMF`, the options of the command line and the saved model all derive from
:class:`WMFConfig`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .errors import InputError

Check = Callable[[str, Any], None]


def _whole(minimum: int) -> Check:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
            raise InputError(f"{name} must be a whole number of at least {minimum}, got {value!r}")

    return check


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _number(minimum: float, *, exclusive: bool = False) -> Check:
    bound = f"{'greater than' if exclusive else 'at least'} {minimum:g}"

    def check(name: str, value: Any) -> None:
        real = isinstance(value, int | float | np.integer | np.float32) and not isinstance(value, bool)
        number = _to_float(value) if real else math.nan
        if not math.isfinite(number) or number < minimum or (exclusive and number == minimum):
            raise InputError(f"{name} must be a finite number {bound}, got {value!r}")

    return check


def _one_of(*choices: str) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

    return check


def _or_none(inner: Check) -> Check:
    def check(name: str, value: Any) -> None:
        if value is not None:
            inner(name, value)

    return check


def _float_dtype(name: str, value: Any) -> None:
    try:
        known = np.dtype(value) in (np.float32, np.float64)
    except TypeError:
        known = False
    if value is None or not known:
        raise InputError(f"{name} must be 'float32' or 'float64', got {value!r}")


def _random_state(name: str, value: Any) -> None:
    if not isinstance(value, np.random.Generator):
        _or_none(_whole(0))(name, value)


def _parameter(default: Any, check: Check, text: str) -> Any:
    return field(default=default, metadata={"check": check, "help": text})


@dataclass(frozen=True)
class WMFConfig:
    """Hyper-parameters of :class:`~implicit_wmf.WMF`, checked when made; meanings in its docstring.

    Raises
    ------
    InputError
        If a value is outside its range; the message names the parameter and the value.
    """

    factors: int = _parameter(64, _whole(1), "Length d of the factor vectors.")
    regularization: float = _parameter(0.01, _number(0), "Strength lambda of the L2 penalty on the factors.")
    regularization_exponent: float = _parameter(
        0.0, _number(0), "Power nu of a row's total confidence that scales its penalty: 0 plain, 1 fully scaled."
    )
    alpha: float = _parameter(1.0, _number(0, exclusive=True), "Weight of an interaction (linear, log, ials).")
    weighting: str = _parameter(
        "linear", _one_of("linear", "log", "ials", "raw"), "How counts become confidence: linear, log, ials or raw."
    )
    log_epsilon: float = _parameter(
        1.0, _number(0, exclusive=True), "Scale eps of the log weighting alpha log(1 + r / eps)."
    )
    unobserved_weight: float = _parameter(1.0, _number(0), "Confidence a0 of the cells that are not stored.")
    user_background: str | None = _parameter(
        None, _or_none(_one_of("uniform", "user")), "How a0 varies over users: uniform (default) or user (activity)."
    )
    item_background: str | None = _parameter(
        None,
        _or_none(_one_of("uniform", "item", "popularity")),
        "How a0 varies over items: uniform (default), item (users who did not take it) or popularity (square root).",
    )
    iterations: int = _parameter(15, _whole(0), "Epochs: each solves all users, then all items.")
    solver: str = _parameter("auto", _one_of("auto", "exact", "cg"), "How rows are solved: auto, exact or cg.")
    cg_steps: int = _parameter(3, _whole(1), "Conjugate-gradient steps a row (solver cg).")
    init_scale: float = _parameter(
        0.1, _number(0, exclusive=True), "Standard deviation of the starting factors, times sqrt(d)."
    )
    dtype: Any = _parameter("float32", _float_dtype, "Precision of the factors: float32 or float64.")
    num_threads: int | None = _parameter(None, _or_none(_whole(1)), "Threads to use; by default every core.")
    random_state: Any = _parameter(None, _random_state, "Seed of the starting factors.")

    def __post_init__(self) -> None:
        for spec in fields(self):
            spec.metadata["check"](spec.name, getattr(self, spec.name))
        if self.regularization == 0 and self.unobserved_weight == 0:
            raise InputError(
                "regularization and unobserved_weight are both 0: rows with fewer entries than factors then have no "
                "unique solution. Make one of them positive"
            )

    @property
    def factor_dtype(self) -> np.dtype[Any]:
        """The precision as a NumPy dtype."""
        dtype: np.dtype[Any] = np.dtype(self.dtype)
        return dtype

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the hyper-parameters, in the constructor's order."""
        return tuple(spec.name for spec in fields(cls))
