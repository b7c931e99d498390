"""``python -m bench speed``: the sections, what they measure in a worker, and their report."""
