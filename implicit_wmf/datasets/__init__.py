"""Data sets: the shop data that ships with the package, and synthetic interactions of any size."""

from __future__ import annotations

from .online_retail import load_online_retail
from .synthetic import synthetic

__all__ = ["load_online_retail", "synthetic"]
