"""Saves two models in turns over one another, until it is killed: ``python bench/kills/saver.py MODEL TABLE``."""

from __future__ import annotations

import sys
from itertools import cycle

from implicit_wmf import WMF
from implicit_wmf.tables import read_interactions

SEEDS = (1, 2)


def main() -> None:
    path, table = sys.argv[1:]
    data = read_interactions(table, user="user", item="item", value="value")
    models = [WMF(iterations=1, random_state=seed).fit(data, progress=False) for seed in SEEDS]
    for model in cycle(models):
        model.save(path)


if __name__ == "__main__":
    main()
