"""What every estimator here shares: hyper-parameters, fitted factors, lists of recommendations, saved files."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import pandas as pd
from numpy.typing import NDArray

from . import _history, kernels
from ._bars import Bar
from .ann import Exporting
from .batch import BatchRecommending
from .checkpoints import Checkpoint
from .configured import ConfigT, Configured
from .errors import ClusterError, InputError, NotFittedError
from .interactions import Interactions
from .parameters import or_none, truth
from .persistence import ModelKind, SavedModel, load_model, save_model
from .scoring import Scoring
from .similarity import Similar
from .threads import single_threaded_blas, thread_limit
from .validation import Watch

Array = NDArray[Any]

_LOG = logging.getLogger(__name__)


class _Followed(NamedTuple):
    """How far a fit is; in one object, so that no interruption comes between its parts."""

    history: list[Any]
    reached: Any


class FactorModel(Configured[ConfigT], BatchRecommending, Scoring, Similar, Exporting):
    """Users' and items' factors whose inner products predict, and what can be done with them once they are fitted.

    Subclasses name the classes of their hyper-parameters and history records, and fit.
    """

    _record_type: ClassVar[type[Any]]

    _fitted: SavedModel | None = None

    def _follow(
        self,
        epochs: Iterable[tuple[Any, Any]],
        start: Any,
        keep: Callable[[Any, list[Any]], SavedModel],
        watch: Watch,
        *,
        total: int,
        progress: bool | None,
        checkpoint: Checkpoint | None = None,
        keeps_interrupted: bool = True,
    ) -> None:
        """Take in (history record, what was reached) after each epoch until `watch` ends it, with a bar on stderr.

        `keep` makes a fitted model of what was reached (`start` before any epoch) and of the history. After Ctrl-C, or
        where a handler of signals exits, the best epoch so far is kept, which without validation is the last whole one,
        unless told not to (`keeps_interrupted`).
        With a `checkpoint` what was reached is a NamedTuple of arrays, and `epochs` and `start` go on from what it had.
        """
        or_none(truth)("progress", progress)
        disk = checkpoint or Checkpoint()
        at = _Followed(disk.history, start)
        disable = None if progress is None else not progress

        def view() -> Any:
            return self._view(keep(at.reached, list(at.history)))

        def best() -> Any:
            return watch.best(at.history, at.reached)

        # held throughout: to find the BLAS libraries takes 2 ms, as long as an epoch of small data
        limits = thread_limit(getattr(self.config, "num_threads", None)), single_threaded_blas()
        bar = Bar(total=total, initial=len(at.history), disable=disable, desc="fit", unit="epoch")
        with limits[0], limits[1], disk.ending_on_sigterm(), bar:
            try:
                watch.rehearse(view)
                ended = watch.take_up(*at, disk.best, view)
                for record, latest in () if ended else epochs:
                    at = _Followed([*at.history, record], latest)
                    last = record.epoch == total
                    # before what an epoch that ends the fit is measured for: a fit that goes on would not measure it
                    watch.measure_due(*at, view)
                    disk.after_epoch(*at, best(), last=last)
                    ended = watch.ends(*at, view, last=last)
                    bar.set_postfix(_history.progress(at.history), refresh=False)
                    bar.update()
                    if ended:
                        disk.write(*at, best())
                        break
                watch.finish(*at, view)
            except ClusterError:
                disk.write(*at, best())
                raise
            except (KeyboardInterrupt, SystemExit):
                if at.history:
                    try:
                        disk.write(*at, best())  # first: to keep what was reached may take a while
                    finally:
                        if keeps_interrupted:
                            self._keep_interrupted(lambda: keep(best(), at.history))
                raise
            self._fitted = keep(best(), at.history)

    def _keep_interrupted(self, keep: Callable[[], SavedModel]) -> None:
        try:
            self._fitted = keep()
        except ClusterError as error:  # what interrupted the fit is what the caller is to hear of
            _LOG.warning("what the interrupted fit had reached cannot be had: %s", error)

    def _view(self, state: SavedModel) -> Self:
        """Make a model of the same class that reads a state and cannot write to it."""
        view = copy.copy(self)
        read_only = kernels.jit.read_only
        view._fitted = replace(
            state,
            user_factors=read_only(state.user_factors),
            item_factors=read_only(state.item_factors),
            extra={name: read_only(array) for name, array in state.extra.items()},
        )
        return view

    def _state(self) -> SavedModel:
        if self._fitted is None:
            raise NotFittedError(f"this {type(self).__name__} has no factors yet: call fit first")
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
    def history(self) -> list[Any]:
        """One record an epoch of the last fit."""
        return self._state().history

    @property
    def best_epoch(self) -> int:
        """The epoch of `history` whose factors the model has, counted from 1.

        With validation the first one with the highest value of its first metric, else the last one; 0 where there was
        no epoch.
        """
        return _history.best_epoch(self.history)

    def history_frame(self) -> pd.DataFrame:
        """Make a table of `history`: a row an epoch, with a column for each metric of the validation.

        Returns
        -------
        pandas.DataFrame
            NaN where a metric was not measured.
        """
        return _history.history_frame(self.history)

    @property
    def interactions(self) -> Interactions:
        """The fitted data."""
        return self._state().interactions

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model, the data it recommends from included, as a folder.

        Parameters
        ----------
        path : path-like
            The folder appears whole or not at all; a model that is there already is replaced.

        Raises
        ------
        InputError
            If the place cannot be written or holds something else than a model, or an id cannot be stored.
        """
        save_model(path, self._kind(), self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path-like
        mmap : bool, whether the arrays stay on disk, read-only and shared by processes

        Returns
        -------
        An estimator of this class.

        Raises
        ------
        InputError
            If there is no model at `path`, it is another class's, or it is damaged; says what is wrong.
        """
        state = load_model(path, cls._kind(), mmap=mmap)
        try:
            cls._check(state)
        except (KeyError, ValueError) as error:
            raise InputError(f"the saved model {path} is damaged: {error}") from error
        model = cls(**{name: getattr(state.config, name) for name in state.config.names()})
        model._fitted = state
        return model

    @staticmethod
    def _check(state: SavedModel) -> None:
        """Raise ValueError where what else the estimator keeps does not fit its factors."""

    @classmethod
    def _kind(cls) -> ModelKind:
        return ModelKind(cls.__name__, cls._config_type, cls._record_type)


def check_data_shape(name: str, shape: tuple[int, int], expected: tuple[int, int], whose: str) -> None:
    """Refuse data of another shape, naming both."""
    if shape != expected:
        raise InputError(
            f"{name} is {shape[0]} users x {shape[1]} items; {whose} {expected[0]} users x {expected[1]} items"
        )
