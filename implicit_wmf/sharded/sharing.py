"""Which worker has which shards: consecutive ones, of about equal work for its threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Range(NamedTuple):
    """Shards first to stop - 1."""

    first: int
    stop: int


def share_out(work: NDArray[np.float64], threads: Sequence[int], first: int = 0) -> list[Range]:
    """Cut shards into ranges, one for each worker in turn, so that the last one is done as soon as can be.

    Parameters
    ----------
    work : (shards,) array
    threads : sequence of int
        Of each worker.
    first : int
        Number of the first shard.

    Returns
    -------
    list of Range
        As many as there are workers; those of some may be empty.
    """
    ends = np.cumsum(work)
    # the time that the busiest takes: by bisection, between what all together need and what the slowest alone does
    low, high = ends[-1] / sum(threads), ends[-1] / min(threads)
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _cut(ends, threads, middle)[-1] == len(work) else (middle, high)
    edges = [0, *_cut(ends, threads, high)]
    return [Range(first + start, first + stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)]


def _cut(ends: NDArray[np.float64], threads: Sequence[int], time: float) -> list[int]:
    """Give each worker in turn as many shards as it does in that time."""
    edges, done = [], 0.0
    for count in threads:
        edge = int(np.searchsorted(ends, (done + time * count) * (1 + 1e-12), side="right"))
        edges.append(edge)
        done = ends[edge - 1] if edge else 0.0
    return edges


def place(ranges: Sequence[Range], workers: Mapping[str, int], held: Mapping[str, Range]) -> dict[Range, str]:
    """Choose a worker for each range that is not empty, where most of its shards are already.

    Parameters
    ----------
    ranges : sequence of Range
        One for each worker in turn; it may go to another one that has as many threads.
    workers : dict of str to int
        Threads of each worker.
    held : dict of str to Range
        What workers have now.
    """

    def common(wanted: Range, worker: str) -> int:
        there = held.get(worker, Range(0, 0))
        return max(0, min(wanted.stop, there.stop) - max(wanted.first, there.first))

    pairs = [
        (one, worker)
        for one, threads in zip(ranges, workers.values(), strict=True)
        for worker in workers
        if one.stop > one.first and workers[worker] == threads
    ]
    placed: dict[Range, str] = {}
    for one, worker in sorted(pairs, key=lambda pair: (-common(*pair), pair)):
        if one not in placed and worker not in placed.values():
            placed[one] = worker
    return placed
