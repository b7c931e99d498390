"""Data sets: the shop data that ships with the package, and synthetic interactions of any size."""

from __future__ import annotations

from implicit_wmf.datasets.online_retail import load_online_retail
from implicit_wmf.datasets.synthetic import synthetic

__all__ = ["load_online_retail", "synthetic"]
