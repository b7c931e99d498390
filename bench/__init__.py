"""Benchmarks that anyone can rerun: ``python -m bench speed`` from the root of the repository."""
