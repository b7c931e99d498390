"""What is measured: data, numbers of factors and objectives; in full, in ten minutes, and as tiny as tests need it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..objective import Objective
from ..shapes import LASTFM_360K, LIKE, MOVIELENS_20M, MSD, PUBLIC, Shape


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
    dense: Shape | str
    others: tuple[Shape, ...]
    exact_peers: tuple[str, ...]
    cg_peers: tuple[str, ...]
    # contestants that are left out above these: minutes an epoch tell nobody anything new
    up_to: dict[str, int]
    # left out up to these: a block as large as the system is Cholesky with overhead
    above: dict[str, int]
    # contestants so slow that fewer rounds than the others have must do
    rounds_of: dict[str, int]
    # of those that only run whole fits: epochs in the difference of two
    fit_epochs: int
    exact_factors: tuple[int, ...]
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
    public: tuple[Shape, ...]
    public_factors: tuple[int, ...]
    public_contestants: tuple[str, ...]
    big: tuple[Shape, ...]
    big_factors: int
    big_epochs: int
    compile_solvers: tuple[str, ...]
    lists: tuple[ListCase, ...]
    list_lengths: tuple[int, ...]

    def only_factors(self, wanted: list[int]) -> Plan:
        """Make a plan that leaves out the other numbers of factors, and says so in its name."""
        sections = ("exact_factors", "cg_factors", "share_factors", "growth_factors", "public_factors")
        kept = {
            section: tuple(factors for factors in getattr(self, section) if factors in wanted) for section in sections
        }
        return replace(self, name=f"{self.name}, d = {', '.join(map(str, wanted))} only", **kept)

    def on_data(self, data: str) -> Plan:
        """Make a plan for one data set: a file or a name that `bench.data` knows, or the size of a public one."""
        name = f"{self.name}, data {Path(data).name}"  # a folder is nobody's business
        return replace(self, name=name, dense=LIKE.get(data, data), others=(), movielens_objectives=())

    def within_reach(self, contestants: tuple[str, ...], factors: int) -> list[str]:
        """Leave out the contestants that are too slow for this number of factors, or pointless."""
        return [
            name
            for name in contestants
            if factors <= self.up_to.get(name, factors) and factors > self.above.get(name, factors - 1)
        ]

    @property
    def data(self) -> tuple[Shape | str, ...]:
        """The data of the sections that use several."""
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
    exact_peers=("irspack exact", "implicit exact", "cmfrec exact", "spark exact nearest"),
    cg_peers=("irspack cg 3", "irspack iALS++", "implicit cg 3", "cmfrec cg 3 nearest"),
    up_to={
        "irspack exact": 256,
        "irspack iALS++": 256,
        "implicit exact": 128,
        "cmfrec exact": 128,
        "cmfrec cg 3 nearest": 256,
        "spark exact nearest": 64,
    },
    above={"irspack iALS++": 64},
    rounds_of={"spark exact nearest": 2},
    fit_epochs=5,
    exact_factors=(64, 128, 256),
    cg_factors=(64, 128, 256, 512),
    checkpoints=(5, 15),
    target_objectives=(Objective(10.0, 0.01), Objective(40.0, 0.01)),
    movielens_objectives=(_ials(0.01, 0.007), _ials(0.003, 0.0003)),
    target_factors=64,
    default_epochs=15,
    share_factors=(64, 128, 256, 512),
    thread_factors=128,
    growth_contestants=("ours exact", "ours cg 3", "ours auto", "irspack exact", "irspack cg 3", "implicit cg 3"),
    growth=tuple(_grown(millions * 1_000_000) for millions in (1, 2, 4, 8, 16)),
    growth_factors=(16, 32, 64, 128, 256, 512),
    public=PUBLIC,
    public_factors=(64, 128),
    public_contestants=("ours exact", "ours cg 3", "ours auto", "irspack cg 3", "implicit cg 3"),
    big=PUBLIC,
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

_SMALL_DENSE = MOVIELENS_20M.shrunk(20)

SMALL = replace(
    FULL,
    name="small",
    rounds=2,
    dense=_SMALL_DENSE,
    others=(),
    up_to={"spark exact nearest": 64, "implicit exact": 64, "cmfrec exact": 64},
    exact_factors=(64, 128),
    cg_factors=(128,),
    target_objectives=(Objective(10.0, 0.01),),
    movielens_objectives=(_ials(0.01, 0.007),),
    share_factors=(64, 128),
    thread_factors=64,
    # starting processes takes most of these minutes: what another section shows as well is left out
    growth_contestants=("ours auto", "irspack cg 3"),
    growth=tuple(MOVIELENS_20M.shrunk(times) for times in (40, 20, 10)),
    growth_factors=(32, 64, 128),
    public=(LASTFM_360K.shrunk(20), MSD.shrunk(20)),
    public_factors=(64,),
    public_contestants=("ours exact", "ours auto", "irspack cg 3", "implicit cg 3"),
    big=(MSD.shrunk(10),),
    big_factors=64,
    big_epochs=5,
    compile_solvers=("auto",),
    lists=(ListCase(LASTFM_360K.shrunk(10), 64, 5, 5_000),),
    list_lengths=(10,),
)

# what tests run: seconds, and figures that mean nothing
_TINY = Shape(600, 200, 9_000)

QUICK = replace(
    FULL,
    name="quick",
    rounds=1,
    epochs=2,
    dense=_TINY,
    others=(),
    up_to={},
    rounds_of={},
    fit_epochs=2,
    exact_factors=(16,),
    cg_factors=(16,),
    checkpoints=(2, 4),
    target_objectives=(Objective(40.0, 0.01),),
    movielens_objectives=(),
    target_factors=16,
    default_epochs=4,
    share_factors=(16,),
    thread_factors=16,
    growth_contestants=("ours auto",),
    growth=(_TINY, Shape(1_200, 400, 18_000)),
    growth_factors=(16, 32),
    public=(_TINY,),
    public_factors=(16,),
    big=(_TINY,),
    big_factors=16,
    big_epochs=3,
    compile_solvers=("auto",),
    lists=(ListCase(_TINY, 16, 2, 100),),
    list_lengths=(10,),
)
