"""Where to look next: stages of doubled dimension, settings carried over, and points that Optuna draws.

What trial n tries follows from the results of the trials before it and the seed alone, so that a search that was
interrupted goes on exactly as it would have gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np

from .optional import optuna, quiet
from .space import Choice, Range, Space
from .trials import Outcome

_FEWEST_FACTORS = 16  # of a first stage: below, what is good says little about what is good at many
_STAGES = 3
_FEWEST_TRIALS = 8  # fewer are all spent at the full dimension
_CARRIED = 5
_RANDOM = 8  # trials until what is good so far guides the search

# Rendle et al. 2022 found .002 to .02 and .007 to .3 with nu = 1 on four data sets: the geometric means.
_PUBLISHED = {
    "relative_regularization": 0.006,
    "relative_unobserved_weight": 0.05,
    "regularization_exponent": 1.0,
}

Point = dict[str, Any]

_VALUE = attrgetter("ended.value")


@dataclass(frozen=True)
class Trial:
    """What one trial tries, and what came of it; `source` says where its point is from."""

    number: int
    factors: int
    source: str
    point: Point
    outcome: Outcome | None = None

    @property
    def ended(self) -> Outcome:
        """The outcome of a trial that was run."""
        assert self.outcome is not None
        return self.outcome


def plan_stages(factors: int, trials: int) -> list[int]:
    """Return the factors of each trial: trial 0 is the default at full dimension, then stages of doubled dimension.

    Rendle et al. 2022 advise to explore at low dimension and to refine with doubled ones. Half of the trials are of
    the lowest dimension, the others are divided evenly.
    """
    dimensions = [factors]
    while trials - 1 >= _FEWEST_TRIALS and len(dimensions) < _STAGES and dimensions[0] // 2 >= _FEWEST_FACTORS:
        dimensions.insert(0, dimensions[0] // 2)
    later = (trials - 1) // (2 * len(dimensions) - 2) if len(dimensions) > 1 else 0
    counts = [trials - 1 - later * (len(dimensions) - 1)] + [later] * (len(dimensions) - 1)
    planned = [dimension for dimension, count in zip(dimensions, counts, strict=True) for _ in range(count)]
    return [factors, *planned]


def next_trial(done: Sequence[Trial], plan: Sequence[int], space: Space, seed: int) -> Trial:
    """Choose what the next trial tries."""
    number = len(done)
    factors = plan[number]
    if number == 0:
        return Trial(0, factors, "config", {})
    first = plan.index(factors, 1)
    if first == 1:
        waiting = [("published", point) for point in _published(space)]
    else:
        waiting = [(f"trial {trial.number}", trial.point) for trial in _best_of(done, plan[first - 1])]
    if number - first < len(waiting) and _may_carry(plan, number):
        source, point = waiting[number - first]
        return Trial(number, factors, source, point)
    return Trial(number, factors, "search", _draw(done, space, seed))


def _may_carry(plan: Sequence[int], number: int) -> bool:
    """Tell whether a trial is one of those that try what is known to be good, as far as there is any."""
    first = plan.index(plan[number], 1)
    most = _CARRIED if first == 1 else min(_CARRIED, max(1, plan[1:].count(plan[number]) // 2))
    return number - first < most


def keeps_trials(plan: Sequence[int], other: Sequence[int], run: int) -> bool:
    """Tell whether the first `run` trials of one plan are those of another, whatever they came to."""
    return run <= len(other) and all(
        plan[number] == other[number] and _may_carry(plan, number) == _may_carry(other, number)
        for number in range(1, run)
    )


def _published(space: Space) -> list[Point]:
    """Return published settings as far as the space holds them, for each choice of its weighting or of another word."""
    choices = {name: values.values for name, values in space.items() if isinstance(values, Choice)}
    points: list[Point] = []
    for turn in range(max(map(len, choices.values()), default=1)):
        point = {name: _middle(name, values) for name, values in space.items() if isinstance(values, Range)}
        points.append(point | {name: values[turn % len(values)] for name, values in choices.items()})
    return points


def _middle(name: str, values: Range) -> float:
    """Return the published value, or the middle of the range where there is none in it."""
    published = _PUBLISHED.get(name)
    if published is not None and values.low <= published <= values.high:
        return published
    return float(np.sqrt(values.low) * np.sqrt(values.high)) if values.log else (values.low + values.high) / 2


def _best_of(done: Sequence[Trial], factors: int) -> list[Trial]:
    """Return the trials of a stage that were fitted to the end, best first, each point once."""
    ended = [trial for trial in _searched(done) if trial.factors == factors and trial.ended.state == "complete"]
    ended.sort(key=lambda trial: -trial.ended.value)
    unique = {tuple(trial.point.items()): trial for trial in reversed(ended)}
    return [trial for trial in ended if unique[tuple(trial.point.items())] is trial]


def _draw(done: Sequence[Trial], space: Space, seed: int) -> Point:
    """Draw a point by the tree-structured Parzen estimator (Bergstra et al. 2011), of all stages so far.

    More factors reach higher values: so that stages can be compared, values are divided by the best of their stage.
    """
    best = {one.factors: max(one.ended.value, np.finfo(float).tiny) for one in sorted(_searched(done), key=_VALUE)}
    spread = distributions(space)
    own_seed = int(np.random.SeedSequence([seed, len(done)]).generate_state(1)[0])
    sampler = optuna().samplers.TPESampler(n_startup_trials=_RANDOM, seed=own_seed)
    with quiet():
        memory = optuna().create_study(direction="maximize", sampler=sampler)
        for trial in _searched(done):
            memory.add_trial(_as_ended(trial, trial.ended.value / best[trial.factors], spread))
        point: Point = memory.ask(spread).params
    return {name: point[name] for name in space}


def _as_ended(trial: Trial, value: float, spread: dict[str, Any]) -> Any:
    """Tell Optuna how a trial ended; the values of pruned ones are not final, and rank behind those that are."""
    trials = optuna().trial
    if trial.ended.state == "complete":
        return trials.create_trial(params=trial.point, distributions=spread, value=value)
    return trials.create_trial(
        state=trials.TrialState.PRUNED,
        params=trial.point,
        distributions=spread,
        intermediate_values={len(trial.ended.curve): value},
    )


def distributions(space: Space) -> dict[str, Any]:
    """Return Optuna's names for the ranges."""
    kinds = optuna().distributions
    return {
        name: kinds.CategoricalDistribution(values.values)
        if isinstance(values, Choice)
        else kinds.FloatDistribution(float(values.low), float(values.high), log=values.log)
        for name, values in space.items()
    }


def _searched(done: Sequence[Trial]) -> list[Trial]:
    """Trials of the search that came to a value; trial 0 is of no range."""
    return [trial for trial in done[1:] if trial.ended.state != "failed"]


def others_of(done: Sequence[Trial], trial: Trial) -> list[Outcome]:
    """Return what the earlier trials of the same stage came to that were fitted to the end."""
    same = [one.ended for one in _searched(done) if one.factors == trial.factors]
    return [outcome for outcome in same if outcome.state == "complete"]


def promising(done: Sequence[Trial]) -> list[Trial]:
    """Return what the last stage that was begun would hand on, as trials of the full dimension, the best first.

    None if settings of the search were fitted at the full dimension already. The best of each stage are the first of
    the next, so the last stage has seen the best of all.
    """
    full = done[0].factors
    ended = [trial for trial in _searched(done) if trial.ended.state == "complete"]
    if not ended or any(trial.factors == full for trial in ended):
        return []
    return [replace(trial, factors=full, outcome=None) for trial in _best_of(done, ended[-1].factors)]


def best_trial(done: Sequence[Trial], factors: int) -> Trial:
    """Return the best trial of the full dimension that was fitted to the end, the default included."""
    return max((one for one in done if one.factors == factors and one.ended.state == "complete"), key=_VALUE)
