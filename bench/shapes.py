"""Sizes of synthetic data sets, and those of the public ones that papers measure on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A synthetic data set: users x items with this many interactions; `name` says whose size it has."""

    users: int
    items: int
    interactions: int
    name: str = ""

    def __str__(self) -> str:
        size = f"{self.users:,} x {self.items:,}, {self.interactions:,}"
        return f"{self.name}: {size}" if self.name else size

    @property
    def label(self) -> str:
        """What tables call it: the name, or else the size."""
        return self.name or str(self)

    def shrunk(self, times: int) -> Shape:
        """Make users, items and interactions so many times fewer: rows keep their length, epochs their character."""
        users, items, interactions = (round(count / times) for count in (self.users, self.items, self.interactions))
        return Shape(users, items, interactions, f"{self.name}, 1/{times}" if self.name else "")


# GroupLens: 20,000,263 ratings of 26,744 of the 27,278 films listed
MOVIELENS_20M = Shape(138_493, 26_744, 20_000_263, "like MovieLens 20M")
# Celma 2010: 17,559,530 lines; users and artists as in the matrix that implicit distributes
LASTFM_360K = Shape(358_868, 292_385, 17_559_530, "like Last.fm 360K")
# Echo Nest Taste Profile, of the Million Song Dataset (Bertin-Mahieux et al. 2011)
MSD = Shape(1_019_318, 384_546, 48_373_586, "like MSD")

PUBLIC = (MOVIELENS_20M, LASTFM_360K, MSD)
LIKE = {"like-movielens-20m": MOVIELENS_20M, "like-lastfm-360k": LASTFM_360K, "like-msd": MSD}
