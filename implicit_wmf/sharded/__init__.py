"""Training on a store: the algorithm is written once, above runners that say where the shards are."""

from .fitting import OutOfCore, Reached

__all__ = ["OutOfCore", "Reached"]
