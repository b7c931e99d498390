"""What the peers share: those that can be watched epoch by epoch, and those that only run whole fits."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from implicit_wmf import WMFConfig
from implicit_wmf.confidence import weigh
from implicit_wmf.training import compute_loss

from ..objective import Objective
from .contestant import SEED, AfterEpoch, CannotExpressError, Factors, Point
from .ours import Ours
from .plain import Plain, Strength, one_strength, to_plain


class AnyPeer(ABC):
    """The data, the settings that ours would have, and our loss of the peer's factors; each peer adds `_prepare`.

    With `nearest`, an objective that cannot be expressed is replaced by the nearest that can, if the peer knows one, of
    `strength_factor` times the strength that has the same sum of penalties.
    """

    def __init__(
        self,
        counts: scipy.sparse.csr_array,
        objective: Objective,
        settings: dict[str, Any],
        solver: str,
        cg_steps: int,
        start: Factors | None = None,
        *,
        nearest: bool = False,
        strength_factor: float = 1.0,
    ) -> None:
        self._counts = counts
        self._settings = settings
        self._nearest = nearest
        self._strength_factor = strength_factor
        self._user_scale = self._item_scale = 1.0
        self._begin(start)
        self._prepare(objective, solver, cg_steps)

    @abstractmethod
    def _begin(self, start: Factors | None) -> None:
        """Take or make the starting factors."""

    @abstractmethod
    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        """Translate the objective, or raise CannotExpressError."""

    def _plain(
        self, objective: Objective, user_units: np.ndarray | None = None, item_units: np.ndarray | None = None
    ) -> tuple[Plain, Strength]:
        """Translate to a background and preferences of 1 and one strength, and keep how factors are stretched."""
        name = type(self).__name__
        plain = to_plain(self._counts, objective, name)
        users, items = (
            np.ones(size) if units is None else units
            for size, units in zip(self._counts.shape, (user_units, item_units), strict=True)
        )
        strength = one_strength(plain, users, items, nearest=self._nearest, peer=name, objective=objective)
        self._user_scale, self._item_scale = strength.user_scale, strength.item_scale
        return plain, replace(strength, value=strength.value * self._strength_factor)

    def _ours(self, users: np.ndarray, items: np.ndarray) -> Factors:
        """Stretch the peer's factors to ours; the same arrays where nothing is stretched."""
        if self._user_scale == self._item_scale == 1.0:
            return users, items
        return users * users.dtype.type(self._user_scale), items * items.dtype.type(self._item_scale)

    def _loss(self, users: np.ndarray, items: np.ndarray) -> float:
        problem = weigh(self._counts, WMFConfig(**self._settings))
        return compute_loss(problem, users, items, self._settings["num_threads"]).total


class Peer(AnyPeer):
    """One that starts where ours starts and can be watched; each adds `_run`."""

    def _begin(self, start: Factors | None) -> None:
        self._start = start or Ours(self._counts, self._settings).factors(0)

    @abstractmethod
    def _run(self, epochs: int, after_epoch: AfterEpoch | None = None) -> list[float]:
        """Run from `_first`; return the epochs' seconds, without the time of `after_epoch`."""

    def _first(self) -> Factors:
        """Copy the start, in the peer's own units."""
        users, items = (side.copy() for side in self._start)
        users /= users.dtype.type(self._user_scale)
        items /= items.dtype.type(self._item_scale)
        return users, items

    def seconds(self, epochs: int) -> list[float]:
        """As in Contestant."""
        return self._run(epochs)

    def losses(self, epochs: int) -> list[float]:
        """As in Contestant; computed between the epochs."""
        losses: list[float] = []
        self._run(epochs, lambda users, items: losses.append(self._loss(*self._ours(users, items))))
        return losses

    def factors(self, epochs: int) -> Factors:
        """As in Contestant."""
        last: list[Factors] = [self._first()]

        def keep(users: np.ndarray, items: np.ndarray) -> None:
            last[0] = users, items

        self._run(epochs, keep)
        users, items = self._ours(*last[0])
        return users.copy(), items.copy()

    def curve(self, epochs: Sequence[int], began: float | None = None) -> list[Point]:
        """As in Contestant; one fit."""
        states: list[Factors | None] = []
        first: list[float] = []

        def keep(users: np.ndarray, items: np.ndarray) -> None:
            first.append(time.perf_counter())
            wanted = len(states) + 1 in epochs
            states.append((users.copy(), items.copy()) if wanted else None)

        seconds = self._run(max(epochs), keep)
        if began is not None:
            seconds[0] = first[0] - began  # with all that was done before
        elapsed = np.cumsum(seconds)
        return [
            Point(epoch, float(elapsed[epoch - 1]), *self._ours(*state))
            for epoch, state in enumerate(states, start=1)
            if state is not None
        ]


class WholeFits(AnyPeer):
    """One that neither takes starting factors nor tells of its epochs; each adds `_fit`.

    It starts from its own factors, the same each time. An epoch's seconds are (fit of n + 1 epochs - fit of 1) / n;
    whatever is looked at after an epoch is looked at after a fit of so many epochs.
    """

    def _begin(self, start: Factors | None) -> None:
        if start is not None:
            raise CannotExpressError(f"{type(self).__name__} cannot be given starting factors")

    @abstractmethod
    def _fit(self, epochs: int) -> Factors:
        """Fit from the peer's own start."""

    def _timed(self, epochs: int) -> tuple[float, Factors]:
        began = time.perf_counter()
        factors = self._fit(epochs)
        return time.perf_counter() - began, factors

    def seconds(self, epochs: int) -> list[float]:
        """As in Contestant, all epochs alike."""
        first, more = self._timed(1)[0], self._timed(epochs + 1)[0]
        return [(more - first) / epochs] * epochs

    def losses(self, epochs: int) -> list[float]:
        """As in Contestant, from a fit for each."""
        return [self._loss(*self.factors(epoch)) for epoch in range(1, epochs + 1)]

    def factors(self, epochs: int) -> Factors:
        """As in Contestant."""
        if epochs == 0:
            raise CannotExpressError(f"{type(self).__name__} does not show the factors that it starts from")
        return self._ours(*self._fit(epochs))

    def curve(self, epochs: Sequence[int], began: float | None = None) -> list[Point]:
        """As in Contestant, from a fit for each; seconds are those of the whole fit."""
        before = 0.0 if began is None else time.perf_counter() - began
        points = []
        for epoch in epochs:
            seconds, factors = self._timed(epoch)
            points.append(Point(epoch, before + seconds, *self._ours(*factors)))
        return points


def seed_of(settings: dict[str, Any]) -> int:
    """Return the seed that ours would have."""
    return int(settings.get("random_state", SEED))
