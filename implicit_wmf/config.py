"""The hyper-parameters of WMF: the only list of them, with their defaults, meaning and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from .errors import InputError
from .parameters import Config, float_dtype, number, one_of, or_none, parameter, random_state, scheme_or_array, whole
from .weightings import BACKGROUNDS, RAW, WEIGHTINGS


@dataclass(frozen=True, eq=False)
class WMFConfig(Config):
    """Hyper-parameters of :class:`~implicit_wmf.WMF`, checked when made; meanings in its docstring.

    Raises
    ------
    InputError
        If a value is outside its range; the message names the parameter and the value.
    """

    factors: int = parameter(64, whole(1, below=2**31), "Length d of the factor vectors.")
    regularization: float = parameter(0.01, number(0), "Strength lambda of the L2 penalty on the factors.")
    user_regularization: float | None = parameter(
        None, or_none(number(0)), "lambda of the users' factors; by default --regularization."
    )
    item_regularization: float | None = parameter(
        None, or_none(number(0)), "lambda of the items' factors; by default --regularization."
    )
    regularization_exponent: float = parameter(
        0.0, number(0), "Power nu of a row's total confidence that scales its penalty: 0 plain, 1 fully scaled."
    )
    alpha: float = parameter(1.0, number(0, exclusive=True), f"Weight of an interaction (not {RAW}).")
    weighting: str = parameter(
        "linear", one_of(*WEIGHTINGS, RAW), f"How counts become confidence: {', '.join(WEIGHTINGS)} or {RAW}."
    )
    log_epsilon: float = parameter(
        1.0, number(0, exclusive=True), "Scale eps of the log weighting alpha log(1 + r / eps)."
    )
    unobserved_weight: float = parameter(1.0, number(0), "Confidence a0 of the cells that are not stored.")
    user_background: str | ArrayLike | None = parameter(
        None,
        or_none(scheme_or_array(*BACKGROUNDS["user_background"])),
        f"How a0 varies over users: {' or '.join(BACKGROUNDS['user_background'])}; by default uniform.",
    )
    item_background: str | ArrayLike | None = parameter(
        None,
        or_none(scheme_or_array(*BACKGROUNDS["item_background"])),
        f"How a0 varies over items: {' or '.join(BACKGROUNDS['item_background'])}; by default uniform.",
    )
    popularity_exponent: float = parameter(
        0.5, number(0), "Power of an item's number of users (item background popularity)."
    )
    iterations: int = parameter(15, whole(0), "Epochs: each solves all users, then all items.")
    solver: str = parameter("auto", one_of("auto", "exact", "cg"), "How rows are solved: auto, exact or cg.")
    cg_steps: int = parameter(3, whole(1, below=2**16 - 1), "Conjugate-gradient steps a row (solver cg).")
    init_scale: float = parameter(
        0.1, number(0, exclusive=True), "Standard deviation of the starting factors, times sqrt(d)."
    )
    dtype: Any = parameter("float32", float_dtype, "Precision of the factors: float32 or float64.")
    num_threads: int | None = parameter(None, or_none(whole(1)), "Threads to use; by default every core.")
    random_state: Any = parameter(None, random_state, "Seed of the starting factors.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for side, strength in zip(("user", "item"), self.regularizations, strict=True):
            if strength == 0 and self.unobserved_weight == 0:
                raise InputError(
                    f"{side} regularization and unobserved_weight are both 0: rows with fewer entries than factors "
                    f"then have no unique solution. Make one of them positive"
                )

    @property
    def regularizations(self) -> tuple[float, float]:
        """Lambda of the users' and of the items' factors."""
        users, items = (
            self.regularization if own is None else own for own in (self.user_regularization, self.item_regularization)
        )
        return users, items

    @property
    def zeros_remove(self) -> bool:
        """Whether stored zeros remove their cells from the objective, so that those may be recommended."""
        return self.weighting == RAW
