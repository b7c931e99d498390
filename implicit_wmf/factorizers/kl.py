"""KLMF, the estimator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._cells import check_not_negative
from ..errors import InputError
from ..factor_model import FactorModel, check_data_shape
from ..interactions import Interactions, as_interactions
from ..parameters import truth
from ..persistence import SavedModel
from ..validation import Callback, Watch
from .kl_config import KLMFConfig
from .multiplicative import Divergence, Form, ThreeFactors, TwoFactors, iterate
from .records import IterationRecord
from .saved import check_extra

Floats = NDArray[np.float64]


class KLMF(FactorModel[KLMFConfig]):
    """Non-negative matrix factorization under the generalised Kullback-Leibler divergence.

    With counts A >= 0 (users x items) and predictions P it minimises

        sum_ij A_ij log(A_ij / P_ij) - A_ij + P_ij

    over all cells; what is not stored counts 0, at the cost of the stored cells. This is the maximum likelihood of
    independent Poisson counts with means P.

    * ``fit(A)``: P = W H', W (users x d) and H (items x d) >= 0, by the multiplicative updates of Lee and Seung 2001,
      "Algorithms for Non-negative Matrix Factorization", Theorem 2: w_ik <- w_ik (sum_j A_ij h_jk / P_ij) / sum_j h_jk,
      all users, then all items likewise.
    * ``fit(A, B=B, C=C)``: P = B'XC with B (p x users) and C (q x items) >= 0 given, for X (p x q) >= 0 alone:
      X <- X o (B (A / P) C') / ((B 1)(C 1)'). A B or C left out is the identity.

    No update raises the divergence, but for rounding. Users and items without counts get factors of 0. A factor without
    weight on one side becomes 0 on both. A prediction of 0 where A > 0 makes the divergence infinite: zeros in B and C
    can force it, and factors that underflow, as with counts below about 1e-38 in float32 (1e-308 in float64). The
    updates then leave such a cell out, and NaN never appears.

    Parameters
    ----------
    factors : int
        Length d of the factor vectors; with B or C given, their shapes decide instead.
    iterations : int
        Each updates all users, then all items, or X.
    tolerance : float
        Stop after an iteration that lowers the divergence by less than this share of it; 0 never stops.
    dtype : {"float64", "float32"}
        Precision of the factors. Multiplicative steps soon change less than float32 can hold, which takes about two
        thirds of the time and half the memory. X and sums are float64 either way.
    num_threads : int, optional
        Threads; by default every core. The factors have the same bits for any number.
    random_state : int, numpy.random.Generator or None
        Seed of the start: uniform on (0, 1], users first, scaled so that predictions and counts have the same mean.

    Attributes
    ----------
    user_factors, item_factors : (users, d) and (items, d) arrays of `dtype`, C-ordered, >= 0
        Their inner products are the predictions: W and H, or B'X and C', or B' and X' where C was left out.
    X, B, C : (p, q), (p, users) and (q, items) float64 arrays
        Of a fit with B or C; the one that was left out is None.
    history : list of IterationRecord
        One record an iteration: loss, seconds, metrics of the validation.
    best_epoch, interactions, config
        As in :class:`implicit_wmf.WMF`, iterations for epochs.

    Raises
    ------
    InputError, NotFittedError
        As in :class:`implicit_wmf.WMF`.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from implicit_wmf.factorizers import KLMF
    >>> counts = csr_array([[5, 3, 0], [4, 0, 0], [0, 0, 2]])
    >>> model = KLMF(factors=2, iterations=200, random_state=0).fit(counts)
    >>> (model.user_factors @ model.item_factors.T).round(1).tolist()
    [[6.0, 2.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 2.0]]
    """

    _config_type = KLMFConfig
    _record_type = IterationRecord

    def __init__(
        self,
        factors: int = KLMFConfig.factors,
        *,
        iterations: int = KLMFConfig.iterations,
        tolerance: float = KLMFConfig.tolerance,
        dtype: Any = KLMFConfig.dtype,
        num_threads: int | None = KLMFConfig.num_threads,
        random_state: Any = KLMFConfig.random_state,
    ) -> None:
        self._configure(locals())

    def fit(
        self,
        data: Any,
        *,
        B: ArrayLike | None = None,
        C: ArrayLike | None = None,
        validation: Any = None,
        metric: str | Iterable[str] = "ndcg@10",
        patience: int | None = 3,
        validate_every: int = 1,
        time_budget: float | None = None,
        callback: Callback | None = None,
        track_loss: bool = True,
        progress: bool | None = None,
    ) -> KLMF:
        """Fit the factors, starting afresh.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or array, or dense 2-D array
            Counts >= 0, whole or not, users x items.
        B, C : (p, users) and (q, items) dense arrays, >= 0, optional
            For the three-factor form.
        validation, metric, patience, validate_every, time_budget, callback : as in `implicit_wmf.WMF.fit`, optional
            Iterations for epochs; `validation` not for users outside `data`.
        track_loss : bool
            As in `implicit_wmf.WMF.fit`; `tolerance` needs it.
        progress : bool, optional
            As in `implicit_wmf.WMF.fit`.

        Returns
        -------
        KLMF
            The model itself.

        Raises
        ------
        KeyboardInterrupt
            As in :meth:`implicit_wmf.WMF.fit`.
        """
        truth("track_loss", track_loss)
        config = self.config
        if config.tolerance > 0 and not track_loss:
            raise InputError(f"tolerance is {config.tolerance:g}, which needs track_loss=True; or set it to 0")
        interactions = _as_counts(data)
        watch = Watch(
            interactions, validation=validation, metric=metric, patience=patience, validate_every=validate_every,
            time_budget=time_budget, callback=callback,
        )  # fmt: skip
        counts = interactions.matrix
        form: Form = TwoFactors(counts, config) if B is None and C is None else ThreeFactors(counts, B, C, config)
        start = form.start()
        self._follow(
            iterate(form, start, counts, config, track_loss=track_loss),
            start,
            lambda reached, history: SavedModel(
                config, *form.factors(reached), interactions, history, extra=form.extra(reached)
            ),
            watch,
            total=config.iterations,
            progress=progress,
        )
        return self

    def loss(self, data: Any = None) -> float:
        """Compute the divergence of `data` (by default the fitted data) from the predictions.

        Exact, over all cells, in float64, in time proportional to the stored cells; infinite where a prediction is 0
        and the count is not.

        Parameters
        ----------
        data : as for fit, optional
            Of the fitted shape.

        Returns
        -------
        float
        """
        state = self._state()
        interactions = state.interactions if data is None else _as_counts(data)
        expected = (len(state.user_factors), len(state.item_factors))
        check_data_shape("data", interactions.shape, expected, "the model was fitted on")
        return Divergence(interactions.matrix, self.config.num_threads)(state.user_factors, state.item_factors)

    @property
    def X(self) -> Floats:
        """X of the three-factor form, (p, q)."""
        extra = self._state().extra
        if "X" not in extra:
            raise InputError("this model was fitted without B and C, so it has no X: see user_factors and item_factors")
        return extra["X"]

    @property
    def B(self) -> Floats | None:
        """B of the three-factor form, (p, users); None for the identity."""
        return self._state().extra.get("B")

    @property
    def C(self) -> Floats | None:
        """C of the three-factor form, (q, items); None for the identity."""
        return self._state().extra.get("C")

    @staticmethod
    def _check(state: SavedModel) -> None:
        """Check X, B and C of a loaded model."""
        if not state.extra:
            return
        users, items = len(state.user_factors), len(state.item_factors)
        width = state.user_factors.shape[1]
        known_users, known_items = ("B" in state.extra), ("C" in state.extra)
        if not (known_users or known_items):
            raise ValueError("it has X, but neither B nor C")
        left = users if not known_users else None if known_items else width
        p, q = check_extra(state, "X", "float64", left, width if known_items else items)
        if known_users:
            check_extra(state, "B", "float64", p, users)
        if known_items:
            check_extra(state, "C", "float64", q, items)


def _as_counts(data: Any) -> Interactions:
    """Convert data, and refuse negative counts."""
    interactions = as_interactions(data)
    check_not_negative(interactions.matrix, "data")
    return interactions
