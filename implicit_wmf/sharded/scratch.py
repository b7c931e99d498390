"""Arrays that are too large for memory and that nobody needs after the fit: files without names, mapped in ranges."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._stored_arrays import map_array
from ..errors import InputError


class Scratch:
    """An array of so many rows in a temporary file without a name, which is gone when nothing maps it any more.

    Parameters
    ----------
    shape : (int,) or (int, int)
    dtype : dtype
    folder : Path
        Where the file is put if that can be written, else where temporary files go.
    what : str
        What it holds, for messages.

    Raises
    ------
    InputError
        If there is no space for it. All of it is taken at once: a mapped file on a full disk would end the process.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path, what: str) -> None:
        self._dtype, self._row = dtype, shape[1:]
        size = shape[0] * self._row_bytes
        folder = folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the object
            weakref.finalize(self, self._file.close)  # maps have the file to themselves
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, size)
            else:
                self._file.truncate(size)
        except OSError as error:
            raise InputError(
                f"{what} need {size / 1e6:,.0f} MB of disk in {folder}, which cannot be had ({error.strerror}); make "
                f"room there"
            ) from error

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self._row, dtype=np.int64)) * self._dtype.itemsize

    def rows(self, start: int, stop: int, *, writable: bool = True) -> NDArray[Any]:
        """Map rows start to stop - 1; what is written to them stays."""
        shape = (stop - start, *self._row)
        return map_array(self._file.fileno(), self._dtype, shape, start * self._row_bytes, writable=writable)
