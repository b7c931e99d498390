"""Ours and the peers by name, all minimising the same objective.

Peers are imported where they are used: in the worker process, and only if their turn has come. That each library's
parametrisation is the one meant here is not taken on trust: see :mod:`bench.selfcheck`.
"""

from __future__ import annotations

import scipy.sparse

from implicit_wmf import WMFConfig

from .objective import Objective
from .peers.cmfrec import Cmfrec
from .peers.contestant import SEED, CannotExpressError, Contestant, Factors, Point
from .peers.implicit import Implicit
from .peers.irspack import Irspack
from .peers.ours import Ours, Sweeps
from .peers.peer import AnyPeer, Peer, WholeFits
from .peers.spark import Spark

__all__ = [
    "CannotExpressError",
    "Contestant",
    "Factors",
    "Ours",
    "Peer",
    "Point",
    "SEED",
    "WholeFits",
    "is_nearest",
    "make",
    "takes_start",
]

PEERS: dict[str, type[AnyPeer]] = {"implicit": Implicit, "irspack": Irspack, "cmfrec": Cmfrec, "spark": Spark}
NEAREST = "nearest"


def make(
    name: str,
    counts: scipy.sparse.csr_array,
    objective: Objective,
    factors: int,
    threads: int,
    start: Factors | None = None,
    seed: int = SEED,
    strength_factor: float = 1.0,
) -> Contestant:
    """Make a contestant from a name such as "ours cg 3": whose, which solver, how many CG steps.

    "implicit cg 3 nearest" minimises the nearest objective that implicit can express; without the last word, one that
    cannot be expressed raises CannotExpressError. "KLMF float32" is KLMF in that dtype, which has an objective of its
    own. `start` replaces the common start of a peer that takes one; ours always starts from the factors that WMF draws.
    `strength_factor` multiplies the strength of a nearest contestant, and of no other.
    """
    owner, solver, *others = name.split()
    if strength_factor != 1 and NEAREST not in others:
        raise CannotExpressError(f"{name} minimises the objective itself; its strength cannot be changed")
    if owner == "KLMF":
        return Sweeps(counts, {"factors": factors, "dtype": solver, "num_threads": threads, "random_state": seed})
    settings = {**objective.settings(), "factors": factors, "num_threads": threads, "random_state": seed}
    steps = [int(word) for word in others if word != NEAREST]
    cg_steps = steps[0] if steps else WMFConfig.cg_steps
    if owner == "ours":
        return Ours(counts, {**settings, "solver": solver, "cg_steps": cg_steps})
    return PEERS[owner](
        counts, objective, settings, solver, cg_steps, start, nearest=NEAREST in others, strength_factor=strength_factor
    )


def is_nearest(name: str) -> bool:
    """Tell whether a contestant minimises the nearest objective that it can express."""
    return NEAREST in name.split()


def takes_start(name: str) -> bool:
    """Tell whether a contestant can be given starting factors."""
    return issubclass(PEERS.get(name.split()[0], WholeFits), Peer)
