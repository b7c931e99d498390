"""Interactions on disk: a folder of memory-mapped arrays, in shards of consecutive users."""

from .store import Shard, Store, is_store
from .writing import StoreWriter, shard_edges, write_store, writing_store

__all__ = ["Shard", "Store", "StoreWriter", "is_store", "shard_edges", "write_store", "writing_store"]
