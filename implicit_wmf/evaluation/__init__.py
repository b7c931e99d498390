"""Offline evaluation: splits in time, ranking metrics, baselines and tables that compare models."""

from __future__ import annotations

from implicit_wmf.evaluation.baselines import MostPopular
from implicit_wmf.evaluation.evaluate import Recommender, compare, evaluate
from implicit_wmf.evaluation.metrics import METRICS, Metric, parse_metric, score_lists
from implicit_wmf.evaluation.split import new_pairs, split_by_time, split_last

__all__ = [
    "METRICS",
    "Metric",
    "MostPopular",
    "Recommender",
    "compare",
    "evaluate",
    "new_pairs",
    "parse_metric",
    "score_lists",
    "split_by_time",
    "split_last",
]
