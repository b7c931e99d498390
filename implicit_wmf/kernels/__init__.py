"""Compiled kernels: Numba functions over plain arrays.

Modules are loaded when they are first used (``kernels.solve.solve_rows``), because importing Numba takes a third
of the time that importing everything else does.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

_MODULES = (
    "cells", "cg", "gram", "jit", "kl", "linalg", "metrics", "negatives", "neighbours", "objective", "parts",
    "ranking", "ranks", "rows", "selection", "simd", "solve",
)  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
