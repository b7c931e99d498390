"""SymmetricMF: one matrix of factors for both sides of a square matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._csr import join_cells
from ..errors import InputError
from ..factor_model import FactorModel
from ..interactions import Interactions, as_interactions
from ..objectives import SymmetricSquares
from ..parameters import Config, number, or_none, parameter, random_state, whole
from ..persistence import SavedModel
from ..threads import single_threaded_blas, thread_limit
from ..validation import Callback, Watch
from .records import IterationRecord
from .saved import check_extra
from .symmetric_objectives import Penalized, SymmetricObjective, UnweightedSymmetricSquares
from .symmetric_starts import SymmetricProblem, run_starts

# Between them squares, and sums of as many as fit in memory, are numbers of full precision.
_SMALLEST, _LARGEST = 1e-140, 1e140


@dataclass(frozen=True, eq=False)
class SymmetricMFConfig(Config):
    """Hyper-parameters of :class:`SymmetricMF`, checked when made; see there for meanings."""

    factors: int = parameter(8, whole(1, below=2**31), "Length r of the factor vectors.")
    regularization: float = parameter(0.0, number(0), "Strength lambda of the L2 penalty on the factors.")
    starts: int = parameter(5, whole(1), "Random starts, of which the best is kept.")
    iterations: int = parameter(1000, whole(1), "L-BFGS iterations a start, at most.")
    tolerance: float = parameter(1e-8, number(0), "Norm of the gradient, relative to the data, at which a start ends.")
    init_scale: float = parameter(
        1.0, number(0, exclusive=True), "Size of the starting factors, as a multiple of the one that fits best."
    )
    num_threads: int | None = parameter(None, or_none(whole(1)), "Threads to use; by default every core.")
    random_state: Any = parameter(None, random_state, "Seed of the starting factors.")


class SymmetricMF(FactorModel[SymmetricMFConfig]):
    """Weighted symmetric matrix factorization by L-BFGS from several starts.

    With one matrix of factors G (n x r) it minimises

        f(G) = |R - P o (G G')|^2 + lambda |G|^2  =  sum_ij (R_ij - P_ij g_i . g_j)^2  +  lambda sum_i |g_i|^2

    over all cells (|.| is the Frobenius norm), for square R and P that need not be symmetric. P scales the prediction:
    for weights w_ij >= 0 on squared errors against targets t, give P = sqrt(w) and R = sqrt(w) o t. Cells of P that are
    0 or not stored predict 0 whatever G is, so R adds a constant there. Without P all weights are 1, and a sparse R is
    0 where it stores nothing: unless it stores more than half of its cells, nothing n x n is formed then.

    f depends on G only through G G' (|G|^2 is its trace), so for any P the factors are determined at best up to a
    rotation (G Q for any orthogonal Q; the sign, for r = 1), and groups of rows that no cell of P ties together up to a
    rotation each. G G' has no negative eigenvalues: of an R that has some, that part stays. f is not convex and can
    have several local minima, hence the starts.

    Parameters
    ----------
    factors : int
        r, the length of the factor vectors.
    regularization : float
        lambda >= 0.
    starts : int
        Random starts; the factors of the lowest objective are kept. The first k are the same for any number of starts.
    iterations : int
        L-BFGS iterations a start, at most.
    tolerance : float
        A start ends where the gradient is not longer than this, once f is divided by |R|^2 and G by the square root of
        |R| n / |P| (R where P is not 0), or where rounding lets f fall no further.
    init_scale : float
        G starts normal, scaled to the lowest objective (where 0 is lowest: so that P o (G G') is about as large as R),
        times this.
    num_threads : int, optional
        Threads; by default every core. The factors have the same bits for any number.
    random_state : int, numpy.random.Generator or None
        Seed of the starting factors.

    Attributes
    ----------
    G : (n, r) float64 array, C-ordered
        The factors; `user_factors` and `item_factors` too. Rows that P ties to nothing are 0. Read-only on disk after
        ``load(..., mmap=True)``.
    history : list of IterationRecord
        One record an iteration of the best start: objective and seconds.
    start_losses : (starts,) float64 array
        The objective that each start reached; fewer after Ctrl-C.
    interactions : Interactions
        R. `recommend` leaves out the item itself and the cells that R stores, except where P stores 0.

    Raises
    ------
    InputError, NotFittedError
        As in :class:`implicit_wmf.WMF`.

    Notes
    -----
    Without regularization nothing keeps the factors small: where P is 0 in some cells (the diagonal, say) and few
    others tie a row down, f can have its lowest values at infinity. Starts then run until `iterations` ends them, and
    what they predict where P is 0 is far off.

    Without P, where at most half of the cells are stored, the cells that are not come as a difference of two sums,
    |G'G|^2 less the stored cells' part: the objective is exact to rounding of |R|^2, not of itself, which limits a
    perfect fit to about 1e-8 of the size of G.

    Examples
    --------
    >>> import numpy as np
    >>> from implicit_wmf.factorizers import SymmetricMF
    >>> model = SymmetricMF(factors=1, random_state=0).fit(np.array([[1.0, 2.0], [2.0, 4.0]]))
    >>> (model.G @ model.G.T).round(6).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """

    _config_type = SymmetricMFConfig
    _record_type = IterationRecord

    def __init__(
        self,
        factors: int = SymmetricMFConfig.factors,
        *,
        regularization: float = SymmetricMFConfig.regularization,
        starts: int = SymmetricMFConfig.starts,
        iterations: int = SymmetricMFConfig.iterations,
        tolerance: float = SymmetricMFConfig.tolerance,
        init_scale: float = SymmetricMFConfig.init_scale,
        num_threads: int | None = SymmetricMFConfig.num_threads,
        random_state: Any = SymmetricMFConfig.random_state,
    ) -> None:
        self._configure(locals())

    def fit(
        self,
        R: Any,
        P: Any = None,
        *,
        time_budget: float | None = None,
        callback: Callback | None = None,
        track_loss: bool = True,
        progress: bool | None = None,
    ) -> SymmetricMF:
        """Fit the factors, starting afresh.

        Parameters
        ----------
        R : Interactions, scipy sparse matrix or array, or dense 2-D array, (n, n)
            Targets, any real numbers; where both sides have ids, they are the same in the same order.
        P : Interactions, scipy sparse matrix or array, or dense 2-D array, (n, n); optional
            Weights of the predictions, any real numbers.
        time_budget, callback, track_loss, progress : optional
            As in :meth:`implicit_wmf.WMF.fit`, starts for epochs. The callback's record says what start it was and the
            lowest objective so far, and its model has the factors of the best start so far. The method needs the
            objective, tracked or not.

        Returns
        -------
        SymmetricMF
            The model itself.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; the model then holds the best of the starts that had ended, or what it held before if none had.
        """
        data = _square("R", R)
        watch = Watch(data, time_budget=time_budget, callback=callback)
        weights = None if P is None else _weights(P, data)
        self._follow(
            run_starts(_problem(data, weights, self.config), self.config),
            None,
            lambda best, _: SavedModel(
                self.config, best.G, best.G, data, best.history, weights, {"start_losses": best.start_losses}
            ),
            watch,
            total=self.config.starts,
            progress=progress,
        )
        return self

    @property
    def G(self) -> NDArray[Any]:
        """The factors, (n, r)."""
        return self._state().item_factors

    @property
    def start_losses(self) -> NDArray[Any]:
        """The objective that each start reached, (starts,)."""
        return self._state().extra["start_losses"]

    def loss(self, R: Any = None, P: Any = None) -> float:
        """Compute the objective of R and P (by default the fitted ones) at the fitted factors.

        Parameters
        ----------
        R, P : as for fit, optional
            Of the fitted shape. R without P has weights 1.

        Returns
        -------
        float
        """
        state = self._state()
        if R is None and P is not None:
            raise InputError("P: give the R that it belongs to as well")
        data, weights = state.interactions, state.confidence
        if R is not None:
            data = _square("R", R)
            if data.shape != state.interactions.shape:
                raise InputError(f"R has shape {data.shape}; the model was fitted on {state.interactions.shape}")
            weights = None if P is None else _weights(P, data)
        with thread_limit(self.config.num_threads), single_threaded_blas():
            return _objective(data, weights, state.config).value(np.array(state.item_factors))

    def _liked(self, rows: NDArray[np.int64]) -> csr_array:
        """Cells of these things as in the base, and each thing itself."""
        shape = (rows.size, len(self.item_factors))
        themselves = csr_array((np.ones(rows.size), rows, np.arange(rows.size + 1)), shape=shape)
        return join_cells(super()._liked(rows), themselves)

    @staticmethod
    def _check(state: SavedModel) -> None:
        """Check the starts' objectives of a loaded model, and that both sides have the same factors."""
        check_extra(state, "start_losses", "float64", None)
        if not np.array_equal(state.user_factors, state.item_factors):
            raise ValueError("user_factors.npy and item_factors.npy differ, which are both G")


def _problem(data: Interactions, weights: csr_array | None, config: SymmetricMFConfig) -> SymmetricProblem:
    """Take the objective with what starts need; refuse data in which nothing can be fitted."""
    n = data.shape[0]
    R = data.matrix.astype(np.float64)
    if weights is None:
        tied, scale = np.ones(n, dtype=bool), 1.0
    else:
        nonzero = weights != 0
        R, tied = R.multiply(nonzero), nonzero.sum(axis=0) + nonzero.sum(axis=1) > 0
        scale = _norm("P", weights.data) / n
    if not R.data.any():
        raise InputError(f"nothing to fit: no cell where {'R is' if weights is None else 'both R and P are'} not 0")
    return SymmetricProblem(_objective(data, weights, config), tied, _norm("R", R.data), scale)


def _norm(name: str, values: NDArray[Any]) -> float:
    largest = float(np.abs(values).max(initial=0))
    if largest and not _SMALLEST < largest < _LARGEST:
        raise InputError(f"{name} has values up to {largest:g}, whose squares float64 cannot add up; scale it")
    return float(np.sqrt((values**2).sum()))  # not BLAS, whose threads would show in the last bits


def _objective(data: Interactions, weights: csr_array | None, config: SymmetricMFConfig) -> SymmetricObjective:
    squares = _squares(data, weights)
    return Penalized(squares, config.regularization) if config.regularization else squares


def _squares(data: Interactions, weights: csr_array | None) -> SymmetricObjective:
    if weights is not None:
        return SymmetricSquares(data.matrix, weights)
    n = data.shape[0]
    if 2 * data.nnz > n * n:  # cell by cell takes no more memory than twice the data's, and nothing cancels
        return SymmetricSquares(data.matrix, np.ones((n, n)))
    return UnweightedSymmetricSquares(data.matrix)


def _square(name: str, matrix: Any, *, keep_zeros: bool = False) -> Interactions:
    """Convert a matrix whose rows and columns are the same things."""
    data = as_interactions(matrix, name, keep_zeros=keep_zeros)
    if data.shape[0] != data.shape[1]:
        raise InputError(f"{name} has shape {data.shape}; it must be square, because rows and columns share factors")
    if not _agree(data.users, data.items):
        raise InputError(
            f"{name}: its users are not its items in the same order; build it with the same ids as users and as items"
        )
    return data


def _agree(one: pd.Index, other: pd.Index) -> bool:
    """Whether ids are the same in the same order, as far as both sides have any."""
    return isinstance(one, pd.RangeIndex) or isinstance(other, pd.RangeIndex) or bool(one.equals(other))


def _weights(P: Any, data: Interactions) -> csr_array:
    """Convert weights that belong to R; every cell of a dense array is stored, zeros too."""
    weights = _square("P", P, keep_zeros=True)
    if weights.shape != data.shape:
        raise InputError(f"P has shape {weights.shape}, R {data.shape}; give a weight for every cell of R")
    if not (_agree(weights.users, data.users) and _agree(weights.items, data.items)):
        raise InputError("P: its ids are not those of R, in the same order")
    return weights.matrix
