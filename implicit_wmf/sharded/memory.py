"""How much memory out-of-core training takes, and what is left for exact items."""

from __future__ import annotations

from typing import NamedTuple

from .. import kernels
from ..config import WMFConfig
from ..errors import InputError
from ..parameters import as_bytes
from ..store import Store

# Interpreter, libraries, compiled code and the temporaries of blocks of cells (measured: .25 to .35 GB)
_CONSTANT = 400e6
# Exact items: systems of a block of them, in each part that is held. More makes fewer passes over the shards.
_SYSTEMS = 256e6
_LEAST_SYSTEMS = 32e6
# Matrices of the items' factors' size: before, rotated, solved, four vectors of the search and two of its choice.
_ITEM_MATRICES = 9
_USER_BYTES = 120  # a user of the shard: pointers, plan, background; measured


class Memory(NamedTuple):
    """What training may use."""

    held: int  # parts of shards that are held while they are added
    systems_bytes: int  # for d x d systems, of all these parts together

    def systems(self, size: int) -> int:
        """How many systems of so many bytes may be summed at a time."""
        return max(1, self.systems_bytes // (self.held * size))


def plan_memory(store: Store, config: WMFConfig, limit: int | str | None) -> Memory:
    """Share out the memory, or refuse a limit that cannot be kept, with what is needed.

    Parameters
    ----------
    store : Store
    config : WMFConfig
    limit : int or str, optional

    Returns
    -------
    Memory

    Raises
    ------
    InputError
    """
    users, items = store.shape
    itemsize = config.factor_dtype.itemsize
    tile = kernels.jit.VECTOR_BYTES // itemsize
    row = -(-config.factors // tile) * tile * itemsize
    held = len(store.shards).bit_length() + 1
    most_cells = max(shard.nnz for shard in store.shards)
    most_users = max(shard.stop - shard.start for shard in store.shards)
    # by user or by item: positions and values, weights and targets in the factors' precision
    needs = {
        "items": items * (row * (_ITEM_MATRICES + 2 * held) + 64),
        "users": users * 40,
        "the largest shard": most_cells * (8 + 2 * itemsize) + most_users * (2 * row + _USER_BYTES) + 16 * items,
        "everything else": int(_CONSTANT),
    }
    needed = sum(needs.values())
    if limit is None:
        return Memory(held, int(_SYSTEMS))
    allowed = as_bytes("memory_limit", limit)
    if allowed < needed + _LEAST_SYSTEMS:
        parts = ", ".join(f"{_megabytes(size)} for {name}" for name, size in needs.items())
        raise InputError(
            f"memory_limit is {_megabytes(allowed)}, but this fit needs {_megabytes(needed + int(_LEAST_SYSTEMS))}: "
            f"{parts}, {_megabytes(int(_LEAST_SYSTEMS))} for exact items. Raise the limit, take fewer factors, or "
            f"prepare the store with more shards (it has {len(store.shards)})"
        )
    return Memory(held, int(min(_SYSTEMS, allowed - needed)))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
