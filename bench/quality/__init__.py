"""``python -m bench quality``: the data, the fits in a worker, and their report."""
