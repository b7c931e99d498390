"""What a person looks at: plots, and the report of a model as one file."""

from __future__ import annotations

from .plots import (
    plot_exposure,
    plot_item_map,
    plot_metric,
    plot_objective,
    plot_popularity,
    plot_spectrum,
    plot_validation,
)
from .writing import write_report

__all__ = [
    "plot_exposure",
    "plot_item_map",
    "plot_metric",
    "plot_objective",
    "plot_popularity",
    "plot_spectrum",
    "plot_validation",
    "write_report",
]
