"""Arrays beyond 2**31 entries that take no memory: one block of a file, mapped again and again side by side."""

import ctypes
import mmap

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)


def repeated(path, block, times, last=None):
    """`block`, whole pages, as often as told, and `last` in place of the last one; read-only."""
    blocks = [block] if last is None else [block, last]
    path.write_bytes(b"".join(part.tobytes() for part in blocks))
    size = block.nbytes
    assert size % mmap.PAGESIZE == 0
    region = mmap.mmap(-1, times * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
    array = np.frombuffer(region, block.dtype)
    with path.open("rb") as file:
        for number in range(times):
            offset = size * (len(blocks) - 1) if number == times - 1 else 0
            _map(array.ctypes.data + number * size, size, file.fileno(), offset)
    return array


def _map(address, size, descriptor, offset):
    """Put a part of a file at an address that is reserved."""
    _libc.mmap.restype = ctypes.c_void_p
    kinds = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    place = (address, size, mmap.PROT_READ, mmap.MAP_SHARED | 0x10, descriptor, offset)  # 0x10: exactly there
    got = _libc.mmap(*(kind(value) for kind, value in zip(kinds, place, strict=True)))
    if got != address:
        raise OSError(ctypes.get_errno(), "the block cannot be mapped")


def holes(path, dtype, count):
    """Zeros in a file that has no disk but for what is written."""
    return np.memmap(path, dtype, "w+", shape=(count,)).view(np.ndarray)
