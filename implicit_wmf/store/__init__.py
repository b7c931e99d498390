"""Interactions on disk: a folder of memory-mapped arrays, in shards of consecutive users."""

from .preparing import Prepared, prepare
from .shards import Shard
from .store import Store, is_store
from .writing import write_store

__all__ = ["Prepared", "Shard", "Store", "is_store", "prepare", "write_store"]
