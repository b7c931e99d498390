"""irspack (github.com/tohtsky/irspack)."""

from __future__ import annotations

import time

import numpy as np
import scipy.sparse

from ..objective import Objective
from .contestant import AfterEpoch
from .peer import Peer, seed_of
from .plain import cannot_express

IALSPP_BLOCK = 64  # irspack's default


class Irspack(Peer):
    """With the loss ORIGINAL a stored value is the weight above the background, as in `linear`.

    With the loss IALSPP it is the weight of (1 - w.h)^2 on top of the background, as in `ials`; there the penalty is
    scaled by (stored cells + alpha0 x other side's size)^nu, which is ours for alpha = 1. Nothing nearest is tried.
    """

    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        if objective.regularization_exponent and (objective.weighting, objective.alpha) != ("ials", 1.0):
            raise cannot_express("Irspack", objective)
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
            random_seed=seed_of(self._settings),
            n_threads=self._settings["num_threads"],
            prediction_time_max_cg_steps=cg_steps,
            prediction_time_ialspp_iteration=1,
        )

    def _run(self, epochs: int, after_epoch: AfterEpoch | None = None) -> list[float]:
        core = self._trainer.core_trainer
        core.user, core.item = self._first()
        seconds: list[float] = []
        for _ in range(epochs):
            began = time.perf_counter()
            self._trainer.run_epoch()
            seconds.append(time.perf_counter() - began)
            if after_epoch:
                after_epoch(core.user, core.item)
        return seconds
