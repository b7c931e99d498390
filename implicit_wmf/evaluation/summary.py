"""From values per user to a table: means, their standard errors and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InputError
from ..threads import single_threaded_blas
from .hits import Floats

# More users than this are put together at random into as many groups, and the groups are resampled: what that adds to
# the noise of an interval's width, sqrt(2 / groups) or 0.8 %, is less than that of 1,000 resamples, 2 %.
MOST_GROUPS = 1 << 15
_CHUNK = 1 << 19  # draws at a time, of a few arrays of 8 bytes each


def summarise(
    values: Mapping[str, Floats | float],
    left_out: Mapping[str, int] | None = None,
    *,
    users: int | None = None,
    clusters: NDArray[np.integer] | None = None,
    confidence: float = 0.95,
    bootstrap: int = 1000,
    random_state: Any = 0,
) -> pd.DataFrame:
    """Average metrics over users, and say how far the averages can be trusted: the table that `evaluate` returns.

    `values` are, for each metric, float64 (users,) of the same users, NaN where it is not defined; or one number, for a
    metric of the lists of all `users` together, by default as many as the arrays hold. `left_out` goes into
    ``frame.attrs``. With one seed and number of users the draws are the same, so that differences between two sets of
    values of the same users are paired.

    Where users have several values, `clusters`, (values,), says whose each is. Then the mean is over values, but whole
    users are drawn; the standard error is that of a ratio of users' sums to their numbers of values (Cochran 1977,
    "Sampling techniques", section 2.11), which for one value each is the usual one.
    """
    draws = check_draws(confidence, bootstrap, random_state)
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    count = users if users is not None else max((array.size for array in arrays.values() if array.ndim), default=0)
    sums = {name: _of_users(array, clusters) for name, array in arrays.items() if array.ndim}
    intervals = _intervals(sums, draws)
    rows = []
    for name, array in arrays.items():
        if array.ndim:
            rows.append({"metric": name} | _average(sums[name], intervals[name]))
        else:
            rows.append({"metric": name} | _row(float(array), np.nan, (np.nan, np.nan), count))
    table = pd.DataFrame(rows, columns=["metric", "value", "standard_error", "low", "high", "users"])
    table.attrs = dict(left_out or {})
    return table


class Sums(NamedTuple):
    """What users' values of a metric come to."""

    totals: Floats  # (users,)
    counts: Floats  # (users,): of how many values


def _of_users(values: Floats, clusters: NDArray[np.integer] | None) -> Sums:
    """Sum the values that are defined, each user's own."""
    defined = ~np.isnan(values)
    values = values[defined]
    if clusters is None:
        return Sums(values, np.ones(values.size))
    whose, place, counts = np.unique(np.asarray(clusters)[defined], return_inverse=True, return_counts=True)
    if whose.size == values.size:  # in the order that they have, so that the draws are those of single values
        return Sums(values, np.ones(values.size))
    totals = np.asarray(np.bincount(place, values, whose.size), dtype=np.float64)
    return Sums(totals, counts.astype(np.float64))


def resampled_means(totals: Floats, counts: Floats, bootstrap: int, seed: int) -> Floats:
    """Means of users drawn with replacement, as many as there are, each with all of its values: (bootstrap, metrics).

    Of `totals` (metrics, users) over `counts` (users,). Which users are drawn depends on the seed and the numbers of
    users and resamples alone.
    """
    generator = np.random.default_rng(seed)
    sums = _in_groups(np.concatenate([totals, counts[None]]), generator)
    groups = sums.shape[1]
    means = np.empty((bootstrap, len(totals)))
    chunk = max(1, _CHUNK // groups)
    with single_threaded_blas():
        for start in range(0, bootstrap, chunk):
            part = min(chunk, bootstrap - start)
            drawn = generator.integers(0, groups, (part, groups), dtype=np.int32)
            places = drawn + (np.arange(part) * groups)[:, None]
            times = np.bincount(places.reshape(-1), minlength=part * groups).reshape(part, groups)
            drawn_sums = times.astype(np.float64) @ sums.T
            means[start : start + part] = drawn_sums[:, :-1] / drawn_sums[:, -1:]
    return means


def check_draws(confidence: Any, bootstrap: Any, random_state: Any) -> dict[str, Any]:
    """Check `summarise`'s arguments of these names, and return them with one seed for any number of uses."""
    number = isinstance(confidence, int | float | np.number) and not isinstance(confidence, bool)
    if not number or not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence!r}; give a number between 0 and 1, such as 0.95")
    if not _whole(bootstrap):
        raise InputError(f"bootstrap is {bootstrap!r}; give a whole number of resamples, or 0 for no intervals")
    if random_state is None or isinstance(random_state, np.random.Generator):
        random_state = np.random.default_rng(random_state).integers(2**63)
    elif not _whole(random_state):
        raise InputError(f"random_state is {random_state!r}; give a whole number from 0 on, a NumPy Generator or None")
    return {"confidence": float(confidence), "bootstrap": int(bootstrap), "random_state": int(random_state)}


def _whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and int(number) >= 0


def _intervals(sums: Mapping[str, Sums], draws: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return (low, high) of each metric, those with values of as many users on the same draws."""
    intervals = dict.fromkeys(sums, (np.nan, np.nan))
    if draws["bootstrap"] == 0:
        return intervals
    tail = (1 - draws["confidence"]) / 2
    alike: dict[bytes, list[str]] = {}
    for name, of in sums.items():
        if of.totals.size > 1:
            alike.setdefault(of.counts.tobytes(), []).append(name)
    for names in alike.values():
        totals, counts = np.stack([sums[name].totals for name in names]), sums[names[0]].counts
        means = resampled_means(totals, counts, draws["bootstrap"], draws["random_state"])
        bounds = np.quantile(means, [tail, 1 - tail], axis=0)
        intervals.update(zip(names, map(tuple, bounds.T.tolist()), strict=True))
    return intervals


def _in_groups(sums: Floats, generator: np.random.Generator) -> Floats:
    """Sum users in groups, each user alone where there are not too many."""
    users = sums.shape[1]
    if users <= MOST_GROUPS:
        return sums
    groups = generator.permutation(users) % MOST_GROUPS
    return np.stack([np.bincount(groups, row, MOST_GROUPS) for row in sums])


def _average(sums: Sums, interval: tuple[float, float]) -> dict[str, Any]:
    totals, counts = sums
    users = totals.size
    value = float(totals.sum() / counts.sum()) if users else np.nan
    error = np.nan
    if users > 1:
        gaps = np.square(totals - value * counts).sum() / (users - 1)
        error = float(np.sqrt(gaps) / (counts.mean() * np.sqrt(users)))
    return _row(value, error, interval, users)


def _row(value: float, error: float, interval: tuple[float, float], users: int) -> dict[str, Any]:
    low, high = interval
    return {"value": value, "standard_error": error, "low": low, "high": high, "users": users}
