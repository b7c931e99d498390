"""The errors a caller can mend."""

from __future__ import annotations


class InputError(ValueError):
    """What the caller gave cannot be used; the message names the place, the value met and the remedy."""


class NotFittedError(InputError, AttributeError):
    """A model was asked for something before it was fitted or loaded."""


class ClusterError(RuntimeError):
    """A cluster of machines failed in a way that waiting and moving work cannot mend; the message says how to go on."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed. Install it with: pip install 'implicit_wmf[{extra}]'"
        )
