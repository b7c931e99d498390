"""``python -m bench scaling``: epochs on a Dask cluster of this machine, on paper for a larger one, and Spark's."""
