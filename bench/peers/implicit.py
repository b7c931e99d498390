"""implicit (github.com/benfred/implicit), on the CPU."""

from __future__ import annotations

import numpy as np

from ..objective import Objective
from .contestant import AfterEpoch
from .peer import Peer


class Implicit(Peer):
    """A stored value is the cell's whole confidence, in place of the background's 1; one penalty for all rows.

    Cannot express: a penalty that grows with the row (nu > 0). The nearest has the same sum of penalties on each side.
    """

    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        plain, strength = self._plain(objective)
        from implicit.cpu.als import AlternatingLeastSquares

        self._data = plain.weights
        self._data.data += np.float32(1)
        self._model = AlternatingLeastSquares(
            factors=self._settings["factors"],
            regularization=strength.value,
            alpha=1.0,
            use_cg=solver == "cg",
            num_threads=self._settings["num_threads"],
        )
        self._model.cg_steps = cg_steps

    def _run(self, epochs: int, after_epoch: AfterEpoch | None = None) -> list[float]:
        seconds: list[float] = []

        def note(_epoch: int, elapsed: float, _loss: float | None) -> None:
            seconds.append(elapsed)
            if after_epoch:
                after_epoch(self._model.user_factors, self._model.item_factors)

        self._model.iterations = epochs
        self._model.user_factors, self._model.item_factors = self._first()
        self._model.fit(self._data, show_progress=False, callback=note)
        return seconds
