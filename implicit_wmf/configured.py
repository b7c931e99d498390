"""What estimators do with their hyper-parameters, whatever they fit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

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
        self.config = cast(ConfigT, self._config_type(**{name: given[name] for name in names}))

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
        """Return the hyper-parameters by name, as scikit-learn's tools expect.

        Parameters
        ----------
        deep : bool, changes nothing

        Returns
        -------
        dict of str to object
        """
        return {name: getattr(self.config, name) for name in self.config.names()}

    def set_params(self, **params: Any) -> Self:
        """Change hyper-parameters; what was fitted stays until the next fit.

        Parameters
        ----------
        **params : new values by name

        Returns
        -------
        The model itself.

        Raises
        ------
        InputError
            For a name that is none, and a value outside its range.
        """
        unknown = sorted(set(params) - set(self.config.names()))
        if unknown:
            raise InputError(f"no hyper-parameter {unknown[0]!r}; there are {', '.join(self.config.names())}")
        self._configure(self.get_params() | params)
        return self

    @classmethod
    def from_config(cls, config: ConfigT) -> Self:
        """Make an unfitted model.

        Parameters
        ----------
        config : Config, such as another model's `config`

        Returns
        -------
        An estimator of this class.
        """
        return cls(**{name: getattr(config, name) for name in config.names()})
