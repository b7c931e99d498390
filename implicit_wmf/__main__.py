"""``python -m implicit_wmf`` is the command line."""

from .cli import main

main()
