"""The history of the factorizers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class IterationRecord:
    """What one iteration came to.

    `loss` is the objective after it, `seconds` its wall time, the objective's included and the validation's not.
    `validation` has the metrics on held-out interactions by name; empty where none were measured.
    """

    epoch: int
    loss: float
    seconds: float
    validation: dict[str, float] = field(default_factory=dict, hash=False)
