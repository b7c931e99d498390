"""The history of the factorizers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IterationRecord:
    """What one iteration came to: the objective after it, and its wall time in seconds, the objective's included."""

    epoch: int
    loss: float
    seconds: float
