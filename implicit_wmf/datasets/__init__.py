"""Data sets: the shop data that ships with the package, and synthetic interactions of any size."""
