"""Stores that cannot be read: errors whose messages are whole, to be passed on as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError


class UnreadableError(InputError):
    """A store, or a part of it, cannot be read now; that says nothing about its contents."""


class DamagedError(UnreadableError):
    """A store is not what was written."""


@contextmanager
def telling_damage(
    location: str, kinds: type[Exception] | tuple[type[Exception], ...] = (ValueError, OSError)
) -> Iterator[None]:
    """Let errors of these kinds say which store is damaged.

    Parameters
    ----------
    location : str
        Where the store is.
    kinds : Exception class or tuple of them

    Raises
    ------
    DamagedError
    UnreadableError
        For errors of the operating system.
    """
    try:
        yield
    except UnreadableError:
        raise
    except OSError as error:  # too many open files, a server of files that does not answer
        if not isinstance(error, kinds):
            raise
        raise UnreadableError(f"cannot read the store {location} now ({error}); mend that and try again") from error
    except kinds as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedError(f"the store {location} is damaged: {reason}; prepare it again") from error
