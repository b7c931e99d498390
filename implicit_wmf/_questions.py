"""What the result of a fit depends on, as JSON: values, and fingerprints of arrays.

Two fits that ask the same question have the same result; if they do not, it can be said in what they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._fingerprints import digest
from .interactions import Interactions
from .parameters import Config, is_array
from .validation import Watch

Question = dict[str, Any]

# Settings that a fit may go on with others of: they do not change what an epoch comes to.
_FREE = ("iterations", "num_threads")
_GENERATOR = "a generator"


def fit_question(
    config: Config, data: Mapping[str, Any], confidence: csr_array | None, watch: Watch | None = None
) -> Question:
    """Return all that a fit depends on.

    Parameters
    ----------
    config : Config
        Its number of iterations and of threads left aside, because what an epoch comes to does not depend on them.
    data : dict
        Fingerprints of the data; `of_interactions` makes them.
    confidence : csr_array, optional
    watch : Watch, optional
        Whose validation decides which epoch is the best.
    """
    settings = {name: _setting(value) for name, value in config.plain().items() if name not in _FREE}
    weights = {"confidence": None if confidence is None else fingerprint(*_parts(confidence))}
    return settings | dict(data) | weights | (_validation(watch) if watch is not None else {})


def of_interactions(data: Interactions) -> Question:
    """Return fingerprints of cells and ids."""
    ids = {"user ids": data.users, "item ids": data.items}
    return {"data": fingerprint(*_parts(data.matrix))} | {name: _of_ids(index) for name, index in ids.items()}


def fingerprint(*arrays: NDArray[Any]) -> dict[str, str]:
    """Return what stands for arrays in a question."""
    return {"sha256": digest("", *arrays)}


def _of_ids(index: pd.Index) -> dict[str, str]:
    if isinstance(index, pd.RangeIndex):
        return fingerprint(np.array([index.start, index.stop, index.step]))
    return fingerprint(pd.util.hash_pandas_object(index, index=False).to_numpy())


def _parts(matrix: csr_array) -> list[NDArray[Any]]:
    return [np.array(matrix.shape), matrix.indptr, matrix.indices, matrix.data]


def _setting(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return _GENERATOR
    return fingerprint(value) if is_array(value) else value


def _validation(watch: Watch) -> Question:
    held_out = watch.held_out
    if held_out is None:
        return {"validation": None}
    targets, known = held_out.targets, held_out.user_items
    arrays = [held_out.users, targets.indptr, targets.indices, *([] if known is None else _parts(known))]
    validation = fingerprint(np.array([held_out.length]), *arrays)
    return {"validation": validation, "metric": list(held_out.metrics), "validate_every": watch.every}


def differences(there: Question, here: Question) -> list[str]:
    """Word what differs between the question that a checkpoint answers and the one that is asked."""
    found = []
    for name in there | here:
        old, new = there.get(name), here.get(name)
        if old == new:  # also of two generators: nobody can tell which draws they gave
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found.append(f"other {name}")
        else:
            found.append(f"{name} {_word(old)} there, {_word(new)} here")
    return found


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "given"
    return "none" if value is None else repr(value)
