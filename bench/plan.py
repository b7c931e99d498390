"""What is measured: shapes, numbers of factors and objectives, in full and in the tiny version that tests run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A synthetic data set: users x items with this many interactions."""

    users: int
    items: int
    interactions: int

    def __str__(self) -> str:
        return f"{self.users:,} x {self.items:,}, {self.interactions:,}"


MOVIELENS = "MovieLens 1M"


@dataclass(frozen=True)
class Objective:
    """The objective that all contestants minimise; field names are those of WMF."""

    alpha: float
    regularization: float
    weighting: str = "linear"
    unobserved_weight: float = 1.0
    regularization_exponent: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.weighting}, alpha = {self.alpha:g}, alpha0 = {self.unobserved_weight:g}, "
            f"lambda = {self.regularization:g}, nu = {self.regularization_exponent:g}"
        )

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of WMF."""
        return asdict(self)


@dataclass(frozen=True)
class ListCase:
    """Lists for the first users of a data set, from factors fitted to it."""

    shape: Shape
    factors: int
    epochs: int
    users: int


@dataclass(frozen=True)
class Plan:
    """One version of the benchmark."""

    name: str
    rounds: int
    epochs: int
    epoch_objective: Objective
    dense: Shape
    others: tuple[Shape, ...]
    exact_factors: tuple[int, ...]
    # implicit's Cholesky and irspack's iALS++ are left out above these: a minute an epoch tells nobody anything new
    implicit_exact_up_to: int
    ialspp_up_to: int
    cg_factors: tuple[int, ...]
    checkpoints: tuple[int, int]
    target_objectives: tuple[Objective, ...]
    movielens_objectives: tuple[Objective, ...]
    target_factors: int
    default_epochs: int
    share_factors: tuple[int, ...]
    thread_factors: int
    growth_contestants: tuple[str, ...]
    growth: tuple[Shape, ...]
    growth_factors: tuple[int, ...]
    big: Shape
    big_factors: int
    big_epochs: int
    compile_solvers: tuple[str, ...]
    lists: tuple[ListCase, ...]
    list_lengths: tuple[int, ...]

    def only_factors(self, wanted: list[int]) -> Plan:
        """Make a plan that leaves out the other numbers of factors, and says so in its name."""
        kept = {
            section: tuple(factors for factors in getattr(self, section) if factors in wanted)
            for section in ("exact_factors", "cg_factors", "share_factors", "growth_factors")
        }
        return replace(self, name=f"{self.name}, d = {', '.join(map(str, wanted))} only", **kept)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the sections that use several."""
        return self.dense, *self.others


def _ials(unobserved_weight: float, regularization: float) -> Objective:
    return Objective(1.0, regularization, "ials", unobserved_weight, 1.0)


_DENSE = Shape(50_000, 10_000, 3_620_000)


def _grown(interactions: int) -> Shape:
    """Shape with as many interactions a user and an item as the dense one."""
    users, items = (round(count * interactions / _DENSE.interactions) for count in (_DENSE.users, _DENSE.items))
    return Shape(users, items, interactions)


FULL = Plan(
    name="full",
    rounds=3,
    epochs=3,
    epoch_objective=Objective(1.0, 0.01),
    dense=_DENSE,
    others=(Shape(300_000, 50_000, 2_850_000),),
    exact_factors=(64, 128, 256),
    implicit_exact_up_to=128,
    ialspp_up_to=256,
    cg_factors=(64, 128, 256, 512),
    checkpoints=(5, 15),
    target_objectives=(Objective(10.0, 0.01), Objective(40.0, 0.01)),
    movielens_objectives=(_ials(0.01, 0.007), _ials(0.003, 0.0003)),
    target_factors=64,
    default_epochs=15,
    share_factors=(64, 128, 256, 512),
    thread_factors=128,
    growth_contestants=("ours exact", "ours cg 3", "ours auto"),
    growth=tuple(_grown(millions * 1_000_000) for millions in (1, 2, 4, 8, 16)),
    growth_factors=(16, 32, 64, 128, 256, 512),
    big=Shape(138_493, 26_744, 20_000_000),
    big_factors=128,
    big_epochs=16,
    compile_solvers=("auto", "exact", "cg"),
    # at least 20 interactions an item: the norms of items that nobody took are next to nothing, and flatter the bound
    lists=(
        ListCase(_DENSE, 64, 15, 20_000),
        ListCase(Shape(300_000, 100_000, 6_000_000), 128, 10, 5_000),
        ListCase(Shape(500_000, 1_000_000, 30_000_000), 64, 6, 2_000),
    ),
    list_lengths=(10, 100),
)

QUICK = Plan(
    name="quick",
    rounds=1,
    epochs=2,
    epoch_objective=FULL.epoch_objective,
    dense=Shape(600, 200, 9_000),
    others=(),
    exact_factors=(16,),
    implicit_exact_up_to=16,
    ialspp_up_to=16,
    cg_factors=(16,),
    checkpoints=(2, 4),
    target_objectives=(Objective(40.0, 0.01),),
    movielens_objectives=(),
    target_factors=16,
    default_epochs=4,
    share_factors=(16,),
    thread_factors=16,
    growth_contestants=("ours auto",),
    growth=(Shape(600, 200, 9_000), Shape(1_200, 400, 18_000)),
    growth_factors=(16, 32),
    big=Shape(600, 200, 9_000),
    big_factors=16,
    big_epochs=3,
    compile_solvers=("auto",),
    lists=(ListCase(Shape(600, 200, 9_000), 16, 2, 100),),
    list_lengths=(10,),
)
