"""CRC-32 of two pieces in a row, from the checksums of the pieces: many may read what one checksum is of.

A CRC is linear over GF(2), so that bytes of zeros behind a piece change its checksum by a 32 x 32 matrix of bits; the
matrix of twice as many zeros is its square (Adler, ``crc32_combine`` of zlib). A matrix is a tuple of its columns.
"""

from __future__ import annotations

from functools import cache

_POLYNOMIAL = 0xEDB88320  # of CRC-32, its lowest power first
_Matrix = tuple[int, ...]


def join_crc32(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two pieces of bytes in a row.

    Parameters
    ----------
    first, second : int
        Their own.
    size : int
        Bytes of the second piece.

    Returns
    -------
    int
    """
    power = 0
    while size:
        if size & 1:
            first = _times(_zeros(power), first)
        size >>= 1
        power += 1
    return first ^ second


@cache
def _zeros(power: int) -> _Matrix:
    """Return the matrix of 2**power bytes of zeros."""
    if power:
        return _squared(_zeros(power - 1))
    bit: _Matrix = (_POLYNOMIAL, *(1 << place for place in range(31)))
    return _squared(_squared(_squared(bit)))


def _squared(matrix: _Matrix) -> _Matrix:
    return tuple(_times(matrix, column) for column in matrix)


def _times(matrix: _Matrix, vector: int) -> int:
    product = 0
    for column in matrix:
        if not vector:
            break
        if vector & 1:
            product ^= column
        vector >>= 1
    return product
