"""What the rounds of one contestant came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median

from ..page import spread
from ..records import Record

EXPLANATION = (
    "Times are shown as median [least, most]: the median of the rounds' medians, then the fastest and the slowest of "
    "all rounds. Ratios are taken within each round and shown as the median [least, most] of those. What was measured "
    "only once stands without brackets."
)


@dataclass
class Timing:
    """Seconds of every epoch (or repetition) of every round, and the objective after each of the epochs.

    `setups` are the seconds of each round that no epoch has, where they were asked for. `setting` says what was
    measured: data with its size, factors, threads, objective.
    """

    contestant: str
    setting: Record = field(default_factory=dict)
    rounds: list[list[float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    failure: str = ""
    setups: list[float] = field(default_factory=list)

    @classmethod
    def from_record(cls, record: Record) -> Timing:
        """Make it from what `record` returned; a loss that JSON could not hold is NaN again."""
        losses = [float("nan") if loss is None else loss for loss in record["losses"]]
        return cls(**{**record, "losses": losses})

    def record(self) -> Record:
        """Everything measured, for JSON."""
        return asdict(self)

    def add(self, result: Record) -> None:
        """Take in the result of one round."""
        self.rounds.append(result["seconds"])
        self.setups += result.get("setups", [])
        self.losses = self.losses or result["losses"]
        self.failure = self.failure or result.get("failure", "")

    @property
    def best(self) -> float:
        """Of all epochs of all rounds."""
        return min(second for seconds in self.rounds for second in seconds)

    @property
    def worst(self) -> float:
        """Of all epochs of all rounds."""
        return max(second for seconds in self.rounds for second in seconds)

    @property
    def median(self) -> float:
        """Of the rounds' medians."""
        return median(median(seconds) for seconds in self.rounds)

    def ratios(self, other: Timing) -> list[float]:
        """How many times the other's epoch takes as long as this one's, in each of the rounds that both have."""
        return [median(b) / median(a) for a, b in zip(self.rounds, other.rounds, strict=False)]

    def seconds_until(self, epoch: int) -> list[float]:
        """Time to the end of this epoch in each of the rounds, with the setup where that was timed."""
        setups = self.setups or [0.0] * len(self.rounds)
        return [setup + sum(seconds[:epoch]) for setup, seconds in zip(setups, self.rounds, strict=True)]

    def seconds_text(self) -> str:
        """Median and spread, for a table; a single measurement has no spread."""
        if sum(map(len, self.rounds)) == 1:
            return f"{self.median:.3g}"
        return f"{self.median:.3g} [{self.best:.3g}, {self.worst:.3g}]"

    def ratio_text(self, other: Timing) -> str:
        """Other's time over this one's: median and spread of the rounds."""
        return spread(self.ratios(other), ".2f")
