"""cmfrec (github.com/david-cortes/cmfrec)."""

from __future__ import annotations

import numpy as np

from ..objective import Objective
from .contestant import Factors
from .peer import WholeFits, seed_of
from .plain import Plain, Strength, cannot_express


class Cmfrec(WholeFits):
    """CMF_implicit: a stored value x is the weight above a background of 1; one penalty for all rows.

    So says its documentation, and so its Cholesky solver does. Its conjugate gradients (3.5.1) solve another system:

        (H'H + lambda I + sum (x + 1) h h') w = sum x h,

    that is confidence 2 + x and preference x / (2 + x) in a stored cell (the self-check found it: after 2,000 epochs
    that residual is 4e-8, that of the documented system .28). Where all stored weights are one number a > 1, x = a - 1
    gives the confidence that is meant, and a stretch the preference; otherwise the objective cannot be expressed, and
    the nearest is x as documented. Nor can a penalty that grows with the row (nu > 0); the nearest has the same sum of
    penalties on each side.
    """

    def _prepare(self, objective: Objective, solver: str, cg_steps: int) -> None:
        plain, strength = self._plain(objective)
        regularization = strength.value
        if solver == "cg":
            regularization = self._mend(plain, strength, objective)
        from cmfrec import CMF_implicit

        self._data = plain.weights.tocoo()
        self._options = {
            "k": self._settings["factors"], "lambda_": regularization, "alpha": 1.0, "use_cg": solver == "cg",
            "max_cg_steps": cg_steps, "finalize_chol": False, "use_float": True, "precompute_for_predictions": False,
            "produce_dicts": False, "nthreads": self._settings["num_threads"], "random_state": seed_of(self._settings),
        }  # fmt: skip
        self._model = CMF_implicit

    def _mend(self, plain: Plain, strength: Strength, objective: Objective) -> float:
        """Replace the weights by those that CG turns into what is meant; return the strength that goes with them."""
        weights = plain.weights.data
        if weights.size and (np.ptp(weights) > 0 or weights[0] <= 1):
            if self._nearest:
                return strength.value
            raise cannot_express("Cmfrec by conjugate gradients", objective)
        preference = float((weights[0] - 1) / (weights[0] + 1)) if weights.size else 1.0
        weights -= 1
        # sum C (p - w.h)^2 is p^2 sum C (1 - v.u)^2 for w = sqrt(p) v
        self._user_scale /= np.sqrt(preference)
        self._item_scale /= np.sqrt(preference)
        return strength.value * preference

    def _fit(self, epochs: int) -> Factors:
        model = self._model(niter=epochs, **self._options).fit(self._data)
        return model.A_, model.B_
