"""WMF, the estimator."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from numpy.typing import ArrayLike

from ._questions import fit_question
from .checkpoints import Checkpoint
from .confidence import weigh
from .config import WMFConfig
from .errors import InputError
from .explaining import Explaining
from .factor_model import check_data_shape
from .folding import as_confidence
from .growing import Growing
from .in_memory import InMemory
from .interactions import as_interactions
from .parameters import truth
from .sharded import OutOfCore
from .store import Store
from .training import EpochRecord, compute_loss
from .validation import Callback, Removes, Watch


class WMF(Explaining, Growing):
    """Weighted matrix factorization by alternating least squares.

    With users i, items j, factors W (users x d) and H (items x d) it minimises

        f(W, H) = sum_ij C_ij (P_ij - w_i . h_j)^2  +  sum_i lam_i |w_i|^2  +  sum_j mu_j |h_j|^2

    over all cells, stored or not. Cells that are not stored have preference P = 0 and confidence C = a0 a_i b_j, the
    background: a0 is `unobserved_weight`, and a, b (of mean 1) are `user_background` and `item_background`. A stored
    count r has by default C = background + alpha r and P = 1 (Hu, Koren and Volinsky 2008, section 4);
    `weighting` has other ways. A negative count is a known negative:
    P = 0, with the weight of abs(r). ``fit(P, confidence=C)`` takes preferences
    and confidences themselves, of any pattern. Where rows store fewer than half of their cells, and confidences far
    below the background, float32 loses digits: use float64 there. The penalties are lam_i = lambda s_i^nu with s_i the
    total confidence of the row over all cells, mu_j likewise (Rendle et al. 2022, section 3.4).

    Parameters
    ----------
    factors : int
        Length d of the factor vectors.
    regularization : float
        lambda >= 0.
    user_regularization : float, optional
        lambda of the users' factors, in place of `regularization`.
    item_regularization : float, optional
        lambda of the items' factors, in place of `regularization`.
    regularization_exponent : float
        nu >= 0: 0 the same penalty for every row, 1 proportional to the row's total confidence.
    alpha : float
        Weight of an interaction, > 0.
    weighting : {"linear", "log", "ials", "raw"}
        How a count r becomes confidence and preference. "linear": as above. "log": C = background +
        alpha log(1 + r / eps), P = 1. "ials": alpha (1 - w.h)^2 on top of the background's (w.h)^2. "raw": C = r,
        P = 1, and a stored 0 removes the cell. Sources in :mod:`implicit_wmf.weightings`.
    log_epsilon : float
        eps of the log weighting, > 0.
    unobserved_weight : float
        a0 >= 0.
    user_background : {None, "uniform", "user"} or (users,) array
        a: uniform, proportional to the user's number of items (Pan et al. 2008), or any numbers >= 0 in the order of
        the data's users; scaled to mean 1. A user has the items of positive count or preference that weigh something.
    item_background : {None, "uniform", "item", "popularity"} or (items,) array
        b: uniform, proportional to the number of users without the item (Pan et al. 2008), to a power of the number
        with it (He et al. 2016), or any numbers >= 0 in the order of the data's items; scaled to mean 1.
    popularity_exponent : float
        That power, >= 0.
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
        Threads; by default every core the process may use, and no more than NUMBA_NUM_THREADS, OMP_NUM_THREADS or a
        container's limit say. The factors have the same bits for any number.
    random_state : int, numpy.random.Generator or None
        Seed of the starting factors.

    Attributes
    ----------
    user_factors, item_factors : (users, d) and (items, d) arrays of `dtype`, C-ordered
        Determined up to a rotation of both: compare products, not factors. Read-only on disk after
        ``load(..., mmap=True)``.
    history : list of EpochRecord
        One record an epoch: loss, its three parts, seconds, how rows were solved, metrics of the validation;
        ``model.history_frame()`` makes a table.
    best_epoch : int
        The epoch whose factors these are: the last one, but for a fit with validation.
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

    _config_type = WMFConfig
    _record_type = EpochRecord

    def __init__(
        self,
        factors: int = WMFConfig.factors,
        *,
        regularization: float = WMFConfig.regularization,
        user_regularization: float | None = WMFConfig.user_regularization,
        item_regularization: float | None = WMFConfig.item_regularization,
        regularization_exponent: float = WMFConfig.regularization_exponent,
        alpha: float = WMFConfig.alpha,
        weighting: str = WMFConfig.weighting,
        log_epsilon: float = WMFConfig.log_epsilon,
        unobserved_weight: float = WMFConfig.unobserved_weight,
        user_background: str | ArrayLike | None = WMFConfig.user_background,
        item_background: str | ArrayLike | None = WMFConfig.item_background,
        popularity_exponent: float = WMFConfig.popularity_exponent,
        iterations: int = WMFConfig.iterations,
        solver: str = WMFConfig.solver,
        cg_steps: int = WMFConfig.cg_steps,
        init_scale: float = WMFConfig.init_scale,
        dtype: Any = WMFConfig.dtype,
        num_threads: int | None = WMFConfig.num_threads,
        random_state: Any = WMFConfig.random_state,
    ) -> None:
        self._configure(locals())

    def fit(
        self,
        data: Any,
        *,
        confidence: Any = None,
        validation: Any = None,
        metric: str | Iterable[str] = "ndcg@10",
        patience: int | None = 3,
        validate_every: int = 1,
        time_budget: float | None = None,
        callback: Callback | None = None,
        track_loss: bool = True,
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 1,
        resume: bool = False,
        memory_limit: int | str | None = None,
        client: Any = None,
    ) -> WMF:
        """Fit the factors, starting afresh unless told to `resume`.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or array, dense 2-D array, or Store
            Counts, users x items; with `confidence` preferences, any real numbers. Zeros of a dense array are not
            stored. A :class:`implicit_wmf.store.Store` is fitted shard by shard in bounded memory: users are solved
            exactly, items by passes over all shards, and the users' factors stay in a file.
        confidence : Interactions, scipy sparse matrix or array, or dense 2-D array; optional
            Confidences >= 0 of the shape of `data`, in place of those that `weighting` makes from counts. Every cell of
            a dense array counts. Of two sparse ones the patterns may differ: a cell stored here only has preference 0,
            one stored in `data` only the background's confidence. A stored 0 removes the cell.
        validation : Interactions, or sparse or dense matrix, of the shape and ids of `data`; optional
            Held-out interactions, as the splits of :mod:`implicit_wmf.evaluation` return. After each epoch the whole
            catalogue, less a user's items in `data`, is ranked for the users with a new pair of positive value here,
            and the metrics go into `history`; they are those of :func:`implicit_wmf.evaluation.evaluate`. Cells that
            are removed from the objective are not in `data` in that sense: a confidence of 0 hides what is to be
            found. The model ends with the factors of the best epoch, bit for bit, of which one copy is held meanwhile.
            For users who are not in `data`, a pair (fold_in, targets) of such interactions: their factors are folded
            in.
        metric : str or sequence of str
            Metrics of the validation that are averages over users. The first decides which epoch is the best: the
            first one with the highest value. Neither it nor the next two may be given without validation.
        patience : int or None
            Stop when so many validations in a row were not better than the best; None runs all epochs.
        validate_every : int
            Validate after every so many epochs, and after the last one.
        time_budget : float, optional
            Seconds of wall time, without the conversion of `data`: no epoch begins later. So the fit takes longer by
            less than one epoch and its validation; the first epoch always runs.
        callback : function (record, model) -> bool or None, optional
            Called after each epoch, and its validation; a true value ends the fit. `model` is a fitted model of its
            own with this epoch's factors, which are overwritten later: copy or save what is to last. The model under
            fit is as it was before until the fit ends, also if the callback raises an exception.
        track_loss : bool
            Compute the objective after each epoch (one more pass over the stored cells).
        progress : bool, optional
            Show a bar over the epochs on stderr; by default only on a terminal.
        checkpoint : path-like, optional
            Folder to write all that is needed to go on to, after every so many epochs, after the last one, and on
            Ctrl-C and SIGTERM. It appears whole or not at all, and the one before stays until it is complete. It is
            left there when the fit ends, because the model is not saved yet: remove it then.
        every : int
            Write a checkpoint after every so many epochs.
        resume : bool
            Go on from the checkpoint, if there is one, else start afresh; without it a checkpoint that is there is
            refused. The result has the same bits as that of a fit that was not interrupted. Data, confidence,
            validation, metric, validate_every and hyper-parameters must be those of the checkpoint; only `num_threads`
            and `iterations`, the epochs to be done in all, may differ, so that more of them continue a fit that had
            ended. A generator as `random_state` is not drawn from again, `time_budget` counts anew, and `callback` is
            called for the epochs that follow.
        memory_limit : int or str, optional
            Of a fit to a store: bytes, or text such as "4GB", that the process is to stay below; on a cluster each
            process of it.
        client : distributed.Client, optional
            Of a Dask cluster that fits the store, which its workers open where this process has it (a path or URL that
            all of them can read). The result has the same bits as without it, for any number of workers, also when some
            die or come meanwhile. Users' factors come here when the fit ends, and for each validation and callback.

        Returns
        -------
        WMF
            The model itself.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second; the model then holds the last whole epoch's factors, with
            validation the best epoch's so far, or what it held before if there was none; or what it held before if a
            `client` fitted with a checkpoint, which has all.
        SystemExit
            On SIGTERM likewise, with exit code 143, in a fit with a checkpoint in the main thread of a program that has
            no handler of its own.
        InputError
            For what cannot be used, a checkpoint that is there without `resume`, that is damaged or of another fit
            (says which file, or what differs), and one that cannot be written; for a store that is damaged, and a
            `memory_limit` that cannot be kept, with what is needed.
        ClusterError
            If the scheduler is gone, or no worker is left or comes back; the checkpoint is as it was.
        MissingExtraError
            For a `client` without Dask.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> train, held_out = csr_array([[5, 3, 0], [4, 0, 0], [0, 0, 2]]), csr_array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
        >>> model = WMF(factors=2, iterations=50, random_state=0)
        >>> model.fit(train, validation=held_out, metric="hit@1", patience=2).history[-1].validation
        {'hit@1': 1.0}
        >>> len(model.history), model.best_epoch
        (4, 2)
        """
        truth("track_loss", track_loss)
        disk = Checkpoint(checkpoint, every=every, resume=resume)
        config = self.config.snapshot()
        weights, job = self._job(data, confidence, config, memory_limit, client)
        watch = Watch(
            job.interactions, validation=validation, metric=metric, patience=patience, validate_every=validate_every,
            time_budget=time_budget, callback=callback, removes=Removes(weights, zeros=config.zeros_remove),
        )  # fmt: skip
        resumed = disk.take_up(
            lambda: fit_question(config, job.question(), weights, watch),
            config.iterations,
            job.outline(),
            EpochRecord,
        )
        start = resumed or job.start()
        self._follow(
            job.epochs(start, done=len(disk.history), track_loss=track_loss),
            start,
            job.keep,
            watch,
            total=config.iterations,
            progress=progress,
            checkpoint=disk,
            # the users' factors would have to be solved again: the checkpoint is there for that
            keeps_interrupted=client is None or checkpoint is None,
        )
        return self

    def _job(
        self, data: Any, confidence: Any, config: WMFConfig, memory_limit: int | str | None, client: Any
    ) -> tuple[Any, Any]:
        """Take in what is fitted; returns canonical confidences, or None, and an InMemory or OutOfCore."""
        if isinstance(data, Store):
            if confidence is not None:
                raise InputError("confidence: a store has counts, which weighting turns into confidences; leave it out")
            return None, OutOfCore(data, config, memory_limit, client)
        if memory_limit is not None:
            raise InputError(f"memory_limit is {memory_limit!r}, which has no effect on data in memory; leave it out")
        if client is not None:
            raise InputError("client: a cluster fits a store, which its workers can open; prepare one of these data")
        interactions = as_interactions(data)
        weights = None if confidence is None else as_confidence(confidence, interactions)
        return weights, InMemory(interactions, config, weights)

    def loss(self, data: Any = None, *, confidence: Any = None) -> float:
        """Compute the objective of `data` (by default the fitted data) at the fitted factors.

        Exact, over all cells, in float64, in time proportional to the stored cells.

        Parameters
        ----------
        data, confidence : as for fit, optional
            Of the fitted shape.

        Returns
        -------
        float
        """
        state = self._state()
        if data is None and confidence is not None:
            raise InputError("confidence: give the data that it belongs to as well")
        interactions = state.interactions if data is None else as_interactions(data)
        expected = (len(state.user_factors), len(state.item_factors))
        check_data_shape("data", interactions.shape, expected, "the model was fitted on")
        weights = state.confidence if data is None else None
        if confidence is not None:
            weights = as_confidence(confidence, interactions)
        problem = weigh(interactions.matrix, state.config, weights)
        return compute_loss(problem, state.user_factors, state.item_factors, self.config.num_threads).total
