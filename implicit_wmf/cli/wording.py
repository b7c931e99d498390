"""How the command line words things."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._config_file import config_values
from .._words import count
from ..config import WMFConfig
from ..interactions import Interactions


def option(name: str) -> str:
    """Name of a hyper-parameter's option."""
    return f"--{name.replace('_', '-')}"


def changed_values(config: WMFConfig) -> dict[str, Any]:
    """Values of the hyper-parameters that are not the default."""
    return {name: value for name, value in config_values(config).items() if value != getattr(WMFConfig, name)}


def summary(data: Interactions) -> str:
    """Say how large interactions are."""
    users, items = data.shape
    share = data.nnz / (users * items)
    return f"{count(users, 'user')}, {count(items, 'item')}, {count(data.nnz, 'pair')} ({share:.2%} of the cells)"


def comparison_table(table: pd.DataFrame, train: Interactions) -> str:
    """Lay out what `compare` returns: a line a model, a column a metric with its interval, and who was counted.

    A further line for each model but the first says how much it differs from the first on the same users: their own
    intervals, which are mostly of the spread between users, do not tell the two apart.
    """
    first, *others = table["model"].unique()
    lines = {model: _cells(table, model, ("value", "low", "high"), "-") for model in (first, *others)}
    paired = ("difference", "difference_low", "difference_high")
    lines |= {f"{model} less {first}": _cells(table, model, paired, " to ") for model in others}
    wide = pd.DataFrame.from_dict(lines, orient="index", columns=list(table["metric"].unique()))
    without = {name: int(table.attrs[name]) for name in ("without_targets", "without_history")}
    users = train.shape[0] - sum(without.values())
    text = (
        f"{wide.to_string(line_width=120)}\n"
        f"mean (95 % interval) over {count(users, 'user')}; left out: {without['without_targets']:,} without new items "
        f"in the test part,\n{without['without_history']:,} without interactions in the training part"
    )
    return (
        text
        if not others
        else f"{text}\ndifferences are of the same users; one whose interval leaves out 0 tells two models apart"
    )


def _cells(table: pd.DataFrame, model: str, columns: tuple[str, str, str], to: str) -> list[str]:
    """Word a number with its interval, if it has one, for each metric."""
    own = table[table["model"] == model]
    numbers = zip(*(own[name] for name in columns), strict=True)
    return [
        f"{value:.4f}" if np.isnan(low) else f"{value:.4f} ({low:.4f}{to}{high:.4f})" for value, low, high in numbers
    ]
