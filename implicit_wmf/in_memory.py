"""A fit to data in memory, in the form that `WMF.fit` follows; :mod:`implicit_wmf.sharded` has that of a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._questions import Question, of_interactions
from .confidence import weigh
from .config import WMFConfig
from .interactions import Interactions
from .persistence import SavedModel
from .training import EpochRecord, Reached, epochs, initial_factors, outline


class InMemory:
    """A fit to interactions.

    Parameters
    ----------
    interactions : Interactions
    config : WMFConfig
    confidence : canonical csr_array, optional
    """

    def __init__(self, interactions: Interactions, config: WMFConfig, confidence: Any = None) -> None:
        self.interactions, self._config, self._confidence = interactions, config, confidence

    def question(self) -> Question:
        """Return fingerprints of the data."""
        return of_interactions(self.interactions)

    def outline(self) -> Reached:
        """Make arrays of the shapes and dtypes of what an epoch reaches, without their memory."""
        return outline(self.interactions.shape, self._config)

    def start(self) -> Reached:
        """Draw the starting factors."""
        return Reached(*initial_factors(self.interactions.shape, self._config))

    def epochs(self, start: Reached, *, done: int, track_loss: bool) -> Iterator[tuple[EpochRecord, Reached]]:
        """Weigh the data, and yield (record, what was reached) after each epoch; see `training.epochs`."""
        problem = weigh(self.interactions.matrix, self._config, self._confidence)
        return epochs(problem, start, done=done, track_loss=track_loss)

    def keep(self, reached: Reached, history: list[Any]) -> SavedModel:
        """Make a fitted model of what was reached."""
        users, items = reached.user_factors, reached.item_factors
        return SavedModel(self._config, users, items, self.interactions, history, self._confidence)
