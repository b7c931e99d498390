"""What a search is asked for: the checks of it, and the words by which a study knows it again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .._config_file import config_values
from .._fingerprints import choice_digest
from ..config import WMFConfig
from ..errors import InputError
from ..evaluation import parse_metric
from ..interactions import as_interactions
from ..model import WMF
from ..validation import HeldOut, Removes, as_pair
from ..weightings import RAW
from .space import Space
from .trials import Judge


def as_config(config: Any) -> WMFConfig:
    """Return hyper-parameters, given as such or in a model."""
    if config is None:
        return WMFConfig()
    found = config.config if isinstance(config, WMF) else config
    if not isinstance(found, WMFConfig):
        raise InputError(
            f"config must be a WMFConfig or a WMF, such as WMFConfig(factors=64), got {type(config).__name__}"
        )
    return found


def seeded(config: WMFConfig, random_state: int) -> WMFConfig:
    """Return settings that can be fitted twice alike."""
    if isinstance(config.random_state, np.random.Generator):
        raise InputError("config: random_state is a generator, so no fit could be repeated; give a seed, such as 0")
    if config.iterations < 1:
        raise InputError(
            "config: iterations is 0, so nothing would be fitted; give the most epochs of a fit, such as 15"
        )
    return config if config.random_state is not None else replace(config, random_state=random_state)


def metric_name(metric: str) -> str:
    """Spell a metric as the history does."""
    try:
        return str(parse_metric(metric))
    except InputError as error:
        raise InputError(f"metric: {str(error).removeprefix('metrics: ')}") from error


def count_users(judge: Judge, config: WMFConfig, space: Space) -> int:
    """Count the users that a value is the mean of, and refuse what nothing can be judged by."""
    if judge.validation is None:
        raise InputError("validation is None; give held-out interactions, by which settings are judged")
    weightings = {config.weighting, *getattr(space.get("weighting"), "values", ())}
    pair = as_pair(judge.validation)
    known = judge.train if pair is None else as_interactions(pair[0], "validation[0]")
    if RAW in weightings and len(weightings) > 1 and (known.matrix.data == 0).any():
        raise InputError(
            "space: stored zeros may be recommended with weighting 'raw' and not with others, whose values could not "
            "be compared; leave either out, in config too, or drop the zeros from the data"
        )
    held_out = HeldOut.of(judge.train, judge.validation, judge.metric, Removes(zeros=config.zeros_remove))
    return int(held_out.users.size)


def described(judge: Judge, config: WMFConfig, space: Space, random_state: int) -> dict[str, Any]:
    """Describe what all trials have in common, by which a study is known again."""
    return {
        "train": _digest(judge.train),
        "validation": _digest(judge.validation),
        "metric": judge.metric,
        "patience": judge.patience,
        "random_state": random_state,
        "config": {name: _brief(value) for name, value in config_values(config).items()},
        "space": {name: repr(values) for name, values in space.items()},
    }


def _brief(value: Any) -> Any:
    """Return a fingerprint for the numbers of an array, which a study need not keep nor a message show."""
    return f"array {choice_digest(np.asarray(value))}" if isinstance(value, list) else value


def _digest(data: Any) -> list[str | None]:
    """Fingerprint of interactions, of a matrix, or of a pair of them."""
    pair = as_pair(data)
    if pair is not None:
        return [digest for part in pair for digest in _digest(part)]
    matrix = as_interactions(data).matrix
    return [choice_digest(matrix), choice_digest(matrix.data), str(matrix.shape)]
