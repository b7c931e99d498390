"""Ours and the peers behind one protocol, all minimising the same objective from the same start.

Peers are imported where they are used: in the worker process, and only if their turn has come. That each library's
parametrisation is the one meant here is not taken on trust: see :mod:`bench.selfcheck`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from implicit_wmf import WMF, WMFConfig
from implicit_wmf.confidence import weigh
from implicit_wmf.factorizers import KLMF
from implicit_wmf.training import compute_loss

from .plan import Objective

SEED = 1
IALSPP_BLOCK = 64  # irspack's default
Factors = tuple[np.ndarray, np.ndarray]
AfterEpoch = Callable[[np.ndarray, np.ndarray], None]


class CannotExpressError(ValueError):
    """A peer has no parameters that mean this objective."""


class Contestant(Protocol):
    """One solver with its settings and data."""

    def seconds(self, epochs: int) -> list[float]:
        """Wall time of each of the first epochs from the common start."""

    def losses(self, epochs: int) -> list[float]:
        """Our exact objective after each of them."""

    def factors(self, epochs: int) -> Factors:
        """User and item factors after them."""


def make(
    name: str,
    counts: scipy.sparse.csr_array,
    objective: Objective,
    factors: int,
    threads: int,
    start: Factors | None = None,
) -> Contestant:
    """Make a contestant from a name such as "ours cg 3": whose, which solver, how many CG steps.

    "KLMF float32" is KLMF in that dtype, which has an objective of its own.
    `start` replaces the common start of a peer; ours always starts from the factors that WMF draws.
    """
    owner, solver, *steps = name.split()
    if owner == "KLMF":
        return Sweeps(counts, {"factors": factors, "dtype": solver, "num_threads": threads, "random_state": SEED})
    settings = {**objective.settings(), "factors": factors, "num_threads": threads, "random_state": SEED}
    cg_steps = int(steps[0]) if steps else WMFConfig.cg_steps
    if owner == "ours":
        return Ours(counts, {**settings, "solver": solver, "cg_steps": cg_steps})
    return {"implicit": Implicit, "irspack": Irspack}[owner](counts, objective, settings, solver, cg_steps, start)


class Ours:
    """implicit_wmf, through its public interface."""

    def __init__(self, counts: scipy.sparse.csr_array, settings: dict[str, Any]) -> None:
        self._counts = counts
        self._settings = settings

    def _fit(self, epochs: int, *, track_loss: bool = False) -> WMF | KLMF:
        model = WMF(**self._settings, iterations=epochs)
        return model.fit(self._counts, track_loss=track_loss, progress=False)

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


class Sweeps(Ours):
    """KLMF of implicit_wmf; its losses are divergences."""

    def _fit(self, epochs: int, *, track_loss: bool = False) -> KLMF:
        model = KLMF(**self._settings, iterations=epochs)
        return model.fit(self._counts, track_loss=track_loss, progress=False)


class Peer(ABC):
    """What the peers share: the common start, and our loss of their factors; each adds `_run`."""

    def __init__(
        self,
        counts: scipy.sparse.csr_array,
        objective: Objective,
        settings: dict[str, Any],
        solver: str,
        cg_steps: int,
        start: Factors | None,
    ) -> None:
        self._counts = counts
        self._settings = settings
        self._start = start or Ours(counts, settings).factors(0)
        self._prepare(objective, solver, cg_steps)

    @abstractmethod
    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        """Translate the objective, or raise CannotExpressError."""

    @abstractmethod
    def _run(self, epochs: int, after_epoch: AfterEpoch | None = None) -> list[float]:
        """Run from the start; return the epochs' seconds, without the time of `after_epoch`."""

    def seconds(self, epochs: int) -> list[float]:
        """As in Contestant."""
        return self._run(epochs)

    def losses(self, epochs: int) -> list[float]:
        """As in Contestant; computed between the epochs."""
        problem = weigh(self._counts, WMFConfig(**self._settings))
        losses: list[float] = []
        self._run(
            epochs,
            lambda users, items: losses.append(
                compute_loss(problem, users, items, self._settings["num_threads"]).total
            ),
        )
        return losses

    def factors(self, epochs: int) -> Factors:
        """As in Contestant."""
        last: list[Factors] = [self._start]
        self._run(epochs, lambda users, items: last.append((users.copy(), items.copy())))
        return last[-1]


class Implicit(Peer):
    """implicit: a stored value is the cell's whole confidence, in place of the background's 1."""

    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        if objective.weighting != "linear" or objective.unobserved_weight != 1 or objective.regularization_exponent:
            raise CannotExpressError(f"implicit has no way to express {objective}")
        from implicit.cpu.als import AlternatingLeastSquares

        self._data = scipy.sparse.csr_matrix(self._counts, dtype=np.float32, copy=True)
        self._data.data = 1 + np.float32(objective.alpha) * self._data.data
        self._model = AlternatingLeastSquares(
            factors=self._settings["factors"],
            regularization=objective.regularization,
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
        self._model.user_factors, self._model.item_factors = (side.copy() for side in self._start)
        self._model.fit(self._data, show_progress=False, callback=note)
        return seconds


class Irspack(Peer):
    """irspack: with the loss ORIGINAL a stored value is the weight above the background, as in `linear`.

    With the loss IALSPP it is the weight of (1 - w.h)^2 on top of the background, as in `ials`; there the penalty is
    scaled by (stored cells + alpha0 x other side's size)^nu, which is ours for alpha = 1.
    """

    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        if objective.regularization_exponent and (objective.weighting, objective.alpha) != ("ials", 1.0):
            raise CannotExpressError(f"irspack has no way to express {objective}")
        from irspack.recommenders.ials import IALSTrainer, LossType, SolverType

        data = scipy.sparse.csr_matrix(self._counts, dtype=np.float32, copy=True)
        if objective.weighting == "ials":
            data.data[:] = 1
        data.data *= np.float32(objective.alpha)
        self._trainer = IALSTrainer(
            X=data,
            n_components=self._settings["factors"],
            alpha0=objective.unobserved_weight,
            reg=objective.regularization,
            nu=objective.regularization_exponent,
            init_std=0.0,  # the start is set below
            solver_type={"exact": SolverType.CHOLESKY, "cg": SolverType.CG, "iALS++": SolverType.IALSPP}[solver],
            max_cg_steps=cg_steps,
            ialspp_subspace_dimension=IALSPP_BLOCK,
            loss_type={"linear": LossType.ORIGINAL, "ials": LossType.IALSPP}[objective.weighting],
            random_seed=SEED,
            n_threads=self._settings["num_threads"],
            prediction_time_max_cg_steps=cg_steps,
            prediction_time_ialspp_iteration=1,
        )

    def _run(self, epochs: int, after_epoch: AfterEpoch | None = None) -> list[float]:
        core = self._trainer.core_trainer
        core.user, core.item = self._start
        seconds: list[float] = []
        for _ in range(epochs):
            began = time.perf_counter()
            self._trainer.run_epoch()
            seconds.append(time.perf_counter() - began)
            if after_epoch:
                after_epoch(core.user, core.item)
        return seconds
