"""What every estimator here shares: hyper-parameters, fitted factors, lists of recommendations, saved files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from tqdm import tqdm

from . import ranking
from .errors import InputError, NotFittedError
from .interactions import Interactions
from .parameters import Config, is_array
from .persistence import ModelKind, SavedModel, load_model, save_model

Array = NDArray[Any]
ConfigT = TypeVar("ConfigT", bound=Config)


class FactorModel(Generic[ConfigT]):
    """Users' and items' factors whose inner products predict, and what can be done with them once they are fitted.

    Subclasses name the classes of their hyper-parameters and history records, and fit.
    """

    _config_type: ClassVar[type[Config]]
    _record_type: ClassVar[type[Any]]

    config: ConfigT
    _fitted: SavedModel | None = None

    def _configure(self, given: dict[str, Any]) -> None:
        """Take the hyper-parameters from the constructor's local variables."""
        names = self._config_type.names()
        self.config = self._config_type(**{name: given[name] for name in names})  # type: ignore[assignment]

    def __repr__(self) -> str:
        changed = []
        for spec in fields(self.config):
            value = getattr(self.config, spec.name)
            if is_array(value):
                changed.append(f"{spec.name}=<{np.size(value)} numbers>")
            elif value != spec.default:
                changed.append(f"{spec.name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Hyper-parameters by name, as scikit-learn's tools expect; `deep` changes nothing."""
        return {name: getattr(self.config, name) for name in self.config.names()}

    def set_params(self, **params: Any) -> Self:
        """Change hyper-parameters; the factors stay until the next fit."""
        unknown = sorted(set(params) - set(self.config.names()))
        if unknown:
            raise InputError(f"no hyper-parameter {unknown[0]!r}; there are {', '.join(self.config.names())}")
        self._configure(self.get_params() | params)
        return self

    @classmethod
    def from_config(cls, config: ConfigT) -> Self:
        """Make an unfitted model with these hyper-parameters."""
        return cls(**{name: getattr(config, name) for name in config.names()})

    def _follow(
        self,
        epochs: Iterable[tuple[Any, Any]],
        start: Any,
        keep: Callable[[Any, list[Any]], SavedModel],
        *,
        total: int,
        progress: bool | None,
    ) -> None:
        """Take in (history record, what was reached) after each epoch, with a bar on stderr.

        `keep` makes a fitted model of what was reached (`start` before any epoch) and of the history. After Ctrl-C the
        last whole epoch is kept.
        """
        history: list[Any] = []
        reached = start
        disable = None if progress is None else not progress
        with tqdm(total=total, disable=disable, desc="fit", unit="epoch") as bar:
            try:
                for record, latest in epochs:
                    reached = latest
                    history.append(record)
                    if not np.isnan(record.loss):
                        bar.set_postfix(loss=f"{record.loss:.6g}", refresh=False)
                    bar.update()
            except KeyboardInterrupt:
                if history:
                    self._fitted = keep(reached, history)
                raise
        self._fitted = keep(reached, history)

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
    def interactions(self) -> Interactions:
        """The fitted data."""
        return self._state().interactions

    def _scoring_factors(self, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        """Vectors of these users and of all items whose inner products are the scores."""
        state = self._state()
        return np.ascontiguousarray(state.user_factors[rows]), state.item_factors

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
            Leave out what the user has in the fitted data, known negatives included; cells that a confidence of 0 took
            out of the data may be recommended.
        filter_items : array of int, optional
            Items that are not to be recommended to anyone.
        items : array of int, optional
            The only items to choose from.

        Returns
        -------
        ids : (k, N) int32 array, or (N,) for one user
            Best first, ties to the smaller index. Lists that run short end in -1.
        scores : array of the same shape and of the factors' dtype
            The prediction, w_i . h_j; NaN where the list has ended.
        """
        state = self._state()
        length = ranking.list_length(N)
        rows = ranking.check_indices("users", users, len(state.user_factors))
        vectors, item_vectors = self._scoring_factors(rows)
        ids, scores = ranking.recommend(
            vectors,
            item_vectors,
            _liked(state, rows) if filter_already_liked_items else None,
            N=length,
            candidates=ranking.select_candidates(len(item_vectors), items, filter_items),
            num_threads=getattr(self.config, "num_threads", None),
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
        save_model(path, self._kind(), self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """Read a model that `save` wrote; with `mmap` its arrays stay on disk, read-only and shared by processes.

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


def as_interactions(data: Any) -> Interactions:
    """Take interactions as they are, and a matrix as interactions without ids."""
    return data if isinstance(data, Interactions) else Interactions.from_matrix(data)


def check_data_shape(name: str, shape: tuple[int, int], expected: tuple[int, int], whose: str) -> None:
    """Refuse data of another shape, naming both."""
    if shape != expected:
        raise InputError(
            f"{name} is {shape[0]} users x {shape[1]} items; {whose} {expected[0]} users x {expected[1]} items"
        )


def _liked(state: SavedModel, rows: NDArray[np.int64]) -> csr_array:
    """Cells of these users in the fitted data, without those that were removed from it."""
    seen = state.interactions.matrix[rows]
    if state.confidence is None:
        return seen
    removed = state.confidence[rows]
    cells = [np.repeat(np.arange(len(rows)), np.diff(m.indptr)) * m.shape[1] + m.indices for m in (seen, removed)]
    kept = ~np.isin(cells[0], cells[1][removed.data == 0])
    ends = np.concatenate([[0], np.cumsum(kept)])
    return csr_array((seen.data[kept], seen.indices[kept], ends[seen.indptr]), shape=seen.shape)
