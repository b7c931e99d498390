"""Weighted matrix factorization for implicit feedback: exact, parallel alternating least squares in Numba."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import compat, datasets, evaluation, factorizers, objectives, report, store, tables, tuning, weightings  # noqa: F401
    from .config import WMFConfig
    from .errors import ClusterError, InputError, MissingExtraError, NotFittedError
    from .interactions import Interactions
    from .item_knn import ItemKNN
    from .model import WMF
    from .popularity import MostPopular
    from .training import EpochRecord

__version__ = "0.1.0"
__all__ = [
    "WMF",
    "ClusterError",
    "EpochRecord",
    "InputError",
    "Interactions",
    "ItemKNN",
    "MissingExtraError",
    "MostPopular",
    "NotFittedError",
    "WMFConfig",
]

# Loaded when first asked for: pandas alone, which interactions need, takes longer than Python itself to start.
_HOMES = {
    "WMF": "model",
    "ClusterError": "errors",
    "EpochRecord": "training",
    "InputError": "errors",
    "Interactions": "interactions",
    "ItemKNN": "item_knn",
    "MissingExtraError": "errors",
    "MostPopular": "popularity",
    "NotFittedError": "errors",
    "WMFConfig": "config",
}
_PARTS = (
    "compat",
    "datasets",
    "evaluation",
    "factorizers",
    "objectives",
    "report",
    "store",
    "tables",
    "tuning",
    "weightings",
)


if not TYPE_CHECKING:  # a checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name in _PARTS:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | {*__all__, *_PARTS})
