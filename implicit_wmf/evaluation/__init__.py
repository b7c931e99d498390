"""Offline evaluation: splits, ranking metrics and tables that compare models."""

from __future__ import annotations

from .evaluate import Recommender, compare, evaluate
from .metrics import METRICS, Metric, parse_metric, score_lists
from .split import new_pairs, split_by_time, split_last

__all__ = [
    "METRICS",
    "Metric",
    "Recommender",
    "compare",
    "evaluate",
    "new_pairs",
    "parse_metric",
    "score_lists",
    "split_by_time",
    "split_last",
]
