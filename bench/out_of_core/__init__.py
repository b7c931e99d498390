"""``python -m bench out-of-core``: interactions that need not fit in memory, made a store of and fitted."""
