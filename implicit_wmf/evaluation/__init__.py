"""Offline evaluation: splits, ranking metrics, protocols and tables that compare models."""

from __future__ import annotations

from .evaluate import compare, evaluate, evaluate_users
from .folded import evaluate_folded
from .lists import Recommender
from .metrics import METRICS, Metric, parse_metric, score_lists
from .negatives import SampledCases, draw_negatives
from .sampled import evaluate_sampled
from .split import new_pairs, split_by_time, split_last
from .split_pairs import leave_one_out, split_random, split_users

__all__ = [
    "METRICS",
    "Metric",
    "Recommender",
    "SampledCases",
    "compare",
    "draw_negatives",
    "evaluate",
    "evaluate_folded",
    "evaluate_sampled",
    "evaluate_users",
    "leave_one_out",
    "new_pairs",
    "parse_metric",
    "score_lists",
    "split_by_time",
    "split_last",
    "split_random",
    "split_users",
]
