"""What of a saved model only its own estimator can check."""

from __future__ import annotations

from numpy.typing import DTypeLike

from ..persistence import SavedModel


def check_extra(state: SavedModel, name: str, dtype: DTypeLike, *shape: int | None) -> tuple[int, ...]:
    """Return an extra array's shape; ValueError if it is missing or of another form. None stands for any length."""
    array = state.extra.get(name)
    if array is None:
        raise ValueError(f"it lacks {name}")
    fits = array.ndim == len(shape) and all(
        wanted in (None, met) for wanted, met in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise ValueError(f"{name} is {array.dtype}{array.shape}, expected {dtype}{shape}")
    return array.shape
