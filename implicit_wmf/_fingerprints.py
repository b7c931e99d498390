"""Fingerprints: whether two questions are the same, without keeping what they are about."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .persistence import SavedModel

_BYTES_AT_ONCE = 1 << 26  # between which Ctrl-C is seen


def model_digest(kind: str, state: SavedModel, items: str) -> str:
    """Fingerprint of all that lists are made from."""
    cells = state.interactions.matrix
    arrays = [state.user_factors, state.item_factors, cells.indptr, cells.indices, cells.data]
    if state.confidence is not None:
        arrays += [state.confidence.indptr, state.confidence.indices, state.confidence.data]
    arrays += [np.asarray(state.extra[name]) for name in sorted(state.extra)]
    weighting = getattr(state.config, "weighting", None)  # by it and the values, stored zeros are data or are not
    return digest(f"{kind} {weighting} {items}", *arrays)


def choice_digest(choice: Any) -> str | None:
    """Fingerprint of an allow-list or deny-list, None without one."""
    if choice is None:
        return None
    arrays = (choice.indptr, choice.indices) if sparse.issparse(choice) else (choice,)
    return digest("choice", *arrays)


def digest(label: str, *arrays: NDArray[Any]) -> str:
    fingerprint = hashlib.sha256(label.encode())
    for array in arrays:
        fingerprint.update(f"{array.dtype.str} {array.shape}".encode())
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, content.size, _BYTES_AT_ONCE):
            fingerprint.update(content[start : start + _BYTES_AT_ONCE].data)
    return fingerprint.hexdigest()
