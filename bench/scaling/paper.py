"""Bytes and seconds of an epoch on machines that are not here: formulas, and constants that were measured here.

Bytes of ours are those that :class:`implicit_wmf.sharded.cluster_runner.ClusterRunner` counts. Bytes of Spark's ALS
follow its published design (Meng et al. 2016, MLlib, and the comments of ``ml/recommendation/ALS.scala``): users and
items are hashed into blocks, and in each half-epoch every row of one side, float32, goes to each of the other side's
blocks in which it has a cell, once. As in Zhou et al. 2008, every rating is kept twice, by user and by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..records import Record

FLOAT, INDEX, DOUBLE = 4, 8, 8
VECTOR = 16  # numbers: rows are whole vectors of so many float32
PASSES = ("solve_users", "turn_users", "start_items", "multiply_items", "sum_loss")
CLIENT = "client"  # what is left of an epoch


@dataclass(frozen=True)
class Problem:
    """What is fitted, in factors of float32; `steps` of conjugate gradients for each item."""

    users: float
    items: float
    cells: float
    factors: int
    steps: float

    @property
    def width(self) -> int:
        """Length of a row in whole vectors."""
        return -(-self.factors // VECTOR) * VECTOR

    @property
    def matrix(self) -> float:
        """Bytes of the items' factors."""
        return self.items * self.width * FLOAT


@dataclass(frozen=True)
class Machines:
    """Equal nodes, a worker each, and bytes a second that a node sends, and receives at the same time."""

    nodes: int
    cores: int
    shards: int
    network: float


def moved_bytes(problem: Problem, workers: int, *, exact: float = 0.0, loss: bool = True) -> float:
    """Count the bytes that an epoch moves, from the client to workers, between them, and back.

    A worker is sent the items' factors for the users' solve, for the start of the items' search and for the loss, a
    direction a step, and the numbers of the items concerned; it sends two matrices after the start and one after each
    step, which pass from worker to worker as they are added, and small Gram matrices. So with `loss` a worker moves
    5 + 2 steps matrices: where its shards are a branch of the tree in which parts are added, as with powers of 2 of
    both; otherwise several matrices come back for one.

    Parameters
    ----------
    problem : Problem
    workers : int
    exact : float
        Share of the items that are solved exactly, each by its d x d system; they take no steps.
    loss : bool
        Whether the objective is computed.
    """
    items, width = problem.items, problem.width
    search = (3 + 2 * problem.steps) * problem.matrix + (1 + problem.steps) * items * INDEX
    # a system is a cache line a row wider, and its right-hand side goes along
    systems = items * (width * (width + VECTOR + 1) * FLOAT + INDEX)
    grams = (1 + loss) * problem.factors**2 * DOUBLE + problem.factors**2 * FLOAT
    objective = items * problem.factors * FLOAT if loss else 0.0
    return workers * (problem.matrix + (1 - exact) * search + exact * systems + grams + objective)


def distinct_blocks(sizes: Sequence[float], blocks: int) -> float:
    """Return in how many blocks a row has cells, on average over rows of these sizes, if each cell's is any of them."""
    return float(np.mean(blocks * (1 - (1 - 1 / blocks) ** np.asarray(sizes, np.float64))))


def spark_bytes(problem: Problem, blocks: int, user_sizes: Sequence[float], item_sizes: Sequence[float]) -> float:
    """Count the bytes of factors that Spark's ALS shuffles in an epoch, those that stay on their node as well."""
    sides = ((problem.users, user_sizes), (problem.items, item_sizes))
    copies = sum(rows * distinct_blocks(sizes, blocks) for rows, sizes in sides)
    return copies * problem.factors * FLOAT


def spark_block_bytes(problem: Problem, blocks: int, user_sizes: Sequence[float]) -> float:
    """Return the bytes of users' factors that one block of items needs at the same time."""
    return problem.users * distinct_blocks(user_sizes, blocks) / blocks * problem.factors * FLOAT


@dataclass(frozen=True)
class Constants:
    """Seconds of a core by cell and by item for each pass over a shard, of the client by item; bytes a second."""

    cell: dict[str, float]
    item: dict[str, float]
    client_item: float
    adding: float
    sending: float


def constants(measured: Record) -> Constants:
    """Make constants of what `constants.measure` measured on two sizes of the same items: straight lines through them.

    Items and users have the lengths of rows that were measured; a user's share is in that of the user's cells. Of
    several epochs the fastest counts, since others may have used the machine meanwhile.
    """
    small, large = measured["sizes"]
    threads, items = measured["threads"], measured["items"]
    cell, item = {}, {}
    for name in PASSES:
        calls = measured["steps"] if name == "multiply_items" else 1
        first, second = (min(size["passes"][name]) * threads / calls for size in (small, large))
        cell[name] = max(0.0, (second - first) / (large["cells"] - small["cells"]))
        item[name] = max(0.0, (first - cell[name] * small["cells"]) / items)
    client = min(small["passes"][CLIENT] + large["passes"][CLIENT])
    return Constants(cell, item, client / items, measured["add_bytes_a_second"], measured["send_bytes_a_second"])


def epoch_seconds(known: Constants, problem: Problem, machines: Machines) -> dict[str, float]:
    """Estimate the seconds of an epoch's parts.

    Cells are divided evenly among cores, which are as fast as those that were measured, all of them at once. Nothing
    overlaps: neither one part with another, nor computing with the network. A matrix goes out as Dask copies it: from
    the client to a worker, then in rounds in which each that has it sends it to two more; sums come back in rounds of
    pairs, then to the client. Each goes at the speed of the network, or at that of Dask between two processes of one
    machine, if that is the lower one. Adding, and the client, are as fast as measured.
    """
    steps = problem.steps
    times = {"solve_users": 1, "turn_users": 1, "start_items": 1, "multiply_items": steps, "sum_loss": 1}
    shards = machines.shards / machines.nodes
    cells, items = problem.cells / machines.nodes, problem.items * shards
    seconds = {
        name: times[name] * (cells * known.cell[name] + items * known.item[name]) / machines.cores for name in PASSES
    }
    down, up = 3 + steps, 2 + steps
    matrix = problem.matrix / min(machines.network, known.sending)
    pairs = (machines.nodes - 1).bit_length()
    return {
        "users": seconds["solve_users"] + seconds["turn_users"],
        "items": seconds["start_items"] + seconds["multiply_items"],
        "loss": seconds["sum_loss"],
        "adding": up * (shards - 1 + pairs) * problem.matrix / known.adding,
        "network": matrix * (down * (1 + 2 * _rounds(machines.nodes)) + up * (pairs + 1)),
        "client": problem.items * known.client_item,
    }


def _rounds(nodes: int) -> int:
    """Return in how many rounds all have what one had, when each that has it sends it to two more."""
    rounds, having = 0, 1
    while having < nodes:
        rounds, having = rounds + 1, 3 * having
    return rounds
