"""Weighted matrix factorization for implicit feedback."""
