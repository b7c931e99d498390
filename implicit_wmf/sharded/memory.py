"""How much memory out-of-core training takes, and what is left for exact items."""

from __future__ import annotations

from typing import NamedTuple

from .. import kernels
from ..config import WMFConfig
from ..errors import InputError
from ..parameters import as_bytes
from ..store import Store
from ..threads import available_threads

# Interpreter, libraries and compiled code (measured: .25 GB), and what each thread has of a block of cells.
_CONSTANT, _THREAD = 300e6, 100e6
# Exact items: systems of a block of them, in each part that is held. More makes fewer passes over the shards.
_SYSTEMS = 1e9
_LEAST_SYSTEMS = 32e6
# Matrices of the items' factors' size: before, rotated, solved, four vectors of the search and two of its choice, and
# the best epoch's two.
_ITEM_MATRICES = 11
_USER_BYTES = 120  # a user of the shard: pointers, plan, background; measured
# A cell of the shard: its place and value, by user or by item; copies where weights are not the counts themselves.
_CELL_BYTES = {"raw": 48}
_OTHER_CELL_BYTES = 16  # besides two numbers in the factors' precision


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
    lanes = kernels.jit.VECTOR_BYTES // itemsize
    row = -(-config.factors // lanes) * lanes * itemsize
    held = len(store.shards).bit_length() + 1
    most_cells = max(shard.nnz for shard in store.shards)
    most_users = max(shard.stop - shard.start for shard in store.shards)
    cell = _CELL_BYTES.get(config.weighting, _OTHER_CELL_BYTES + 2 * itemsize)
    needs = {
        "items": items * (row * (_ITEM_MATRICES + 2 * held) + 64),
        "users": users * 40 + store.ids_bytes(),
        "the largest shard": most_cells * cell + most_users * (2 * row + _USER_BYTES) + 16 * items,
        "exact items": int(max(_LEAST_SYSTEMS, held * (row // itemsize) * (row + kernels.jit.VECTOR_BYTES))),
        "threads": int((config.num_threads or available_threads()) * _THREAD),
        "everything else": int(_CONSTANT),
    }
    if limit is None:
        return Memory(held, max(int(_SYSTEMS), needs["exact items"]))
    allowed, needed = as_bytes("memory_limit", limit), sum(needs.values())
    if allowed < needed:
        parts = ", ".join(f"{_megabytes(size)} for {name}" for name, size in needs.items())
        raise InputError(
            f"memory_limit is {_megabytes(allowed)}, but this fit needs {_megabytes(needed)}: {parts}. Raise the "
            f"limit, take fewer factors or threads, or prepare the store with shards of another size (it has "
            f"{len(store.shards)}: more hold fewer cells each, fewer of them add up sooner)"
        )
    return Memory(held, allowed - needed + needs["exact items"])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
