"""What a system must have for a test: the marks of tests that not every system can run, each with its reason."""

import sys

import pytest

# By the names that a page of the documentation may ask for in its front matter.
SYSTEMS = {"posix": sys.platform != "win32", "linux": sys.platform == "linux"}


def needs_posix(reason):
    """Mark what cannot be run on Windows."""
    return pytest.mark.skipif(not SYSTEMS["posix"], reason=f"Windows {reason}")


def needs_linux(reason):
    """Mark what can be run on Linux alone."""
    return pytest.mark.skipif(not SYSTEMS["linux"], reason=f"needs Linux: {reason}")


SIGNALS = needs_posix("sends no signals from one process to another")
LINKS = needs_posix("lets few people make symbolic links")
