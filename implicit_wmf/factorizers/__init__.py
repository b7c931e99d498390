"""Estimators for the other objectives, of the same shape as :class:`implicit_wmf.WMF`."""

from __future__ import annotations

from .kl import KLMF
from .observed import ObservedMF
from .symmetric import SymmetricMF

__all__ = ["KLMF", "ObservedMF", "SymmetricMF"]
