"""The calculus: objectives of weighted factorization with their values, gradients and row systems.

Each class holds the data of one objective; factors are arguments. ``gradient`` returns one array a factor, each of its
factor's shape; ``row_gradient(k, ...)`` and ``entry_gradient(k, column, ...)`` are of the first factor. Nothing of the
size of the whole matrix is formed for sparse data, and no Kronecker product ever: only row k of the first factor meets
row k of the data. Data are copied, computing is in float64, and every method raises InputError for factors whose shape
does not fit or that are not finite real numbers, and for a `k` or `column` out of range (negative ones are).
"""

from __future__ import annotations

from .checks import GradientCheck, check_gradient
from .divergence import KLDivergence
from .squares import ObservedSquares, WeightedSquares
from .symmetric import SymmetricSquares

__all__ = [
    "GradientCheck",
    "KLDivergence",
    "ObservedSquares",
    "SymmetricSquares",
    "WeightedSquares",
    "check_gradient",
]
