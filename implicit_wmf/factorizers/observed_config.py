"""The hyper-parameters of ObservedMF: the only list of them, with their defaults, meaning and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..parameters import Config, float_dtype, number, or_none, parameter, random_state, truth, whole


@dataclass(frozen=True, eq=False)
class ObservedMFConfig(Config):
    """Hyper-parameters of :class:`~implicit_wmf.factorizers.ObservedMF`, checked when made; see there for meanings."""

    factors: int = parameter(64, whole(1, below=2**31), "Length d of the factor vectors.")
    regularization: float = parameter(
        1.3, number(0, exclusive=True), "Strength lambda of the L2 penalty on the factors, greater than 0."
    )
    bias_regularization: float = parameter(0.5, number(0), "Strength of the L2 penalty on the biases.")
    regularization_exponent: float = parameter(
        0.5, number(0), "Power nu of a row's number of ratings that scales its penalties: 0 plain, 1 fully scaled."
    )
    user_bias: bool = parameter(True, truth, "Whether each user has a bias.")
    item_bias: bool = parameter(True, truth, "Whether each item has a bias.")
    mean: bool = parameter(True, truth, "Whether the mean rating is subtracted.")
    iterations: int = parameter(15, whole(0), "Epochs: each solves all users, then all items.")
    init_scale: float = parameter(
        0.1, number(0, exclusive=True), "Standard deviation of the starting factors, times sqrt(d)."
    )
    dtype: Any = parameter("float32", float_dtype, "Precision of the factors: float32 or float64.")
    num_threads: int | None = parameter(None, or_none(whole(1)), "Threads to use; by default every core.")
    random_state: Any = parameter(None, random_state, "Seed of the starting factors.")
