"""Weighted matrix factorization for implicit feedback: exact, parallel alternating least squares in Numba."""

from .config import WMFConfig
from .errors import InputError, MissingExtraError, NotFittedError
from .interactions import Interactions
from .item_knn import ItemKNN
from .model import WMF
from .popularity import MostPopular
from .training import EpochRecord

__version__ = "0.1.0"
__all__ = [
    "WMF",
    "EpochRecord",
    "InputError",
    "Interactions",
    "ItemKNN",
    "MissingExtraError",
    "MostPopular",
    "NotFittedError",
    "WMFConfig",
]
