"""What estimators do with their hyper-parameters, whatever they fit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from .errors import InputError
from .parameters import Config, is_array

ConfigT = TypeVar("ConfigT", bound=Config)


class Configured(Generic[ConfigT]):
    """Hyper-parameters of an estimator, with the methods that scikit-learn's tools expect."""

    _config_type: ClassVar[type[Config]]

    config: ConfigT

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
        """Change hyper-parameters; what was fitted stays until the next fit."""
        unknown = sorted(set(params) - set(self.config.names()))
        if unknown:
            raise InputError(f"no hyper-parameter {unknown[0]!r}; there are {', '.join(self.config.names())}")
        self._configure(self.get_params() | params)
        return self

    @classmethod
    def from_config(cls, config: ConfigT) -> Self:
        """Make an unfitted model with these hyper-parameters."""
        return cls(**{name: getattr(config, name) for name in config.names()})
