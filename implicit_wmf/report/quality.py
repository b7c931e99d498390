"""How good the model is, as the report says it: in a sentence, a table, differences and curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .._words import count
from ..errors import InputError
from ..evaluation import parse_metric
from .blocks import picture, share
from .page import Block, Section, Table, Text
from .plots import plot_metric

ENOUGH_USERS = 30  # of fewer, resampling users says too little of others
_PREFERRED_LENGTH = 10  # of the lists that the table is about, where it was measured
_NEEDED = ("value", "low", "high")
_PAIRED = ("difference", "difference_low", "difference_high")

_MEANINGS = {
    "recall": "the share of what a user went on to take that was in their list",
    "capped_recall": "as recall, but a list that is too short for all that a user took can reach 1 too",
    "precision": "the share of the list that the user went on to take",
    "ndcg": "how near the list is to the best one possible, the first places counting most",
    "map": "how early in the list the things that the user took stand, 1 if they have the first places",
    "mrr": "1 for a list whose first item the user took, 1/2 if it was the second, 1/3 if the third, and so on",
    "hit": "the share of users with at least one thing in their list that they went on to take",
    "auc": "how often something that the user took is scored above something else (0.5 is guessing)",
    "popularity_rank": "the mean rank of the listed items by popularity, 1 being the best-seller (higher is rarer, not "
    "better)",
    "coverage": "the share of all items that is in anybody's list (higher is more varied, not better)",
    "gini": "how unevenly items are listed, from 0, all as often, to 1, always the same one (higher is not better)",
}
_NOT_BETTER = {"popularity_rank", "coverage", "gini"}  # when higher


def check_quality(quality: Any) -> None:
    """Refuse what is no table of `compare` or `evaluate`, before anything is done with it.

    Raises
    ------
    InputError
        For a table without rows or a needed column, a column that is not of numbers, and an unknown metric.
    """
    if quality is None:
        return
    if not isinstance(quality, pd.DataFrame) or not {"metric", *_NEEDED} <= set(quality.columns):
        raise InputError("quality is no table that `compare` returns; give that, or leave it out")
    if quality.empty:
        raise InputError("quality has no rows; give what `compare` returned, or leave it out")
    given = [name for name in _PAIRED if name in quality.columns]
    if given and len(given) < len(_PAIRED):
        missing = next(name for name in _PAIRED if name not in given)
        raise InputError(f"quality has {given[0]}, but no column {missing}; give all that `compare` returned")
    for name in (*_NEEDED, *given, *({"users"} & set(quality.columns))):
        if not pd.api.types.is_numeric_dtype(quality[name].dtype):
            raise InputError(f"quality: column {name!r} is of {quality[name].dtype}, not of numbers as in `compare`'s")
    for metric in quality["metric"].unique():
        try:
            parse_metric(metric)
        except InputError as error:
            raise InputError(f"quality: {error}") from error


def found_words(quality: pd.DataFrame | None, note: str | None) -> list[str]:
    """Say in a sentence or two what was found of what users went on to take; nothing where that was not measured."""
    if quality is None:
        return []
    rows = _of_models(quality)
    lengths = {name: k for name, k in _lengths(rows).items() if name.startswith("recall@")}
    length = _shown_length(lengths)
    rows = rows[(rows["metric"] == f"recall@{length}") & rows["value"].notna()]
    if rows.empty:
        return []
    users = _users(rows)
    *others, last = (f"{share(row.value)} ({row.model})" for row in rows.itertuples())
    shares = f"{', '.join(others)} and {last}" if others else last
    words = [
        f"Then {'a model with the same settings' if note else 'it'} was asked what "
        f"{'users' if users is None else count(users, 'user')} went on to take, among all items. Of what a user took, "
        f"{'a list' if length == 1 else 'lists'} of {count(length or 0, 'item')} held on average {shares}."
    ]
    return words if users is None or users >= ENOUGH_USERS else [*words, "So few users cannot tell which is better."]


def quality_section(quality: pd.DataFrame | None, note: str | None = None) -> Section:
    """Compare the model with baselines on held-out interactions, as `compare` measured them; `note` says how."""
    if quality is None:
        how = (
            "Nothing was held out, so this report cannot say how good the recommendations are. Made with the table "
            "that the model was fitted to, or with later interactions, it will: --data or --test on the command line, "
            "quality in Python."
        )
        return Section("How good is it?", "", [Text(how)])
    table = _trusted(_of_models(quality))
    lengths = _lengths(table)
    shown = [name for name in table["metric"].unique() if lengths.get(name) in (None, _shown_length(lengths))]
    rows = table[table["metric"].isin(shown)]
    meanings = [f"{name}: {_MEANINGS[parse_metric(name).name]}" for name in shown]
    intro = f"Asked for what users newly took in the held-out part, among all items. {'; '.join(meanings)}."
    blocks: list[Block] = [Text(words) for words in (note, _sample(table, quality.attrs)) if words]
    blocks.append(Table(["", *shown], _cells(rows, shown), _caption(rows)))
    blocks += map(Text, _differences(rows))
    blocks += [_curve(table, family) for family in ("recall", "ndcg") if _is_curve(lengths, family)]
    return Section("How good is it?", intro, blocks)


def _of_models(quality: pd.DataFrame) -> pd.DataFrame:
    """Give the one model of `evaluate` a name."""
    return quality if "model" in quality.columns else quality.assign(model="the model")


def _trusted(table: pd.DataFrame) -> pd.DataFrame:
    """Take away the intervals of too few users, and those without width, which look certain and are the contrary."""
    table = table.assign(measured=table["low"].notna())
    few = table["users"] < ENOUGH_USERS if "users" in table.columns else pd.Series(False, index=table.index)
    for low, high in (("low", "high"), ("difference_low", "difference_high")):
        if low in table.columns:
            table.loc[few | (table[low] == table[high]), [low, high]] = np.nan
    return table


def _sample(table: pd.DataFrame, left_out: Mapping[Any, Any]) -> str:
    """Say on how many users it was measured, and who was left out."""
    users = _users(table)
    if users is None:
        return ""
    words = f"Measured on {count(users, 'user')}."
    reasons = {
        "without_targets": "who took nothing new in the held-out part",
        "without_history": "who had taken nothing before",
    }
    others = [f"{left_out[name]:,} {why}" for name, why in reasons.items() if left_out.get(name)]
    if others:
        words += f" Left out: {', '.join(others)}."
    if users < ENOUGH_USERS:
        words += " These are too few users to say which model is better, or how far the means can be trusted."
    return words


def _users(table: pd.DataFrame) -> int | None:
    return int(table["users"].max()) if "users" in table.columns and table["users"].notna().any() else None


def _lengths(table: pd.DataFrame) -> dict[str, int]:
    """Lengths of the lists by the names of the metrics that have one."""
    parsed = {name: parse_metric(name).k for name in table["metric"].unique()}
    return {name: k for name, k in parsed.items() if k}


def _shown_length(lengths: Mapping[str, int]) -> int | None:
    if not lengths:
        return None
    return _PREFERRED_LENGTH if _PREFERRED_LENGTH in lengths.values() else max(lengths.values())


def _cells(rows: pd.DataFrame, shown: list[str]) -> list[tuple[str, ...]]:
    """Make a row a model: its name, then each metric with its interval."""
    cells = {(row.model, row.metric): _interval(row.value, row.low, row.high) for row in rows.itertuples()}
    return [(str(name), *(cells.get((name, metric), "") for metric in shown)) for name in rows["model"].unique()]


def _interval(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return "not known"
    return _number(value) if np.isnan(low) else f"{_number(value)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"  # those above are ranks


def _caption(rows: pd.DataFrame) -> str:
    without = bool((rows["measured"] & rows["low"].isna()).any())
    if rows["low"].notna().any():
        usual = "In brackets: where the mean lies, with 95 % confidence"
        return f"{usual}; left out where there is too little to say." if without else f"{usual}."
    return "Means over users; too few to say how far they can be trusted." if without else "Means over users."


def _differences(rows: pd.DataFrame) -> list[str]:
    """Word the paired differences to the first model; of too few users none, which is said above the table."""
    if "difference" not in rows.columns:
        return []
    first = rows["model"].iloc[0]
    compared = rows[rows["measured"] & rows["difference"].notna()]
    if "users" in compared.columns:
        compared = compared[compared["users"] >= ENOUGH_USERS]
    return [f"{row.metric}: {row.model} is {_difference(row, first)}." for row in compared.itertuples()]


def _difference(row: Any, first: str) -> str:
    """Say how far a model is from the first, and whether that may be chance."""
    if np.isnan(row.difference_low):
        level = row.difference == 0
        return f"level with {first} for every user" if level else f"not told apart from {first}: too little to say"
    low, high = row.difference_low, row.difference_high
    if _number(abs(row.difference)) == _number(0):
        return f"level with {first} on the same users (95 % interval {_number(low)} to {_number(high)})"
    lower, higher = ("lower than", "higher than") if row.metric.split("@")[0] in _NOT_BETTER else ("behind", "ahead of")
    side, sign = (lower, -1) if row.difference < 0 else (higher, 1)
    low, high = sorted((sign * low, sign * high))
    words = (
        f"{_number(sign * row.difference)} {side} {first} on the same users "
        f"(95 % interval {_number(low)} to {_number(high)})"
    )
    return words if low > 0 else f"{words}, which may be chance"


def _is_curve(lengths: Mapping[str, int], family: str) -> bool:
    return sum(name.startswith(f"{family}@") for name in lengths) > 1


def _curve(table: pd.DataFrame, family: str) -> Block:
    banded = table.loc[table["metric"].str.startswith(f"{family}@"), "low"].notna().any()
    bands = (
        " Bands are 95 % intervals over users; where those of two models overlap, see the differences above, which "
        "compare them on the same users."
    )
    return picture(
        lambda: plot_metric(table, family),
        f"{family} against the length of the list, for {', '.join(map(str, table['model'].unique()))}.",
        f"{family.capitalize()}: {_MEANINGS[family]}.{bands if banded else ''}",
    )
