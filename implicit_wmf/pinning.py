"""Answers from one fitted state, whatever another thread does to the model meanwhile."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def pinned(method: Callable[P, R]) -> Callable[P, R]:
    """Let a method of a model see the state that was fitted when it was called: it gets a shallow copy of the model."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        model, *others = args
        view = object.__new__(type(model))
        view.__dict__.update(model.__dict__.copy())
        return cast(Callable[..., R], method)(view, *others, **kwargs)

    return cast(Callable[P, R], run)
