"""The hyper-parameters of KLMF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..parameters import Config, float_dtype, number, or_none, parameter, random_state, whole


@dataclass(frozen=True, eq=False)
class KLMFConfig(Config):
    """Hyper-parameters of :class:`~implicit_wmf.factorizers.KLMF`, checked when made; see there for meanings."""

    factors: int = parameter(64, whole(1, below=2**31), "Length d of the factor vectors.")
    iterations: int = parameter(100, whole(0), "Updates of all users, then all items.")
    tolerance: float = parameter(
        0.0, number(0), "Stop when an iteration lowers the divergence by less than this share; 0 never stops."
    )
    dtype: Any = parameter("float64", float_dtype, "Precision of the factors: float32 or float64.")
    num_threads: int | None = parameter(None, or_none(whole(1)), "Threads to use; by default every core.")
    random_state: Any = parameter(None, random_state, "Seed of the starting factors.")
