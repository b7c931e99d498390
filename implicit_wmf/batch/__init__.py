"""Recommendations for everyone, in parts that an interrupted job goes on from."""

from .folder import check_target, users_done
from .jobs import BatchRecommending, BatchSummary

__all__ = ["BatchRecommending", "BatchSummary", "check_target", "users_done"]
