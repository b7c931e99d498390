"""L-BFGS from several random starts, for the objectives of SymmetricMF."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..objectives.inputs import Floats
from .records import IterationRecord
from .symmetric_objectives import SymmetricObjective

# The line search of L-BFGS-B takes at most 20 evaluations, so that these never end a start before its iterations do.
_EVALUATIONS = 25


@dataclass(frozen=True)
class SymmetricProblem:
    """An objective, and what a start needs to know of its data."""

    objective: SymmetricObjective
    tied: NDArray[np.bool_]  # rows of G that any cell of P looks at
    targets: float  # norm of R where P is not 0
    weights: float  # norm of P over n: 1 where all weights are


@dataclass(frozen=True)
class Reached:
    """The best start so far, and the objectives of all."""

    G: Floats
    loss: float
    history: list[IterationRecord]
    start_losses: Floats


def run_starts(problem: SymmetricProblem, config: Any) -> Iterator[tuple[IterationRecord, Reached]]:
    """Yield after each start a record of it, with the lowest objective so far, and the best start so far."""
    generator = np.random.default_rng(config.random_state)
    losses: list[float] = []
    best: tuple[Floats, float, list[IterationRecord]] | None = None
    for start in range(1, config.starts + 1):
        began = time.perf_counter()
        ended = descend(problem, draw_start(problem, generator, config), config)
        losses.append(ended[1])
        if best is None or ended[1] < best[1]:
            best = ended
        yield IterationRecord(start, best[1], time.perf_counter() - began), Reached(*best, np.array(losses))


def draw_start(problem: SymmetricProblem, generator: np.random.Generator, config: Any) -> Floats:
    """Draw normal factors and scale them so that no multiple of them has a lower objective."""
    n, width = problem.tied.size, config.factors
    G = generator.standard_normal((n, width)) * problem.tied[:, None]
    G *= np.sqrt(problem.targets / problem.weights / (n * np.sqrt(width)))
    # f(sqrt(t) G) = f(0) - 2 t b + t^2 a for every t > 0; the value and the slope at t = 1 give a and b.
    difference = problem.objective.value(G) - problem.objective.value(np.zeros_like(G))
    half_slope = float(np.vdot(problem.objective.gradient(G)[0], G)) / 4
    a, b = 2 * half_slope - difference, half_slope - difference
    return np.asarray(G * (np.sqrt(b / a if min(a, b) > 0 else 1.0) * config.init_scale))


def descend(problem: SymmetricProblem, start: Floats, config: Any) -> tuple[Floats, float, list[IterationRecord]]:
    """Run L-BFGS-B from one start; returns the factors, their objective and one record an iteration."""
    # The stopping rules need G and f of moderate size. Powers of 2 add no rounding: losses are the objective's own.
    unit = 2.0 ** np.round(np.log2(problem.targets / problem.weights) / 2)
    loss_unit = 2.0 ** np.round(2 * np.log2(problem.targets))
    history: list[IterationRecord] = []
    began = [time.perf_counter()]

    def value_and_gradient(x: Floats) -> tuple[float, Floats]:
        G = unit * x.reshape(start.shape)
        (gradient,) = problem.objective.gradient(G)
        return problem.objective.value(G) / loss_unit, gradient.ravel() * (unit / loss_unit)

    def record(intermediate_result: Any) -> None:
        now = time.perf_counter()
        loss = float(intermediate_result.fun * loss_unit)
        history.append(IterationRecord(len(history) + 1, loss, now - began[-1]))
        began.append(now)

    options = {
        "maxiter": config.iterations,
        "maxfun": _EVALUATIONS * config.iterations,
        "gtol": config.tolerance / np.sqrt(start.size),  # of the largest entry
        "ftol": 0.0,
    }
    result = minimize(
        value_and_gradient, (start / unit).ravel(), jac=True, method="L-BFGS-B", callback=record, options=options
    )
    return unit * result.x.reshape(start.shape), float(result.fun * loss_unit), history
