"""implicit_wmf itself, through its public interface."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import scipy.sparse

from implicit_wmf import WMF
from implicit_wmf.factorizers import KLMF

from .contestant import Factors, Point


class Ours:
    """WMF with these settings."""

    estimator: type[WMF] | type[KLMF] = WMF

    def __init__(self, counts: scipy.sparse.csr_array, settings: dict[str, Any]) -> None:
        self._counts = counts
        self._settings = settings

    def _fit(self, epochs: int, **options: Any) -> WMF | KLMF:
        model = self.estimator(**self._settings, iterations=epochs)
        return model.fit(self._counts, **{"track_loss": False, "progress": False, **options})

    def seconds(self, epochs: int) -> list[float]:
        """As in Contestant."""
        return [record.seconds for record in self._fit(epochs).history]

    def losses(self, epochs: int) -> list[float]:
        """As in Contestant."""
        return [record.loss for record in self._fit(epochs, track_loss=True).history]

    def factors(self, epochs: int) -> Factors:
        """As in Contestant."""
        model = self._fit(epochs)
        return model.user_factors, model.item_factors

    def curve(self, epochs: Sequence[int], began: float | None = None) -> list[Point]:
        """As in Contestant; one fit, its factors copied by a callback."""
        points: list[Point] = []
        elapsed = 0.0

        def note(record: Any, model: Any) -> None:
            nonlocal elapsed
            elapsed += record.seconds
            if record.epoch == 1 and began is not None:
                elapsed = time.perf_counter() - began  # with all that was done before
            if record.epoch in epochs:
                points.append(Point(record.epoch, elapsed, model.user_factors.copy(), model.item_factors.copy()))

        self._fit(max(epochs), callback=note)
        return points


class Sweeps(Ours):
    """KLMF of implicit_wmf; its losses are divergences."""

    estimator = KLMF
