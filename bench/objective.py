"""The objective that contestants are asked to minimise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Objective:
    """The objective that all contestants minimise; field names are those of WMF."""

    alpha: float
    regularization: float
    weighting: str = "linear"
    unobserved_weight: float = 1.0
    regularization_exponent: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.weighting}, alpha = {self.alpha:g}, alpha0 = {self.unobserved_weight:g}, "
            f"lambda = {self.regularization:g}, nu = {self.regularization_exponent:g}"
        )

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of WMF."""
        return asdict(self)
