"""Watching a fit: metrics on held-out interactions, patience, a time budget and a callback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from . import kernels
from ._csr import drop_cells, keep_cells
from ._history import best_epoch
from ._ids import same_ids
from .errors import InputError
from .evaluation.measuring import Cases
from .evaluation.metrics import parse_metrics, score_lists
from .interactions import Interactions, as_interactions
from .parameters import number, or_none, whole

Callback = Callable[[Any, Any], object]

# Users a question: their lists and cells are all that a validation holds besides the factors.
_BATCH = 4096


class Watch:
    """Decides after each epoch of a fit whether it is the last, and at the end which epoch's factors stay.

    What was measured stands in the history alone, so that a
    fit that is interrupted anywhere keeps the factors that its history calls the best.

    Parameters
    ----------
    train : Interactions
        The data of the fit.
    validation, metric, patience, validate_every, time_budget, callback
        As in :meth:`implicit_wmf.WMF.fit`.
    removes : Removes, optional
        Which of its cells the fit takes out of the objective; by default none.

    Raises
    ------
    InputError
        For whatever cannot be used, before the fit.
    """

    def __init__(
        self,
        train: Interactions,
        *,
        validation: Any = None,
        metric: str | Iterable[str] = "ndcg@10",
        patience: int | None = 3,
        validate_every: int = 1,
        time_budget: float | None = None,
        callback: Callback | None = None,
        removes: Removes | None = None,
    ) -> None:
        self._began = perf_counter()
        or_none(whole(1))("patience", patience)
        whole(1)("validate_every", validate_every)
        or_none(number(0, exclusive=True))("time_budget", time_budget)
        if callback is not None and not callable(callback):
            raise InputError(f"callback must be a function of (record, model), got {callback!r}")
        if validation is None:
            _refuse_changed(metric=metric, patience=patience, validate_every=validate_every)
        self.held_out = None if validation is None else HeldOut.of(train, validation, metric, removes or Removes())
        self._patience, self.every = patience, validate_every
        self._budget, self._callback = time_budget, callback
        self._copy: Any = None

    def rehearse(self, view: Callable[[], Any]) -> None:
        """Let a model that cannot fold users in say so before the first epoch."""
        if self.held_out is not None and self.held_out.user_items is not None:
            self.held_out.lists(view(), slice(0, 1))

    def take_up(self, history: list[Any], reached: Any, best: Any, view: Callable[[], Any]) -> bool:
        """Go on after an earlier fit's history; returns whether it had waited long enough for a better epoch.

        `best` is what the best epoch had reached, None if that was the last.
        """
        if self.held_out is None or not history:
            return False
        self._copy = best
        if history[-1].validation:
            self.keep(history, reached)
        else:  # interrupted before it was measured
            self.measure_due(history, reached, view)
        return self._waited(history)

    def measure_due(self, history: list[Any], reached: Any, view: Callable[[], Any]) -> None:
        """Measure the last record's epoch, if it is one of every so many; `view` makes a model of what it reached."""
        if self.held_out is not None and history[-1].epoch % self.every == 0:
            self._measure(history, reached, view())

    def ends(self, history: list[Any], reached: Any, view: Callable[[], Any], *, last: bool) -> bool:
        """Take in the last record's epoch."""
        if last:
            self.finish(history, reached, view)
        stopped = self._callback is not None and bool(self._callback(history[-1], view()))
        return stopped or self._waited(history) or self._spent()

    def finish(self, history: list[Any], reached: Any, view: Callable[[], Any]) -> None:
        """Measure the last epoch, if it was not one of every so many."""
        if self.held_out is not None and history and not history[-1].validation:
            self._measure(history, reached, view())

    def best(self, history: list[Any], reached: Any) -> Any:
        """Return what was reached in the best epoch."""
        return reached if not history or best_epoch(history) == history[-1].epoch else self._copy

    def _measure(self, history: list[Any], reached: Any, model: Any) -> None:
        """Put the metrics into the last record, and keep what was reached."""
        assert self.held_out is not None
        history[-1] = model.history[-1] = replace(history[-1], validation=self.held_out.measure(model))
        self.keep(history, reached)

    def keep(self, history: list[Any], reached: Any) -> None:
        """Copy what was reached, unless an earlier epoch was as good."""
        if best_epoch(history) == history[-1].epoch:
            self._copy = copy_into(self._copy, reached)

    def _waited(self, history: list[Any]) -> bool:
        if self._patience is None:
            return False
        best = best_epoch(history)
        return sum(1 for record in history if record.validation and record.epoch > best) >= self._patience

    def _spent(self) -> bool:
        return self._budget is not None and perf_counter() - self._began >= self._budget


def _refuse_changed(**given: Any) -> None:
    """Refuse arguments that say how to validate where nothing is validated."""
    defaults = Watch.__init__.__kwdefaults__ or {}
    for name, value in given.items():
        if type(value) is not type(defaults[name]) or value != defaults[name]:
            raise InputError(f"{name} is {value!r}, which has no effect without validation; give both or neither")


@dataclass(frozen=True)
class Removes:
    """Which stored cells are taken out of the objective, so that they may be recommended and asked for.

    Those of confidence 0 where there are confidences, else the stored zeros if they mean that (weighting "raw").
    """

    confidence: csr_array | None = None
    zeros: bool = False

    def drop(self, data: Interactions) -> Interactions:
        """Leave the removed cells out."""
        if self.confidence is not None:
            matrix = drop_cells(data.matrix, keep_cells(self.confidence, self.confidence.data == 0))
        elif self.zeros:
            matrix = keep_cells(data.matrix, data.matrix.data != 0)
        else:
            return data
        return Interactions(matrix, data.users, data.items)


@dataclass(frozen=True)
class HeldOut:
    """Users with held-out items, and the metrics to measure on them.

    A user's targets are the held-out pairs of positive value that the user does not have in training, as in
    :func:`implicit_wmf.evaluation.evaluate`; users without any, or with nothing in training, are left out. What a fit
    removes from the objective is not had: it may be recommended, so it may be a target.
    """

    users: NDArray[np.int64]
    targets: csr_array  # of these users, (users, items)
    user_items: csr_array | None  # what these users have, if they are not users of the fit
    metrics: tuple[str, ...]
    length: int  # of the lists

    @classmethod
    def of(
        cls, train: Interactions, validation: Any, metric: str | Iterable[str], removes: Removes | None = None
    ) -> HeldOut:
        """Check what `fit` was given; see there."""
        metrics, length = check_metrics(metric)
        removes, pair = removes or Removes(), as_pair(validation)
        if pair is None:
            known, held_out = removes.drop(train), _aligned("validation", validation, train)
            user_items = None
        else:
            fold_in, held_out = _folded(train, pair)
            known, user_items = Removes(zeros=removes.zeros).drop(fold_in), fold_in.matrix
        cases = Cases.find(known, held_out)
        users = cases.users
        if not users.size:
            raise InputError(
                f"validation: no user can be measured: of {known.shape[0]} users {cases.left_out['without_targets']} "
                f"have no new pair of positive value in it, and {cases.left_out['without_history']} others have no "
                f"pair in the data"
            )
        return cls(users, cases.targets[users], None if user_items is None else user_items[users], metrics, length)

    @property
    def pairs(self) -> int:
        """How many pairs are to be found."""
        return int(self.targets.nnz)

    def measure(self, model: Any) -> dict[str, float]:
        """Rank the whole catalogue, but for what users have already, and average each metric over the users."""
        values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self.metrics}
        for start in range(0, self.users.size, _BATCH):
            rows = slice(start, start + _BATCH)
            targets = self.targets[rows]
            scores = score_lists(self.lists(model, rows), targets.indptr, targets.indices, self.metrics)
            for name, of_users in scores.items():
                values[name].append(of_users)
        return {name: float(np.concatenate(parts).mean()) for name, parts in values.items()}

    def lists(self, model: Any, rows: slice) -> NDArray[np.int32]:
        """Ask a model for the lists of some of the users."""
        if self.user_items is None:
            ids, _ = model.recommend(self.users[rows], N=self.length)
        else:
            ids, _ = model.recommend(N=self.length, user_items=self.user_items[rows])
        return np.asarray(ids)


def copy_into(spare: Any, reached: Any) -> Any:
    """Copy an array, or tuples of arrays, into an earlier copy of the same shapes; without one into new memory."""
    if isinstance(reached, np.ndarray):
        copy = kernels.jit.aligned(reached.shape, reached.dtype) if spare is None else spare
        np.copyto(copy, reached)
        return copy
    spares = [None] * len(reached) if spare is None else spare
    parts = [copy_into(old, part) for old, part in zip(spares, reached, strict=True)]
    return type(reached)(*parts) if hasattr(reached, "_fields") else tuple(parts)


def check_metrics(metric: str | Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Return the metrics' names and the length of the lists they need; refuse what lists alone do not tell."""
    if not isinstance(metric, str | Iterable):
        raise InputError(f"metric must be a name such as 'ndcg@10', or several, got {metric!r}")
    try:
        parsed = parse_metrics(metric)
    except InputError as error:
        raise InputError(f"metric: {str(error).removeprefix('metrics: ')}") from error
    return tuple(map(str, parsed)), max(one.k for one in parsed)


def _aligned(name: str, given: Any, train: Interactions, of: str = "the data") -> Interactions:
    """Check that held-out interactions have the users and items of others, and give them those ids."""
    held_out = as_interactions(given, name)
    if held_out.shape != train.shape:
        raise InputError(
            f"{name} has shape {held_out.shape}, {of} {train.shape}; build both with the same users and items, as the "
            f"splits do"
        )
    for side in ("users", "items"):
        if not same_ids(getattr(held_out, side), getattr(train, side)):
            raise InputError(
                f"{name}.{side} are other ids than those of {of}, or in another order; build both with the same "
                f"{side}, as the splits do"
            )
    return Interactions(held_out.matrix, train.users, train.items)


def as_pair(validation: Any) -> tuple[Any, ...] | None:
    """Return what users outside training have and what they are to find, or None where it is not such a pair.

    A list of two matrices is one too; a list of two lists of numbers is a matrix of two users.
    """
    if isinstance(validation, tuple):
        return validation
    is_list = isinstance(validation, list) and len(validation) == 2
    return tuple(validation) if is_list and all(map(_is_matrix, validation)) else None


def _is_matrix(part: Any) -> bool:
    return isinstance(part, Interactions) or issparse(part) or (isinstance(part, np.ndarray) and part.ndim == 2)


def _folded(train: Interactions, pair: tuple[Any, ...]) -> tuple[Interactions, Interactions]:
    """Check what users who are not in training have, and what is held out of it."""
    if len(pair) != 2:
        raise InputError(f"validation is a tuple of {len(pair)}; give interactions, or a pair (fold_in, targets)")
    fold_in = as_interactions(pair[0], "validation[0]")
    if fold_in.shape[1] != train.shape[1]:
        raise InputError(f"validation[0] has {fold_in.shape[1]} items; the data have {train.shape[1]}, in their order")
    if not same_ids(fold_in.items, train.items):
        raise InputError("validation[0].items are other ids than those of the data, or in another order")
    return fold_in, _aligned("validation[1]", pair[1], fold_in, "validation[0]")
