"""Optuna, imported when a search begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import MissingExtraError


def optuna() -> Any:
    """Return the package, or say how to install it."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "tune", "Tuning") from error
    return optuna


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's messages of each study and trial, and restore what the caller had set."""
    logging = optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.set_verbosity(before)
