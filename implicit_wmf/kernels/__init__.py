"""Compiled kernels: Numba functions over plain arrays."""
