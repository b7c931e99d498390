"""What every estimator here shares: hyper-parameters, fitted factors, lists of recommendations, saved files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .ann import Exporting
from .batch import BatchRecommending
from .errors import InputError, NotFittedError
from .interactions import Interactions
from .parameters import Config, is_array
from .persistence import ModelKind, SavedModel, load_model, save_model
from .scoring import Scoring
from .similarity import Similar
from .threads import single_threaded_blas, thread_limit

Array = NDArray[Any]
ConfigT = TypeVar("ConfigT", bound=Config)


class FactorModel(BatchRecommending, Scoring, Similar, Exporting, Generic[ConfigT]):
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
        # held throughout: to find the BLAS libraries takes 2 ms, as long as an epoch of small data
        limits = thread_limit(getattr(self.config, "num_threads", None)), single_threaded_blas()
        with limits[0], limits[1], tqdm(total=total, disable=disable, desc="fit", unit="epoch") as bar:
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
