"""Splits, metrics and evaluation of recommenders."""
