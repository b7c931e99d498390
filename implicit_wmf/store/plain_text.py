"""Whether every reader of delimited text takes a file in the same way, found out by looking at its bytes."""

from __future__ import annotations

import codecs
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tables.files import TableFile
from ..tables.reading import open_table

_BLOCK = 1 << 24
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


def plain_records(file: TableFile, columns: int) -> int | None:
    """Count the records below the header of a text file, if it is plain.

    Plain is what leaves nothing to a reader's taste: UTF-8 without NUL; one kind of line end; blank lines only between
    records, where every reader skips them; quotes only around whole fields, doubled within them (RFC 4180); and the
    header's number of fields in all lines together.

    Parameters
    ----------
    file : TableFile
        A text file.
    columns : int
        Number of fields of its header.

    Returns
    -------
    int or None
        None where the file is not plain.

    Raises
    ------
    OSError, EOFError, zlib.error
        If it cannot be read.
    """
    look = _Look(ord(file.separator), columns)
    with open_table(file, text=False) as content:
        while block := content.read(_BLOCK):
            if not look.is_plain(block + content.readline(_BLOCK)):
                return None
    return look.records()


class _Look:
    """What was seen of a file so far; every block but the last ends with a line."""

    def __init__(self, separator: int, columns: int) -> None:
        self._separator, self._columns = separator, columns
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._line_end: bytes | None = None
        self._quoted = False  # whether a quote is open at the end of the block
        self._lines = self._separators = 0
        self._begun = self._ended = False

    @property
    def _end(self) -> bytes:
        """How lines end; known once one has ended."""
        return self._line_end or b"\n"

    def is_plain(self, block: bytes) -> bool:
        if self._ended or b"\0" in block or not self._is_text(block):
            return False
        if not self._begun:
            block = block.removeprefix(codecs.BOM_UTF8)
            self._begun = True
        self._ended = not block.endswith(b"\n")
        if not self._has_plain_lines(block):
            return False
        if b'"' in block or self._quoted:
            return self._has_plain_quotes(np.frombuffer(block, np.uint8))
        self._lines += block.count(b"\n") - self._blank_lines(block) + self._ended
        self._separators += block.count(self._separator)
        return True

    def _is_text(self, block: bytes) -> bool:
        if block.isascii():
            return True
        try:
            self._decoder.decode(block, final=True)  # a block ends with a line, and so with a letter
        except UnicodeDecodeError:
            return False
        return True

    def _has_plain_lines(self, block: bytes) -> bool:
        """Whether lines end in one way, the same as before, and the first is not blank."""
        returns, newlines = block.count(b"\r"), block.count(b"\n")
        ends = b"\r\n" if returns else b"\n"
        if newlines:
            self._line_end = self._line_end or ends
        if returns and not returns == newlines == block.count(b"\r\n"):
            return False
        if newlines and ends != self._line_end:
            return False
        return self._lines > 0 or not block.startswith(ends)

    def _blank_lines(self, block: bytes) -> int:
        """Count the lines without a letter, where no line is quoted."""
        if not block.startswith(self._end) and self._end + self._end not in block:
            return 0
        lines = block.split(self._end)
        return lines.count(b"") - (not lines[-1])

    def _has_plain_quotes(self, block: NDArray[Any]) -> bool:
        quotes = np.flatnonzero(block == _QUOTE)
        opening = (np.arange(len(quotes)) + self._quoted) % 2 == 0
        padded = np.concatenate([[_NEWLINE], block, [_NEWLINE]])
        before, after = padded[quotes], padded[quotes + 2]
        beside = np.where(opening, before, after)
        allowed = (beside == self._separator) | (beside == _QUOTE) | (beside == _NEWLINE)
        if not (allowed | (~opening & (beside == _RETURN))).all():
            return False
        quoted = (np.cumsum(block == _QUOTE, dtype=np.int64) + self._quoted) % 2 == 1
        newlines = block == _NEWLINE
        at_line_start = np.concatenate([np.ones(len(self._end), bool), newlines])[: len(newlines)]
        blank = newlines & at_line_start
        if (blank & quoted).any():
            return False
        self._lines += int((newlines & ~quoted & ~blank).sum()) + self._ended
        self._separators += int(((block == self._separator) & ~quoted).sum())
        self._quoted = bool(quoted[-1])
        return True

    def records(self) -> int | None:
        plain = not self._quoted and self._separators == self._lines * (self._columns - 1)
        return self._lines - 1 if plain and self._lines else None
