"""WMF, the estimator."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from . import ranking
from .confidence import weigh
from .config import WMFConfig
from .errors import InputError, NotFittedError
from .interactions import Interactions
from .persistence import SavedModel, load_model, save_model
from .training import EpochRecord, compute_loss, epochs, initial_factors

Array = NDArray[Any]


class WMF:
    """Weighted matrix factorization by alternating least squares.

    With users i, items j, factors W (users x d) and H (items x d) it minimises

        f(W, H) = sum_ij C_ij (P_ij - w_i . h_j)^2  +  sum_i lam_i |w_i|^2  +  sum_j mu_j |h_j|^2

    over all cells, stored or not. Cells that are not stored have preference P = 0 and confidence C = a0 a_i b_j, the
    background: a0 is `unobserved_weight`, and a, b (of mean 1) are `user_background` and `item_background`. A stored
    count r has, by `weighting`,

    ========  ==========================================  =====================================================
    linear    C = background + alpha r, P = 1             Hu, Koren and Volinsky 2008, section 4
    log       C = background + alpha log(1 + r / eps),    Hu, Koren and Volinsky 2008, equation 6
              P = 1
    ials      alpha (1 - w.h)^2 on top of the background  Rendle et al. 2022, "Revisiting the Performance of iALS on
              (w.h)^2: C = background + alpha,            Item Recommendation Benchmarks", equation 2
              P = alpha / C
    raw       C = r, P = 1; a stored 0 removes the cell
    ========  ==========================================  =====================================================

    A negative count is a known negative: P = 0, with the weight of abs(r). Confidences far below the background in most
    cells (raw counts much smaller than a0) cost digits: use float64 there. The penalties are lam_i = lambda s_i^nu with
    s_i the total confidence of the row over all cells, mu_j likewise (Rendle et al. 2022, section 3.4).

    Parameters
    ----------
    factors : int
        Length d of the factor vectors.
    regularization : float
        lambda >= 0.
    regularization_exponent : float
        nu >= 0: 0 the same penalty for every row, 1 proportional to the row's total confidence.
    alpha : float
        Weight of an interaction, > 0.
    weighting : {"linear", "log", "ials", "raw"}
        How counts become confidence and preference, as above.
    log_epsilon : float
        eps of the log weighting, > 0.
    unobserved_weight : float
        a0 >= 0.
    user_background : {None, "uniform", "user"}
        a: uniform, or proportional to the user's number of items (Pan et al. 2008).
    item_background : {None, "uniform", "item", "popularity"}
        b: uniform, proportional to the number of users without the item (Pan et al. 2008), or to the square root of the
        number with it (He et al. 2016).
    iterations : int
        Epochs; each solves all users, then all items.
    solver : {"auto", "exact", "cg"}
        "exact": every row. "cg": `cg_steps` steps of preconditioned conjugate gradients from the row's last value,
        unless an exact solution takes no longer. "auto": the cheaper of the two for each row, with as many steps as its
        residual asks for, more precisely from epoch to epoch; exact throughout where data are so small that nothing
        would be gained. `history` says how many rows were solved how.
    cg_steps : int
        Steps a row of solver "cg". Where interactions weigh much more than the background, few steps are not enough.
    init_scale : float
        Factors start normal, of standard deviation init_scale / sqrt(d).
    dtype : {"float32", "float64"}
        Precision of factors and row solves. Sums over rows are float64 either way.
    num_threads : int, optional
        Threads; by default every core. The factors have the same bits for any number.
    random_state : int, numpy.random.Generator or None
        Seed of the starting factors.

    Attributes
    ----------
    user_factors, item_factors : (users, d) and (items, d) arrays of `dtype`, C-ordered
        Read-only on disk after ``load(..., mmap=True)``.
    history : list of EpochRecord
        One record an epoch: loss, its three parts, seconds, how rows were solved;
        ``pandas.DataFrame(model.history)`` makes a table.
    interactions : Interactions
        What was fitted: raw ids, and the items that `recommend` leaves out.
    config : WMFConfig
        The hyper-parameters.

    Raises
    ------
    InputError
        From every method, for what it cannot use; the model stays as it was.
    NotFittedError
        If there are no factors yet.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> counts = csr_array([[5, 3, 0], [4, 0, 0], [0, 0, 2]])
    >>> model = WMF(factors=2, iterations=5, random_state=0).fit(counts)
    >>> ids, scores = model.recommend([1, 2], N=2)
    >>> ids.tolist()
    [[1, 2], [0, 1]]
    """

    def __init__(
        self,
        factors: int = WMFConfig.factors,
        *,
        regularization: float = WMFConfig.regularization,
        regularization_exponent: float = WMFConfig.regularization_exponent,
        alpha: float = WMFConfig.alpha,
        weighting: str = WMFConfig.weighting,
        log_epsilon: float = WMFConfig.log_epsilon,
        unobserved_weight: float = WMFConfig.unobserved_weight,
        user_background: str | None = WMFConfig.user_background,
        item_background: str | None = WMFConfig.item_background,
        iterations: int = WMFConfig.iterations,
        solver: str = WMFConfig.solver,
        cg_steps: int = WMFConfig.cg_steps,
        init_scale: float = WMFConfig.init_scale,
        dtype: Any = WMFConfig.dtype,
        num_threads: int | None = WMFConfig.num_threads,
        random_state: Any = WMFConfig.random_state,
    ) -> None:
        given = locals()
        self.config = WMFConfig(**{name: given[name] for name in WMFConfig.names()})
        self._fitted: SavedModel | None = None

    def __repr__(self) -> str:
        changed = (
            f"{spec.name}={getattr(self.config, spec.name)!r}"
            for spec in fields(self.config)
            if getattr(self.config, spec.name) != spec.default
        )
        return f"WMF({', '.join(changed)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Hyper-parameters by name, as scikit-learn's tools expect; `deep` changes nothing."""
        return {name: getattr(self.config, name) for name in WMFConfig.names()}

    def set_params(self, **params: Any) -> WMF:
        """Change hyper-parameters; the factors stay until the next fit."""
        unknown = sorted(set(params) - set(WMFConfig.names()))
        if unknown:
            raise InputError(f"no hyper-parameter {unknown[0]!r}; there are {', '.join(WMFConfig.names())}")
        self.config = WMFConfig(**(self.get_params() | params))
        return self

    @classmethod
    def from_config(cls, config: WMFConfig) -> WMF:
        """Make an unfitted model with these hyper-parameters."""
        return cls(**{name: getattr(config, name) for name in WMFConfig.names()})

    def _state(self) -> SavedModel:
        if self._fitted is None:
            raise NotFittedError("this WMF has no factors yet: call fit first")
        return self._fitted

    @property
    def user_factors(self) -> Array:
        """Users' factors, (users, d)."""
        return self._state().user_factors

    @property
    def item_factors(self) -> Array:
        """Items' factors, (items, d)."""
        return self._state().item_factors

    @property
    def history(self) -> list[EpochRecord]:
        """One record an epoch of the last fit."""
        return self._state().history

    @property
    def interactions(self) -> Interactions:
        """The fitted data."""
        return self._state().interactions

    def fit(self, data: Any, *, track_loss: bool = True, progress: bool | None = None) -> WMF:
        """Fit the factors, starting afresh.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or array, or dense 2-D array
            Counts, users x items. Zeros of a dense array are not stored.
        track_loss : bool
            Compute the objective after each epoch (one more pass over the stored cells).
        progress : bool, optional
            Show a bar over the epochs on stderr; by default only on a terminal.

        Returns
        -------
        WMF
            The model itself.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second; the model then holds the last whole epoch's factors, or what it
            held before if there was none.
        """
        interactions = _as_interactions(data)
        problem = weigh(interactions.matrix, self.config)
        factors = initial_factors(interactions.shape, self.config)
        history: list[EpochRecord] = []
        disable = None if progress is None else not progress
        with tqdm(total=self.config.iterations, disable=disable, desc="fit", unit="epoch") as bar:
            try:
                for record, latest in epochs(problem, factors, self.config, track_loss=track_loss):
                    factors = latest
                    history.append(record)
                    if track_loss:
                        bar.set_postfix(loss=f"{record.loss:.6g}", refresh=False)
                    bar.update()
            except KeyboardInterrupt:
                if history:
                    self._fitted = SavedModel(self.config, *factors, interactions, history)
                raise
        self._fitted = SavedModel(self.config, *factors, interactions, history)
        return self

    def loss(self, data: Any = None) -> float:
        """Compute the objective of `data` (by default the fitted data) at the fitted factors.

        Exact, over all cells, in float64, in time proportional to the stored cells.

        Parameters
        ----------
        data : as for fit, optional
            Of the fitted shape.

        Returns
        -------
        float
        """
        state = self._state()
        interactions = state.interactions if data is None else _as_interactions(data)
        expected = (len(state.user_factors), len(state.item_factors))
        if interactions.shape != expected:
            raise InputError(f"data is {_shape(interactions.shape)}; the model was fitted on {_shape(expected)}")
        problem = weigh(interactions.matrix, state.config)
        return compute_loss(problem, state.user_factors, state.item_factors, self.config.num_threads).total

    def recommend(
        self,
        users: int | ArrayLike,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: ArrayLike | None = None,
        items: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Recommend the N items of highest predicted preference to each user, exactly.

        Parameters
        ----------
        users : int or (k,) array of int
            Row indices (positions, not raw ids).
        N : int
            Length of the lists.
        filter_already_liked_items : bool
            Leave out what the user has in the fitted data, known negatives included.
        filter_items : array of int, optional
            Items that are not to be recommended to anyone.
        items : array of int, optional
            The only items to choose from.

        Returns
        -------
        ids : (k, N) int32 array, or (N,) for one user
            Best first, ties to the smaller index. Lists that run short end in -1.
        scores : array of the same shape and of the factors' dtype
            w_i . h_j; NaN where the list has ended.
        """
        state = self._state()
        length = ranking.list_length(N)
        rows = ranking.check_indices("users", users, len(state.user_factors))
        ids, scores = ranking.recommend(
            np.ascontiguousarray(state.user_factors[rows]),
            state.item_factors,
            state.interactions.matrix[rows] if filter_already_liked_items else None,
            N=length,
            candidates=ranking.select_candidates(len(state.item_factors), items, filter_items),
            num_threads=self.config.num_threads,
        )
        return (ids[0], scores[0]) if np.ndim(users) == 0 else (ids, scores)

    def recommend_frame(
        self, user_ids: Any = None, N: int = 10, *, filter_already_liked_items: bool = True
    ) -> pd.DataFrame:
        """Recommend by raw ids.

        Parameters
        ----------
        user_ids : sequence of raw ids, or one id; optional
            By default every user.
        N : int
            Length of the lists.
        filter_already_liked_items : bool
            As in `recommend`.

        Returns
        -------
        pandas.DataFrame
            Columns user, item (raw ids), rank (from 1) and score; lists that run short have fewer rows.

        Raises
        ------
        InputError
            If a user is unknown; names the first ones.
        """
        data = self._state().interactions
        rows = np.arange(data.shape[0]) if user_ids is None else data.user_indices(user_ids)
        ids, scores = self.recommend(rows, N, filter_already_liked_items)
        found = ids >= 0
        positions, ranks = np.nonzero(found)
        return pd.DataFrame(
            {
                "user": data.users.take(rows[positions]),
                "item": data.items.take(ids[found]),
                "rank": ranks + 1,
                "score": scores[found],
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model, the data it recommends from included, as a folder at `path`.

        The folder appears whole or not at all; a model that is there already is replaced.
        """
        save_model(path, self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> WMF:
        """Read a model that `save` wrote; with `mmap` its arrays stay on disk, read-only and shared by processes.

        Raises
        ------
        InputError
            If there is no model at `path` or it is damaged; says what is wrong.
        """
        state = load_model(path, mmap=mmap)
        model = cls.from_config(state.config)
        model._fitted = state
        return model


def _as_interactions(data: Any) -> Interactions:
    return data if isinstance(data, Interactions) else Interactions.from_matrix(data)


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]} users x {shape[1]} items"
