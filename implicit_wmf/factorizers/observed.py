"""ObservedMF, the estimator of explicit ratings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..factor_model import FactorModel, check_data_shape
from ..parameters import truth
from ..persistence import SavedModel
from ..scoring import score_in_chunks
from ..validation import Callback, Watch
from .observed_config import ObservedMFConfig
from .observed_data import as_ratings
from .observed_training import Vectors, compute_loss, epochs, mean_rating, pose, start
from .records import IterationRecord
from .saved import check_extra

Array = NDArray[Any]


class ObservedMF(FactorModel[ObservedMFConfig]):
    """Matrix factorization of explicit ratings, over the observed cells only, by alternating least squares.

    With users i, items j, the mean rating mu, biases b, c and factors P (users x d), Q (items x d) it minimises

        1/2 sum_observed (r_ij - mu - b_i - c_j - p_i . q_j)^2
            + 1/2 sum_i n_i^nu (lambda |p_i|^2 + lambda_b b_i^2) + 1/2 sum_j n_j^nu (lambda |q_j|^2 + lambda_b c_j^2)

    with n_i, n_j the numbers of ratings of a row: nu = 0 is plain regularization, nu = 1 the weighted one of ALS-WR
    (Zhou et al. 2008, "Large-Scale Parallel Collaborative Filtering for the Netflix Prize"). Each half-sweep solves
    every row's factors and bias together and exactly, so the objective never rises. Cells that are not observed have no
    part in it: that nobody rated an item says nothing here. For data where it does, use :class:`implicit_wmf.WMF`.

    Parameters
    ----------
    factors : int
        Length d of the factor vectors.
    regularization : float
        lambda > 0, of the factors. The best value grows in proportion to the scale of the ratings. With 0, rows with
        fewer ratings than factors would have no unique solution; 1e-6, say, is next to none.
    bias_regularization : float
        lambda_b >= 0, of the biases, whatever the scale of the ratings.
    regularization_exponent : float
        nu >= 0: 0 the same penalty for every row, 1 proportional to the row's number of ratings.
    user_bias : bool
        Whether each user has a bias b_i; otherwise it is 0.
    item_bias : bool
        Whether each item has a bias c_j; otherwise it is 0.
    mean : bool
        Whether mu is the mean of the observed ratings; otherwise it is 0.
    iterations : int
        Epochs; each solves all users, then all items.
    init_scale : float
        Factors start normal, of standard deviation init_scale / sqrt(d); biases start at 0.
    dtype : {"float32", "float64"}
        Precision of factors, biases and row solves. The objective and `predict` are float64 either way.
    num_threads : int, optional
        Threads; by default every core. The factors have the same bits for any number.
    random_state : int, numpy.random.Generator or None
        Seed of the starting factors.

    Attributes
    ----------
    user_factors, item_factors : (users, d) and (items, d) arrays of `dtype`, C-ordered
        P and Q. A row without ratings is 0.
    user_biases, item_biases : (users,) and (items,) arrays of `dtype`
        b and c.
    rating_mean : float
        mu.
    history : list of IterationRecord
        One record an epoch: loss, seconds, metrics of the validation.
    best_epoch, interactions, config
        As in :class:`implicit_wmf.WMF`; `interactions` are the observed ratings.

    Raises
    ------
    InputError, NotFittedError
        As in :class:`implicit_wmf.WMF`.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> ratings = csr_array([[5, 4, 0, 1], [4, 0, 1, 1], [0, 5, 2, 0]])
    >>> model = ObservedMF(factors=2, regularization=0.1, random_state=0).fit(ratings)
    >>> model.predict([0, 2], [2, 3]).round().tolist()  # two pairs that nobody rated
    [1.0, 2.0]
    """

    _config_type = ObservedMFConfig
    _record_type = IterationRecord

    def __init__(
        self,
        factors: int = ObservedMFConfig.factors,
        *,
        regularization: float = ObservedMFConfig.regularization,
        bias_regularization: float = ObservedMFConfig.bias_regularization,
        regularization_exponent: float = ObservedMFConfig.regularization_exponent,
        user_bias: bool = ObservedMFConfig.user_bias,
        item_bias: bool = ObservedMFConfig.item_bias,
        mean: bool = ObservedMFConfig.mean,
        iterations: int = ObservedMFConfig.iterations,
        init_scale: float = ObservedMFConfig.init_scale,
        dtype: Any = ObservedMFConfig.dtype,
        num_threads: int | None = ObservedMFConfig.num_threads,
        random_state: Any = ObservedMFConfig.random_state,
    ) -> None:
        self._configure(locals())

    def fit(
        self,
        ratings: Any,
        *,
        observed: Any = None,
        validation: Any = None,
        metric: str | Iterable[str] = "ndcg@10",
        patience: int | None = 3,
        validate_every: int = 1,
        time_budget: float | None = None,
        callback: Callback | None = None,
        track_loss: bool = True,
        progress: bool | None = None,
    ) -> ObservedMF:
        """Fit factors and biases, starting afresh.

        Parameters
        ----------
        ratings : Interactions, scipy sparse matrix or array, or dense 2-D array
            Ratings, users x items. Every stored cell is observed, stored zeros too; of a dense array the cells in
            `observed`, and what is in the others (NaN, say) does not matter.
        observed : scipy sparse matrix, (users, items) array of bool, or tuple of two index arrays; optional
            The observed cells: the stored ones, the true ones, or those at (rows, columns). Needed for a dense array.
            A cell that `ratings` does not store is observed to be 0.
        validation, metric, patience, validate_every, time_budget, callback, track_loss, progress : optional
            As in :meth:`implicit_wmf.WMF.fit`; `validation` has the items that users should find first, not ratings
            to predict, and not users outside `ratings`.

        Returns
        -------
        ObservedMF
            The model itself.

        Raises
        ------
        InputError
            If nothing is observed, an observed rating is not a finite number, shapes do not fit, or a row has no finite
            solution in this precision.
        KeyboardInterrupt
            As in :meth:`implicit_wmf.WMF.fit`.
        """
        truth("track_loss", track_loss)
        data = as_ratings(ratings, observed)
        watch = Watch(
            data, validation=validation, metric=metric, patience=patience, validate_every=validate_every,
            time_budget=time_budget, callback=callback,
        )  # fmt: skip
        config = self.config
        mean = mean_rating(data.matrix) if config.mean else 0.0
        problem = pose(data.matrix, mean, config)
        begin = start(data.shape, config)

        def keep(reached: tuple[Vectors, Vectors], history: list[Any]) -> SavedModel:
            users, items = reached
            extra = {"user_biases": users.biases, "item_biases": items.biases, "rating_mean": np.array([mean])}
            return SavedModel(config, users.factors, items.factors, data, history, extra=extra)

        steps = epochs(problem, begin, config, track_loss=track_loss)
        self._follow(steps, begin, keep, watch, total=config.iterations, progress=progress)
        return self

    @property
    def user_biases(self) -> Array:
        """Users' biases, (users,); zeros if they are not fitted."""
        return self._state().extra["user_biases"]

    @property
    def item_biases(self) -> Array:
        """Items' biases, (items,); zeros if they are not fitted."""
        return self._state().extra["item_biases"]

    @property
    def rating_mean(self) -> float:
        """The mean rating that was subtracted; 0 if none was."""
        return float(self._state().extra["rating_mean"][0])

    def loss(self, ratings: Any = None, *, observed: Any = None) -> float:
        """Compute the objective of `ratings` (by default the fitted ones) at the fitted factors, in float64.

        Parameters
        ----------
        ratings, observed : as for fit, optional
            Of the fitted shape. The mean stays the fitted one; the penalties count these ratings.

        Returns
        -------
        float
        """
        state = self._state()
        if ratings is None and observed is not None:
            raise InputError("observed: give the ratings that it belongs to as well")
        data = state.interactions if ratings is None else as_ratings(ratings, observed)
        shape = (len(state.user_factors), len(state.item_factors))
        check_data_shape("ratings", data.shape, shape, "the model was fitted on")
        users = Vectors(state.user_factors, self.user_biases)
        items = Vectors(state.item_factors, self.item_biases)
        problem = pose(data.matrix, self.rating_mean, state.config)
        return compute_loss(problem, users, items, self.config.num_threads)

    def predict(self, users: ArrayLike, items: ArrayLike) -> Any:
        """Predict the ratings mu + b_i + c_j + p_i . q_j of pairs of users and items.

        For users and items without ratings, whose factors and bias are 0, what is known of the other side remains.

        Parameters
        ----------
        users, items : int or array of int
            As in :meth:`score`, which differs by no more than the rounding of the biases.

        Returns
        -------
        float64 array of their common shape, or float for two ints

        Raises
        ------
        InputError
            As in :meth:`score`.
        """
        state = self._state()

        def score(row: NDArray[np.int64], column: NDArray[np.int64]) -> Array:
            products = np.einsum("tk,tk->t", state.user_factors[row], state.item_factors[column], dtype=np.float64)
            biases = self.user_biases[row].astype(np.float64) + self.item_biases[column]
            return np.asarray(products + biases + self.rating_mean)

        return score_in_chunks(users, items, state.interactions.shape, score)

    def _scoring_factors(self, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        state = self._state()
        users, items = super()._scoring_factors(rows)
        own = self.user_biases[rows] + users.dtype.type(self.rating_mean)
        biases = self.item_biases
        of_items = state.derive("scoring", lambda: np.column_stack([items, np.ones_like(biases), biases]))
        return np.column_stack([users, own, np.ones_like(own)]), of_items

    @staticmethod
    def _check(state: SavedModel) -> None:
        """Check the biases and the mean of a loaded model."""
        check_extra(state, "user_biases", state.user_factors.dtype, len(state.user_factors))
        check_extra(state, "item_biases", state.item_factors.dtype, len(state.item_factors))
        check_extra(state, "rating_mean", "float64", 1)
